"""Every touch of the disk, in one small class, so that a test can make any of them fail, stop short, or be forgotten.

Nothing else of this store calls the operating system about files. The methods are thin: short writes and failures are
handled where their meaning is known.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

Buffer = bytes | bytearray | memoryview

_LOCK = getattr(fcntl, "F_OFD_SETLK", None)
_LOCKED = getattr(fcntl, "F_OFD_GETLK", None)
_LOCK_TYPE = struct.Struct("h")
_WHOLE_FILE = struct.pack("hhqqhh", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0, 0)
_NOTHING = struct.pack("hhqqhh", fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0, 0)


def in_words(error: OSError) -> str:
    """Return what the disk refused, and what to do about it where it is a matter of rights."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error}; let this user write there, or name another directory"
    return str(error)


class Directories:
    """What is known by its path. Errors are ``OSError``; any thread may call."""

    def sync_directory(self, path: Path) -> None:
        """Return once the names in a directory are on the disk."""
        fd = _opened(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            _close(fd)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, in place of whatever has it."""
        old.replace(new)

    def remove(self, path: Path) -> None:
        """Remove a file, or an empty directory; nothing happens if there is none."""
        with suppress(FileNotFoundError):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink()

    def make_directory(self, path: Path) -> None:
        """Make a directory, for its owner alone; nothing happens if it is there."""
        with suppress(FileExistsError):
            path.mkdir(0o700)

    def list(self, path: Path) -> list[str]:
        """Return the names in a directory, sorted; none if there is no directory."""
        try:
            return sorted(entry.name for entry in path.iterdir())
        except FileNotFoundError:
            return []

    def identity(self, path: Path) -> tuple[int, int, int] | None:
        """Return what changes whenever a file is replaced by another, or written; None when there is none."""
        try:
            found = os.stat(path)  # noqa: PTH116 - half the time of Path.stat, and this is done with every append
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def free(self, path: Path) -> int:
        """Return how many bytes the disk of this directory has left for us."""
        disk = os.statvfs(path)
        return disk.f_bavail * disk.f_frsize


class Files(Directories):
    """The real ones. Errors are ``OSError``; any thread may call."""

    def open(self, path: Path, flags: int) -> int:
        """Open a file, for its owner alone if this creates it; return its descriptor."""
        return _opened(path, flags)

    def close(self, fd: int) -> None:
        """Let go of a file, and of its lock."""
        if fd in _locked:
            # First, for the lock is the open file's, of which a child that is just being forked may have a share.
            self.unlock(fd)
        _close(fd)

    def read(self, fd: int, size: int, at: int) -> bytes:
        """Return up to ``size`` bytes from ``at``; fewer at the end of the file."""
        return os.pread(fd, size, at)

    def write(self, fd: int, pieces: Sequence[Buffer], at: int) -> int:
        """Write the pieces (at most 1 024) one behind the other; return how many bytes went, which may be fewer."""
        return os.pwrite(fd, pieces[0], at) if len(pieces) == 1 else os.pwritev(fd, pieces, at)

    def sync(self, fd: int) -> None:
        """Return once what was written to the file is on the disk, and its size."""
        _datasync(fd)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def is_at(self, fd: int, path: Path) -> bool:
        """Tell whether an open file is the one that has this name now."""
        try:
            return os.path.samestat(os.fstat(fd), path.stat())
        except (FileNotFoundError, NotADirectoryError):
            return False

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def allocate(self, fd: int, size: int) -> None:
        """Take room for the first ``size`` bytes of the file on the disk."""
        _allocate(fd, 0, size)

    def map(self, fd: int, size: int) -> mmap.mmap:
        """Map the first ``size`` bytes (not 0) for reading. Only of files that are never shortened."""
        return mmap.mmap(fd, size, access=mmap.ACCESS_READ)

    def lock(self, fd: int) -> bool:
        """Lock the file for this descriptor, until it is closed; False when another has it, in whatever process."""
        try:
            if _LOCK is not None:
                fcntl.fcntl(fd, _LOCK, _WHOLE_FILE)
            else:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        _locked.add(fd)
        return True

    def unlock(self, fd: int) -> None:
        """Give the lock of this descriptor up and keep it open."""
        _locked.discard(fd)
        if _LOCK is not None:
            fcntl.fcntl(fd, _LOCK, _NOTHING)
        else:
            fcntl.flock(fd, fcntl.LOCK_UN)

    def locked(self, fd: int) -> bool:
        """Tell whether the file is locked by another descriptor, in whatever process."""
        if _LOCKED is not None:
            (kind,) = _LOCK_TYPE.unpack_from(fcntl.fcntl(fd, _LOCKED, _WHOLE_FILE))
            return bool(kind != fcntl.F_UNLCK)
        if not self.lock(fd):
            return True
        self.unlock(fd)
        return False


# -- forks ----------------------------------------------------------------------------------------------------

_open: set[int] = set()
_locked: set[int] = set()


def _opened(path: Path, flags: int) -> int:
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    _open.add(fd)
    return fd


def _close(fd: int) -> None:
    _open.discard(fd)  # first: once it is closed, its number may be that of anything
    os.close(fd)


def _let_go_in_child() -> None:
    """Leave every file to the parent, with its locks, whatever any thread of it was at when it forked.

    The numbers stay taken, by something that can be neither read nor written: who still knows one gets an error, and
    who closes it closes nothing else.
    """
    try:
        nothing = os.open(os.sep, getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC)
    except OSError:  # no number is left
        for fd in _open:
            os.close(fd)
    else:
        for fd in _open:
            os.dup2(nothing, fd, inheritable=False)
        os.close(nothing)
    _open.clear()
    _locked.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


def _fill(fd: int, at: int, size: int) -> None:
    os.pwrite(fd, bytes(size), at)


_datasync = getattr(os, "fdatasync", os.fsync)
_allocate = getattr(os, "posix_fallocate", _fill)
