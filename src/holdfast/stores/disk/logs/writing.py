"""This process as the one that writes a log: the lock, the partitions it opened, the limits it keeps to."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Protocol

import msgspec

from holdfast.clock import Clock
from holdfast.config import LogSettings
from holdfast.errors import Closed, QueueFull
from holdfast.logged import Columns, LogTidied, Producer
from holdfast.stores.disk.format import HEADER
from holdfast.stores.disk.logs.open_log import OpenLog
from holdfast.stores.disk.logs.retention import Segments, is_over
from holdfast.stores.disk.logs.tending import kept_from, set_back, sync_places
from holdfast.stores.disk.logs.writer_lock import WriterLock
from holdfast.stores.disk.options import PartitionOptions, Placed, Report
from holdfast.stores.disk.partition import Partition
from holdfast.stores.disk.turns import turn
from holdfast.stores.disk.upkeep import Upkeep
from holdfast.stores.refused import OVERHEAD, check_fits, log_full

BATCH_OVERHEAD = 72
PARTS = 8
"""A segment is at most this part of what the log may hold: only whole ones can go."""
SMALLEST_SEGMENT = 64 << 10
RETRY_AFTER = 1.0
"""Seconds for which a full log refuses appends without looking again whether anything can go."""


class Lent(Protocol):
    """What a writer needs of its store."""

    clock: Clock
    options: PartitionOptions
    upkeep: Upkeep

    def tell(self, log: str, partition: int, report: Report) -> None:
        """Let people know what a partition reports."""

    def report(self, text: str) -> None:
        """Do the same for what this writer has to tell."""


class LogWriter:
    """The right to write a log, until it is closed. Any thread may call."""

    def __init__(self, log: OpenLog, lent: Lent, right: WriterLock) -> None:
        """Begin; the lock is the writer's from now on."""
        self.log, self._lent = log, lent
        self._files = log.directory.files
        self._lock = threading.RLock()
        self._partitions: dict[int, Partition] = {}
        self._settings = log.settings
        self._size = 0
        self._full_until = 0
        self._closed = False
        self._right = right
        try:
            if self._bounded():
                self._open_all()
        except BaseException:
            self.close()
            raise

    # -- partitions -----------------------------------------------------------------------------------------------

    def partition(self, number: int) -> Partition:
        """Return a partition, opened if need be: what a crash left of it is mended then."""
        partition = self._partitions.get(number)
        if partition is not None and self._settings is self.log.settings:
            return partition
        with self._lock:
            if self._closed:
                raise Closed(f"log {self.log.name!r} is no longer written here")
            self._take_up_settings()
            if number not in self._partitions:
                self._partitions[number] = self._open(number)
            return self._partitions[number]

    def _take_up_settings(self) -> None:
        before, now = self._settings, self.log.settings
        if before is now:
            return
        self._settings, self._full_until = now, 0
        if self._options(before) != self._options(now):
            self._close_partitions()
        if self._bounded():
            self._open_all()

    def _open(self, number: int) -> Partition:
        directory = self.log.directory.partition(number)
        if self._files.identity(directory) is None:
            self._files.make_directory(directory)
            self._files.sync_directory(directory.parent)
        partition = Partition.open(
            directory,
            self._files,
            self._options(self._settings),
            store=bytes.fromhex(self.log.store),
            epoch=self._right.epoch,
            clock=self._lent.clock,
            report=lambda report: self._lent.tell(self.log.name, number, report),
        )
        partition.share(self._lent.upkeep)
        set_back(self.log, number, partition.next, self._lent.clock.wall(), self._lent.report)
        return partition

    def _options(self, settings: LogSettings) -> PartitionOptions:
        options = self._lent.options
        least = min(filter(None, (settings.keep_bytes, settings.limit_bytes)), default=None)
        largest = options.segment_bytes
        if least is not None:
            largest = min(largest, max(SMALLEST_SEGMENT, least // settings.partitions // PARTS))
        return msgspec.structs.replace(
            options,
            compression=settings.compression,
            segment_bytes=largest,
            reserve_bytes=options.reserve_bytes // settings.partitions,
        )

    def _bounded(self) -> bool:
        return self._settings.limit_bytes is not None

    def _open_all(self) -> None:
        """Open every partition that has anything: what the whole log holds counts."""
        for number in self._existing():
            self._partitions.get(number) or self.partition(number)
        self._measure()

    def _existing(self) -> list[int]:
        there = set(self._files.list(self.log.directory.path))
        return [number for number in range(self.log.settings.partitions) if str(number) in there]

    # -- appends --------------------------------------------------------------------------------------------------

    def append(self, number: int, columns: Columns, bodies: int, producer: Producer | None) -> Placed:
        """Add messages, whose bodies have so many bytes; see ``LogBackend.append``."""
        limit = self.log.settings.limit_bytes
        if limit is None:
            return self._append(number, columns, producer)
        if producer is not None and self.partition(number).is_repeat(producer, len(columns)):
            return self._append(number, columns, producer)
        gained = _stored(columns, bodies)
        self._make_room(limit, gained)
        try:
            return self._append(number, columns, producer)
        except QueueFull:
            self._size -= gained
            raise

    def _append(self, number: int, columns: Columns, producer: Producer | None) -> Placed:
        while True:
            try:
                return self.partition(number).append(columns, producer)
            except Closed:
                if self._closed:
                    raise  # else it was opened anew, for other settings

    def _make_room(self, limit: int, gained: int) -> None:
        """Count so many bytes in; ``QueueFull`` when that is beyond the limit, whatever may go first.

        What is appended is counted as it comes, and measured when that is too much. A log that is full then stays so
        for a second, whatever comes, so that what is refused costs nothing.
        """
        with self._lock:
            now = self._lent.clock.boot()
            check_fits(self.log.name, limit, gained + HEADER * len(self._partitions))  # each has a segment, if empty
            if self._size + gained > limit:
                if now < self._full_until:
                    raise _full(self.log.name, limit, (self._full_until - now) / 1000)
                self._measure()
            if self._size + gained > limit:
                self._drop(limit=1000)
                self._measure()
            if self._size + gained > limit:
                self._full_until = now + int(RETRY_AFTER * 1000)
                raise _full(self.log.name, limit, RETRY_AFTER)
            self._size += gained

    def _measure(self) -> None:
        self._size = sum(_size(partition) for partition in self._partitions.values())

    def flush(self) -> set[int]:
        """Return when everything appended to the partitions that are open here is on the disk; return which those are.

        Another writer, which died, may have left more in the others.
        """
        partitions = dict(self._partitions)
        for partition in partitions.values():
            partition.flush()
        return set(partitions)

    def roll(self) -> None:
        """End every segment that is being written."""
        for partition in list(self._partitions.values()):
            partition.roll()

    # -- retention ------------------------------------------------------------------------------------------------

    def tidy(self, limit: int) -> LogTidied:
        """Drop up to ``limit`` segments that are no longer kept."""
        with self._lock:
            if self._closed:
                return LogTidied()
            self._take_up_settings()
            for number in self._existing():
                self.partition(number)
            tidied = self._drop(limit)
            self._measure()
            self._full_until = 0
            return tidied

    def _drop(self, limit: int) -> LogTidied:
        with turn(self._files, self.log.directory.turn_path):
            return self._drop_in_turn(limit)

    def _drop_in_turn(self, limit: int) -> LogTidied:
        now, segments, done = self._lent.clock.wall(), self._segments(), LogTidied()
        for number, floor in kept_from(self.log, segments, now).items():
            partition, its = self._partitions[number], segments[number]
            if its and is_over(self._settings.with_groups(), its[-1], floor, now):
                partition.roll()
            going = [one.next for one in its if one.next <= floor][:limit]
            if going:
                if self._settings.until_consumed:
                    sync_places(self.log, number)
                messages, size = partition.drop_until(going[-1])
                limit -= len(going)
                done += LogTidied(messages, size, more=limit <= 0)
        return done

    def _segments(self) -> Segments:
        return {
            number: [one for one in partition.segments() if one.next > one.base]
            for number, partition in sorted(self._partitions.items())
        }

    # -- the end --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the partitions and of the lock, everything synced. May be repeated."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                self._close_partitions()
            finally:
                self._right.release()

    def _close_partitions(self) -> None:
        """Close them all, also when one of them cannot be synced; raise why not."""
        partitions, self._partitions = self._partitions, {}
        with ExitStack() as stack:
            for partition in partitions.values():
                stack.callback(partition.close)

    def abandon(self) -> None:
        """Let go of the lock in a child just forked; the parent goes on with it."""
        self._closed = True
        self._right.abandon()


def _full(log: str, limit: int, retry_after: float) -> QueueFull:
    error = log_full(log, limit)
    error.retry_after = retry_after
    return error


def _stored(columns: Columns, bodies: int) -> int:
    sparse = sum(len(one) for column in (columns.keys, columns.headers) if column for one in column if one)
    return bodies + sparse + OVERHEAD * len(columns) + BATCH_OVERHEAD


def _size(partition: Partition) -> int:
    return sum(one.bytes for one in partition.segments())
