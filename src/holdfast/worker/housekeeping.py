"""What every worker does for the store beside its jobs: no leader is needed, and none is elected."""

from __future__ import annotations

import logging

from holdfast.clock import Clock
from holdfast.contract import QueueBackend
from holdfast.delivery import Tidied
from holdfast.errors import BackendError
from holdfast.events import Dropped, Events, Expired, Rescued, Retired
from holdfast.heartbeat import Heartbeat, gone_holders

logger = logging.getLogger("holdfast")

TIDY_EVERY = 1.0
RETIRE_EVERY = 2.0
"""Seconds between two rounds: a dead holder's jobs are back that long after its ttl, or its process, has ended."""
MOST_ROUNDS = 10


def tidy(backend: QueueBackend, events: Events) -> Tidied:
    """Do one round of tidying, and tell listeners what came of it."""
    tidied = backend.tidy()
    for event, count in ((Rescued, tidied.rescued), (Expired, tidied.expired), (Dropped, tidied.dead_dropped)):
        if count:
            events.emit(event(count))
    return tidied


class Housekeeping:
    """Tidies the store and retires holders whose process has gone, when it is time to. Belongs to one thread."""

    def __init__(self, backend: QueueBackend, heartbeat: Heartbeat, events: Events, clock: Clock) -> None:
        self._backend = backend
        self._heartbeat = heartbeat
        self._events = events
        self._clock = clock
        self._tidied: int | None = None
        self._retired: int | None = None

    @property
    def due_in(self) -> float:
        """The seconds until the next round."""
        if self._tidied is None:
            return 0.0
        return max(0.0, TIDY_EVERY - (self._clock.boot() - self._tidied) / 1000)

    def run(self) -> None:
        """Do what is due. A store that cannot do it is asked again in the next round."""
        if self.due_in > 0:
            return
        now = self._tidied = self._clock.boot()
        try:
            self._heartbeat.catch_up()  # or a machine that has slept would take its own jobs for those of the dead
            self._tidy()
            if self._retired is None or now - self._retired >= RETIRE_EVERY * 1000:
                self._retired = now
                self._retire()
        except BackendError as error:
            logger.debug("housekeeping is put off: %s", error)

    def _tidy(self) -> None:
        for _ in range(MOST_ROUNDS):
            if not tidy(self._backend, self._events).more:
                return

    def _retire(self) -> None:
        for holder in gone_holders(self._backend.holders()):
            jobs = self._backend.retire(holder.id, "its process has gone", None)
            self._events.emit(Retired(holder, jobs))
