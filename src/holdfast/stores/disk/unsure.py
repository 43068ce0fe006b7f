"""The file ``unsure``: whether a sync by a process that does not write can be believed, and which ones were.

A writer that does not sync each append shows readers what is not on the disk yet. When its sync fails, the system may
take the lost pages for clean: readers see them still, and the next sync of the file, by whatever process, succeeds and
is about nothing. So the writer notes here that it syncs, before it does, and whether that failed: whoever syncs
beside it looks afterwards. And he notes how far he got: should the writer have to give up what it has not synced, that
stays.

Never synced, and of this boot alone: what is read after a power cut was on the disk.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path
from zlib import crc32

from holdfast.stores.disk.files import Files
from holdfast.stores.disk.tail import this_boot
from holdfast.stores.disk.turns import take_turn

NAME = "unsure"
SURE, SYNCING, FAILED = range(3)
PATIENCE = 5.0
"""Seconds to wait for the end of a sync of the writer's."""
_NOTE = struct.Struct("<QQQ")
_CRC = struct.Struct("<I")
_TRIES = 20
_SIZE = _NOTE.size + _CRC.size
_WRITER, _OTHERS = 0, 64
"""Where the note of the writer lies: boot, base of the segment, how sure; and that of others: boot, base, position."""


class Unsure:
    """The writer's hand on the file, which is made anew."""

    def __init__(self, files: Files, directory: Path) -> None:
        self._files = files
        self._fd = files.open(directory / NAME, os.O_RDWR | os.O_CREAT)
        try:
            for at in (_WRITER, _OTHERS):
                _put(files, self._fd, at, 0, 0)
        except BaseException:
            files.close(self._fd)
            raise

    def note(self, base: int, state: int) -> None:
        """Say how sure the segment is that begins at ``base``; others see it on return."""
        _put(self._files, self._fd, _WRITER, base, state)

    def failed(self, base: int) -> bool:
        """Tell whether somebody noted that a sync of this segment failed."""
        return _get(self._files, self._fd, _WRITER, base) == FAILED

    def believed(self, base: int) -> int:
        """Return up to which position others were told that this segment is on the disk."""
        return _get(self._files, self._fd, _OTHERS, base)

    def close(self) -> None:
        self._files.close(self._fd)


def forget(files: Files, directory: Path) -> None:
    """Let nothing be unsure: an opening has put everything on the disk."""
    files.remove(directory / NAME)


def believe(files: Files, directory: Path, base: int, position: int) -> bool | None:
    """Tell whether a sync of the segment at ``base``, which has just returned, put on the disk what lies before
    ``position``; the writer keeps that then, whatever happens. None when it writes another segment by now. Waits for a
    sync of the writer's.
    """
    try:
        fd = files.open(directory / NAME, os.O_RDWR)
    except FileNotFoundError:  # its writer shows nothing that it has not synced
        return True
    try:
        take_turn(files, fd, directory / NAME)
        if _waited(files, fd, base) == SURE:
            if _get(files, fd, _OTHERS, base) < position:
                _put(files, fd, _OTHERS, base, position)
            # The writer notes that it failed first, and looks at what was noted then: one of us sees the other.
            return _state(files, fd, base) in (SURE, SYNCING)
        return False
    except _Over:
        return None
    finally:
        files.close(fd)


class _Over(Exception):
    """The segment is not the one that is written."""


def _waited(files: Files, fd: int, base: int) -> int:
    end = time.monotonic() + PATIENCE
    while (state := _state(files, fd, base)) == SYNCING and time.monotonic() < end:
        time.sleep(0.001)  # nothing tells when a sync of another process ends
    return state


def _state(files: Files, fd: int, base: int) -> int:
    noted = _read(files, fd, _WRITER)
    if noted is None or noted[0] < base:
        return SURE
    if noted[0] > base:
        raise _Over
    return noted[1]


def shows_unsynced(files: Files, directory: Path) -> bool:
    """Tell whether readers may see what its writer has not synced."""
    return files.identity(directory / NAME) is not None


def doubt(files: Files, directory: Path, base: int) -> None:
    """Note for all others that a sync of this segment failed."""
    try:
        fd = files.open(directory / NAME, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        _put(files, fd, _WRITER, base, FAILED)
    finally:
        files.close(fd)


def _put(files: Files, fd: int, at: int, base: int, value: int) -> None:
    data = _NOTE.pack(this_boot(), base, value)
    files.write(fd, [data + _CRC.pack(crc32(data))], at)


def _get(files: Files, fd: int, at: int, base: int) -> int:
    """Return the value noted for a segment; 0 when there is none."""
    noted = _read(files, fd, at)
    return noted[1] if noted is not None and noted[0] == base else 0


def _read(files: Files, fd: int, at: int) -> tuple[int, int] | None:
    """Return the segment and the value of a note of this boot; None when there is none."""
    for _ in range(_TRIES):
        data = files.read(fd, _SIZE, at)
        if len(data) < _SIZE:
            return None
        boot, base, value = _NOTE.unpack_from(data)
        if crc32(data[: _NOTE.size]) == _CRC.unpack_from(data, _NOTE.size)[0]:  # else it is being written
            return (base, value) if boot == this_boot() else None
    return None
