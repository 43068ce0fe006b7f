"""Looks after a worker's other threads, which cannot look at the clock while they wait for the store."""

from __future__ import annotations

from holdfast.clock import Clock
from holdfast.errors import HoldfastError
from holdfast.events import Events, Recovered, Stalled
from holdfast.heartbeat import Heartbeat
from holdfast.worker.crew import Crew
from holdfast.worker.fetcher import Fetcher
from holdfast.worker.options import WorkerOptions

MOST_STUCK = 3
"""A process with so many threads over their timeout is to end, so that its supervisor can start a new one."""


class Watchdog:
    """Tells of a worker that has been unable to lease, and of threads that are stuck. Belongs to one thread."""

    def __init__(
        self,
        *,
        fetcher: Fetcher,
        crew: Crew,
        heartbeat: Heartbeat,
        events: Events,
        options: WorkerOptions,
        clock: Clock,
    ) -> None:
        self._fetcher = fetcher
        self._crew = crew
        self._heartbeat = heartbeat
        self._events = events
        self._options = options
        self._clock = clock
        self._suspected: int | None = None
        self._stalled: int | None = None

    @property
    def stalled(self) -> bool:
        """Whether the worker has been unable to lease for so long that this was told."""
        return self._stalled is not None

    def look(self) -> None:
        """Look at everything once. ``HoldfastError`` when this process is not well and should end."""
        self._heartbeat.check()
        self._look_for_stall()
        stuck = self._crew.look_after()
        if stuck:
            self._fetcher.poke()  # their slots have been replaced
        if stuck >= MOST_STUCK and not self._options.embedded:
            raise HoldfastError(f"{stuck} threads are over their timeout and cannot be stopped: this process must end")

    def _look_for_stall(self) -> None:
        since, now = self._fetcher.troubled_since, self._clock.boot()
        if self._stalled is not None and since != self._stalled:
            self._events.emit(Recovered(self._heartbeat.holder, (now - self._stalled) / 1000))
            self._stalled = None
        elif self._stalled is None and since is not None and now - since >= self._options.stall_after * 1000:
            # Seen at two looks: after the machine has slept, every wait looks overdue until its thread has run.
            if self._suspected == since:
                self._stalled = since
                self._events.emit(Stalled(self._heartbeat.holder, (now - since) / 1000, self._fetcher.error))
            self._suspected = since
