"""The right to write a log: a lock that one process has at a time, and a note in its file that says which that is.

Whoever only passes, to trim a log that nobody writes, has the lock for a moment and says so: a process that comes to
write meanwhile waits for him, and is not sent away.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

import msgspec

from holdfast.clock import Clock, moment
from holdfast.errors import BackendError
from holdfast.stores.disk.logs.directory import LogDirectory, opened, write_all
from holdfast.stores.disk.logs.open_log import OpenLog

NOTE = 1024
"""Bytes of a note, filled up with spaces: written over the one before it in one write."""
UNSAID = 0.1
"""Seconds in which whoever has just taken the lock has written his note."""
PATIENCE = 5.0
"""Seconds to wait for one who passes."""


class WriterNote(msgspec.Struct, frozen=True):
    """What the lock file says of the process that has it, or had it last. ``epoch`` rises with every writer."""

    pid: int
    host: str
    since: int
    epoch: int
    passing: bool = False


class WriterLock:
    """The lock of one log, held until it is released."""

    def __init__(self, log: OpenLog, clock: Clock, *, passing: bool = False) -> None:
        """Take it; ``BackendError`` names the process that has it. Waits for one that only passes."""
        self._files = log.directory.files
        self._fd = self._files.open(log.directory.lock_path, os.O_RDWR | os.O_CREAT)
        try:
            self._acquire(log.name, patient=not passing)
            if not log.refresh():
                raise BackendError(f"log {log.name!r} was removed in this instant; try again", retryable=True)
            self.epoch = self._leave_note(clock.wall(), passing=passing)
        except BaseException:
            self.release()
            raise

    def _acquire(self, log: str, *, patient: bool) -> None:
        begin = time.monotonic()
        while not self._files.lock(self._fd):
            note, waited = _read(self._files.read(self._fd, NOTE, 0)), time.monotonic() - begin
            passing = note is not None and note.passing
            if not patient or waited > (PATIENCE if passing else UNSAID):
                raise _another(log, note)
            time.sleep(0.005)  # nothing tells when another process lets go

    def _leave_note(self, now: int, *, passing: bool) -> int:
        before = _read(self._files.read(self._fd, NOTE, 0))
        note = WriterNote(os.getpid(), socket.gethostname(), now, before.epoch + 1 if before else 1, passing)
        write_all(self._files, self._fd, msgspec.json.encode(note).ljust(NOTE))
        self._files.sync(self._fd)
        return note.epoch

    def release(self) -> None:
        """Give it up."""
        self._files.close(self._fd)

    def abandon(self) -> None:
        """Leave it to the parent, in a child just forked."""
        with suppress(OSError):
            self._files.close(self._fd)


def current_writer(log: LogDirectory) -> WriterNote | None:
    """Return the process that writes a log now, if there is one."""
    try:
        with opened(log.files, log.lock_path, os.O_RDWR) as fd:
            return _read(log.files.read(fd, NOTE, 0)) if log.files.locked(fd) else None
    except FileNotFoundError:
        return None


def _read(data: bytes) -> WriterNote | None:
    """Return what a note says; None when nobody ever had the lock."""
    try:
        return msgspec.json.decode(data, type=WriterNote)
    except msgspec.MsgspecError:
        return None


def _another(log: str, note: WriterNote | None) -> BackendError:
    who = "another process"
    if note is not None:
        ours = (note.pid, note.host) == (os.getpid(), socket.gethostname())
        who = "another App of this process" if ours else f"process {note.pid} on {note.host}"
        who += f", since {moment(note.since):%Y-%m-%d %H:%M:%S} UTC,"
    return BackendError(
        f"log {log!r} is written by {who} and a log of this store has one writer at a time: append there, "
        "or close it; whatever reads may run anywhere on this host",
        retryable=True,
    )
