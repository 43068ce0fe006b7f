"""The schedules of one queue, by name and by their next tick."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Self

import msgspec

from holdfast.capabilities import Schedule, Tick, owned


class Kept(msgspec.Struct, eq=False):
    """A schedule with its ticks, and the ids of the jobs of those that were not seen to have ended yet."""

    schedule: Schedule
    ticks: dict[int, Tick]
    open: dict[int, str]


class QueueSchedules:
    """The schedules of one queue; ``nexts`` is in the order of their next ticks."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self.nexts: list[tuple[int, str]] = []

    @classmethod
    def of(cls, kept: Iterable[Kept]) -> Self:
        """Return these schedules."""
        schedules = cls()
        for one in kept:
            schedules.put(one.schedule)
            schedules.kept[one.schedule.name] = one
        return schedules

    def put(self, schedule: Schedule) -> None:
        """Keep a schedule in place of the one of its name."""
        kept = self.kept.get(schedule.name)
        if kept is None:
            self.kept[schedule.name] = Kept(schedule, {}, {})
        else:
            self._withdraw(kept.schedule)
            kept.schedule = schedule
        if schedule.next is not None:
            insort(self.nexts, (schedule.next, schedule.name))

    def remove(self, name: str) -> bool:
        """Forget a schedule and its ticks; tell whether it was there."""
        kept = self.kept.pop(name, None)
        if kept is not None:
            self._withdraw(kept.schedule)
        return kept is not None

    def _withdraw(self, schedule: Schedule) -> None:
        if schedule.next is not None:
            del self.nexts[bisect_left(self.nexts, (schedule.next, schedule.name))]

    def _fireable(self, places: range, own: Collection[str]) -> Iterator[Schedule]:
        """Yield those of the schedules in these places that are manual, or among ``own``."""
        schedules = (self.kept[self.nexts[place][1]].schedule for place in places)
        return (one for one in schedules if one.definition.source == "manual" or owned(one.queue, one.name) in own)

    def _later(self, now: int) -> int:
        """Return the place of the first tick after ``now``."""
        return bisect_left(self.nexts, (now + 1, ""))

    def due(self, now: int, own: Collection[str], limit: int) -> list[Schedule]:
        """Return the first that have come by ``now``."""
        return list(islice(self._fireable(range(self._later(now)), own), limit))

    def following(self, now: int | None, own: Collection[str]) -> int | None:
        """Return the first tick after ``now``, or of all; None for none."""
        places = range(0 if now is None else self._later(now), len(self.nexts))
        first = next(self._fireable(places, own), None)
        return None if first is None else first.next
