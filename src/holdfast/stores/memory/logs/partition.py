"""One partition in memory: its appends in a list, found by bisection."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from operator import attrgetter

import msgspec

from holdfast.columns import Columnar, pack, unpack
from holdfast.config import Compression
from holdfast.logged import Chunk, Columns, Ends, Producer
from holdfast.stores.refused import offset_gone
from holdfast.stores.repeats import Window, continued, repeated

A_MESSAGE = 48
"""What a message takes beside its bytes: an object and a place in a list."""
MOST_PRODUCERS = 1000
"""Of how many producers a partition remembers the last appends; that which was silent longest is forgotten."""
MOVED = 64
"""A list is moved up when more than half of it, and more than so many of its appends, have gone."""


class Kept(msgspec.Struct, frozen=True):
    """What was appended, as it is kept: columns as they came, or packed when compressed."""

    count: int
    columns: Columns | None
    packed: bytes
    attributes: int
    size: int
    bodies: int

    def unpacked(self) -> tuple[Sequence[bytes], Columnar | None, Columnar | None]:
        """Return bodies, keys and headers."""
        if self.columns is not None:
            return self.columns.bodies, self.columns.keys, self.columns.headers
        return unpack(self.packed, self.count, self.attributes)


class Append(msgspec.Struct, frozen=True):
    """One append: where it begins, when it came, as which of its log (``number``), and what came before it here.

    ``before`` are the bytes of all earlier appends of the partition, ``bodies_before`` those of their bodies alone.
    """

    base: int
    time: int
    number: int
    before: int
    bodies_before: int
    kept: Kept

    @property
    def next(self) -> int:
        """The offset behind its last message."""
        return self.base + self.kept.count

    def chunk(self, partition: int) -> Chunk:
        """Return its messages."""
        return Chunk(partition, self.base, self.time, *self.kept.unpacked())


_base, _time, _number = attrgetter("base"), attrgetter("time"), attrgetter("number")


def kept(columns: Columns, bodies: int, compression: Compression) -> Kept:
    """Return columns, with so many bytes of ``bodies``, as they are to be kept."""
    count = len(columns)
    if compression == "none":
        own = Columns(
            list(columns.bodies),
            None if columns.keys is None else list(columns.keys),
            None if columns.headers is None else list(columns.headers),
        )
        beside = sum(len(one) for column in (own.keys, own.headers) if column for one in column if one)
        return Kept(count, own, b"", 0, bodies + beside + A_MESSAGE * count, bodies)
    attributes, pieces = pack(columns.bodies, columns.keys, columns.headers, compression)
    packed = b"".join(pieces)
    return Kept(count, None, packed, attributes, len(packed), bodies)


def fitting(chunk: Chunk, limit: int, max_bytes: int, *, one: bool) -> Chunk:
    """Return the first messages of a chunk, up to ``limit`` and ``max_bytes`` of bodies, but ``one`` at least."""
    sizes = accumulate(map(len, chunk.bodies[:limit]))
    fits = sum(1 for size in sizes if size <= max_bytes)
    return chunk.between(chunk.base, chunk.base + max(fits, int(one)))


class MemoryPartition:
    """The messages of one partition. Not thread-safe: its store's lock is held."""

    def __init__(self, log: str, number: int) -> None:
        self.number = number
        self.next = 0
        self._log = log
        self._appends: list[Append] = []
        self._gone = 0
        self._time = 0
        self._size = self._bodies = 0
        self._producers: OrderedDict[int, Window] = OrderedDict()

    # -- appending ------------------------------------------------------------------------------------------------

    def repeated(self, producer: Producer) -> int | None:
        """Return the offset of an append that was made before; raise for one that is out of turn."""
        return repeated(self._producers.get(producer.id), producer)

    def append(self, kept: Kept, number: int, now: int, producer: Producer | None) -> int:
        """Add messages as the log's append of this ``number``; return the offset of the first."""
        base, self._time = self.next, max(self._time, now)
        self._appends.append(Append(base, self._time, number, self._size, self._bodies, kept))
        self.next += kept.count
        self._size += kept.size
        self._bodies += kept.bodies
        if producer is not None:
            window = self._producers.get(producer.id)
            self._producers[producer.id] = continued(window, producer, kept.count, base)
            self._producers.move_to_end(producer.id)
            if len(self._producers) > MOST_PRODUCERS:
                self._producers.popitem(last=False)
        return base

    # -- looking --------------------------------------------------------------------------------------------------

    @property
    def first(self) -> int:
        """The lowest offset there is."""
        oldest = self._oldest()
        return self.next if oldest is None else oldest.base

    @property
    def size(self) -> int:
        """The bytes kept."""
        oldest = self._oldest()
        return 0 if oldest is None else self._size - oldest.before

    def ends(self) -> Ends:
        """Return what there is."""
        oldest = self._oldest()
        return Ends(self.number, self.first, self.next, self.size, None if oldest is None else oldest.time)

    def check(self, offset: int) -> None:
        """Raise ``OffsetGone`` for an offset beside the ends."""
        if not self.first <= offset <= self.next:
            raise offset_gone(self._log, self.ends(), offset)

    def read(self, offset: int, limit: int, max_bytes: int) -> list[Chunk]:
        """Return messages from ``offset`` on, which is not beside the ends."""
        chunks: list[Chunk] = []
        index = self._holding(offset)
        while index < len(self._appends) and limit > 0:
            append = self._appends[index]
            chunk = append.chunk(self.number).between(offset)
            size = append.kept.bodies
            if len(chunk) > limit or size > max_bytes:
                chunk = fitting(chunk, limit, max_bytes, one=not chunks)
                size = sum(map(len, chunk.bodies))
            if not len(chunk):
                break
            chunks.append(chunk)
            if chunk.next < append.next:
                break
            limit, max_bytes = limit - len(chunk), max_bytes - size
            index += 1
        return chunks

    def bodies_from(self, offset: int) -> int:
        """Return the bytes of the bodies from ``offset`` on; of an append that it lies in, all."""
        index = self._holding(offset)
        return self._bodies - self._appends[index].bodies_before if index < len(self._appends) else 0

    def find(self, time: int) -> int:
        """Return the offset of the first message appended at ``time`` or later, else ``next``."""
        return self._base_at(bisect_left(self._appends, time, lo=self._gone, key=_time))

    def time_of(self, offset: int) -> int | None:
        """Return when the message at ``offset``, or the first that is left behind it, was appended."""
        index = self._holding(offset)
        return self._appends[index].time if index < len(self._appends) else None

    def _oldest(self) -> Append | None:
        return self._appends[self._gone] if self._gone < len(self._appends) else None

    def _holding(self, offset: int) -> int:
        """Return the index of the append that has this offset, the oldest one for what went before it."""
        if offset >= self.next:
            return len(self._appends)
        return max(self._gone, bisect_right(self._appends, offset, lo=self._gone, key=_base) - 1)

    def _base_at(self, index: int) -> int:
        return self._appends[index].base if index < len(self._appends) else self.next

    # -- dropping -------------------------------------------------------------------------------------------------

    def after(self, number: int) -> tuple[int, int, int]:
        """Return the offset behind the log's append ``number``, and the messages and bytes there from there on."""
        index = bisect_right(self._appends, number, lo=self._gone, key=_number)
        return self._base_at(index), self.next - self._base_at(index), self._size_from(index)

    def size_between(self, first: int, end: int) -> int:
        """Return the bytes of the appends that hold offsets from ``first`` on, up to the one that holds ``end``."""
        return max(0, self._size_from(self._holding(first)) - self._size_from(self._holding(end)))

    def drop_until(self, offset: int, limit: int = sys.maxsize) -> tuple[int, int, int]:
        """Drop appends that lie below ``offset``, ``limit`` at the most; return how many, with messages and bytes."""
        first, size = self.first, self.size
        appends = min(limit, self._holding(offset) - self._gone)
        self._gone += appends
        messages, bytes_ = self.first - first, size - self.size
        if self._gone > max(MOVED, len(self._appends) // 2):
            del self._appends[: self._gone]
            self._gone = 0
        else:  # the places stay, what was kept goes
            self._appends[self._gone - appends : self._gone] = [_GONE] * appends
        return appends, messages, bytes_

    def _size_from(self, index: int) -> int:
        return self._size - self._appends[index].before if index < len(self._appends) else 0


_GONE = Append(-1, -1, -1, 0, 0, Kept(0, None, b"", 0, 0, 0))
