"""What becomes of jobs, told by a store with an engine to those who wait: results, watches, progress."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from holdfast.capabilities import Progress, Results, Watch
from holdfast.delivery import ENDED, Outcome, Receipt, Report
from holdfast.machine import seen_state
from holdfast.stores.engine import commands
from holdfast.stores.engine.face import Face
from holdfast.stores.engine.watching import EngineWatch


class Outcomes(Face, Results, Progress):
    """What waiters ask of the store."""

    def outcomes(self, queue: str, job_ids: Sequence[str]) -> dict[str, Outcome]:
        with self._open():
            place = self._engine.places.get(queue)
            if place is None:
                return {}
            now = self._clock.wall()
            found = ((job_id, place.outcome(job_id, now)) for job_id in job_ids)
            return {job_id: outcome for job_id, outcome in found if outcome is not None}

    def report(self, reports: Sequence[Report]) -> list[Receipt]:
        with self._open():
            return self._do(self._engine.report, commands.Report(tuple(reports)))

    def watch(self) -> Watch:
        watch = EngineWatch(self)
        with self._open():
            self._watches.add(watch)
        return watch

    def forget(self, watch: EngineWatch) -> None:
        """Tell a watch of ends no more."""
        with self._lock:
            self._watches.discard(watch)

    def over(self, queue: str, job_ids: Collection[str]) -> list[str]:
        """Return those of the jobs that have ended, or do not exist."""
        with self._open():
            place, now = self._engine.places.get(queue), self._clock.wall()
            found = ((job_id, None if place is None else place.machine.heads.get(job_id)) for job_id in job_ids)
            return [job_id for job_id, head in found if head is None or seen_state(head, now) in ENDED]

    def until_expiry(self, queues: Collection[str]) -> float | None:
        """Write down what has expired in these queues; return the seconds until the next expiry, None for never."""
        with self._open():
            now, places = self._clock.wall(), self._engine.places
            self._catch_up(*queues)
            nexts = [places[queue].machine.next_expiry() for queue in queues if queue in places]
            return min(((expiry - now) / 1000 for expiry in nexts if expiry is not None), default=None)
