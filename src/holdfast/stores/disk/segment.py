"""Reading one segment file from its front: its header and footer, and its batches one after the other.

What stops a walk is judged elsewhere (:mod:`holdfast.stores.disk.recovery`): here, bytes are a batch or they are not.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from holdfast.columns import CONTROL
from holdfast.config import BATCH_MOST
from holdfast.logged import Producer
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.format import (
    ALIGNED,
    BATCH,
    BATCH_MAGIC,
    BATCH_MAGIC_BYTES,
    GAP,
    HEADER,
    INDEX_STEP,
    PRODUCERS,
    BatchHeader,
    Footer,
    IndexEntry,
    SegmentHeader,
    parse_batch,
    parse_footer,
    parse_segment,
    segment_name,
)
from holdfast.stores.disk.producers import Windows

_FIRST_WINDOW, _WINDOW = 32 << 10, 4 << 20
"""How much is read at once: little at first, for where every other page is lost, nobody gets far."""
_CRC = struct.Struct("<I")


class Edges(NamedTuple):
    """The two ends of a segment file: ``header`` and ``footer`` are None where there is none."""

    size: int
    header: SegmentHeader | None
    footer: Footer | None
    first_time: int | None


def read_edges(files: Files, fd: int, base: int) -> Edges:
    """Read the header and footer of the segment that is named ``base``, and the time of its first batch.

    The header of another segment, which the disk put here, is none.
    """
    size = files.size(fd)
    front = files.read(fd, 2 * HEADER, 0)
    header = parse_segment(front[:HEADER])
    if header is None or header.base != base:
        return Edges(size, None, None, None)
    first = parse_batch(front, HEADER, header.mark, HEADER)
    footer = parse_footer(files.read(fd, HEADER, size - HEADER), header.salt) if size >= 2 * HEADER else None
    return Edges(size, header, footer, None if first is None else first.time)


class Opened:
    """A file that is open within a ``with`` block; its descriptor is what the block gets."""

    def __init__(self, files: Files, path: Path, flags: int = os.O_RDONLY) -> None:
        self._files, self._path, self._flags = files, path, flags

    def __enter__(self) -> int:
        self._fd = self._files.open(self._path, self._flags)
        return self._fd

    def __exit__(self, *_: object) -> None:
        self._files.close(self._fd)


def opened(files: Files, directory: Path, base: int) -> Opened:
    """Return the segment that begins at ``base``, to be opened for reading by ``with``."""
    return Opened(files, directory / segment_name(base))


class Tally:
    """What a run of batches amounts to. ``next`` is the offset behind them; :meth:`add` takes them in order."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.next = base
        self.batches = 0
        self.messages = 0
        self.first_time: int | None = None
        self.max_time = self._last_time = 0
        self.chain = 0
        self.index: list[IndexEntry] = []
        self.indexed = HEADER
        """The position of the last batch that has an index entry; the first batch needs none."""
        self.last: BatchHeader | None = None

    def add(self, header: BatchHeader) -> None:
        """Count a batch that lies behind those before."""
        _, _, _, position, base, _, messages, time, _, _, attributes, _, _, crc = header
        self.batches += 1
        if not attributes & CONTROL:
            self.messages += messages
            self._last_time = max(self._last_time, time)
        if self.first_time is None:
            self.first_time = time
        self.next = base + messages
        self.max_time = max(self.max_time, time)
        self.chain = crc32(_CRC.pack(crc), self.chain)
        if position - self.indexed >= INDEX_STEP:
            self.index.append(IndexEntry(base - self.base, position, time))
            self.indexed = position
        self.last = header

    @property
    def last_time(self) -> int | None:
        """The time of the last append; of what has no messages that of its last batch, None when it has none.

        Not that of a mark behind messages, which may be written much later: they are as old as they are.
        """
        return (self._last_time or self.max_time) if self.batches else None

    def copy(self) -> Tally:
        """Return one that goes on from here by itself."""
        copy = Tally(self.base)
        copy.__dict__.update(self.__dict__)
        copy.index = self.index.copy()
        return copy


def walk(files: Files, fd: int, salt: int, begin: int, end: int) -> Iterator[tuple[BatchHeader, memoryview]]:
    """Return the batches from position ``begin`` on with their bodies, padding included, until one is not valid.

    Nothing beyond ``end`` is looked at. A body is good until the next batch is asked for.
    """
    at, start, window, load = begin, begin, memoryview(b""), _FIRST_WINDOW
    unpack, most = BATCH.unpack_from, BATCH_MOST
    while at + HEADER <= end:
        here = at - start
        if len(window) - here < HEADER:
            start, window = at, _load(files, fd, at, end, HEADER, wish=load)
            here, load = 0, min(4 * load, _WINDOW)
            if len(window) < HEADER:
                return
        fields = unpack(window, here)
        size = fields[1]
        if (
            fields[0] != BATCH_MAGIC
            or fields[2] != salt
            or fields[3] != at
            or not HEADER <= size <= most
            or size % ALIGNED
            or at + size > end
            or crc32(window[here : here + 60]) != fields[13]
        ):
            return
        if len(window) - here < size:
            start, window = at, _load(files, fd, at, end, size, wish=load)
            here, load = 0, min(4 * load, _WINDOW)
            if len(window) < size:
                return
        body = window[here + HEADER : here + size]
        if crc32(body) != fields[12]:
            return
        yield BatchHeader._make(fields), body
        at += size


def search(files: Files, fd: int, salt: int, begin: int, end: int) -> BatchHeader | None:
    """Return the first batch header at ``begin`` or behind it that is valid; its body may not be. Searched in C."""
    at, load = begin, _FIRST_WINDOW
    while at + HEADER <= end:
        data = bytes(_load(files, fd, at, end, HEADER, wish=load))
        load = min(4 * load, _WINDOW)
        found = data.find(BATCH_MAGIC_BYTES)
        while 0 <= found <= len(data) - HEADER:
            if (header := parse_batch(data, found, salt, at + found)) is not None:
                return header
            found = data.find(BATCH_MAGIC_BYTES, found + 1)
        if len(data) <= HEADER:
            return None
        at += len(data) - HEADER + 1
    return None


def written_end(files: Files, fd: int, begin: int, end: int) -> int:
    """Return where zeros begin that go on to ``end``; where something may begin, and not before ``begin``."""
    while end > begin:
        at = max(begin, end - _WINDOW)
        if kept := bytes(_load(files, fd, at, end, end - at)).rstrip(b"\0"):
            return min(end, at + len(kept) + ALIGNED - 1 & -ALIGNED)
        end = at
    return begin


def _load(files: Files, fd: int, at: int, end: int, need: int, *, wish: int = _WINDOW) -> memoryview:
    """Return at least ``need`` bytes, of what there is before ``end``; a read may be short."""
    data = files.read(fd, min(max(need, wish), end - at), at)
    while len(data) < min(need, end - at):
        more = files.read(fd, min(need, end - at) - len(data), at + len(data))
        if not more:
            break
        data += more
    return memoryview(data)


def guess_salt(files: Files, fd: int, size: int, base: int, limit: int | None) -> int:
    """Return the half of the salt that batches carry, for a damaged header; 0 when there are none.

    It is that of the most bytes whose headers lie where they say, with offsets from ``base`` on and up to ``limit``:
    what destroyed the header may have brought batches of another segment with it.
    """
    votes: Counter[int] = Counter()
    at = HEADER
    while at + HEADER <= size:
        data = bytes(_load(files, fd, at, size, HEADER))
        found = data.find(BATCH_MAGIC_BYTES)
        while 0 <= found <= len(data) - HEADER:
            header = parse_batch(data, found, BATCH.unpack_from(data, found)[2], at + found)
            if header is not None and base <= header.base and (limit is None or header.next <= limit):
                votes[header.salt] += header.size
            found = data.find(BATCH_MAGIC_BYTES, found + 1)
        if len(data) <= HEADER:
            break
        at += len(data) - HEADER + 1
    return max(votes, key=votes.__getitem__, default=0)


def remember(windows: Windows, header: BatchHeader, body: memoryview) -> Windows:
    """Return the windows of producers as they are behind this batch."""
    if header.attributes & PRODUCERS:
        return Windows.unpack(bytes(body))
    if header.producer and not header.attributes & (CONTROL | GAP):
        windows.add(Producer(header.producer, header.epoch, header.sequence), header.messages, header.base)
    return windows
