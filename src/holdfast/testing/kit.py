"""The test kit: an App on a fresh store in memory, with a clock that tests move, run by the engine of production."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from holdfast.app import App
from holdfast.capabilities import JobFilter
from holdfast.delivery import JobView, State
from holdfast.errors import UsageError
from holdfast.events import Expired
from holdfast.message import Seconds, instant, seconds
from holdfast.schedule.ticker import Ticker
from holdfast.tasks.task import Task
from holdfast.testing.clock import MovableClock
from holdfast.testing.enqueued import Enqueued, RecordingStore, Wanted, enqueued
from holdfast.testing.faults import Faults
from holdfast.testing.feeding import StreamsInMemory, feed
from holdfast.testing.shift import Drained, Ear, OneByOne
from holdfast.worker.options import Stopped
from holdfast.worker.tidying import tidy_all

MOST_RUNS = 10_000
PATIENCE = 30.0


def harness(
    app: App,
    *,
    start: datetime | None = None,
    raise_errors: bool = False,
    most: int = MOST_RUNS,
    patience: float = PATIENCE,
) -> Kit:
    """Return a kit for ``app``, whatever its URL: ``with harness(app) as kit:``. Nothing is opened before the block.

    The clock begins at ``start``, by default the present. With ``raise_errors``, a failure of a handler is raised by
    the ``drain`` or ``advance`` that ran it; else it is recorded and tried again as in production. ``most`` bounds the
    runs of a drain, ``patience`` its real seconds.
    """
    return Kit(app, start=start, raise_errors=raise_errors, most=most, patience=patience)


class Kit:
    """In the block its App lives on an empty memory store and a clock that stands still until a test moves it.

    Everything else is that of production: bodies are encoded and decoded, the worker leases, runs, retries and
    settles. Nothing runs by itself: :meth:`drain` and :meth:`advance` do it, one job at a time, in the order of the
    queues, so that a test sees the same every time. Retries wait for the whole delay of their ``Retry``, without
    jitter. The block belongs to one test: it may be nested, and other threads may use the App, but not outside it.
    """

    def __init__(self, app: App, *, start: datetime | None, raise_errors: bool, most: int, patience: float) -> None:
        self.app = app
        self._start = None if start is None else instant(start, "start")
        self.raise_errors = raise_errors
        self._most, self._patience = most, patience
        self._working = threading.Lock()
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        self.clock = MovableClock(self._start, ticking=False)
        """The App's clock; it moves only when told to. ``clock.move`` inside a handler makes its run take that long."""
        self._store = RecordingStore(self.clock)
        self.faults = Faults()
        """Makes the store fail on command: ``kit.faults.fail("send")``."""
        self._exits.enter_context(self.app._life.lend(self.faults.wrap(self._store), self.clock))
        self._exits.callback(self.faults.mend)
        self._tickers: dict[tuple[str, ...], Ticker] = {}
        self._streams = StreamsInMemory()
        try:
            if self.app.schedules.of_code():
                self.app.schedules.register()
        except BaseException:
            self._exits.close()  # or the App would stay here for ever
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    # -- running --------------------------------------------------------------------------------------------------

    def drain(self) -> Drained:
        """Run what is ready, and what becomes ready at this instant by it, until nothing is; return what came of it.

        A message that was appended to a log, or an entry added to a stream, becomes a job of each of its consumers.

        Blocks until then, and never sleeps. ``AssertionError`` when that takes more runs or seconds than the kit
        allows: a job that sends itself again, or one that hangs.
        """
        with self._alone():
            return self._drain()

    def advance(self, length: Seconds) -> Drained:
        """Let so much time pass while workers work: whatever is due on the way runs at its own instant, in order.

        Delays, retries, expiries, schedules and retention come to pass as they would; what is ready now runs now.
        """
        until = self.clock.wall() + round(seconds(length, "the time to advance") * 1000)
        with self._alone():
            report = self._drain()
            while (instant := self._next_instant()) is not None and instant <= until:
                self._move_to(instant)
                report += self._drain()
            self._move_to(until)
            return report + self._drain()

    def leap(self, length: Seconds) -> None:
        """Let so much time pass at once while nobody works, as if all workers were down; nothing runs."""
        self.clock.move(seconds(length, "the time to leap"))

    async def adrain(self) -> Drained:
        """Do as ``drain`` does, blocking no event loop: for handlers that need something of the test's own loop."""
        from asyncio import to_thread

        return await to_thread(self.drain)

    async def aadvance(self, length: Seconds) -> Drained:
        """Do as ``advance`` does, blocking no event loop."""
        from asyncio import to_thread

        return await to_thread(self.advance, length)

    def add(self, stream: str, /, **fields: str | bytes) -> str:
        """Add an entry to a stream, as the programs do that fill it; return its id. The next ``drain`` runs what
        consumes it: every group has all entries, whatever its ``start``.
        """
        return self._streams.add(stream, fields, self.clock.wall())

    # -- looking --------------------------------------------------------------------------------------------------

    def enqueued(self, task: Task[..., Any] | str | None = None) -> list[Enqueued]:
        """Return the calls that were stored since the block began, in order, whatever has become of them.

        Those of one task, by itself or by name, or all. Follow-ups count, retries do not.
        """
        name = task.name if isinstance(task, Task) else task
        calls = [enqueued(self.app.tasks, sent) for sent in self._store.calls()]
        return [call for call in calls if name in (None, call.task)]

    def assert_enqueued(self, task: Task[..., Any], *args: Any, **kwargs: Any) -> None:
        """Fail unless a call of ``task`` was stored with these arguments; without any, with whatever arguments.

        ``task.using(…)`` asks for these options too: ``kit.assert_enqueued(send.using(delay=60), 42)``.
        """
        __tracebackhide__ = True
        wanted = Wanted(self.app.tasks, task, args, kwargs)
        if not any(wanted.matches(call) for call in self.enqueued()):
            raise AssertionError(f"no call {wanted} was enqueued; there {self._said()}")

    def assert_not_enqueued(self, task: Task[..., Any], *args: Any, **kwargs: Any) -> None:
        """Fail if such a call was stored; see ``assert_enqueued``."""
        __tracebackhide__ = True
        wanted = Wanted(self.app.tasks, task, args, kwargs)
        if any(wanted.matches(call) for call in self.enqueued()):
            raise AssertionError(f"a call {wanted} was enqueued; there {self._said()}")

    def jobs(
        self, task: Task[..., Any] | str | None = None, *, state: State | str | None = None, queue: str | None = None
    ) -> list[JobView]:
        """Return the jobs there are, those that ended included, in the order of sending, with their runs."""
        kind = task.name if isinstance(task, Task) else task
        only = JobFilter(states=tuple(State) if state is None else (State(state),), kind=kind)
        names = sorted(self._store.queues()) if queue is None else [queue]
        found = [view for name in names for view in self._browse(name, only)]
        return sorted(found, key=lambda view: self._order[view.queue, view.id])

    def dead(self, task: Task[..., Any] | str | None = None) -> list[JobView]:
        """Return the dead letters: ``reason`` says why, ``runs[-1].error`` with what."""
        return self.jobs(task, state=State.DEAD)

    # -- inside ---------------------------------------------------------------------------------------------------

    @property
    def _order(self) -> dict[tuple[str, str], int]:
        return {(sent.queue, sent.message.id): number for number, sent in enumerate(self._store.sent)}

    def _browse(self, queue: str, only: JobFilter) -> Iterator[JobView]:
        page = self._store.browse(queue, only, limit=1000)
        while True:
            yield from (view for job in page.jobs if (view := self._store.get(queue, job.id)) is not None)
            if page.cursor is None:
                return
            page = self._store.browse(queue, only, limit=1000, cursor=page.cursor)

    def _said(self) -> str:
        calls = [str(call) for call in self.enqueued()]
        listed = "\n  ".join(calls[:20])
        more = f"\n  and {len(calls) - 20} more" if len(calls) > 20 else ""
        return f"were:\n  {listed}{more}" if calls else "was none"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._working.acquire(blocking=False):
            raise UsageError("this kit is running jobs already: a handler cannot drain, and two cannot at once")
        try:
            yield
        finally:
            self._working.release()

    @property
    def _ticker(self) -> Ticker:
        """What fires the schedules of all queues there are, those of code included; made again when there are more."""
        tasks = (task.queue for task in self.app.tasks.values())
        queues = tuple(sorted({*tasks, *self.app.schedules.queues(), *self._store.queues()}))
        known = (*queues, str(len(self.app.schedules.of_code())))
        if known not in self._tickers:
            self._tickers = {known: self.app.schedules.ticker(queues)}
        return self._tickers[known]

    def _next_instant(self) -> int | None:
        tick = self._ticker.next_in()
        instants = (self._store.next_change(), None if tick is None else self.clock.wall() + round(tick * 1000))
        return min((instant for instant in instants if instant is not None), default=None)

    def _move_to(self, instant: int) -> None:
        if (left := instant - self.clock.wall()) > 0:
            self.clock.move(left / 1000)

    def _drain(self) -> Drained:
        expired: list[Expired] = []
        forget = self.app.listen(Expired, expired.append)
        report = Drained()
        try:
            while True:
                feed(self.app, self._store, self._streams)
                report += Drained(ticks=self._ticker.tick())
                tidy_all(self._store, self.app.events, threading.Event())
                shift = self._shift(self._most - report.runs)
                report += shift
                if not shift.runs:
                    return report + Drained(expired=sum(event.count for event in expired))
        finally:
            forget()

    def _shift(self, most: int) -> Drained:
        """Let one worker run what is ready, until nothing is; without a run there was nothing."""
        if not self._store.is_ready([*self.app.tasks, *self.app.tasks.event_kinds]):
            return Drained()
        if most <= 0:
            raise AssertionError(f"jobs are still ready after {self._most} runs: does one send itself again?")
        worker = self.app._worker(
            OneByOne,
            sorted(self._store.queues()),
            {"concurrency": 1, "drain": True, "max_jobs": most},
            consuming=False,
        )
        ear = Ear(self.app.events, worker.stop if self.raise_errors else lambda: None)
        try:
            stopped = self._join(worker, ear)
        finally:
            ear.close()
        failed = next((failure.error for failure in ear.failures if failure.error is not None), None)
        if self.raise_errors and failed is not None:
            raise failed
        return Drained(
            done=stopped.done,
            retried=stopped.retried,
            buried=stopped.buried,
            cancelled=stopped.cancelled,
            errors=tuple(ear.failures),
        )

    def _join(self, worker: OneByOne, ear: Ear) -> Stopped:
        worker.start()
        try:
            stopped = worker.join(self._patience)
        finally:
            worker.stop(now=True)  # it has ended, unless this test was interrupted or has no patience left
        if stopped is None:
            last = "" if ear.last is None else f"; the last to start was {ear.last.kind} {ear.last.id}"
            raise AssertionError(f"jobs were still running after {self._patience:g} s{last}")
        return stopped
