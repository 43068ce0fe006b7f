"""Listeners that are coroutine functions: they hear events in order, on an event loop of their own, beside the jobs."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from holdfast.events import LOGGER, Event

if TYPE_CHECKING:
    import asyncio  # at run time only where there is such a listener: it costs 40 ms, which others need not wait for

BACKLOG = 10_000
"""So many events wait for one listener; further ones are dropped, and their number is logged."""
LAST_CALL = 5.0
"""Seconds that ``close`` gives all listeners together for what they have not heard yet."""

AsyncListener = Callable[[Any], Coroutine[Any, Any, object]]


class _Line:
    """What one listener has not heard yet, and the loop on which it is being told."""

    def __init__(self, listener: AsyncListener) -> None:
        self.listener = listener
        self.waiting: deque[Event] = deque()
        self.dropped = 0
        self.loop: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[None] | None = None


class AsyncListeners:
    """Hands events to coroutine functions: each hears its own one after the other, and none waits for another.

    Events may be handed over from any thread, and that never blocks. The thread starts with the first event, and again
    after ``close``.
    """

    def __init__(self, logger: logging.Logger = LOGGER) -> None:
        self._logger = logger
        self._lock = threading.Lock()
        self._all_told = threading.Condition(self._lock)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._told = 0

    def listener(self, function: AsyncListener) -> Callable[[Event], None]:
        """Return what takes events for ``function``, to be registered in its place."""
        return partial(self._hand, _Line(function))

    def _hand(self, line: _Line, event: Event) -> None:
        with self._lock:
            if len(line.waiting) >= BACKLOG:
                line.dropped += 1
                return
            line.waiting.append(event)
            if line.loop is not None and line.loop is self._loop:
                return
            loop = line.loop = self._running()
            self._told += 1
        with suppress(RuntimeError):  # closed since; what waits is heard with the next event
            # In variables of its own: those of the job that happens to run here are not the listener's.
            loop.call_soon_threadsafe(self._begin, loop, line, context=contextvars.Context())

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            import asyncio

            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run, args=(self._loop,), name="holdfast-listeners", daemon=True)
            self._thread.start()
        return self._loop

    # -- in the loop's thread -------------------------------------------------------------------------------------

    def _begin(self, loop: asyncio.AbstractEventLoop, line: _Line) -> None:
        line.task = loop.create_task(self._tell(loop, line))

    async def _tell(self, loop: asyncio.AbstractEventLoop, line: _Line) -> None:
        """Tell one listener everything that waits for it."""
        while (event := self._next(loop, line)) is not None:
            self._complain(line)
            try:
                await line.listener(event)
            except BaseException as error:
                if line.task is not None and line.task.cancelling():
                    raise  # the App closes; any other cancellation is of something that the listener awaits
                text = "a listener to %s events failed; the job goes on"
                self._logger.error(text, type(event).__name__, exc_info=error)

    def _next(self, loop: asyncio.AbstractEventLoop, line: _Line) -> Event | None:
        with self._lock:
            if line.waiting:
                return line.waiting.popleft()
            if line.loop is loop:
                line.loop = None
            if self._loop is loop:
                self._told -= 1
                self._all_told.notify_all()
            return None

    def _complain(self, line: _Line) -> None:
        if dropped := line.dropped:
            line.dropped -= dropped
            text = "%r is too slow a listener: %d events were dropped, since %d were waiting for it"
            self._logger.warning(text, line.listener, dropped, BACKLOG)

    # -- its end --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Wait until everything has been heard, for some seconds at the most, and end the thread. May be repeated.

        A listener that closes its own App waits for nobody.
        """
        with self._lock:
            mine = self._thread is threading.current_thread()
            heard = mine or self._all_told.wait_for(lambda: self._told == 0, LAST_CALL)
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
            self._told = 0
        if not heard:
            self._logger.warning("listeners were too slow to hear everything before the App was closed")
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            if not mine:
                thread.join(LAST_CALL)

    def renew(self) -> object:
        """Begin afresh, in the child of a fork; return what belongs to the parent."""
        inherited = self._loop
        self._lock = threading.Lock()
        self._all_told = threading.Condition(self._lock)
        self._loop = self._thread = None
        self._told = 0
        return inherited


def _run(loop: asyncio.AbstractEventLoop) -> None:
    import asyncio

    loop.run_forever()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=1))
    loop.close()
