"""How groups stand, as operators see it: who reads, how far behind they are, what is kept for whom."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.logged import GroupInfo, Lag
from holdfast.stores.sqlite.logs import reading
from holdfast.stores.sqlite.logs.groups import group_of
from holdfast.stores.sqlite.logs.liveness import Instant, living
from holdfast.stores.sqlite.logs.places import LogRow, Source, partitions
from holdfast.stores.sqlite.logs.retention import floors
from holdfast.stores.sqlite.statements import statements

_SQL = statements("logs/groups.sql")


def infos(source: Source, log: LogRow, now: Instant) -> list[GroupInfo]:
    """Return the groups of a log; see ``LogGroups``."""
    found = source.execute(_SQL["groups"], (log.number, now.boot, now.uptime, now.wall))
    pins = _pins(source, log, now) if log.settings.until_consumed else {}
    return [
        GroupInfo(
            log.name,
            name,
            tuple(sorted({holder.id for holder in living(source, number, now).values()})),
            idle / 1000,
            pins.get(name, 0),
        )
        for number, name, idle in found
    ]


def _pins(source: Source, log: LogRow, now: Instant) -> Mapping[str, int]:
    """Return the bytes that are kept for one group alone: it has not read them, and all others have."""
    pins: dict[str, int] = {}
    nexts: dict[int, list[tuple[int, str]]] = {}
    for index, name, next_ in source.execute(_SQL["nexts"], (log.number,)):
        nexts.setdefault(index, []).append((next_, name))
    for partition, floor in zip(partitions(source, log), floors(source, log, now.wall), strict=True):
        places = sorted((min(floor, next_), name) for next_, name in nexts.get(partition.index, ()))
        if places:
            (slowest, name), others = places[0], places[1:]
            first, _ = reading.before(source, partition, max(slowest, partition.first))
            end, _ = reading.before(source, partition, max(others[0][0] if others else floor, partition.first))
            pins[name] = pins.get(name, 0) + max(0, end - first)
    return pins


def lags(source: Source, log: LogRow, group: str, now: Instant) -> list[Lag]:
    """Return how far a group is behind; see ``LogGroups``."""
    number = group_of(source, log, group)
    readers = living(source, number, now)
    found = []
    for index, next_, first, end, time, member in source.execute(_SQL["lags"], (log.number, number)):
        oldest = max(next_, first)
        age = max(0, now.wall - time) / 1000 if oldest < end and time is not None else None
        holder = readers[member].id if member in readers else None
        found.append(Lag(index, next_, end - oldest, age, holder, next_ < first))
    return found
