"""How an engine keeps schedules, and fires them in one step with their jobs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from holdfast.capabilities import DueSchedules, Firing, Planned, Schedule, Tick, TickOutcome, tick_id
from holdfast.delivery import ENDED, State
from holdfast.errors import QueueFull
from holdfast.machine import seen_state
from holdfast.message import Message
from holdfast.stores.engine import commands
from holdfast.stores.engine.commands import At
from holdfast.stores.engine.operating import Operating
from holdfast.stores.engine.place import Place
from holdfast.stores.engine.sending import Sending
from holdfast.stores.engine.ticking import Kept, QueueSchedules


class Scheduling(Sending, Operating):
    """Schedules: kept, looked up by their next tick, fired."""

    def save_schedule(self, command: commands.SaveSchedule, at: At) -> Schedule | None:
        schedule, known = command.schedule, self.kept(command.schedule.queue, command.schedule.name)
        self.place(schedule.queue)
        if command.version != (0 if known is None else known.schedule.version):
            return None
        created = at.wall if known is None else known.schedule.created
        saved = msgspec.structs.replace(schedule, version=command.version + 1, created=created, orphaned=False)
        self.schedules.setdefault(schedule.queue, QueueSchedules()).put(saved)
        return saved

    def remove_schedule(self, command: commands.RemoveSchedule, at: At) -> bool:
        return command.queue in self.schedules and self.schedules[command.queue].remove(command.name)

    def kept(self, queue: str, name: str) -> Kept | None:
        """Return a schedule with its ticks; None when there is none."""
        return self.schedules[queue].kept.get(name) if queue in self.schedules else None

    # -- what is due ----------------------------------------------------------------------------------------------

    def due_schedules(self, queues: Sequence[str], own: Collection[str], limit: int, now: int) -> DueSchedules:
        """Return what these queues have to fire."""
        here = [self.schedules[queue] for queue in queues if queue in self.schedules]
        due = [schedule for one in here for schedule in one.due(now, own, limit)]
        due.sort(key=lambda schedule: schedule.next or 0)
        return DueSchedules(tuple(due[:limit]), now, self._following(queues, own, now))

    def _following(self, queues: Collection[str], own: Collection[str], now: int | None) -> int | None:
        nexts = [self.schedules[queue].following(now, own) for queue in queues if queue in self.schedules]
        return min((one for one in nexts if one is not None), default=None)

    def next_tick(self, queues: Collection[str], own: Collection[str], now: int) -> float | None:
        """Return in how many seconds the next tick comes, None for never."""
        following = self._following(queues, own, None)
        return None if following is None else (following - now) / 1000

    # -- firing ---------------------------------------------------------------------------------------------------

    def with_messages(self, firing: Firing) -> Firing:
        """Return a firing that can be carried out with the message of each tick that is to send."""
        kept = self.kept(firing.queue, firing.name)
        if kept is None or not _is_current(kept, firing):
            return firing
        return msgspec.structs.replace(firing, ticks=tuple(_with_message(kept.schedule, one) for one in firing.ticks))

    def fire(self, command: commands.Fire, at: At) -> list[list[Tick] | None]:
        number, answers = at.first, list[list[Tick] | None]()
        for firing in command.firings:
            answers.append(self._fire(firing, number, at))
            number += sum(planned.message is not None for planned in firing.ticks)
        return answers

    def _fire(self, firing: Firing, number: int, at: At) -> list[Tick] | None:
        kept = self.kept(firing.queue, firing.name)
        if kept is None or not _is_current(kept, firing):
            return None
        place = self.place(firing.queue)
        kept.open = {tick: job for tick, job in kept.open.items() if not _has_ended(place, job, at.wall)}
        ticks = []
        for planned in firing.ticks:
            if planned.tick not in kept.ticks:
                ticks.append(self._tick(kept, planned, number, at.wall))
            number += planned.message is not None
        kept.ticks.update((tick.tick, tick) for tick in ticks)
        self._prune(kept, place.machine.settings.ticks_most)
        self.schedules[firing.queue].put(msgspec.structs.replace(kept.schedule, next=firing.next))
        return ticks

    def _tick(self, kept: Kept, planned: Planned, number: int, now: int) -> Tick:
        outcome = self._outcome(kept, planned, number, now)
        job = tick_id(kept.schedule.queue, kept.schedule.name, planned.tick) if outcome is TickOutcome.SENT else None
        if job is not None:
            kept.open[planned.tick] = job
        return Tick(tick=planned.tick, outcome=outcome, job=job, at=now)

    def _outcome(self, kept: Kept, planned: Planned, number: int, now: int) -> TickOutcome:
        """Send the job of a tick if that is to be; return what became of the tick."""
        schedule, overlap, message = kept.schedule, kept.schedule.definition.overlap, planned.message
        if not planned.send or message is None:
            return TickOutcome.MISSED
        if kept.open and overlap == "skip":
            return TickOutcome.SKIPPED
        replaced = overlap == "replace" and self._replace_waiting(kept, now)
        try:
            sent = self._send_tick(schedule.queue, message, number, now, limited=not replaced)
        except QueueFull:
            return TickOutcome.FULL
        if sent != tick_id(schedule.queue, schedule.name, planned.tick):
            return TickOutcome.SKIPPED
        if overlap == "replace":
            self.cancel_jobs(schedule.queue, list(kept.open.values()), _reason(schedule), now)
        return TickOutcome.SENT

    def _send_tick(self, queue: str, message: Message, number: int, now: int, *, limited: bool) -> str:
        store = self.store_limited if limited else self.store
        [(job_id, _)] = store(queue, [message], number, now)
        return job_id

    def _replace_waiting(self, kept: Kept, now: int) -> bool:
        """Cancel the jobs of earlier ticks that wait; tell whether there were any, whose place the next job takes."""
        heads = self.place(kept.schedule.queue).machine.heads
        running = {tick: job for tick, job in kept.open.items() if job in heads and heads[job].state is State.RUNNING}
        waiting = [job for tick, job in kept.open.items() if tick not in running]
        self.cancel_jobs(kept.schedule.queue, waiting, _reason(kept.schedule), now)
        kept.open = running
        return bool(waiting)

    # -- retention ------------------------------------------------------------------------------------------------

    def _prune(self, kept: Kept, most: int | None) -> None:
        surplus = 0 if most is None else len(kept.ticks) - most
        safe = [tick for tick in sorted(kept.ticks) if tick not in kept.open] if surplus > 0 else []
        for tick in safe[:surplus]:
            del kept.ticks[tick]

    def drop_ticks(self, queue: str, keep_for: float | None, now: int, limit: int) -> int:
        """Remove up to ``limit`` ticks of a queue that are too old, and return how many."""
        if keep_for is None or queue not in self.schedules:
            return 0
        until = now - int(keep_for * 1000)
        old = [
            (kept, tick)
            for kept in self.schedules[queue].kept.values()
            for tick in kept.ticks
            if tick <= until and tick not in kept.open
        ][:limit]
        for kept, tick in old:
            del kept.ticks[tick]
        return len(old)


def _is_current(kept: Kept, firing: Firing) -> bool:
    return (kept.schedule.version, kept.schedule.next) == (firing.version, firing.expected)


def _with_message(schedule: Schedule, planned: Planned) -> Planned:
    if not planned.send or planned.message is not None:
        return planned
    job = tick_id(schedule.queue, schedule.name, planned.tick)
    return msgspec.structs.replace(planned, message=schedule.definition.template.message(job, planned.due))


def _reason(schedule: Schedule) -> str:
    return f"replaced by the next tick of schedule {schedule.name}"


def _has_ended(place: Place, job_id: str, now: int) -> bool:
    head = place.machine.heads.get(job_id)
    return head is None or seen_state(head, now) in ENDED
