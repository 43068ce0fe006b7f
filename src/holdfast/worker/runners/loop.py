"""Runs coroutine functions as tasks of one event loop, which has a thread to itself."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, suppress
from types import FrameType
from typing import Any

from holdfast.delivery import Delivery, Settlement
from holdfast.events import LoopBlocked, LoopLag, Started, Stuck
from holdfast.worker.context import CURRENT, Context
from holdfast.worker.handler import Handler, lifespans
from holdfast.worker.inbox import Inbox
from holdfast.worker.outcomes import HandlerTimeout
from holdfast.worker.runners.runner import Desk, Tally, stack_of

BLOCKED_MS = 1000
"""A loop that has not turned for so long is blocked by a handler, and all others wait."""
STUBBORN_S = 1.0
"""A run that goes on for so long after its timeout has swallowed its cancellation."""


class EventLoop:
    """One event loop, which has a thread to itself, for all runners that join it before it starts."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._runners: list[LoopRunner] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: int | None = None
        self._lag: float | None = None
        self._reported = self._started = False
        self._stopped: asyncio.Event | None = None
        self._serving: asyncio.Task[None] | None = None
        self._opened = threading.Event()
        self._failure: BaseException | None = None
        self._is_open = False
        self._thread = threading.Thread(target=self._run, name="holdfast-loop", daemon=True)

    def add(self, runner: LoopRunner) -> None:
        """Let a runner be served."""
        self._runners.append(runner)

    def start(self) -> None:
        """Start the thread, if it has not been."""
        if not self._started:
            self._started = True
            self._thread.start()

    def opened(self) -> None:
        """Wait until jobs can run here; raises what keeps them from it."""
        self._opened.wait()
        if self._failure is not None:
            raise self._failure

    def call_soon(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function in the loop's thread, from any other."""
        if self._loop is not None:  # else the loop looks for itself when it begins
            with suppress(RuntimeError):  # it has ended meanwhile, and so has everything that ran on it
                self._loop.call_soon_threadsafe(function, *arguments)

    @property
    def lag(self) -> float | None:
        """How many seconds it took to answer last, or has not answered for by now; None before it was asked."""
        asked, lag = self._asked, self._lag
        return lag if asked is None else max(lag or 0.0, self._since(asked))

    def look_after(self) -> None:
        """Report a loop that does not turn, and runs that go on after their timeout."""
        now = self._desk.clock.boot()
        if self._asked is None:
            self._asked = now
            self.call_soon(self._answer)
        elif now - self._asked >= BLOCKED_MS and not self._reported:
            self._reported = True
            self._desk.events.emit(LoopBlocked((now - self._asked) / 1000, stack_of(self._thread)))

    def stop(self) -> None:
        """Let the thread end once every runner was stopped and has nothing left to run."""
        self.call_soon(self._end)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread to end; tell whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # -- in its thread --------------------------------------------------------------------------------------------

    def _end(self) -> None:
        if self._is_open:
            for runner in self._runners:
                runner.fill()
        elif self._serving is not None:
            self._serving.cancel()

    def end_if_over(self) -> None:
        """End the loop if every runner was stopped and has nothing left to run."""
        if self._stopped is not None and all(runner.is_over for runner in self._runners):
            self._stopped.set()

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                loop = runner.get_loop()
                serving = self._serving = loop.create_task(self._serve())
                while not serving.done():
                    _turn(loop, serving, self._desk.events.logger)
                serving.result()
        except BaseException as error:
            self._failure = error
            if self._is_open:
                self._desk.failed(error)
        finally:
            self._opened.set()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            for lifespan in lifespans(self._desk.handlers.values()):
                await stack.enter_async_context(lifespan.on_loop())
            self._is_open = True
            self._opened.set()
            for runner in self._runners:
                runner.fill()
            self.end_if_over()
            await self._stopped.wait()

    def _since(self, asked: int) -> float:
        return (self._desk.clock.boot() - asked) / 1000

    def _answer(self) -> None:
        if self._asked is not None:
            self._lag = lag = self._since(self._asked)
            self._asked, self._reported = None, False
            if self._desk.events.wants(LoopLag):
                self._desk.events.emit(LoopLag(lag))
        for runner in self._runners:
            runner.look_at_tasks()


class LoopRunner:
    """At most ``slots`` tasks at once. The loop is woken once for a batch; a task that ends starts the next itself."""

    apart = False

    def __init__(self, kinds: Collection[str], slots: int, desk: Desk, loop: EventLoop) -> None:
        self.kinds = frozenset(kinds)
        self.slots = slots
        self._desk = desk
        self._loop = loop
        self._inbox = Inbox(0)
        self._tasks: dict[Context, asyncio.Task[None]] = {}
        self._stuck: set[Context] = set()
        self._ended, self._seconds = 0, 0.0
        self._stopping = False
        loop.add(self)

    def beside(self, kinds: Collection[str], slots: int) -> LoopRunner:
        """Return another runner on the same loop, with slots of its own."""
        return LoopRunner(kinds, slots, self._desk, self._loop)

    @property
    def lag(self) -> float | None:
        return self._loop.lag

    def start(self) -> None:
        self._loop.start()

    def opened(self) -> None:
        self._loop.opened()

    def put(self, deliveries: Sequence[Delivery]) -> None:
        self._inbox.put(deliveries)
        self._loop.call_soon(self.fill)

    def take_back(self, wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        taken = self._inbox.take_back(wanted)
        self._loop.call_soon(self.fill)
        return taken

    def tally(self) -> Tally:
        return Tally(self._ended, self._seconds)

    def running(self) -> list[Context]:
        return list(self._tasks)

    def interrupt(self, contexts: Sequence[Context]) -> bool:
        mine = [context for context in contexts if context in self._tasks]
        if mine:
            self._loop.call_soon(self._cancel, mine)
        return bool(mine)

    def look_after(self) -> int:
        self._loop.look_after()
        return 0

    def stop(self) -> None:
        self._stopping = True
        self._loop.stop()

    def join(self, timeout: float | None = None) -> bool:
        return self._loop.join(timeout)

    # -- in the loop's thread -------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether it was stopped and has nothing left to run."""
        return self._stopping and not self._tasks

    def look_at_tasks(self) -> None:
        """Report runs that have swallowed the cancellation their timeout brought."""
        for context, task in self._tasks.items():
            if context.timeout is not None and task.cancelling() and context not in self._stuck:
                self._judge(context, context.timeout, task)

    def _judge(self, context: Context, timeout: float, task: asyncio.Task[None]) -> None:
        seconds = (self._desk.clock.boot() - context.started) / 1000
        if seconds > timeout + STUBBORN_S:
            self._stuck.add(context)
            self._desk.events.emit(Stuck(context.delivery, seconds, _stack(task)))

    def fill(self) -> None:
        """Start as many of those in line as there are free slots."""
        while len(self._tasks) < self.slots:
            try:
                delivery = self._inbox.take()
            except IndexError:
                break
            self._begin(delivery)
        if self.is_over:
            self._loop.end_if_over()

    def _begin(self, delivery: Delivery) -> None:
        handler = self._desk.handlers[delivery.kind]
        context = self._desk.context(delivery, handler)
        # In variables of its own: the task that ends and starts the next one would pass its own on.
        work = self._work(delivery, handler, context)
        self._tasks[context] = asyncio.get_running_loop().create_task(work, context=contextvars.Context())

    def _cancel(self, contexts: Sequence[Context]) -> None:
        for context in contexts:
            if context in self._tasks:
                # Soon, not now: a task that is cancelled before its first step never runs at all, not even to settle.
                asyncio.get_running_loop().call_soon(self._tasks[context].cancel)

    # -- one task -------------------------------------------------------------------------------------------------

    async def _work(self, delivery: Delivery, handler: Handler, context: Context) -> None:
        begun = time.perf_counter()
        CURRENT.set(context)
        try:
            delivery.settlement = await self._settlement(delivery, handler, context)
        except BaseException as error:
            delivery.settlement = self._desk.outcomes.broken(delivery, error)
        self._desk.settle(delivery)
        self._desk.published.end(delivery)
        self._seconds += time.perf_counter() - begun
        self._ended += 1
        del self._tasks[context]
        self._stuck.discard(context)
        self.fill()

    async def _settlement(self, delivery: Delivery, handler: Handler, context: Context) -> Settlement:
        outcomes = self._desk.outcomes
        if self._desk.events.wants(Started):
            self._desk.events.emit(Started(delivery))
        try:
            if context.timeout is None:
                value = await handler.run(delivery, context)
            else:
                value = await _within(context.timeout, handler.run(delivery, context))
        except BaseException as error:
            # Drivers turn a cancellation into errors of their own, and a handler may cancel itself: both must tell.
            stopped = context.is_to_stop and self._tasks[context].cancelling() > 0
            return outcomes.raised(delivery, handler, context, error, stopped=stopped)
        return outcomes.returned(delivery, handler, context, value)


def _turn(loop: asyncio.AbstractEventLoop, serving: asyncio.Task[None], logger: logging.Logger) -> None:
    """Run the loop until ``serving`` is done, or a task that a handler made ends with what stops a loop."""
    try:
        loop.run_until_complete(serving)
    except (SystemExit, KeyboardInterrupt) as error:
        logger.warning("a task of an async handler raised %r; the others go on", error)


def _stack(task: asyncio.Task[None]) -> str:
    """Return where a task that does not run now waits."""
    frames: list[tuple[FrameType, int]] = []
    awaited: Any = task.get_coro()
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        frames.append((frame, frame.f_lineno))
        awaited = awaited.cr_await
    return "".join(traceback.StackSummary.extract(iter(frames)).format())


async def _within(seconds: float, run: Awaitable[Any]) -> Any:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await run
    except TimeoutError as error:
        if limit.expired():
            raise HandlerTimeout(seconds) from error
        raise
