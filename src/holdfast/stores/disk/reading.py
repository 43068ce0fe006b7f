"""A partition as its readers see it, in any process: what the writer shows in the file ``tail``, and no more.

Sealed segments are mapped, the one being written is read: a mapped file that is shortened kills its reader. Every
batch is checked before anything of it is handed out. Retention may remove segments at any time: one that is open
stays readable, and what is gone is ``OffsetGone``.
"""

from __future__ import annotations

import os
import sys
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

from holdfast.errors import BackendError, CorruptLog, OffsetGone
from holdfast.logged import Chunk, Ends
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.format import HEADER, SegmentHeader, Tail, base_of, segment_name
from holdfast.stores.disk.opening import never_began
from holdfast.stores.disk.options import Damage
from holdfast.stores.disk.readable import Readable
from holdfast.stores.disk.recovery import Judge
from holdfast.stores.disk.segment import Tally, guess_salt, opened, read_edges
from holdfast.stores.disk.tail import TailReader, this_boot
from holdfast.stores.disk.unpacked import Unpacked
from holdfast.stores.disk.unsure import believe, doubt, shows_unsynced

T = TypeVar("T")

_OPEN = 16
_TRIES = 5
_NEVER = 1 << 62
"""When the first message of a segment came that has none."""


class PartitionReader:
    """Reads the partition in one directory; any thread may call anything, and needs no writer to be there."""

    def __init__(self, directory: Path, files: Files, *, partition: int | None = None) -> None:
        self.directory = directory
        self.partition = partition if partition is not None else _number(directory.name)
        self._files = files
        self._lock = threading.Lock()
        self._tail = TailReader(files, directory)
        self._bases: list[int] = []
        self._open: OrderedDict[int, Readable] = OrderedDict()
        self._sizes: dict[int, int] = {}
        self._oldest: tuple[int, int | None] = (-1, None)
        self._judged: tuple[tuple[int, int], Tail] | None = None
        self._seen: Tail | None = None
        self._unpacked = Unpacked()

    def close(self) -> None:
        """Let go of all files. May be repeated."""
        with self._lock:
            self._close_segments()
            self._tail.close()

    def abandon(self) -> None:
        """Let go of what is mapped, in a child just forked, which has none of the files."""
        for segment in self._open.values():
            with suppress(BufferError):  # another thread of the parent was at it
                segment.unmap()

    def _close_segments(self) -> None:
        self._unpacked.clear()
        while self._open:
            self._open.popitem()[1].close()

    # -- reading -----------------------------------------------------------------------------------------------

    def read(self, offset: int, *, limit: int, max_bytes: int) -> list[Chunk]:
        """Return messages from ``offset`` on: up to ``limit``, and ``max_bytes`` of bodies, but at least one.

        Empty at the end. Offsets that the log jumps over are jumped over. ``OffsetGone`` beside the ends,
        ``CorruptLog`` where ``offset`` itself is damaged; what comes before damage is returned first.
        """
        return self._look(lambda: self._read(offset, limit, max_bytes))

    def _read(self, offset: int, limit: int, max_bytes: int, *, again: bool = True) -> list[Chunk]:
        tail = self._view()
        if offset == tail.next:
            return []
        if not tail.first <= offset < tail.next:
            text = f"{self.directory}: offset {offset} is not there; {tail.first} to {tail.next} (not included) are"
            raise OffsetGone(text, partition=self.partition, offset=offset, first=tail.first, next=tail.next)
        wanted = _Wanted(offset, limit, max_bytes)
        try:
            while not wanted.is_done and wanted.offset < tail.next:
                segment = self._segment(wanted.offset, tail)
                self._collect(segment, wanted, tail)
                following = self._behind(segment.base)
                if wanted.is_done or following is None:
                    break
                if wanted.chunks and segment.next > wanted.offset:  # damage: the next read begins with it
                    break
                if wanted.offset < following and (missing := self._missing(segment)) is not None:
                    raise self._corrupt(missing)
                wanted.offset = max(wanted.offset, following)
        except CorruptLog as error:
            if not wanted.chunks:
                if again:  # it may be mended by now, or lie where the writer goes on from no more
                    self._bases = []
                    self._close_segments()
                    return self._read(offset, limit, max_bytes, again=False)
                error.partition = self.partition
                raise
        return wanted.chunks

    def _collect(self, segment: Readable, wanted: _Wanted, tail: Tail) -> None:
        """Take what is wanted from one segment. ``CorruptLog`` at damage, with what lies before it taken."""
        kept = self._unpacked.find(segment, wanted.offset)
        if kept is not None:
            wanted.take(kept, tail.next)
            if wanted.is_done:
                return
        for header in segment.from_offset(wanted.offset):
            if header.base >= tail.next:  # a segment that was sealed since the tail was read tells of more
                wanted.is_done = True
                return
            chunk = segment.chunk(header, self.partition)
            wanted.take(chunk, tail.next)
            if wanted.offset < chunk.next:  # whoever reads on comes for the rest
                self._unpacked.keep(segment, chunk)
            if wanted.is_done:
                return

    def ends(self) -> Ends:
        """Return what there is. Costs no scan."""
        return self._look(self._ends)

    def _ends(self) -> Ends:
        tail = self._view()
        size = sum(self._size(base, tail) for base in self._list(tail))
        return Ends(self.partition, tail.first, tail.next, size, self._first_time(tail))

    def find(self, time: int) -> int:
        """Return the offset of the first message appended at ``time`` (ms) or later; that of the end if none was."""
        return self._look(lambda: self._find(time))

    def _find(self, time: int) -> int:
        tail = self._view()
        bases = [base for base in self._list(tail) if base < tail.next]
        low, high = 0, len(bases)
        while low < high:  # the first segment that begins at that time or later
            middle = (low + high) // 2
            if self._begins(bases[middle], tail) < time:
                low = middle + 1
            else:
                high = middle
        for base in bases[max(0, low - 1) :]:
            header = self._segment(base, tail).from_time(time)
            if header is not None:
                return min(header.base, tail.next)
        return tail.next

    def segments(self, first: int = 0) -> Iterator[Readable]:
        """Return each segment that begins at offset ``first`` or behind it, open until the next is asked for.

        For one thread, and who reads nothing besides.
        """
        tail = self._view()
        for base in [base for base in self._list(tail) if base >= first]:
            with suppress(FileNotFoundError):
                yield self._segment(base, tail)

    def segment(self, base: int) -> Readable:
        """Return the segment that begins at ``base``, open until another is asked for; for one thread."""
        return self._segment(base, self._view())

    def chain_of(self, base: int) -> int:
        """Return what the next segment, or else its own footer, says of the chain of a segment; 0 when nothing does."""
        self._list(self._view())
        behind = self._behind(base)
        if behind is not None and (previous := self._header_of(behind).previous):
            return previous
        footer = self.segment(base).edges.footer
        return 0 if footer is None else footer.chain

    def missing(self, segment: Readable) -> Damage | None:
        """Return the offsets behind a segment, while it is open, whose own is not there; None when there are none."""
        return self._look(lambda: self._missing(segment))

    def _missing(self, segment: Readable) -> Damage | None:
        """Tell it by the segment behind: that one knows the chain of the one that it followed. Offsets may be jumped
        over, and what a stub follows is known to nobody.
        """
        footer, behind = segment.edges.footer, self._behind(segment.base)
        if footer is None or not footer.batches or behind is None or footer.next >= behind:
            return None
        is_next = self._header_of(behind).previous in (0, footer.chain)
        return None if is_next else Damage(0, 0, footer.next, behind)

    def _corrupt(self, missing: Damage) -> CorruptLog:
        return CorruptLog(
            f"{self.directory}: a segment is missing, with offsets {missing.first} to {missing.next} (not included). "
            "All others can be read: seek behind them, or restore the file; 'holdfast logs repair' does without them",
            first=missing.first,
            next=missing.next,
        )

    def flush(self) -> bool:
        """Return when everything that readers see now is on the disk, whoever wrote it; False when nobody knows,
        because a sync failed: only whoever writes, or opens it to write, puts it there then.
        """
        known: bool | None = None
        while known is None:
            known = self._look(self._sync)
        return known

    def _sync(self) -> bool | None:
        tail = self._view()
        if not self._list(tail):
            return True
        if not shows_unsynced(self._files, self.directory):  # a sync that fails could lose what the writer is at
            return True
        base = self._bases[-1]  # what comes before the last is synced when it is sealed
        with opened(self._files, self.directory, base) as fd:
            try:
                self._files.sync(fd)
            except OSError:
                doubt(self._files, self.directory, base)  # the next sync would succeed
                raise
        return believe(self._files, self.directory, base, tail.position)

    def changed(self) -> bool:
        """Tell whether the writer showed anything since the last call; costs one read of 64 bytes."""
        return self._look(self._has_changed)

    def _has_changed(self) -> bool:
        tail = self._tail.read()
        changed, self._seen = tail != self._seen, tail
        return changed

    def _look(self, look: Callable[[], T]) -> T:
        """Look with the lock held, and again when retention was there first; what the disk refuses is a
        ``BackendError``.
        """
        with self._lock:
            for _ in range(_TRIES):
                try:
                    return look()
                except FileNotFoundError:
                    self._bases = []
                except OSError as error:
                    raise BackendError(f"{self.directory} cannot be read: {error}", retryable=True) from error
        raise BackendError(f"{self.directory}: segments vanish faster than they are read", retryable=True)

    # -- the view ----------------------------------------------------------------------------------------------

    def _view(self) -> Tail:
        """Return how far can be read: the writer's word, or without it what the segments themselves tell."""
        tail = self._tail.read()
        if tail is not None and tail.boot == this_boot():
            return tail
        judged = self._judge()
        tail = (
            self._tail.read()
        )  # a writer may have begun meanwhile: what it wrote is not for readers before it says so
        return tail if tail is not None and tail.boot == this_boot() else judged

    def _judge(self) -> Tail:
        """Look at the last segment as an opening would, and change nothing."""
        self._bases = self._names()
        while len(self._bases) > 1 and self._never_began(self._bases[-1]):
            self._bases.pop()
        if not self._bases:
            return Tail(0, 0, HEADER, 0, 0)
        base = self._bases[-1]
        with opened(self._files, self.directory, base) as fd:
            edges = read_edges(self._files, fd, base)
            if self._judged is not None and self._judged[0] == (base, edges.size):
                return self._judged[1]
            if edges.footer is not None:
                tail = Tail(0, base, edges.footer.end, edges.footer.next, self._bases[0])
            else:
                salt = edges.header.mark if edges.header else guess_salt(self._files, fd, edges.size, base, None)
                found = Judge(self._files, fd, edges.size, salt, base).last()
                tail = Tail(0, base, found.end, self._end_of(found.tally), self._bases[0])
        self._judged = ((base, edges.size), tail)
        return tail

    def _never_began(self, base: int) -> bool:
        with opened(self._files, self.directory, base) as fd:
            edges = read_edges(self._files, fd, base)
        return never_began(self._files, self.directory, base, edges)

    def _end_of(self, last: Tally) -> int:
        """Return the offset behind the last message; of a segment that has none yet, see ``Live.place``."""
        if last.next > last.base or len(self._bases) == 1:
            return last.next
        for base in reversed(self._bases[:-1]):
            with opened(self._files, self.directory, base) as fd:
                footer = read_edges(self._files, fd, base).footer
            if footer is None:
                return last.next
            if footer.next > base:
                return footer.next
        return self._bases[0]

    # -- segments ----------------------------------------------------------------------------------------------

    def _names(self) -> list[int]:
        names = self._files.list(self.directory)
        return [base for name in names if (base := base_of(name)) is not None]

    def _list(self, tail: Tail) -> list[int]:
        """Return where the segments begin, up to the one being written."""
        if not self._bases or self._bases[-1] != tail.base or self._bases[0] < tail.first:
            kept = self._names()
            self._bases = [base for base in kept if tail.first <= base <= tail.base]
            for base in [base for base in self._open if base not in self._bases]:
                self._open.pop(base).close()
        return self._bases

    def _segment(self, offset: int, tail: Tail) -> Readable:
        """Return the segment where ``offset`` is, or that behind it when it is in none."""
        bases = self._list(tail)
        if not bases or offset < bases[0]:  # dropped since the tail was read
            raise FileNotFoundError
        base = bases[bisect_right(bases, offset) - 1]
        segment = self._open.get(base)
        if segment is not None and segment.was_live and base != tail.base:
            self._open.pop(base).close()
            segment = None
        if segment is None:
            segment = self._open[base] = self._opened(base, tail)
            if len(self._open) > _OPEN:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(base)
        if base == tail.base and segment.edges.footer is None:
            segment.end, segment.next = tail.position, tail.next
        return segment

    def _opened(self, base: int, tail: Tail) -> Readable:
        fd = self._files.open(self.directory / segment_name(base), os.O_RDONLY)
        try:
            edges = read_edges(self._files, fd, base)
            behind = self._behind(base)
            limit = sys.maxsize if behind is None else behind
            salt = edges.header.mark if edges.header else guess_salt(self._files, fd, edges.size, base, limit)
            segment = Readable(self._files, self.directory, base, fd, edges=edges, salt=salt, limit=limit)
            segment.was_live = base == tail.base
            if not segment.was_live:
                segment.map()
            if edges.footer is None and not segment.was_live:
                judge = Judge(self._files, fd, edges.size, salt, base)
                found = judge.last() if behind is None else judge.older(self._header_of(behind))
                segment.end, segment.next = found.end, found.tally.next
        except BaseException:
            self._files.close(fd)
            raise
        return segment

    def _header_of(self, base: int) -> SegmentHeader:
        with opened(self._files, self.directory, base) as fd:
            header = read_edges(self._files, fd, base).header
        return header or SegmentHeader(b"", 0, base, 0)

    def _behind(self, base: int) -> int | None:
        """Return where the segment behind this one begins; None for the last, also while that of the tail is missing:
        an opening removes one without messages before it makes another.
        """
        place = bisect_right(self._bases, base)
        return self._bases[place] if place < len(self._bases) else None

    def _size(self, base: int, tail: Tail) -> int:
        if base == tail.base:
            return tail.position
        if base not in self._sizes:
            try:
                with opened(self._files, self.directory, base) as fd:
                    self._sizes[base] = self._files.size(fd)
            except FileNotFoundError:
                return 0
        return self._sizes[base]

    def _first_time(self, tail: Tail) -> int | None:
        """Return the time of the first message; None when there is none."""
        if tail.first >= tail.next:
            return None
        if self._oldest[0] != tail.first or self._oldest[1] is None:
            begins = (self._begins(base, tail) for base in self._list(tail) if base < tail.next)
            self._oldest = (tail.first, next((time for time in begins if time != _NEVER), None))
        return self._oldest[1]

    def _begins(self, base: int, tail: Tail) -> int:
        header = self._segment(base, tail).from_time(-_NEVER)
        return header.time if header is not None else _NEVER


def _number(name: str) -> int:
    return int(name) if name.isdecimal() else 0


class _Wanted:
    """What is still to be read, from ``offset`` on, and the ``chunks`` that were."""

    def __init__(self, offset: int, limit: int, max_bytes: int) -> None:
        self.offset, self.chunks = offset, list[Chunk]()
        self._limit, self._max_bytes = limit, max_bytes
        self.is_done = limit <= 0

    def take(self, chunk: Chunk, end: int) -> None:
        """Take of a chunk what is wanted, below ``end``, and there is room for; of the first, one message at least."""
        chunk = chunk.between(self.offset, min(end, self.offset + self._limit))
        if not len(chunk):  # whoever commits behind a chunk has read what lies before its end
            self.is_done = True
            return
        size = sum(map(len, chunk.bodies))
        if len(chunk) < self._limit and size < self._max_bytes:
            self.chunks.append(chunk)
            self.offset = chunk.next
            self._limit -= len(chunk)
            self._max_bytes -= size
        else:
            self._take_last(chunk)

    def _take_last(self, chunk: Chunk) -> None:
        sizes = list(accumulate(map(len, chunk.bodies)))
        number = min(self._limit, len(chunk))
        if sizes[number - 1] > self._max_bytes:
            number = bisect_right(sizes, self._max_bytes, 0, number)
        if not self.chunks:
            number = max(number, 1)
        if number:
            self.chunks.append(chunk.between(chunk.base, chunk.base + number))
            self.offset = chunk.base + number
        self.is_done = True
