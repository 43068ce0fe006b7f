"""What logs keep no longer, and how it goes: first the log's slot says below what, then partitions are cut there.

Whole appends go, oldest first. What is left is never less than a limit says is kept. Order across partitions is that
of time; of appends at the same ms those of lower partitions go first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from holdfast.logged import LogTidied
from holdfast.stores.redis.logs.places import Log, LogPlaces
from holdfast.stores.redis.logs.reading import search
from holdfast.stores.redis.scripts import Script

_FLOOR, _CUT, _PLACE, _GROUPS = (Script.load(f"logs/{name}") for name in ("floor", "cut", "place", "groups"))
STEP_BYTES = 32 << 20
"""What one script drops at the most: others must not wait for a gigabyte."""


class Part(msgspec.Struct, frozen=True):
    """A partition as it stands: offsets, bytes, the time of its first append (-1 for none), bytes ever dropped."""

    first: int
    next: int
    bytes: int
    oldest: int
    dropped: int


def parts_of(places: LogPlaces, log: Log) -> list[Part]:
    """Return the partitions of a log as they stand."""
    replies = places.run_parts(_PLACE, log, [(i, ()) for i in range(log.partitions)])
    return [Part(first, end, size, oldest, dropped) for first, end, size, oldest, _, dropped in replies]


def floors(places: LogPlaces, log: Log, parts: Sequence[Part], now: int, *, has_groups: bool) -> list[int]:
    """Return for each partition the offset below which nothing is kept, groups aside; an append begins there."""
    settings = log.settings.with_groups() if has_groups else log.settings
    found = {i: part.first for i, part in enumerate(parts)}
    if settings.keep_for is not None:
        young = now - int(settings.keep_for * 1000)
        old = [i for i, part in enumerate(parts) if 0 <= part.oldest < young]
        found |= {i: at for i, (at, _) in search(places, log, dict.fromkeys(old, ("first", "t", young))).items()}
    if settings.keep_most is not None:
        excess = sum(part.next - part.first for part in parts) - settings.keep_most
        found = _higher(found, _Excess(places, log, parts, "o").beyond(excess))
    if settings.keep_bytes is not None:
        excess = sum(part.bytes for part in parts) - settings.keep_bytes
        found = _higher(found, _Excess(places, log, parts, "w").beyond(excess))
    return [found[i] for i in range(len(parts))]


def _higher(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    return {i: max(offset, other.get(i, 0)) for i, offset in one.items()}


class _Excess:
    """Finds what is too much of a log, counted in messages ("o") or bytes ("w"): the oldest of all partitions."""

    def __init__(self, places: LogPlaces, log: Log, parts: Sequence[Part], unit: str) -> None:
        self._places, self._log, self._parts, self._unit = places, log, parts, unit

    def beyond(self, excess: int) -> dict[int, int]:
        """Return the offsets below which no more than ``excess`` lies, in whole appends."""
        if excess <= 0:
            return {}
        begun = [part.oldest for part in self._parts if part.oldest >= 0]
        if len(begun) < 2:
            return self._up_to(dict.fromkeys(range(len(self._parts)), -1), excess)
        low, high = min(begun), self._log_end(begun)
        while low < high:  # the last time before which there is no more than that
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._below(middle)[1] <= excess else (low, middle - 1)
        bounds, size = self._below(low)
        return _higher(bounds, self._up_to(bounds, excess - size, before=low + 1))

    def _log_end(self, begun: Sequence[int]) -> int:
        """Return a time at which all there is lies before; a power of two of ms after the first."""
        span, first = 1, min(begun)
        while any(at < part.next for part, at in zip(self._parts, self._below(first + span)[0].values(), strict=True)):
            span *= 2
        return first + span

    def _below(self, time: int) -> tuple[dict[int, int], int]:
        """Return where appends of ``time`` or later begin, and how much lies before."""
        found = search(self._places, self._log, dict.fromkeys(range(len(self._parts)), ("first", "t", time)))
        size = 0
        for part, (offset, written) in zip(self._parts, found.values(), strict=True):
            size += max(0, offset - part.first if self._unit == "o" else written - part.dropped)
        return {i: offset for i, (offset, _) in found.items()}, size

    def _up_to(self, bounds: Mapping[int, int], left: int, *, before: int | None = None) -> dict[int, int]:
        """Go on from ``bounds``, partition after partition, for as much as is left, to appends of ``before``."""
        found = dict[int, int]()
        for i, part in enumerate(self._parts):
            begin = max(part.first, bounds[i])
            if left <= 0 or begin >= part.next:
                continue
            start, size = self._at(i, "first", "o", begin)
            origin = start if self._unit == "o" else size
            offset, size = self._at(i, "last", self._unit, origin + left)
            if before is not None:
                behind, behind_size = self._at(i, "first", "t", before)
                offset, size = min((offset, size), (behind, behind_size))
            if offset > begin:
                found[i] = offset
                left -= (offset if self._unit == "o" else size) - origin
        return found

    def _at(self, partition: int, which: str, field: str, value: int) -> tuple[int, int]:
        return search(self._places, self._log, {partition: (which, field, value)})[partition]


def drop(places: LogPlaces, log: Log, now: int, limit: int) -> LogTidied:
    """Drop what is no longer kept, up to ``limit`` appends; return what that was."""
    parts, places_ = parts_of(places, log), group_places(places, log)
    wanted = dict(enumerate(floors(places, log, parts, now, has_groups=bool(places_))))
    if log.settings.until_consumed and places_:
        read = {i: min(floor, *(one[i] for one in places_)) for i, floor in wanted.items()}
        wanted = _whole(places, log, read, parts)
    higher = {i: floor for i, floor in wanted.items() if floor > log.firsts[i]}
    goals = dict(enumerate(log.firsts))  # also what somebody raised, and died before he cut
    if higher:
        pairs = [number for pair in higher.items() for number in pair]
        allowed = places.run(_FLOOR, log.name, log.life, *pairs, durable=True)
        goals |= dict(zip(higher, allowed, strict=False))
    done, left = LogTidied(), limit
    for i, goal in goals.items():
        if goal > parts[i].first:
            step, left = _cut(places, log, i, goal, left)
            done += step
    return done


def _whole(places: LogPlaces, log: Log, goals: Mapping[int, int], parts: Sequence[Part]) -> dict[int, int]:
    """Return the last offsets up to these at which appends begin."""
    asked = {i: ("last", "o", goal) for i, goal in goals.items() if goal > parts[i].first}
    return {i: min(offset, goals[i]) for i, (offset, _) in search(places, log, asked).items()}


def _cut(places: LogPlaces, log: Log, partition: int, goal: int, limit: int) -> tuple[LogTidied, int]:
    """Drop what lies below ``goal``, in steps that are short; return what that was, and what is left of the limit."""
    done = LogTidied()
    while True:
        messages, size, appends, more = places.run_part(_CUT, log, partition, goal, limit, STEP_BYTES)
        done, limit = done + LogTidied(messages, size), limit - appends
        if not more or limit < 1:
            return done + LogTidied(more=bool(more)), limit


def group_places(places: LogPlaces, log: Log) -> list[tuple[int, ...]]:
    """Return the places of each group, by partition."""
    _, *groups = places.run(_GROUPS, log.name, "")
    return [tuple(its[::2]) for *_, its in groups]
