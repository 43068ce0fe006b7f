"""The heads of a machine by id, and the many that merely wait, each packed into one ``bytes`` object.

Nearly all jobs of a long queue are plain: never leased, without a key, an expiry or a unique key. All that is known of
such a job fits 41 bytes and its id, big-endian so that rows sort as their jobs stand::

    0 ready or due, ms u64 · 8 seq u64 · 16 sent, ms u64 · 24 token u64 · 32 max attempts u32, 0 for none
    36 its sort u32: which kind, priority, format and state · 40 how the id is written u8 · 41 the id

A head takes some 700 bytes with the places that it stands in, a row 96, and 152 with its id in the table of all heads.
"""

from __future__ import annotations

import heapq
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from holdfast.delivery import State
from holdfast.machine.moves import Head

_ROW = struct.Struct(">QQQQIIB")
_RANK = struct.Struct(">QQ")
_AS_HEX, _AS_TEXT = 0, 1
_MOST = 1 << 63


class Sort(NamedTuple):
    """What many rows have in common."""

    kind: str
    priority: int
    format: int
    state: State


class Heads:
    """Heads by id, in the order in which they came.

    A head that is got for a packed job is a copy: what is changed in it counts once it is put back.
    """

    def __init__(self) -> None:
        self._all: dict[str, Head | bytes] = {}
        self._sorts: list[Sort] = []
        self._numbers: dict[Sort, int] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._all

    def __getitem__(self, job_id: str) -> Head:
        one = self._all[job_id]
        return one if isinstance(one, Head) else self.unpacked(one)

    def get(self, job_id: str) -> Head | None:
        one = self._all.get(job_id)
        return self.unpacked(one) if isinstance(one, bytes) else one

    def __setitem__(self, job_id: str, head: Head) -> None:
        self._all[job_id] = head

    def __delitem__(self, job_id: str) -> None:
        del self._all[job_id]

    def values(self) -> Iterator[Head]:
        """Return all heads."""
        return (one if isinstance(one, Head) else self.unpacked(one) for one in self._all.values())

    def newest(self) -> Iterator[Head]:
        """Return all heads, the last that came first."""
        return (one if isinstance(one, Head) else self.unpacked(one) for one in reversed(self._all.values()))

    def numbers(self) -> Iterator[tuple[str, int]]:
        """Return the id and the ``seq`` of each."""
        for job_id, one in self._all.items():
            yield job_id, int.from_bytes(one[8:16]) if isinstance(one, bytes) else one.seq

    def apart(self) -> tuple[list[Head], list[bytes], list[Sort]]:
        """Return the heads, the rows, and the sorts that rows name by their place in this list."""
        every = self._all.values()
        heads = [one for one in every if isinstance(one, Head)]
        return heads, [one for one in every if isinstance(one, bytes)], self._sorts

    # -- rows -----------------------------------------------------------------------------------------------------

    def pack(self, head: Head) -> bytes | None:
        """Keep a head as a row, and return that; None when there is more to it than a row can say."""
        if not _is_plain(head):
            return None
        row = self._row(head)
        self._all[head.id] = row
        return row

    def is_packed(self, job_id: str) -> bool:
        """Tell whether a job is known by its row."""
        return isinstance(self._all.get(job_id), bytes)

    def is_there(self, row: bytes) -> bool:
        """Tell whether a row is what is known of its job now."""
        return self._all.get(_id(row)) is row

    def unpacked(self, row: bytes) -> Head:
        """Return the head of a row."""
        return unpacked(row, self._sorts)

    def number(self, sorts: Sequence[Sort]) -> None:
        """Let rows name these sorts, in this order; before there are any."""
        self._sorts = list(sorts)
        self._numbers = {sort: number for number, sort in enumerate(sorts)}

    def _row(self, head: Head) -> bytes:
        sort = Sort(head.kind, head.priority, head.format, head.state)
        number = self._numbers.setdefault(sort, len(self._sorts))
        if number == len(self._sorts):
            self._sorts.append(sort)
        way, id_ = _written(head.id)
        numbers = head.ready, head.seq, head.sent, head.token, head.max_attempts or 0, number, way
        return _ROW.pack(*numbers) + id_


def unpacked(row: bytes, sorts: Sequence[Sort]) -> Head:
    """Return the head of a row that names these sorts."""
    ready, seq, sent, token, attempts, number, _ = _ROW.unpack_from(row)
    kind, priority, format_, state = sorts[number]
    return Head(_id(row), seq, kind, format_, None, priority, attempts or None, sent, ready, ready, None, token, state)


def rank(row: bytes) -> tuple[int, int]:
    """Return the instant and the number by which a row stands."""
    ready, seq = _RANK.unpack_from(row)
    return ready, seq


def _is_plain(head: Head) -> bool:
    return (
        head.key is None
        and head.unique is None
        and head.expires is None
        and head.started is None
        and head.holder is None
        and head.reason is None
        and head.cancel is None
        and head.lease_id is None
        and head.attempts == head.crashes == head.joined == head.keep_until == 0
        and head.ready == head.due < _MOST
        and head.max_attempts != 0
        and head.token < _MOST
    )


def _written(job_id: str) -> tuple[int, bytes]:
    """Return an id and how it is written: half as long when it is one of ``message.new_id``."""
    if len(job_id) == 32:
        try:
            data = bytes.fromhex(job_id)
        except ValueError:
            return _AS_TEXT, job_id.encode()
        if data.hex() == job_id:
            return _AS_HEX, data
    return _AS_TEXT, job_id.encode()


def _id(row: bytes) -> str:
    return row[41:].hex() if row[40] == _AS_HEX else row[41:].decode()


class Rows:
    """Rows in their order. Those that come out of order, which are few, stand in a heap beside the line."""

    __slots__ = ("_heads", "_late", "_line", "_there")

    def __init__(self, heads: Heads) -> None:
        self._heads = heads
        self._line: deque[bytes] = deque()
        self._late: list[bytes] = []
        self._there = 0

    def __len__(self) -> int:
        return self._there

    def push(self, row: bytes) -> None:
        self._there += 1
        if not self._line or self._line[-1] <= row:
            self._line.append(row)
        else:
            heapq.heappush(self._late, row)
        if len(self._line) + len(self._late) > 2 * self._there + 64:
            is_there = self._heads.is_there
            self._line = deque(filter(is_there, self._line))
            self._late = list(filter(is_there, self._late))
            heapq.heapify(self._late)

    def leave(self) -> None:
        """Count one row less: its job is no longer known by it."""
        self._there -= 1

    def first(self) -> bytes | None:
        line, late, is_there = self._line, self._late, self._heads.is_there
        while line and not is_there(line[0]):
            line.popleft()
        while late and not is_there(late[0]):
            heapq.heappop(late)
        if late and (not line or late[0] < line[0]):
            return late[0]
        return line[0] if line else None

    def pop(self) -> Head | None:
        """Take the first row out, and return its head, which is kept from now on."""
        row = self.first()
        if row is None:
            return None
        if self._line and self._line[0] is row:
            self._line.popleft()
        else:
            heapq.heappop(self._late)
        self._there -= 1
        head = self._heads.unpacked(row)
        self._heads[head.id] = head
        return head
