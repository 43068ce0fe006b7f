"""Schedules in memory: kept, looked up by their next tick, fired in one step with their jobs."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterator, Sequence
from itertools import islice

import msgspec

from holdfast.capabilities import (
    DueSchedules,
    Firing,
    Planned,
    Schedule,
    Schedules,
    Tick,
    TickOutcome,
    owned,
    tick_id,
)
from holdfast.config import QueueSettings
from holdfast.delivery import ENDED, State
from holdfast.errors import QueueFull
from holdfast.machine import seen_state
from holdfast.message import Message, Stored
from holdfast.stores.memory.lent import Lent
from holdfast.stores.memory.queue import MemoryQueue


class _Kept(msgspec.Struct, eq=False):
    """A schedule with its ticks, and the ids of the jobs of those that were not seen to have ended yet."""

    schedule: Schedule
    ticks: dict[int, Tick]
    open: dict[int, str]


class QueueSchedules:
    """The schedules of one queue; ``nexts`` is in the order of their next ticks."""

    def __init__(self) -> None:
        self.kept: dict[str, _Kept] = {}
        self.nexts: list[tuple[int, str]] = []

    def put(self, schedule: Schedule) -> None:
        """Keep a schedule in place of the one of its name."""
        kept = self.kept.get(schedule.name)
        if kept is None:
            self.kept[schedule.name] = _Kept(schedule, {}, {})
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


class KeptSchedules(Lent, Schedules):
    """The capability; the backend lends the way to send and to cancel too."""

    _schedules: dict[str, QueueSchedules]

    def _check_body(self, queue: str, settings: QueueSettings, body: bytes) -> None:
        raise NotImplementedError

    def _send_tick(self, queue: str, message: Message, *, limited: bool) -> Stored:
        """Store the job of a tick; ``QueueFull`` when it is ``limited`` and there is no room for it."""
        raise NotImplementedError

    def cancel(self, queue: str, job_ids: Sequence[str], reason: str = "cancelled") -> dict[str, State]:
        raise NotImplementedError

    # -- keeping --------------------------------------------------------------------------------------------------

    def save_schedule(self, schedule: Schedule, version: int) -> Schedule | None:
        with self._open():
            place = self._place(schedule.queue)
            self._check_body(schedule.queue, place.machine.settings, schedule.definition.template.body)
            known = self._kept(schedule.queue, schedule.name)
            if version != (0 if known is None else known.schedule.version):
                return None
            created = self._clock.wall() if known is None else known.schedule.created
            saved = msgspec.structs.replace(schedule, version=version + 1, created=created, orphaned=False)
            self._schedules.setdefault(schedule.queue, QueueSchedules()).put(saved)
            return saved

    def remove_schedule(self, queue: str, name: str) -> bool:
        with self._open():
            return queue in self._schedules and self._schedules[queue].remove(name)

    def find_schedules(
        self, queue: str | None = None, name: str | None = None, *, limit: int = 1000, after: tuple[str, str] = ("", "")
    ) -> list[Schedule]:
        with self._open():
            found = [
                kept.schedule
                for place, schedules in sorted(self._schedules.items())
                if queue in (None, place)
                for its, kept in sorted(schedules.kept.items())
                if name in (None, its) and (place, its) > after
            ]
            return found[:limit]

    def ticks(self, queue: str, name: str, *, limit: int = 100, before: int | None = None) -> list[Tick]:
        with self._open():
            kept = self._kept(queue, name)
            newest = [] if kept is None else sorted(kept.ticks.items(), reverse=True)
            return [tick for instant, tick in newest if before is None or instant < before][:limit]

    def _kept(self, queue: str, name: str) -> _Kept | None:
        return self._schedules[queue].kept.get(name) if queue in self._schedules else None

    # -- what is due ----------------------------------------------------------------------------------------------

    def due_schedules(self, queues: Sequence[str], own: Collection[str] = (), *, limit: int = 100) -> DueSchedules:
        with self._open():
            now = self._clock.wall()
            here = [self._schedules[queue] for queue in queues if queue in self._schedules]
            due = [schedule for one in here for schedule in one.due(now, own, limit)]
            due.sort(key=lambda schedule: schedule.next or 0)
            return DueSchedules(tuple(due[:limit]), now, self._following(queues, own, now))

    def _following(self, queues: Collection[str], own: Collection[str], now: int | None) -> int | None:
        nexts = [self._schedules[queue].following(now, own) for queue in queues if queue in self._schedules]
        return min((one for one in nexts if one is not None), default=None)

    def _next_tick(self, queues: Collection[str], own: Collection[str]) -> float | None:
        """Return in how many seconds the next tick comes, None for never."""
        following = self._following(queues, own, None)
        return None if following is None else (following - self._clock.wall()) / 1000

    # -- firing ---------------------------------------------------------------------------------------------------

    def fire(self, firings: Sequence[Firing]) -> list[list[Tick] | None]:
        with self._open():
            return [self._fire(firing) for firing in firings]

    def _fire(self, firing: Firing) -> list[Tick] | None:
        kept = self._kept(firing.queue, firing.name)
        if kept is None or (kept.schedule.version, kept.schedule.next) != (firing.version, firing.expected):
            return None
        now, place = self._clock.wall(), self._place(firing.queue)
        kept.open = {tick: job for tick, job in kept.open.items() if not _has_ended(place, job, now)}
        ticks = [self._tick(kept, planned, now) for planned in firing.ticks if planned.tick not in kept.ticks]
        kept.ticks.update((tick.tick, tick) for tick in ticks)
        self._prune(kept, place.machine.settings.ticks_most)
        self._schedules[firing.queue].put(msgspec.structs.replace(kept.schedule, next=firing.next))
        return ticks

    def _tick(self, kept: _Kept, planned: Planned, now: int) -> Tick:
        outcome = self._outcome(kept, planned)
        job = tick_id(kept.schedule.queue, kept.schedule.name, planned.tick) if outcome is TickOutcome.SENT else None
        if job is not None:
            kept.open[planned.tick] = job
        return Tick(tick=planned.tick, outcome=outcome, job=job, at=now)

    def _outcome(self, kept: _Kept, planned: Planned) -> TickOutcome:
        """Send the job of a tick if that is to be; return what became of the tick."""
        schedule, overlap = kept.schedule, kept.schedule.definition.overlap
        if not planned.send:
            return TickOutcome.MISSED
        if kept.open and overlap == "skip":
            return TickOutcome.SKIPPED
        replaced = overlap == "replace" and self._replace_waiting(kept)
        job = tick_id(schedule.queue, schedule.name, planned.tick)
        try:
            message = planned.message or schedule.definition.template.message(job, planned.due)
            stored = self._send_tick(schedule.queue, message, limited=not replaced)
        except QueueFull:
            return TickOutcome.FULL
        if stored.id != job:
            return TickOutcome.SKIPPED
        if overlap == "replace":
            self.cancel(schedule.queue, list(kept.open.values()), _reason(schedule))
        return TickOutcome.SENT

    def _replace_waiting(self, kept: _Kept) -> bool:
        """Cancel the jobs of earlier ticks that wait; tell whether there were any, whose place the next job takes."""
        heads = self._place(kept.schedule.queue).machine.heads
        running = {tick: job for tick, job in kept.open.items() if job in heads and heads[job].state is State.RUNNING}
        waiting = [job for tick, job in kept.open.items() if tick not in running]
        self.cancel(kept.schedule.queue, waiting, _reason(kept.schedule))
        kept.open = running
        return bool(waiting)

    # -- retention ------------------------------------------------------------------------------------------------

    def _prune(self, kept: _Kept, most: int | None) -> None:
        surplus = 0 if most is None else len(kept.ticks) - most
        safe = [tick for tick in sorted(kept.ticks) if tick not in kept.open] if surplus > 0 else []
        for tick in safe[:surplus]:
            del kept.ticks[tick]

    def _drop_ticks(self, queue: str, keep_for: float | None, now: int, limit: int) -> int:
        """Remove up to ``limit`` ticks of a queue that are too old, and return how many."""
        if keep_for is None or queue not in self._schedules:
            return 0
        until = now - int(keep_for * 1000)
        old = [
            (kept, tick)
            for kept in self._schedules[queue].kept.values()
            for tick in kept.ticks
            if tick <= until and tick not in kept.open
        ][:limit]
        for kept, tick in old:
            del kept.ticks[tick]
        return len(old)


def _reason(schedule: Schedule) -> str:
    return f"replaced by the next tick of schedule {schedule.name}"


def _has_ended(place: MemoryQueue, job_id: str, now: int) -> bool:
    head = place.machine.heads.get(job_id)
    return head is None or seen_state(head, now) in ENDED
