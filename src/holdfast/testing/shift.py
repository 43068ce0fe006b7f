"""The engine as the test kit runs it: the worker of production, one job at a time, until nothing is ready."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from holdfast.delivery import Delivery
from holdfast.errors import Signal
from holdfast.events import BeforeBury, BeforeRetry, Events, Started
from holdfast.worker.context import Context
from holdfast.worker.handler import Handler
from holdfast.worker.outcomes import Outcomes
from holdfast.worker.runners.runner import Desk, Runner, Tally
from holdfast.worker.worker import LOOK_EVERY, Worker


class OneByOne(Worker):
    """Runs one job at a time, and leases the next when the store has written down what came of the last.

    Retries wait for their whole delay, without jitter: tests see the same every time. Isolated jobs run in this process
    too, where a test can look at what they did, and its overrides and its clock hold.
    """

    def _build(self, queues: list[str], handlers: dict[str, Handler], events: Events) -> None:
        here = {kind: msgspec.structs.replace(handler, isolated=None) for kind, handler in handlers.items()}
        super()._build(queues, here, events)

    def _hire(self, desk: Desk) -> list[Runner]:
        outcomes = Outcomes(desk.events, desk.clock, draw=lambda: 1.0)
        one = msgspec.structs.replace(desk, outcomes=outcomes, settle=self._settle_now)
        self._line = _Line(super()._hire(one))
        return [self._line]

    def _settle_now(self, delivery: Delivery) -> None:
        self._settler.put(delivery)
        settled = self._settler.mark()
        while not settled.wait(LOOK_EVERY) and not self._settler.join(0):
            pass  # a settler that was told to give up leaves marks behind
        self._line.ended += 1
        self._fetcher.poke()


class _Line:
    """One slot for all kinds; what runs a job is chosen by its kind."""

    slots = 1
    apart = False

    def __init__(self, runners: Sequence[Runner]) -> None:
        self._runners = runners
        self.kinds = frozenset[str]().union(*(runner.kinds for runner in runners))
        self.ended = 0

    def start(self) -> None:
        for runner in self._runners:
            runner.start()

    def opened(self) -> None:
        for runner in self._runners:
            runner.opened()

    def put(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            next(runner for runner in self._runners if delivery.kind in runner.kinds).put([delivery])

    def take_back(self, wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        return [delivery for runner in self._runners for delivery in runner.take_back(wanted)]

    def tally(self) -> Tally:
        return Tally(self.ended, 0.0)

    def running(self) -> list[Context]:
        return [context for runner in self._runners for context in runner.running()]

    def interrupt(self, contexts: Sequence[Context]) -> bool:
        return sum(runner.interrupt(contexts) for runner in self._runners) > 0

    def look_after(self) -> int:
        return sum(runner.look_after() for runner in self._runners)

    def stop(self) -> None:
        for runner in self._runners:
            runner.stop()

    def join(self, timeout: float | None = None) -> bool:
        return sum(not runner.join(timeout) for runner in self._runners) == 0


# -- what came of it ----------------------------------------------------------------------------------------------


class Failure(msgspec.Struct, frozen=True):
    """A run that failed: which, and with what. ``delay`` is the seconds until the next try, None when it was buried."""

    task: str
    job_id: str
    attempt: int
    error: BaseException | None
    delay: float | None = None
    reason: str | None = None


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """What workers did, in runs; ``expired`` counts jobs and ``ticks`` those of schedules. Reports can be added.

    ``errors`` has every failure in order, those that will be tried again included.
    """

    done: int = 0
    retried: int = 0
    buried: int = 0
    cancelled: int = 0
    expired: int = 0
    ticks: int = 0
    errors: tuple[Failure, ...] = ()

    @property
    def runs(self) -> int:
        """How many runs there were."""
        return self.done + self.retried + self.buried + self.cancelled

    def __add__(self, other: Drained) -> Drained:
        """Return what two did together."""
        return Drained(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


class Ear:
    """Listens while jobs run. ``failed`` is called, in the thread of the run, for each failure, before it is settled.

    Signals that handlers raise are decisions and no failures.
    """

    def __init__(self, events: Events, failed: Callable[[], None]) -> None:
        self.failures: list[Failure] = []
        self.last: Delivery | None = None
        self._failed = failed
        self._ends = [
            events.listen(BeforeRetry, lambda event: self._note(event, delay=event.delay)),
            events.listen(BeforeBury, lambda event: self._note(event, reason=event.reason)),
            events.listen(Started, self._started),
        ]

    def close(self) -> None:
        """Listen no more."""
        for end in self._ends:
            end()

    def _started(self, event: Started) -> None:
        self.last = event.job

    def _note(self, event: BeforeRetry | BeforeBury, **fate: Any) -> None:
        if not isinstance(event.error, Signal):
            job = event.job
            self.failures.append(Failure(job.kind, job.id, job.attempt, event.error, **fate))
            self._failed()
