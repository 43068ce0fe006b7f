"""The journal of the queues: records in one partition, and the papers in it, read by their numbers."""

from __future__ import annotations

import errno
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from holdfast.clock import Clock
from holdfast.errors import BackendError, Closed, CorruptLog, OffsetGone
from holdfast.logged import Columns
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.options import PartitionOptions, Report, SegmentInfo
from holdfast.stores.disk.partition import Partition
from holdfast.stores.disk.reading import PartitionReader
from holdfast.stores.engine.papers import Unreadable

RECENT_BYTES = 16 << 20
"""How many bytes of papers that were just written are kept in memory: most are read soon."""
SEGMENT_MOST = 32 << 20
"""Bytes of a segment, at the most: what is needed no more goes by whole segments."""
READ_LIMIT = 512
READ_BYTES = 4 << 20


class Journal:
    """The partition in ``directory``, open in the process that owns the queues.

    ``put`` is called with the store's lock held, so that records lie in the order in which they are carried out; any
    thread may read and make durable.
    """

    def __init__(
        self,
        directory: Path,
        files: Files,
        options: PartitionOptions,
        *,
        store: bytes,
        epoch: int,
        clock: Clock,
        report: Callable[[Report], None],
    ) -> None:
        options = msgspec.structs.replace(options, segment_bytes=min(options.segment_bytes, SEGMENT_MOST), go_on=False)
        self._partition = Partition.open(
            directory, files, options, store=store, epoch=epoch, clock=clock, report=report
        )
        self._reader = PartitionReader(directory, files)
        self._waits = options.sync == "always"
        self._recent: dict[int, bytes] = {}
        self._recent_bytes = 0
        self._lock = threading.Lock()
        self.written = 0
        """Bytes put since this was opened."""

    @property
    def directory(self) -> Path:
        """Where it lies."""
        return self._reader.directory

    @property
    def next(self) -> int:
        """The number that the next record begins with."""
        return self._partition.next

    @property
    def first(self) -> int:
        """The lowest number that is there."""
        return self._partition.first

    def put(self, record: Sequence[bytes]) -> int:
        """Write a record; return the number of its entry. It survives the end of this process."""
        number = self._partition.write(Columns(record))
        self.written += sum(map(len, record))
        with self._lock:
            for paper in range(1, len(record)):
                self._recent[number + paper] = record[paper]
                self._recent_bytes += len(record[paper])
            self._trim()
        return number

    def make_durable(self, until: int) -> None:
        """Return when everything below this number, which was put here, is as safe as the partition promises.

        After a sync that failed, in whatever thread, ``BackendError(outcome_unknown=True)`` for all that it was for.
        """
        if not self._waits or self._partition.durable >= until:
            return
        try:
            self._partition.flush()
        except Closed as error:
            if self._partition.durable < until:
                text = f"{self._reader.directory} was closed after a failed sync"
                raise BackendError(text, retryable=True, outcome_unknown=True) from error

    def flush(self) -> None:
        """Return when everything put before is on the disk, whatever the partition promises."""
        self._partition.flush()

    def messages(self, begin: int) -> Iterator[tuple[int, bytes]]:
        """Return all messages from ``begin`` on, entries and papers, each with its number."""
        self._partition.flush()
        end = self._partition.durable  # offsets that a failed sync took with it may follow
        while begin < end:
            chunks = self._reader.read(begin, limit=READ_LIMIT, max_bytes=READ_BYTES)
            if not chunks:
                raise BackendError(f"the journal of the queues ends at {begin}, and should at {end}")
            for chunk in chunks:
                yield from enumerate(chunk.bodies, chunk.base)
            begin = chunks[-1].next

    def read(self, numbers: Sequence[int]) -> list[bytes | Unreadable]:
        """Return papers, in this order."""
        found: dict[int, bytes | Unreadable] = {}
        with self._lock:
            found.update((number, self._recent[number]) for number in numbers if number in self._recent)
        missing = sorted(number for number in numbers if number not in found)
        while missing:
            found.update(self._read(missing[0], min(missing[-1] - missing[0] + 1, READ_LIMIT)))
            missing = list(itertools.dropwhile(found.__contains__, missing))
        return [found[number] for number in numbers]

    def _read(self, number: int, ahead: int) -> Iterator[tuple[int, bytes | Unreadable]]:
        """Yield the messages from ``number`` on, that one at least."""
        try:
            chunks = self._reader.read(number, limit=ahead, max_bytes=READ_BYTES)
        except CorruptLog as error:
            lost = range(number, max(number + 1, min(error.next, number + ahead)))
            yield from zip(lost, itertools.repeat(Unreadable(str(error))))
        except OffsetGone as error:
            if number >= error.next:
                raise  # it is not lost: it was not to be asked for
            yield number, Unreadable(str(error))
        except BackendError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EIO:
                raise
            yield number, Unreadable(str(error), is_damaged=False)
        else:
            if not chunks or chunks[0].base > number:
                yield number, Unreadable(f"{self._reader.directory}: offset {number} was lost")
            for chunk in chunks:
                yield from enumerate(chunk.bodies, chunk.base)

    def _trim(self) -> None:
        """Keep no more than there may be, but what readers do not see yet."""
        durable = self._partition.durable
        while self._recent_bytes > RECENT_BYTES:
            number = next(iter(self._recent))
            if number >= durable:
                break
            self._recent_bytes -= len(self._recent.pop(number))

    # -- space ----------------------------------------------------------------------------------------------------

    def segments(self) -> list[SegmentInfo]:
        """Return the segments, oldest first."""
        return self._partition.segments()

    def drop_until(self, number: int) -> int:
        """Remove the sealed segments that lie below; return how many bytes went."""
        return self._partition.drop_until(number)[1]

    def cut(self) -> None:
        """Give up, for good, what a failed sync may have lost. ``BackendError`` when the disk refuses."""
        self._partition.cut()

    def close(self) -> None:
        """Sync, and let go. May be repeated."""
        self._partition.close()
        self._reader.close()
