"""Sealed segments are read again and checked, a little at a time: rot is found while there is still a copy somewhere.

What is found is told, and kept in the log's file ``scrubbed`` for whoever examines it; nothing is done about it. The
same file remembers how far the reading has come, and is locked by the one process that reads. It is never synced: a
power cut may let a segment be read once more.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from holdfast.logged import DamagedRange
from holdfast.stores.disk.format import HEADER
from holdfast.stores.disk.logs.directory import LogDirectory, opened, whole, write_all
from holdfast.stores.disk.logs.open_log import OpenLog
from holdfast.stores.disk.options import Damage
from holdfast.stores.disk.readable import Readable
from holdfast.stores.disk.reading import PartitionReader

EVERY = 7 * 86_400.0
"""Seconds from the end of one pass through a log to the beginning of the next."""
ROUND = 64 << 20
"""Bytes that are read at a time."""


class Scrubbed(msgspec.Struct, frozen=True):
    """How far a pass has come, and the damage that is known.

    It stands in the segment of ``partition`` that begins at ``base``, at the byte ``position``, 0 before the first,
    where ``offset`` is next; ``found`` is the damage in what it has read of that. Between two passes ``ended`` is when
    (ms) the last one did.
    """

    partition: int = 0
    base: int = 0
    position: int = 0
    offset: int = 0
    found: tuple[DamagedRange, ...] = ()
    damages: tuple[DamagedRange, ...] = ()
    ended: int | None = None


def scrub(log: OpenLog, now: int, every: float, limit: int, report: Callable[[str], None]) -> int:
    """Read on for about ``limit`` bytes, if it is time and nobody else does; report new damage; return how many."""
    files = log.directory.files
    with suppress(FileNotFoundError), opened(files, log.directory.scrubbed_path, os.O_RDWR | os.O_CREAT) as fd:
        if not files.lock(fd):
            return 0
        size = files.size(fd)
        before = _parsed(files.read(fd, size, 0))
        if before.ended is not None and 0 <= now - before.ended < every * 1000:
            return 0
        reading = _Round(log, before, limit, report)
        after = reading.run(now)
        if after != before:  # what was longer is blanked, not cut off: it is read without the lock
            write_all(files, fd, msgspec.json.encode(after).ljust(size))
        return reading.read
    return 0


def known_damage(log: LogDirectory) -> list[DamagedRange]:
    """Return the damage that was found and is still there, as far as anybody knows."""
    try:
        found = _parsed(whole(log.files, log.scrubbed_path))
    except FileNotFoundError:
        return []
    return [one for one in dict.fromkeys(found.damages + found.found) if _is_there(log, one)]


def forget_damage(log: LogDirectory) -> None:
    """Know nothing: what was damaged has been mended."""
    log.files.remove(log.scrubbed_path)


def _parsed(data: bytes) -> Scrubbed:
    try:
        return msgspec.json.decode(data, type=Scrubbed)
    except msgspec.MsgspecError:
        return Scrubbed()


def _is_there(log: LogDirectory, damage: DamagedRange) -> bool:
    return log.files.identity(log.partition(damage.partition) / Path(damage.path).name) is not None


class _Round:
    """A part of a pass: ``read`` counts its bytes."""

    def __init__(self, log: OpenLog, before: Scrubbed, limit: int, report: Callable[[str], None]) -> None:
        self._log, self._limit, self._report = log, limit, report
        self._state = before if before.ended is None else Scrubbed(damages=before.damages)
        self.read = 0

    def run(self, now: int) -> Scrubbed:
        """Read on; return how far that came."""
        for number in range(self._state.partition, self._log.settings.partitions):
            if not self._partition(number):
                return self._state
        kept = tuple(one for one in self._state.damages if _is_there(self._log.directory, one))
        return Scrubbed(damages=kept, ended=now)

    def _partition(self, number: int) -> bool:
        """Read what is sealed of a partition; False when the round was over before."""
        first = self._state.base if number == self._state.partition else 0
        reader = PartitionReader(self._log.directory.partition(number), self._log.directory.files, partition=number)
        try:
            for segment in reader.segments(first):
                if segment.is_being_written:
                    break
                if not self._segment(number, segment):
                    return False
        finally:
            reader.close()
        return True

    def _segment(self, number: int, segment: Readable) -> bool:
        state = self._state
        if (number, segment.base) != (state.partition, state.base) or not state.position:
            state = Scrubbed(number, segment.base, HEADER, segment.base, damages=state.damages)
            self._state, self.read = state, self.read + HEADER
            if segment.edges.header is None:
                self._note(segment, Damage(0, HEADER, segment.base, segment.base))
        segment.unmap()
        try:
            for one in segment.everything(state.position, state.offset):
                if isinstance(one, Damage):
                    self._note(segment, one)
                self.read += one.end - self._state.position
                self._move(position=one.end, offset=one.next)
                if self.read >= self._limit or self._log.closed:
                    return False
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._note(segment, Damage(self._state.position, segment.end, self._state.offset, segment.next))
        self._end(segment)
        return True

    def _note(self, segment: Readable, damage: Damage) -> None:
        state = self._state
        path = str(segment.path)
        one = DamagedRange(state.partition, path, damage.begin, damage.end, damage.first, damage.next)
        if one not in state.damages:
            self._report(
                f"log {self._log.name!r}, partition {one.partition}: bytes {one.begin} to {one.end} of {path}, offsets "
                f"{one.first} to {one.next} (ends not included), are damaged; nothing was changed: restore the file "
                f"from a copy, or take them out with 'holdfast logs repair {self._log.name}'"
            )
        self._move(found=(*state.found, one))

    def _move(self, **changed: object) -> None:
        self._state = msgspec.structs.replace(self._state, **changed)

    def _end(self, segment: Readable) -> None:
        """Go behind a segment: what was known of it before is no longer so."""
        state, path = self._state, str(segment.path)
        others = tuple(one for one in state.damages if one.path != path)
        self._state = Scrubbed(state.partition, segment.base + 1, damages=others + state.found)
