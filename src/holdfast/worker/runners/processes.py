"""Runs jobs in processes of their own, which can be killed: at a timeout, a cancel, a limit of memory, a stop."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from holdfast.delivery import Delivery, GiveBack, Report, Settlement
from holdfast.errors import HoldfastError
from holdfast.events import BeforeBury, BeforeRetry, Started
from holdfast.worker.context import Context
from holdfast.worker.deaths import OutOfMemory, died, killed
from holdfast.worker.handler import Handler, Isolated
from holdfast.worker.inbox import Inbox
from holdfast.worker.outcomes import HandlerTimeout
from holdfast.worker.runners.child import Child, greeting
from holdfast.worker.runners.runner import Desk, Tally
from holdfast.worker.runners.wire import Acked, End, Ended, Flags, Ready, Told, Unfit, unpack
from holdfast.worker.settler import RECONNECT

LOOK_EVERY = 0.1
"""Seconds between two looks at the jobs that run; at the memory of those with a limit it is half of that."""
LAST_WORDS = 0.5
"""Seconds that a job which was asked to end has to do so, before its process is killed."""
END_WITHIN = 1.0
"""Seconds that a process has for its cleanup, when it is to end."""
MOST_FAILURES = 5
"""So many processes in a row that could not start, and the worker ends; the first of all does that alone."""


class _Run:
    """One job in its process, and why that is being killed, if it is."""

    def __init__(self, delivery: Delivery, handler: Handler, context: Context) -> None:
        self.delivery, self.handler, self.context = delivery, handler, context
        self.begun = time.perf_counter()
        self.told = Flags()
        self.asked_at: float | None = None
        self.verdict: Callable[[], Settlement] | None = None

    @property
    def flags(self) -> Flags:
        context = self.context
        return Flags(context.cancel_requested, context.lease_lost, context.stopping, self.asked_at is not None)

    @property
    def limit(self) -> int | None:
        isolated = self.handler.isolated
        return None if isolated is None else isolated.max_memory

    @property
    def is_over_its_timeout(self) -> bool:
        """Whether it is to be killed for that. Coroutines are stopped by their loop, and so have a moment for it."""
        left = self.context.remaining()
        if left is None or left > 0:
            return False
        late = (self.context.clock.boot() - self.context.started) / 1000 - (self.context.timeout or 0.0)
        return not self.handler.is_async or late >= LAST_WORDS


class _Member(Child):
    """A process of the pool: it starts, waits for a job, runs one, or is about to end."""

    def __init__(self, hello: bytes) -> None:
        super().__init__(hello)
        self.ready = self.ending = False
        self.run: _Run | None = None
        self.fresh = 0
        self.error: BaseException | None = None

    @property
    def is_idle(self) -> bool:
        return self.ready and not self.ending and self.run is None


class ProcessRunner:
    """Up to ``slots`` processes, one job at a time in each; started when they are needed, one ahead, and used again.

    One thread looks after all of them: it never blocks on any, and kills what must end. How a run ended is judged in
    its process, where the error is what it was; only when that process died, it is judged here.
    """

    apart = True

    def __init__(self, kinds: Collection[str], slots: int, desk: Desk) -> None:
        self.kinds = frozenset(kinds)
        self._slots = slots
        self._desk = desk
        self._isolated: Mapping[str, Isolated] = {
            kind: isolated for kind in sorted(self.kinds) if (isolated := desk.handlers[kind].isolated) is not None
        }
        self._inbox = Inbox(0)
        self._members: list[_Member] = []
        self._runs: dict[Context, _Run] = {}
        self._ended, self._seconds = 0, 0.0
        self._failures, self._not_before = 0, 0.0
        self._stopping = False
        self._end_by: float | None = None
        self._look_at = 0.0
        self._opened = threading.Event()
        self._failure: BaseException | None = None
        self._wake: socket.socket | None = None
        self._thread = threading.Thread(target=self._live, name="holdfast-processes", daemon=True)

    # -- what any thread may call ---------------------------------------------------------------------------------

    @property
    def slots(self) -> int:
        return self._slots

    def start(self) -> None:
        self._desk.clock.on_move(self._look_now)
        self._thread.start()

    def opened(self) -> None:
        self._opened.wait()
        if self._failure is not None:
            raise self._failure

    def put(self, deliveries: Sequence[Delivery]) -> None:
        self._inbox.put(deliveries)
        self._call()

    def take_back(self, wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        return self._inbox.take_back(wanted)

    def tally(self) -> Tally:
        return Tally(self._ended, self._seconds)

    def running(self) -> list[Context]:
        return list(self._runs)

    def interrupt(self, contexts: Sequence[Context]) -> bool:
        runs = [run for context in contexts if (run := self._runs.get(context)) is not None]
        for run in runs:
            run.asked_at = run.asked_at or time.monotonic()
        if runs:
            self._look_now()
        return bool(runs)

    def look_after(self) -> int:
        return 0  # what goes over its timeout is killed

    def stop(self) -> None:
        self._stopping = True
        self._call()

    def join(self, timeout: float | None = None) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _look_now(self) -> None:
        self._look_at = 0.0
        self._call()

    def _call(self) -> None:
        if self._wake is not None:  # else the thread looks for itself when it begins
            with suppress(OSError):  # full, so it will wake; or closed, since there is nobody to wake
                self._wake.send(b"!")

    # -- the thread -----------------------------------------------------------------------------------------------

    def _live(self) -> None:
        self._wake, woken = socket.socketpair()
        with self._wake, woken, selectors.DefaultSelector() as selector:
            self._wake.setblocking(False)
            self._selector = selector
            selector.register(woken, selectors.EVENT_READ)
            try:
                self._hello = greeting(self._isolated.values())
                self._out_of_memory = OutOfMemory()
                while not self._is_over():
                    self._turn()
            except BaseException as error:
                self._fail(error)
            finally:
                self._clear()
                self._opened.set()

    def _is_over(self) -> bool:
        return self._stopping and not self._members and not len(self._inbox)

    def _turn(self) -> None:
        self._start_missing()
        self._assign()
        for key, mask in self._selector.select(self._patience()):
            match key.fileobj, key.data:
                case socket.socket() as woken, None:
                    woken.recv(4096)
                case _, member:
                    self._attend(member, mask)
        if (now := time.monotonic()) >= self._look_at:
            self._look(now)
            self._look_at = now + self._look_in()
        if self._stopping and not self._runs and not len(self._inbox):
            self._end_all(now)

    def _patience(self) -> float | None:
        """Return how many seconds nothing needs to be done by itself; None: for ever."""
        now = time.monotonic()
        if self._runs or self._stopping or any(member.ending for member in self._members):
            return max(0.0, self._look_at - now)
        return self._not_before - now if self._not_before > now else None

    def _look_in(self) -> float:
        """Return in how many seconds to look at the runs again: sooner when one is at its timeout before."""
        runs = self._runs.values()
        often = LOOK_EVERY / 2 if any(run.limit is not None for run in runs) else LOOK_EVERY
        return min([often, *(left for run in runs if (left := run.context.remaining()))])

    # -- the pool -------------------------------------------------------------------------------------------------

    def _start_missing(self) -> None:
        """Start what the jobs in line need, and one process ahead."""
        alive = sum(not member.ending for member in self._members)
        wanted = min(self._slots, len(self._runs) + len(self._inbox) + 1)
        if self._stopping and not len(self._inbox):
            return
        while alive < wanted and time.monotonic() >= self._not_before:
            try:
                member = _Member(self._hello)
            except OSError as error:
                self._could_not_start(error)
                return
            self._members.append(member)
            self._watch(member)
            if member.death is not None:
                self._selector.register(member.death, selectors.EVENT_READ, member)
            alive += 1

    def _watch(self, member: _Member) -> None:
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if member.is_behind else 0)
        known = self._selector.get_map().get(member.pipe)
        if known is None:
            self._selector.register(member.pipe, wanted, member)
        elif known.events != wanted:
            self._selector.modify(member.pipe, wanted, member)

    def _could_not_start(self, error: BaseException) -> None:
        if not self._opened.is_set():
            raise error
        self._failures += 1
        self._desk.events.logger.error("a process for isolated jobs cannot start", exc_info=error)
        if self._failures >= MOST_FAILURES:
            raise error
        self._not_before = time.monotonic() + RECONNECT.delay(self._failures)

    def _end_all(self, now: float) -> None:
        if self._end_by is None:
            self._end_by = now + END_WITHIN
        for member in self._members:
            self._end(member)
            if now >= self._end_by:
                member.kill()

    def _end(self, member: _Member) -> None:
        if not member.ending:
            member.ending = True
            if member.ready:
                member.send(End())
                self._watch(member)
            else:
                member.kill()

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        if self._opened.is_set():
            self._desk.failed(error)

    def _clear(self) -> None:
        """Leave no process behind, and no run unsettled, however this thread ends."""
        for member in self._members:
            member.kill()
        for member in self._members:
            while member.has_gone() is None:
                time.sleep(0.01)  # without a pidfd there is nothing to wait on; what was killed has gone in a moment
            if member.run is not None:
                self._settle(member, GiveBack(member.run.delivery.receipt))
            member.close()
        self._members.clear()

    # -- one process ----------------------------------------------------------------------------------------------

    def _attend(self, member: _Member, mask: int) -> None:
        if member not in self._members:  # both its pipe and its death told of its end
            return
        if mask & selectors.EVENT_WRITE:
            member.write()
            self._watch(member)
        if mask & selectors.EVENT_READ:
            self._hear(member)

    def _hear(self, member: _Member) -> None:
        """Take in what a process has said, and what became of it."""
        try:
            for answer in member.heard():
                self._take(member, answer)
        except EOFError:
            member.kill()  # it has nothing more to say, whatever it still does
        code = member.has_gone()
        if code is None:
            return
        with suppress(EOFError):  # what it said just before
            for answer in member.heard():
                self._take(member, answer)
        self._remove(member, code)

    def _take(self, member: _Member, answer: Any) -> None:
        match answer:
            case Ready():
                member.ready, member.fresh = True, member.memory()
                self._failures = 0
                self._opened.set()
            case Unfit():
                member.error = unpack(answer.error)
            case Report() if member.run is not None:
                self._report(answer)
            case Acked() if member.run is not None:
                member.run.delivery.acked = answer.ack
            case Ended() if member.run is not None:
                for told in answer.told:
                    self._tell(member.run.delivery, told)
                self._settle(member, answer.settlement)
                if self._has_kept_too_much(member):
                    self._end(member)

    def _remove(self, member: _Member, code: int) -> None:
        self._members.remove(member)
        self._selector.unregister(member.pipe)
        if member.death is not None:
            self._selector.unregister(member.death)
        member.close()
        run = member.run
        if run is not None:
            verdict = run.verdict or self._crash_of(run, code)
            try:
                settlement = verdict()
            except Exception as error:  # the store could not be asked
                settlement = self._desk.outcomes.broken(run.delivery, error)
            self._settle(member, settlement)
        elif not member.ready and not member.ending:
            reason = died(code)
            self._could_not_start(
                member.error or HoldfastError(f"a process for isolated jobs could not start: {reason}")
            )
        elif not member.ending:
            self._desk.events.logger.warning("a process for isolated jobs had nothing to do and %s", died(code))

    def _crash_of(self, run: _Run, code: int) -> Callable[[], Settlement]:
        out_of_memory = code == -9 and self._out_of_memory.has_killed()
        return lambda: self._desk.outcomes.crashed(run.delivery, died(code, out_of_memory=out_of_memory))

    def _report(self, report: Report) -> None:
        try:
            self._desk.report(report)
        except HoldfastError as error:  # a store that keeps none
            self._desk.events.logger.debug("progress of job %s is not kept: %s", report.receipt.id, error)

    def _tell(self, delivery: Delivery, told: Told) -> None:
        error, emit = unpack(told.error), self._desk.events.emit
        if told.reason is None:
            emit(BeforeRetry(delivery, error, told.delay))
        else:
            emit(BeforeBury(delivery, error, told.reason))

    # -- one job --------------------------------------------------------------------------------------------------

    def _assign(self) -> None:
        for member in [member for member in self._members if member.is_idle]:
            try:
                delivery = self._inbox.take()
            except IndexError:
                return
            handler = self._desk.handlers[delivery.kind]
            delivery.settlement = None
            run = _Run(delivery, handler, self._desk.context(delivery, handler))
            if self._desk.events.wants(Started):
                self._desk.events.emit(Started(delivery))
            member.run = self._runs[run.context] = run
            if run.limit is not None or run.context.timeout is not None:
                self._look_at = min(self._look_at, time.monotonic() + self._look_in())
            member.send(delivery)
            self._watch(member)

    def _look(self, now: float) -> None:
        for member in list(self._members):
            if member.run is not None:
                self._look_at_run(member, member.run, now)
            if member.ending and member in self._members:
                self._hear(member)  # where nothing tells of a death

    def _look_at_run(self, member: _Member, run: _Run, now: float) -> None:
        if run.verdict is None and run.flags != run.told:
            run.told = run.flags
            member.send(run.told)
            self._watch(member)
        verdict = run.verdict or self._verdict(member, run, now)
        if verdict is not None:
            self._hear(member)  # what has ended in this very moment has ended by itself
            if member.run is run:
                run.verdict = verdict
                member.kill()
                self._hear(member)

    def _verdict(self, member: _Member, run: _Run, now: float) -> Callable[[], Settlement] | None:
        """Return how to settle a run that must be killed now; None when it may go on."""
        delivery, handler, context, outcomes = run.delivery, run.handler, run.context, self._desk.outcomes
        if run.limit is not None and member.memory() > run.limit:
            reason = killed(f"over max_memory of {run.limit} bytes")
            return lambda: outcomes.crashed(delivery, reason)
        if run.is_over_its_timeout:
            error = HandlerTimeout(context.timeout or 0.0)
            return lambda: outcomes.raised(delivery, handler, context, error)
        if run.asked_at is not None and now - run.asked_at >= LAST_WORDS:
            stopped = HoldfastError("its process was killed")
            return lambda: outcomes.raised(delivery, handler, context, stopped, stopped=True)
        return None

    def _settle(self, member: _Member, settlement: Settlement) -> None:
        run = member.run
        assert run is not None
        run.delivery.settlement = settlement
        self._desk.settle(run.delivery)
        self._desk.published.end(run.delivery)
        del self._runs[run.context]
        member.run = None
        self._seconds += time.perf_counter() - run.begun
        self._ended += 1

    def _has_kept_too_much(self, member: _Member) -> bool:
        """Tell whether jobs have left so much memory behind that the next one would start half-way to its limit."""
        limits = [isolated.max_memory for isolated in self._isolated.values() if isolated.max_memory is not None]
        return bool(limits) and member.memory() - member.fresh > (min(limits) - member.fresh) / 2
