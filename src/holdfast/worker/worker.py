"""A worker: leases jobs, runs them, settles them, and ends in order."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Self

from holdfast.clock import SYSTEM, Clock
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, Beat, Burial, Cancellation, Command, Crash, GiveBack, HolderInfo, Nack, Settlement
from holdfast.errors import HoldfastError, UsageError
from holdfast.events import Events
from holdfast.heartbeat import Heartbeat, this_process
from holdfast.transactions import is_done
from holdfast.worker.consuming.backend import rest, store_behind
from holdfast.worker.context import Context
from holdfast.worker.crew import Crew
from holdfast.worker.fetcher import Fetcher
from holdfast.worker.gates import Gatekeeper, Gates
from holdfast.worker.handler import Handler
from holdfast.worker.health import Health, describe
from holdfast.worker.hiring import hire, serve_lanes
from holdfast.worker.housekeeping import Housekeeping
from holdfast.worker.inside import check_worker
from holdfast.worker.leases import Leases
from holdfast.worker.opening import Opening
from holdfast.worker.options import Stopped, WorkerOptions
from holdfast.worker.orders import Orders
from holdfast.worker.outcomes import Outcomes, complete_in
from holdfast.worker.published import Condition, Published
from holdfast.worker.runners.runner import Desk, Runner
from holdfast.worker.runners.threads import MAX_REPLACED
from holdfast.worker.services import Service, Services
from holdfast.worker.settler import Settler
from holdfast.worker.watchdog import Watchdog

LOOK_EVERY = 1.0
MOST_SILENT = 10.0
"""Seconds after which a worker whose own thread has not turned is thought dead."""
LAST_CALL = 1.8
"""Seconds left, when the grace is over, for what was cancelled to end, results to settle and the holder to retire."""


class Worker:
    """Works on ``queues`` with ``handlers`` until it is stopped. A worker is used once.

    ``start``, ``stop`` and ``join``, or ``with worker:``, are for a worker inside another program; ``async with`` does
    the same and never blocks its event loop. ``run`` is all three, with signals, for a process of its own. They may be
    called from any thread, ``run`` from the main one.

    ``services`` run beside its jobs: they start with the worker and stop when it begins to stop. One that cannot start
    ends the worker with its error.
    """

    def __init__(
        self,
        backend: QueueBackend,
        queues: Sequence[str],
        handlers: Iterable[Handler],
        *,
        events: Events | None = None,
        options: WorkerOptions | None = None,
        clock: Clock = SYSTEM,
        services: Sequence[Service] = (),
    ) -> None:
        by_kind = {handler.kind: handler for handler in handlers}
        if not queues or not by_kind:
            raise UsageError("a worker needs at least one queue and one handler")
        self._backend = backend
        self._clock = clock
        self._options = options or WorkerOptions()
        events = events or Events()
        self._logger = events.logger
        self._services = Services(services, events.logger)
        self._build(list(queues), by_kind, events)
        self._started = self._stopping = self._hurried = False
        self._turned = time.monotonic()
        self._told: Command | None = None
        self._error: BaseException | None = None
        self._report: Stopped | None = None
        self._calls: SimpleQueue[None] = SimpleQueue()  # whose put, unlike Event.set, is safe in a signal handler
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, name="holdfast-worker", daemon=True)
        clock.on_move(self._call)

    def _build(self, queues: list[str], handlers: dict[str, Handler], events: Events) -> None:
        backend, clock, options = self._backend, self._clock, self._options
        store = store_behind(backend)
        self._settler = settler = Settler(backend, events, self._settled, store=store)
        outcomes = Outcomes(events, clock, committed=partial(is_done, store))
        self._published = published = Published(clock)
        complete = partial(complete_in, store, handlers)
        self._desk = desk = Desk(
            handlers, outcomes, events, clock, settler.put, self._fail, settler.report, published, complete
        )
        prefetch = 0.0 if options.embedded else options.prefetch
        runners = self._hire(desk)
        lanes = serve_lanes(options.lanes, queues, runners, desk)
        self._most = sum(runner.slots + MAX_REPLACED for runner in (*runners, *(lane.runner for lane in lanes)))
        self._gatekeeper = Gatekeeper(handlers, events, self._gates_changed)
        self._crew = Crew(runners, settler, prefetch, clock, lanes=lanes, closed=self._gatekeeper.closed)
        self._opening = Opening(handlers.values(), self._crew, self._call, events.logger)
        orders = Orders(
            self._crew, settler, handlers, events, describe=self._describe, heard=self._heard, published=published
        )
        holder = self._services.introduce(this_process(options.name, options.ttl, supervised=options.supervised))
        self._heartbeat = Heartbeat(backend, holder, owner=orders, clock=clock, logger=events.logger)
        self._leases = Leases(backend, self._heartbeat, events, queues, frozenset(handlers))
        self._fetcher = Fetcher(
            leases=self._leases,
            crew=self._crew,
            settler=settler,
            housekeeping=Housekeeping(backend, self._heartbeat, events, clock),
            options=options,
            clock=clock,
            ended=self._fetched,
        )
        self._watchdog = Watchdog(
            fetcher=self._fetcher,
            crew=self._crew,
            heartbeat=self._heartbeat,
            events=events,
            options=options,
            clock=clock,
        )

    def _hire(self, desk: Desk) -> list[Runner]:
        """Return what runs the jobs; the test kit hires others."""
        return hire(desk, self._options.concurrency, self._options.processes)

    # -- what its owner calls -------------------------------------------------------------------------------------

    @property
    def holder(self) -> str:
        """The id under which it holds leases now."""
        return self._heartbeat.holder

    def heed(self, gates: Gates) -> None:
        """Lease no kind whose gate there is closed. To be called before ``start``."""
        self._gatekeeper.gates = gates

    def start(self, ready: Callable[[], None] = lambda: None) -> None:
        """Start working. Returns at once, whether or not the store can be reached.

        ``ready`` is called from a thread of the worker when all that handlers need is open, before the first lease.
        """
        check_worker()
        if self._started:
            raise UsageError("this worker has been started before; make a new one")
        self._started = True
        self._ready = ready
        self._thread.start()

    def stop(self, *, now: bool = False) -> None:
        """Begin to stop and return at once; ``now`` leaves running jobs no grace. Both may be called again."""
        if self._ended.is_set():
            return
        self._stopping = True
        if now:
            self._hurried = True
        self._fetcher.stop()
        self._call()

    def quiet(self) -> None:
        """Lease nothing more: what has not started goes back unburned, what runs goes on, and the worker stays."""
        if not self._crew.quiet:
            self._crew.quiet = True
            self._fetcher.look_again()  # what wakes its wait from here on is for others
            rest(self._backend, resting=True)
            self._settler.give_back(self._crew.take_back(lambda _: True))
            self._heartbeat.hurry()

    def work(self) -> None:
        """Lease again after ``quiet``."""
        if self._crew.quiet:
            self._crew.quiet = False
            rest(self._backend, resting=False)
            self._fetcher.look_again()
            self._heartbeat.hurry()

    def health(self) -> Health:
        """Tell how it is. Never blocks."""
        if ill := self._is_ill():
            return Health(live=False, ready=False, why=ill)
        hindered = self._is_hindered()
        return Health(live=True, ready=not hindered, why=hindered)

    def join(self, timeout: float | None = None) -> Stopped | None:
        """Wait for the worker to end; return what it did, None when it has not ended after ``timeout`` seconds.

        Raises the error that ended it, if one did; ``HoldfastError`` for one that would end the caller too.
        """
        if self._started and not self._ended.wait(timeout):
            return None
        if self._error is not None:
            raise self._error
        return self._report or Stopped()

    def linger(self, timeout: float | None = None) -> bool:
        """Wait, after ``join``, for jobs in threads that could not be stopped; tell whether all have ended."""
        if self._report is None or not self._report.abandoned:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def forget(self) -> None:
        """Be over, in the child of a fork: what works here belongs to the parent, and no lock of it is taken."""
        self._started = True
        self._ended = threading.Event()
        self._ended.set()

    @property
    def published(self) -> str:
        """The path of what it tells whoever outlives it; empty without one."""
        return self._published.path

    def abandoned(self) -> list[Settlement]:
        """Return what settles the runs that still go on, to be carried out once this process has gone.

        Those over their timeout have timed out, which listeners are told now; all others go back unburned.
        """
        desk = self._desk
        return [desk.outcomes.abandoned(desk.handlers[context.kind], context) for context in self._crew.running()]

    def run(self) -> Stopped:
        """Work until SIGTERM or SIGINT, or until drained; a second signal leaves running jobs no grace.

        Jobs that are ``abandoned`` then still run in this process's threads: end it with ``os._exit``.
        """
        with _signals(self._on_signal):
            self.start()
            # A wait without end may miss a signal that the kernel gave to another thread.
            while (report := self.join(LOOK_EVERY / 4)) is None:
                pass
            return report

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.stop(now=self._stopping)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.join()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        from asyncio import to_thread

        self.stop()
        await to_thread(self.join)

    # -- how it is ------------------------------------------------------------------------------------------------

    def _is_ill(self) -> str:
        if self._ended.is_set():
            return "it has ended"
        silent = time.monotonic() - self._turned
        if self._thread.is_alive() and silent > MOST_SILENT:
            return f"its own thread has not turned for {silent:.0f} s"
        threads = (
            ("fetcher", self._fetcher.died),
            ("settler", self._settler.died),
            ("heartbeat", self._heartbeat.died),
        )
        died = [name for name, has_died in threads if has_died]
        return f"its {' and its '.join(died)} died" if died and not self._stopping else ""

    def _is_hindered(self) -> str:
        if not self._started:
            return "it has not been started"
        if self._stopping:
            return "it is stopping"
        if self._crew.quiet:
            return "it is quiet"
        if not self._opening.done:
            return "it opens what its jobs need"
        if self._watchdog.stalled:
            return f"it cannot lease: {self._fetcher.error or 'the store does not answer'}"
        return ""

    def _describe(self, holder: HolderInfo) -> HolderInfo:
        state = "stopping" if self._stopping else "quiet" if self._crew.quiet else "working"
        return describe(holder, self._crew, state, self._clock)

    # -- what its threads call ------------------------------------------------------------------------------------

    def _heard(self, answer: Beat) -> None:
        """Do what was asked from afar. It comes with every beat, and only what is new ends what the program asked."""
        told, self._told = self._told, answer.command
        match answer.command:
            case "quiet":
                self.quiet()
            case "work" if told != "work":
                self.work()
            case "stop":
                self.stop()
        self._services.heard(answer)

    def _settled(self) -> None:
        self._fetcher.poke()
        if self._stopping:
            self._call()

    def _gates_changed(self, closed: frozenset[str]) -> None:
        self._settler.give_back(self._crew.take_back(lambda delivery: delivery.kind in closed))
        self._fetcher.look_again()
        self._call()

    def _fetched(self, error: BaseException | None) -> None:
        if error is None:
            self.stop()
        else:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        known = isinstance(error, HoldfastError)  # its message says what to do, which a traceback would bury
        self._logger.error("worker %s must end: %s", self.holder, error, exc_info=None if known else error)
        if not isinstance(error, Exception):  # SystemExit and its like must not end whoever joins this worker
            wrapped = HoldfastError(f"worker {self.holder} was ended by {error!r}")
            wrapped.__cause__, error = error, wrapped
        self._error = self._error or error
        self.stop()

    # -- its own thread -------------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            self._work()
            self._stop_leasing()
            self._wait_for_runs()
            last_call = time.monotonic() + LAST_CALL
            self._interrupt_runs(last_call)
            self._settle_and_retire(last_call)
        except BaseException as error:
            self._fail(error)
        finally:
            self._ended.set()
        self._stay_for_abandoned()

    def _work(self) -> None:
        self._publish()
        self._settler.start()
        try:
            self._open()
            self._ask_gates()
            self._fetcher.start()  # ends at once after a stop
            if not self._stopping:
                self._services.start()
            while not self._stopping:
                self._published.show(self._condition)
                self._rest(LOOK_EVERY)
                self._watchdog.look()
                self._fetcher.look_around()
        except Exception as error:
            self._fail(error)

    def _publish(self) -> None:
        if not self._backend.features.multi_process:
            return
        try:
            self._published.open(self._most)
        except OSError as error:
            self._logger.warning("should this process die, its unstarted jobs are charged an attempt too: %s", error)

    @property
    def _condition(self) -> Condition:
        return "quiet" if self._crew.quiet else "stalled" if self._watchdog.stalled else "ready"

    def _open(self) -> None:
        """Wait for what handlers need before the first job, or for a stop."""
        self._opening.start()
        while not self._opening.done and not self._stopping:
            self._rest(LOOK_EVERY)
        if self._opening.error is not None:
            self._fail(self._opening.error)
        elif not self._stopping:
            self._ready()

    def _ask_gates(self) -> None:
        """Let the gates answer before the first lease, unless that takes longer than a second."""
        self._gatekeeper.start()
        end = time.monotonic() + LOOK_EVERY
        while not self._gatekeeper.has_answers and not self._stopping and (left := end - time.monotonic()) > 0:
            self._rest(left)

    def _stop_leasing(self) -> None:
        self._heartbeat.hurry()
        self._published.show("stopping")
        self._fetcher.interrupt()
        self._services.stop()
        self._gatekeeper.stop()
        self._crew.shut()
        rest(self._backend, resting=True)
        self._tell_of_the_stop()

    def _tell_of_the_stop(self) -> list[Context]:
        running = self._crew.running()
        for context in running:
            context.stopping = True
        return running

    def _wait_for_runs(self) -> None:
        end = self._clock.boot() + int(self._options.grace * 1000)
        while self._crew.busy() and not self._hurried and (left := (end - self._clock.boot()) / 1000) > 0:
            self._rest(min(left, LOOK_EVERY))
            self._heartbeat.check()

    def _interrupt_runs(self, last_call: float) -> None:
        self._fetcher.interrupt()  # the first time another worker that waits may have heard it
        self._fetcher.join(LAST_CALL / 4)  # or its last lease could be of a job that goes back now
        if self._crew.interrupt(self._tell_of_the_stop()):
            end = last_call - LAST_CALL / 2  # the other half is for results
            while self._crew.busy() and (left := end - time.monotonic()) > 0:
                self._rest(left)

    def _settle_and_retire(self, last_call: float) -> None:
        """Settle what has ended. Jobs in threads that cannot be stopped stay leased for as long as those live."""
        abandoned = self._crew.held()
        self._crew.stop()
        self._services.join(last_call - LAST_CALL / 4)  # the rest is for results and the holder
        self._fetcher.join(_until(last_call))
        self._settler.add(self._leases.doubts)
        if abandoned:
            self._settler.mark().wait(_until(last_call))
            names = ", ".join(f"{context.kind} {context.id}" for context in self._crew.running())
            self._logger.warning(
                "worker %s has stopped, but jobs still run, and stay leased until they or this process end: %s",
                self.holder,
                names,
            )
        else:
            self._settler.stop()
            self._settler.join(_until(last_call))
            self._settler.give_up()
            self._heartbeat.stop()
            self._heartbeat.join(_until(last_call))
            self._opening.close(last_call)
        self._gatekeeper.join(_until(last_call))
        self._report = self._counted(abandoned)

    def _stay_for_abandoned(self) -> None:
        if self._report is not None and self._report.abandoned:
            self._crew.join()
            self._settler.stop()
            self._settler.join()
            self._heartbeat.stop()
            self._heartbeat.join()
            self._opening.close()

    def _counted(self, abandoned: int) -> Stopped:
        counts = self._settler.counts
        return Stopped(
            done=counts[Ack],
            retried=counts[Nack],
            buried=counts[Burial],
            cancelled=counts[Cancellation],
            given_back=counts[GiveBack],
            crashed=counts[Crash],
            lost=self._settler.lost,
            abandoned=abandoned,
            unsettled=self._settler.unsettled,
        )

    def _call(self) -> None:
        self._calls.put(None)

    def _rest(self, seconds: float) -> None:
        self._turned = time.monotonic()
        self._published.tick()
        with suppress(Empty):
            self._calls.get(timeout=seconds)


def _until(instant: float) -> float:
    """Return the seconds until then, but at least the moment that what is ready to end needs."""
    return max(0.05, instant - time.monotonic())


@contextmanager
def _signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle SIGTERM and SIGINT in this block; afterwards they are as before."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
