"""Which process owns the queues of a directory: the one that has its lock file locked, which says who that is."""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path

import msgspec

from holdfast.errors import BackendError
from holdfast.stores.disk.files import Files

MOST = 4096


class Owner(msgspec.Struct, frozen=True):
    """What the lock file says: the process that has it or had it last. ``epoch`` rises with every owner.

    ``store`` is the id (hex) of the queues themselves, the same for all owners.
    """

    pid: int
    host: str
    epoch: int
    store: str


class OwnerLock:
    """The lock, taken. It goes with its descriptor: when it is released, and when its process ends in any way."""

    def __init__(self, directory: Path, files: Files) -> None:
        """Take the lock; :class:`Owned` when another has it."""
        self._files = files
        self._fd = files.open(directory / "lock", os.O_RDWR | os.O_CREAT)
        try:
            before = _read(files, self._fd)
            if not files.lock(self._fd):
                raise Owned(directory, before)
            epoch, store = (1, uuid.uuid4().hex) if before is None else (before.epoch + 1, before.store)
            self.owner = Owner(os.getpid(), socket.gethostname(), epoch, store)
            self._write()
        except BaseException:
            files.close(self._fd)
            raise

    def _write(self) -> None:
        text = msgspec.json.encode(self.owner).ljust(256)
        if self._files.write(self._fd, [text], 0) < len(text):
            raise BackendError("the lock file of the queues cannot be written: the disk is full", retryable=True)
        self._files.sync(self._fd)

    def release(self) -> None:
        """Let others take it; in a child of a fork, let go of the parent's without touching it."""
        self._files.close(self._fd)


class Owned(BackendError):
    """Another process has the lock."""

    def __init__(self, directory: Path, owner: Owner | None) -> None:
        super().__init__(
            f"{_who(owner)} owns the queues in {directory}, and has them to itself: send and work there, or use a "
            "store that processes share, such as sqlite:///jobs.db",
            retryable=True,
        )
        self.owner = owner


def _who(owner: Owner | None) -> str:
    if owner is None:
        return "another process"
    if (owner.pid, owner.host) == (os.getpid(), socket.gethostname()):
        return "another App of this process"
    return f"process {owner.pid} on {owner.host}"


def _read(files: Files, fd: int) -> Owner | None:
    try:
        return msgspec.json.decode(files.read(fd, MOST, 0), type=Owner)
    except msgspec.DecodeError:
        return None
