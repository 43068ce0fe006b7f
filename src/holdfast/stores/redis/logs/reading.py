"""Messages as they are read back: appends decoded, cut to what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.columns import Damaged, unpack
from holdfast.errors import CorruptLog
from holdfast.logged import Chunk, Ends
from holdfast.stores.budget import Budget, cut
from holdfast.stores.redis.logs.places import Log, LogPlaces
from holdfast.stores.redis.scripts import Script
from holdfast.stores.refused import offset_gone

READ = Script.load("logs/read")
_FIND = Script.load("logs/find")
FIELDS = 5
"""How many values ``read.lua`` returns for each append: id, time, attributes, data, number."""
_STEP_BYTES = 16 << 20
"""What one script returns at the most, beside its last append."""


def wanted(offset: int, limit: int, max_bytes: int) -> tuple[int, int, int]:
    """Return what ``READ`` is asked."""
    return offset, limit, min(max_bytes, _STEP_BYTES)


def decoded(
    log: str, partition: int, appends: Sequence[Any], offset: int, version: int = 0
) -> list[Chunk | CorruptLog]:
    """Return the appends of an answer of ``READ``, without what lies before ``offset``; damaged ones as errors."""
    found = list[Chunk | CorruptLog]()
    for name, time, attributes, data, _ in zip(*(appends[i::FIELDS] for i in range(FIELDS)), strict=True):
        base, _, count = name.partition(b"-")
        try:
            columns = unpack(data, int(count), int(attributes))
        except Damaged as damage:
            found.append(_corrupt(log, partition, int(base), int(count), damage))
            continue
        found.append(Chunk(partition, int(base), int(time), *columns, version))
    if found and isinstance(found[0], Chunk):
        found[0] = found[0].between(offset)
    return found


def read(places: LogPlaces, name: str, partition: int, offset: int, budget: Budget) -> list[Chunk]:
    """Return messages from ``offset`` on that the budget allows; see ``LogBackend``."""
    log = places.known(name, partition)
    [(first, end, _, *appends)] = places.run_parts(READ, log, [(partition, _asked(offset, budget))])
    if not first <= offset <= end:
        raise offset_gone(name, Ends(partition, first, end), offset)
    taken, damage = list[Chunk](), None
    for one in decoded(name, partition, appends, offset):
        if isinstance(one, CorruptLog):
            damage = one
            break
        parts, rest = cut(one, budget)
        taken += parts
        if rest is not None or budget.is_used_up():
            return taken
    if damage is not None and not taken:
        raise damage
    return taken


def _asked(offset: int, budget: Budget) -> tuple[int, int, int]:
    return wanted(offset, budget.messages, budget.bytes)


def find(places: LogPlaces, name: str, partition: int, time: int) -> int:
    """Return the offset of the first message appended at ``time`` or later; see ``LogBackend``."""
    log = places.known(name, partition)
    return int(search(places, log, {partition: ("first", "t", time)})[partition][0])


def search(places: LogPlaces, log: Log, asked: dict[int, tuple[str, str, int]]) -> dict[int, tuple[int, int]]:
    """Return, by partition, where an append begins, and the bytes before it; see ``find.lua`` for what is asked."""
    replies = places.run_parts(_FIND, log, list(asked.items()))
    return {partition: (offset, size) for partition, ((offset, size),) in zip(asked, replies, strict=True)}


def search_times(places: LogPlaces, log: Log, times: Sequence[int]) -> list[list[tuple[int, int]]]:
    """Return for each of the times, which rise, and by partition: where what was appended then or later begins, and the
    bytes before it. One round trip for all.
    """
    replies = places.run_parts(_FIND, log, [(i, ("first", "t", *times)) for i in range(log.partitions)])
    return [[(offset, size) for offset, size in marks] for marks in zip(*replies, strict=True)]


def _corrupt(log: str, partition: int, base: int, count: int, damage: Damaged) -> CorruptLog:
    end = base + count
    return CorruptLog(
        f"log {log!r}, partition {partition}: the bytes of offsets {base} to {end - 1} are damaged ({damage}); "
        f"seek the group to {end}",
        partition=partition,
        first=base,
        next=end,
    )
