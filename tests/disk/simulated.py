"""A disk in memory that records everything done to it, so that a test can cut its power wherever it likes.

Names and nodes are apart, as on a real disk: a name may be lost while what it named is there, and the reverse. Every
change goes into ``trace`` in the order in which it happened; ``note`` puts what a test knows between them. What is
left after a power cut is worked out in ``crashes``.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.stores.disk.files import Buffer, Files


class Node:
    """What is in a file, whatever its name. ``ghost`` is what an earlier power cut left on its blocks, at the same
    places, behind its end too: no read returns it, but a block that is not written again may show it when the file
    grows.
    """

    __slots__ = ("content", "ghost", "holder")

    def __init__(self, content: bytes = b"", ghost: bytes = b"") -> None:
        self.content = bytearray(content)
        self.ghost = ghost
        self.holder: int | None = None


class Write(NamedTuple):
    node: Node
    at: int
    data: bytes


class Truncate(NamedTuple):
    node: Node
    size: int


class Sync(NamedTuple):
    node: Node


class LoseSync(NamedTuple):
    """A sync that failed: what it has not put on the disk of what was written since the last one never gets there."""

    node: Node


class Create(NamedTuple):
    directory: str
    name: str
    node: Node | None  # None for a directory


class Remove(NamedTuple):
    directory: str
    name: str


class Rename(NamedTuple):
    directory: str
    name: str
    new: str


class SyncDirectory(NamedTuple):
    directory: str


class Note(NamedTuple):
    """Something the test knows at this place of the trace."""

    fact: Any


Step = Write | Truncate | Sync | LoseSync | Create | Remove | Rename | SyncDirectory | Note


class Image(NamedTuple):
    """What is on a disk: the bytes of each file, and the directories; and the ghosts of some files, see ``Node``."""

    files: dict[str, bytes]
    directories: frozenset[str]
    ghosts: dict[str, bytes] = {}  # noqa: RUF012 - never changed


class SimulatedDisk(Files):
    """The methods of :class:`Files` on memory. Errors are those of the operating system; any thread may call."""

    def __init__(self, image: Image | None = None, root: str = "/disk") -> None:
        files, directories, ghosts = image or Image({}, frozenset({root}))
        self.names = {path: Node(content, ghosts.get(path, b"")) for path, content in files.items()}
        self.directories = set(directories)
        self.trace: list[Step] = []
        self.room = 1 << 40
        self._open: dict[int, tuple[Node, int]] = {}
        self._last = 1 << 20  # far from real descriptors, so that a mixed-up one is found out
        self._lock = threading.RLock()

    def note(self, fact: Any) -> None:
        """Put what the test knows behind what happened so far."""
        with self._lock:
            self.trace.append(Note(fact))

    def image(self) -> Image:
        """Return what a process would find now, if none had lost power."""
        with self._lock:
            files = {path: bytes(node.content) for path, node in self.names.items()}
            return Image(files, frozenset(self.directories))

    def abandon(self) -> None:
        """Close every file, as the death of a process does."""
        with self._lock:
            for fd in list(self._open):
                SimulatedDisk.close(self, fd)

    @property
    def descriptors(self) -> int:
        """How many files are open."""
        return len(self._open)

    # -- files ---------------------------------------------------------------------------------------------------

    def open(self, path: Path, flags: int) -> int:
        with self._lock:
            name = str(path)
            node = self.names.get(name)
            if name in self.directories:
                raise OSError(errno.EISDIR, "is a directory", name)
            if node is not None and flags & os.O_CREAT and flags & os.O_EXCL:
                raise FileExistsError(errno.EEXIST, "is there", name)
            if node is None:
                if not flags & os.O_CREAT or str(path.parent) not in self.directories:
                    raise FileNotFoundError(errno.ENOENT, "is not there", name)
                node = self.names[name] = Node()
                self.trace.append(Create(str(path.parent), path.name, node))
            elif flags & os.O_TRUNC and node.content:
                node.content.clear()
                self.trace.append(Truncate(node, 0))
            self._last += 1
            self._open[self._last] = node, flags
            return self._last

    def close(self, fd: int) -> None:
        with self._lock:
            node = self._node(fd)
            del self._open[fd]
            if node.holder == fd:
                node.holder = None

    def read(self, fd: int, size: int, at: int) -> bytes:
        with self._lock:
            return bytes(self._node(fd).content[at : at + size])

    def write(self, fd: int, pieces: Sequence[Buffer], at: int) -> int:
        data = b"".join(pieces)
        with self._lock:
            node = self._node(fd, writing=errno.EBADF)
            overwrite(node.content, at, data)
            self.trace.append(Write(node, at, data))
        return len(data)

    def sync(self, fd: int) -> None:
        with self._lock:
            self.trace.append(Sync(self._node(fd)))

    def size(self, fd: int) -> int:
        return len(self._node(fd).content)

    def is_at(self, fd: int, path: Path) -> bool:
        with self._lock:
            return self.names.get(str(path)) is self._node(fd)

    def truncate(self, fd: int, size: int) -> None:
        with self._lock:
            node = self._node(fd, writing=errno.EINVAL)
            resize(node.content, size)
            self.trace.append(Truncate(node, size))

    def allocate(self, fd: int, size: int) -> None:
        with self._lock:
            node = self._node(fd, writing=errno.EBADF)
            if size > len(node.content):
                resize(node.content, size)
                self.trace.append(Truncate(node, size))

    def map(self, fd: int, size: int) -> mmap.mmap:
        content = self._node(fd).content
        if not 0 < size <= len(content):
            raise ValueError(f"a map of {size} bytes of a file of {len(content)}")
        mapped = mmap.mmap(-1, size)
        mapped[:] = bytes(content[:size])
        return mapped

    def lock(self, fd: int) -> bool:
        with self._lock:
            node = self._node(fd, writing=errno.EBADF)
            if node.holder not in (None, fd):
                return False
            node.holder = fd
            return True

    def unlock(self, fd: int) -> None:
        with self._lock:
            node = self._node(fd)
            if node.holder == fd:
                node.holder = None

    def locked(self, fd: int) -> bool:
        with self._lock:
            return self._node(fd).holder not in (None, fd)

    # -- names ---------------------------------------------------------------------------------------------------

    def sync_directory(self, path: Path) -> None:
        with self._lock:
            self._check_directory(path)
            self.trace.append(SyncDirectory(str(path)))

    def rename(self, old: Path, new: Path) -> None:
        with self._lock:
            if old.parent != new.parent:
                raise NotImplementedError("renames from one directory into another are not simulated")
            if str(old) not in self.names:
                raise FileNotFoundError(errno.ENOENT, "is not there", str(old))
            self.names[str(new)] = self.names.pop(str(old))
            self.trace.append(Rename(str(old.parent), old.name, new.name))

    def remove(self, path: Path) -> None:
        with self._lock:
            name = str(path)
            if name in self.directories:
                if self.list(path):
                    raise OSError(errno.ENOTEMPTY, "is not empty", name)
                self.directories.discard(name)
            elif name in self.names:
                del self.names[name]
            else:
                return
            self.trace.append(Remove(str(path.parent), path.name))

    def make_directory(self, path: Path) -> None:
        with self._lock:
            if str(path) not in self.directories:
                self._check_directory(path.parent)
                self.directories.add(str(path))
                self.trace.append(Create(str(path.parent), path.name, None))

    def list(self, path: Path) -> list[str]:
        with self._lock:
            prefix = f"{path}/"
            names = [*self.names, *self.directories]
            return sorted(
                name[len(prefix) :] for name in names if name.startswith(prefix) and "/" not in name[len(prefix) :]
            )

    def identity(self, path: Path) -> tuple[int, int, int] | None:
        with self._lock:
            if str(path) in self.directories:
                return 0, 0, 0
            node = self.names.get(str(path))
            return None if node is None else (id(node), len(self.trace), len(node.content))

    def free(self, path: Path) -> int:
        return self.room

    # ------------------------------------------------------------------------------------------------------------

    def _node(self, fd: int, *, writing: int = 0) -> Node:
        """Return what is open; ``writing`` is the error of a descriptor that is for reading only."""
        if fd not in self._open:
            raise OSError(errno.EBADF, "no open file", str(fd))
        node, flags = self._open[fd]
        if writing and flags & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(writing, "open for reading only", str(fd))
        return node

    def _check_directory(self, path: Path) -> None:
        if str(path) not in self.directories:
            raise FileNotFoundError(errno.ENOENT, "is not there", str(path))


def overwrite(content: bytearray, at: int, data: bytes) -> None:
    """Write into content as ``pwrite`` does: a gap in front becomes zeros."""
    if at > len(content):
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def resize(content: bytearray, size: int) -> None:
    """Make content as long as ``ftruncate`` does."""
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))
