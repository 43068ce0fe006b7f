"""The schedules that an engine keeps, as the contract has them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from holdfast.capabilities import DueSchedules, Firing, Schedule, Schedules, Tick
from holdfast.stores.engine import commands
from holdfast.stores.engine.face import Face


class KeptSchedules(Face, Schedules):
    """The capability."""

    def save_schedule(self, schedule: Schedule, version: int) -> Schedule | None:
        with self._open(durable=True):
            self._engine.check_bodies(schedule.queue, [schedule.definition.template.body])
            return self._do(self._engine.save_schedule, commands.SaveSchedule(schedule, version))

    def remove_schedule(self, queue: str, name: str) -> bool:
        with self._open(durable=True):
            return self._do(self._engine.remove_schedule, commands.RemoveSchedule(queue, name))

    def find_schedules(
        self, queue: str | None = None, name: str | None = None, *, limit: int = 1000, after: tuple[str, str] = ("", "")
    ) -> list[Schedule]:
        with self._open():
            found = [
                kept.schedule
                for place, schedules in sorted(self._engine.schedules.items())
                if queue in (None, place)
                for its, kept in sorted(schedules.kept.items())
                if name in (None, its) and (place, its) > after
            ]
            return found[:limit]

    def ticks(self, queue: str, name: str, *, limit: int = 100, before: int | None = None) -> list[Tick]:
        with self._open():
            kept = self._engine.kept(queue, name)
            newest = [] if kept is None else sorted(kept.ticks.items(), reverse=True)
            return [tick for instant, tick in newest if before is None or instant < before][:limit]

    def due_schedules(self, queues: Sequence[str], own: Collection[str] = (), *, limit: int = 100) -> DueSchedules:
        with self._open():
            return self._engine.due_schedules(queues, own, limit, self._clock.wall())

    def fire(self, firings: Sequence[Firing]) -> list[list[Tick] | None]:
        with self._open(durable=True):
            ready = tuple(map(self._engine.with_messages, firings))
            papers = sum(planned.message is not None for firing in ready for planned in firing.ticks)
            return self._do(self._engine.fire, commands.Fire(ready), papers)
