"""What logs keep no longer, and how it goes: first the log's slot says below what, then partitions are cut there.

Whole appends go, oldest first. What is left is never less than a limit says is kept. Order across partitions is that
of time; of appends at the same ms those of lower partitions go first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from holdfast.logged import LogTidied
from holdfast.stores.redis.logs.places import Log, LogPlaces
from holdfast.stores.redis.logs.reading import search, search_times
from holdfast.stores.redis.scripts import Script

_FLOOR, _CUT, _PLACE, _GROUPS = (Script.load(f"logs/{name}") for name in ("floor", "cut", "place", "groups"))
STEP_BYTES = 32 << 20
"""What one script drops at the most: others must not wait for a gigabyte."""
_BITS, _WAYS = 40, 32
"""The excess of a log is looked for up to so many bits of ms after its first append, at so many times at once."""
_Marks = Sequence[tuple[int, int]]
"""A place in each partition: an offset, and the bytes ever appended before it."""


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
        """Return the offsets below which no more than ``excess`` lies, in whole appends.

        In a bounded number of round trips, however much there is: ten for appends over 35 years.
        """
        if excess <= 0:
            return {}
        held = [i for i, part in enumerate(self._parts) if part.oldest >= 0]
        if len(held) < 2:
            return {i: self._within(i, excess) for i in held}
        return self._shared(*self._around(min(self._parts[i].oldest for i in held), excess), excess)

    def _around(self, begin: int, excess: int) -> tuple[_Marks, _Marks]:
        """Return where the appends of one ms begin and end: what is older is no more than the excess, with them it is
        more. The same twice when no ms has to be divided.
        """
        low, high = begin, begin + (1 << _BITS)
        older: _Marks = [(part.first, part.dropped) for part in self._parts]
        newer: _Marks = [(part.next, part.dropped + part.bytes) for part in self._parts]
        times = [begin + (1 << bit) for bit in range(_BITS)]
        while times and older != newer and self._size(older) < excess:
            for time, marks in zip(times, search_times(self._places, self._log, times), strict=True):
                if self._size(marks) > excess:
                    high, newer = time, marks
                    break
                low, older = time, marks
            times = sorted({low + (high - low) * number // _WAYS for number in range(1, _WAYS)} - {low})
        return older, newer

    def _shared(self, older: _Marks, newer: _Marks, excess: int) -> dict[int, int]:
        """Go on from the one towards the other, partition after partition, for as much as is left of the excess."""
        found, left = {i: offset for i, (offset, _) in enumerate(older)}, excess - self._size(older)
        for i, (begin, end) in enumerate(zip(older, newer, strict=True)):
            its = self._amount(i, end) - self._amount(i, begin)
            if its > left:
                found[i] = min(self._within(i, self._amount(i, begin) + left), end[0])
                break
            found[i], left = end[0], left - its
        return found

    def _within(self, partition: int, amount: int) -> int:
        """Return the last offset of a partition below which no more than that lies, in whole appends."""
        part = self._parts[partition]
        value = amount + (part.first if self._unit == "o" else part.dropped)
        return search(self._places, self._log, {partition: ("last", self._unit, value)})[partition][0]

    def _amount(self, partition: int, mark: tuple[int, int]) -> int:
        part, (offset, written) = self._parts[partition], mark
        return max(0, offset - part.first if self._unit == "o" else written - part.dropped)

    def _size(self, marks: _Marks) -> int:
        return sum(self._amount(i, mark) for i, mark in enumerate(marks))


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
