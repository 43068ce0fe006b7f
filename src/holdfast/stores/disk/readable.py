"""One segment open for reading: from an offset or a time to a position, and from a position to a checked batch."""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from holdfast.columns import Damaged, unpack
from holdfast.errors import CorruptLog
from holdfast.logged import Chunk
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.format import (
    HEADER,
    BatchHeader,
    IndexEntry,
    index_name,
    is_control,
    parse_batch,
    parse_index,
    segment_name,
)
from holdfast.stores.disk.options import Damage
from holdfast.stores.disk.segment import Edges, search, walk

_WINDOW = 256 << 10
_HINTS = 64


class Readable:
    """Batches up to position ``end``, with offsets below ``next``. One thread at a time.

    Every byte below ``end`` was durable: what is no batch there is damaged. ``end`` and ``next`` of the segment that
    is being written are raised by whoever looks at its tail. Offsets from ``limit`` on are in segments behind.
    """

    def __init__(
        self, files: Files, directory: Path, base: int, fd: int, *, edges: Edges, salt: int, limit: int
    ) -> None:
        self.base, self.edges = base, edges
        self._limit = limit
        self.was_live = False
        self.path = directory / segment_name(base)
        self.end, self.next = HEADER, base
        self.salt = salt
        self._files, self._fd = files, fd
        self._map: mmap.mmap | None = None
        self._window, self._start = b"", 0
        self._index: list[IndexEntry] | None = None
        self._hints: dict[int, int] = {}
        if edges.footer is not None:
            self.end, self.next = edges.footer.end, edges.footer.next

    def map(self) -> None:
        """Read through a map of the file from now on, if it is sealed: its writer must never take that back."""
        if self.edges.footer is not None:
            self._map = self._files.map(self._fd, self.edges.size)

    @property
    def is_being_written(self) -> bool:
        """Tell whether it is the newest, and was not sealed when it was opened."""
        return self.was_live and self.edges.footer is None

    def unmap(self) -> None:
        """Read by calls from now on: what the disk cannot read is an ``OSError`` then; a map ends the process."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def close(self) -> None:
        """Let go of the file."""
        self._files.close(self._fd)
        if self._map is not None:
            self._map.close()

    # -- batches -----------------------------------------------------------------------------------------------

    def header(self, position: int) -> BatchHeader | None:
        """Return the batch header at a position; None at the end, and where there is none."""
        if position + HEADER > self.end:
            return None
        header = parse_batch(self._bytes(position, HEADER), 0, self.salt, position)
        return header if header is not None and header.end <= self.end else None

    def chunk(self, header: BatchHeader, partition: int) -> Chunk:
        """Return the messages of a batch, checked; ``CorruptLog`` when they are damaged."""
        body = self._bytes(header.position + HEADER, header.size - HEADER)
        if crc32(body) == header.body_crc:
            try:
                bodies, keys, headers = unpack(body, header.messages, header.attributes)
            except Damaged:
                pass
            else:
                return Chunk(partition, header.base, header.time, bodies, keys, headers)
        raise self.corrupt(Damage(header.position, header.end, header.base, header.next))

    def from_offset(self, offset: int) -> Iterator[BatchHeader]:
        """Return the headers of batches with messages, from that of ``offset``, or of the first behind it, on.

        ``CorruptLog`` when the bytes where ``offset`` must be are damaged; behind it, the headers end at damage.
        """
        last: BatchHeader | None = None
        try:
            for last in self._from_offset(offset):
                yield last
        finally:
            if last is not None:
                self._remember(last)

    def _from_offset(self, offset: int) -> Iterator[BatchHeader]:
        for found in self._headers(*self._near(offset)):
            if found.next <= offset:
                continue
            if isinstance(found, Damage):
                if found.first <= offset:
                    raise self.corrupt(found)
                return
            if is_control(found):
                offset = found.next  # a gap ends here, and what lies behind it may be damaged
            else:
                yield found

    def everything(self, position: int = HEADER, offset: int | None = None) -> Iterator[BatchHeader | Damage]:
        """Return every batch there is, or was, one after the other: the good ones as headers, the others as damage.

        From a ``position`` on where ``offset`` is next; from the beginning without them.
        """
        expected = self.base if offset is None else offset
        while position < self.end:
            for header, _ in walk(self._files, self._fd, self.salt, position, self.end):
                if not expected <= header.base <= header.next <= self._limit:
                    break
                yield header
                position, expected = header.end, header.next
            if position < self.end:  # what the walk stops at
                found = self._judged(next(self._headers(position, expected)))
                yield found
                position, expected = found.end, found.next
        if expected < self.next:  # the file is shorter than it was
            yield Damage(position, position, expected, self.next)

    def _judged(self, found: BatchHeader | Damage) -> BatchHeader | Damage:
        if isinstance(found, Damage) or self._is_good(found):
            return found
        return Damage(found.position, found.end, found.base, found.next)

    def _is_good(self, header: BatchHeader) -> bool:
        return crc32(self._bytes(header.position + HEADER, header.size - HEADER)) == header.body_crc

    def from_time(self, time: int) -> BatchHeader | None:
        """Return the first batch with messages that was appended at ``time`` or later; None when none here was."""
        index = self._entries()
        place = bisect_left(index, time, key=lambda entry: entry.time) - 1
        position, expected = self._start_at(index, place)
        for found in self._headers(position, expected):
            if not isinstance(found, Damage) and found.time >= time and not is_control(found):
                return found
        return None

    def corrupt(self, damage: Damage) -> CorruptLog:
        """Return the error that names the damage."""
        return CorruptLog(
            f"{self.path}: bytes {damage.begin} to {damage.end} are damaged, with offsets {damage.first} to "
            f"{damage.next} (ends not included). All others can be read: seek behind them, or restore the file; "
            "'holdfast logs repair --skip' takes them out for good",
            first=damage.first,
            next=damage.next,
        )

    def _headers(self, position: int, expected: int) -> Iterator[BatchHeader | Damage]:
        """Return what lies at ``position`` and behind it, one after the other, up to the end."""
        while position < self.end:
            header = self.header(position)
            if header is None or not expected <= header.base <= header.next <= self._limit:
                after = search(self._files, self._fd, self.salt, position + 1, self.end)
                while after is not None and not expected <= after.base <= after.next <= self._limit:
                    after = search(self._files, self._fd, self.salt, after.position + 1, self.end)
                if after is None:
                    yield Damage(position, self.end, expected, self.next)
                    return
                yield Damage(position, after.position, expected, after.base)
                position, expected = after.position, after.base
                continue
            yield header
            position, expected = header.end, header.next
        if expected < self.next:  # the file is shorter than it was
            yield Damage(position, position, expected, self.next)

    # -- finding -----------------------------------------------------------------------------------------------

    def _near(self, offset: int) -> tuple[int, int]:
        """Return a position, and its offset, from where it is not far to the batch with ``offset``."""
        position = self._hints.get(offset)
        if position is not None:
            return position, offset
        index = self._entries()
        return self._start_at(index, bisect_right(index, offset - self.base, key=lambda entry: entry.offset) - 1)

    def _start_at(self, index: list[IndexEntry], place: int) -> tuple[int, int]:
        while place >= 0 and self.edges.footer is None and not self._proves_true(index[place]):
            place -= 1
        if place < 0:
            return HEADER, self.base
        return index[place].position, self.base + index[place].offset

    def _remember(self, header: BatchHeader) -> None:
        """Whoever read up to here will go on from here."""
        self._hints[header.next] = header.end
        if len(self._hints) > _HINTS:
            del self._hints[next(iter(self._hints))]

    def _entries(self) -> list[IndexEntry]:
        """Return the index: of a sealed segment what its footer vouches for, of others what is to prove true."""
        if self._index is not None:
            return self._index
        data = self._read_index()
        footer = self.edges.footer
        if footer is not None:
            self._index = parse_index(data) if crc32(data) == footer.index_crc else self._indexed_anew()
            return self._index
        return [entry for entry in parse_index(data) if entry.position < self.end]

    def _read_index(self) -> bytes:
        try:
            fd = self._files.open(self.path.with_name(index_name(self.base)), os.O_RDONLY)
        except OSError:
            return b""
        try:
            return self._files.read(fd, self._files.size(fd), 0)
        finally:
            self._files.close(fd)

    def _indexed_anew(self) -> list[IndexEntry]:
        entries: list[IndexEntry] = []
        last = HEADER
        for found in self._headers(HEADER, self.base):
            if not isinstance(found, Damage) and found.position - last >= _WINDOW:
                entries.append(IndexEntry(found.base - self.base, found.position, found.time))
                last = found.position
        return entries

    def _proves_true(self, entry: IndexEntry) -> bool:
        header = self.header(entry.position)
        return header is not None and header.base == self.base + entry.offset

    # -- bytes -------------------------------------------------------------------------------------------------

    def _bytes(self, position: int, size: int) -> bytes:
        if self._map is not None:
            return self._map[position : position + size]
        here = position - self._start
        if here < 0 or here + size > len(self._window):
            self._start, here = position, 0
            self._window = self._load(position, max(size, min(_WINDOW, self.end - position)))
        return self._window[here : here + size]

    def _load(self, position: int, size: int) -> bytes:
        data = self._files.read(self._fd, size, position)
        while len(data) < size and (more := self._files.read(self._fd, size - len(data), position + len(data))):
            data += more
        return data
