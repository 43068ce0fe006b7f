"""Messages as they are read back: appends decoded, cut to what was asked for, found by time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from zlib import crc32

import msgspec

from holdfast.columns import Damaged, unpack
from holdfast.errors import CorruptLog
from holdfast.logged import Chunk, Ends
from holdfast.stores.budget import Budget, cut
from holdfast.stores.refused import offset_gone
from holdfast.stores.sqlite.connection import Connection, Row
from holdfast.stores.sqlite.logs.places import LogRow, PartitionRow, Source
from holdfast.stores.sqlite.orders import json_list
from holdfast.stores.sqlite.statements import statements

_SQL = statements("logs/reading.sql")


class AppendRow(msgspec.Struct, frozen=True, gc=False):
    """An append without its data; the columns are those of its table."""

    number: int
    base: int
    count: int
    time: int
    before: int
    bodies: int

    @property
    def next(self) -> int:
        """The offset behind its last message."""
        return self.base + self.count


def ends(source: Source, log: LogRow) -> list[Ends]:
    """Return what each partition of a log holds, in order."""
    return [Ends(*row) for row in source.execute(_SQL["ends"], (log.number,))]


def news(source: Source, log: LogRow, places: Sequence[tuple[int, int]]) -> list[PartitionRow]:
    """Return those partitions that do not end at their place; ``places`` are pairs of partition and offset."""
    return [PartitionRow(*row) for row in source.execute(_SQL["news"], (log.number, json_list(places)))]


def check_offset(log: str, partition: PartitionRow, offset: int) -> None:
    """Raise ``OffsetGone`` for an offset beside the ends."""
    if not partition.first <= offset <= partition.next:
        raise offset_gone(log, partition.ends(), offset)


# -- one append ---------------------------------------------------------------------------------------------------


def holding(source: Source, partition: int, offset: int) -> AppendRow | None:
    """Return the append that has an offset, or the last one before it; None when there is none."""
    rows = source.execute(_SQL["holding"], (partition, offset))
    return AppendRow(*rows[0]) if rows else None


def first_where(source: Source, partition: PartitionRow, wanted: Callable[[AppendRow], bool]) -> int:
    """Return the offset at which the first append begins that is ``wanted``, as all later ones are; else the end.

    Looks at as many appends as their number has binary digits.
    """
    low, high = partition.first, partition.next
    while low < high:
        middle = (low + high) // 2
        row = holding(source, partition.number, middle)
        if row is None:  # dropped meanwhile
            low = middle + 1
        elif wanted(row):
            high = row.base
        else:
            low = row.next
    return high


def find(source: Source, partition: PartitionRow, time: int) -> int:
    """Return the offset of the first message appended at ``time`` or later; see ``LogBackend``."""
    return first_where(source, partition, lambda append: append.time >= time)


def before(source: Source, partition: PartitionRow, offset: int) -> tuple[int, int]:
    """Return the bytes, and those of bodies alone, of all appends before the one that has ``offset``."""
    row = holding(source, partition.number, offset) if offset < partition.next else None
    return (partition.written, partition.bodies) if row is None else (row.before, row.bodies)


# -- messages -----------------------------------------------------------------------------------------------------


def read(
    connection: Connection, log: LogRow, partition: PartitionRow, offset: int, budget: Budget
) -> tuple[list[Chunk], Chunk | None]:
    """Return messages from ``offset`` on that the budget allows, and what is left of the append they end in.

    Nothing when what lies there was dropped meanwhile. ``CorruptLog`` where bytes are damaged.
    """
    found: list[Chunk] = []
    with closing(_chunks(connection, log, partition, offset)) as chunks:
        for chunk in () if budget.is_used_up() else chunks:
            parts, rest = cut(chunk, budget)
            found += parts
            if rest is not None or budget.is_used_up():
                return found, rest
    return found, None


def _chunks(connection: Connection, log: LogRow, partition: PartitionRow, offset: int) -> Generator[Chunk]:
    """Yield what lies at ``offset`` and beyond, an append at a time, up to damage; raise only when that is first."""
    begin = offset
    with closing(connection.rows(_SQL["appends"], (partition.number, offset))) as rows:
        for row in rows:
            chunk = _decoded(log, partition.index, row)
            if isinstance(chunk, CorruptLog) and offset == begin:
                raise chunk
            if isinstance(chunk, CorruptLog) or not chunk.base <= offset < chunk.next:
                return
            yield chunk.between(offset)
            offset = chunk.next


def _decoded(log: LogRow, partition: int, row: Row) -> Chunk | CorruptLog:
    base, count, time, attributes, crc, data = row
    try:
        if crc32(data) != crc:
            raise Damaged("the checksum is another")
        return Chunk(partition, base, time, *unpack(data, count, attributes))
    except Damaged as damage:
        return CorruptLog(
            f"log {log.name!r}, partition {partition}: the {len(data)} bytes of offsets {base} to {base + count - 1} "
            f"are damaged ({damage}); restore the file from a copy, or seek the group to {base + count}",
            partition=partition,
            first=base,
            next=base + count,
        )
