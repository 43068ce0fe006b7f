"""The threads behind the awaited face: a few that make calls, and for all who wait for messages one each set of kinds.

None is the event loop's own executor's, which a program may have filled with other things, and waiting takes none of
those that make calls: so however many tasks wait, the next call is made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from holdfast.batching import tell
from holdfast.contract import QueueBackend
from holdfast.errors import Closed

if TYPE_CHECKING:
    import asyncio  # at run time only where a loop runs, see holdfast.batching
    from concurrent.futures import Future, ThreadPoolExecutor

P = ParamSpec("P")
T = TypeVar("T")

MOST_CALLS = 8
"""How many calls are made at once; a store's round trip is short, and further ones wait in line."""
LOOK_EVERY = 5.0
"""Seconds after which the store is asked anew, should a wake-up have been missed."""
LINGER = 5.0
"""Seconds without anybody waiting after which the thread that waits for messages ends."""


class Threads:
    """``store`` returns the open store. Every method may be called from any thread, and any number of loops.

    Threads start when first needed. After a fork, or to begin again after ``close``, make a new one.
    """

    def __init__(self, store: Callable[[], QueueBackend]) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._alarms: dict[frozenset[str], Alarm] = {}
        self._closed = False

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the function returns in a thread; a task that is cancelled before it began has not called it."""
        import asyncio

        future = self.submit(copy_context().run, partial(function, *args, **kwargs))
        try:
            return await answer(future)
        except asyncio.CancelledError:
            future.cancel()
            raise

    async def call_apart(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do as ``call`` does in a thread of its own: for what may take long, and must keep no other call waiting.

        ``close`` does not wait for it; it meets the end of its store.
        """
        from concurrent.futures import Future

        with self._lock:
            self._check()
        future: Future[T] = Future()
        call = partial(copy_context().run, function, *args, **kwargs)
        threading.Thread(target=_answer, args=(future, call), name="holdfast-aio-long", daemon=True).start()
        return await answer(future)

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Let a thread call the function; its future may be awaited through ``answer``, or left alone."""
        from concurrent.futures import ThreadPoolExecutor

        with self._lock:
            self._check()
            if self._pool is None:
                self._pool = ThreadPoolExecutor(MOST_CALLS, thread_name_prefix="holdfast-aio")
            return self._pool.submit(function, *args, **kwargs)

    def _check(self) -> None:
        if self._closed:
            raise Closed("the App is closed; open it again with 'with app:'")

    async def until_chance(self, queue: str, kinds: Collection[str], seconds: float | None) -> None:
        """Return when there may be something to lease of these kinds, or after so many seconds (None: never)."""
        key = frozenset(kinds)
        with self._lock:
            if key not in self._alarms:
                self._alarms = {known: alarm for known, alarm in self._alarms.items() if alarm.is_awake}
                self._alarms[key] = Alarm(self._store, key)
            alarm = self._alarms[key]
        await alarm.wait(queue, seconds)

    def close(self) -> None:
        """Let what was submitted end, wake whoever waits, and end all threads. May be repeated."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
            alarms, self._alarms = self._alarms, {}
        for alarm in alarms.values():
            alarm.close()
        if pool is not None:
            pool.shutdown()


class OwnThread:
    """One thread that makes calls in the order they come, for what is for one thread at a time and may take long.

    It starts with the first call. ``close`` lets it end after the last one, and waits for nothing.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Let the thread call the function; its future may be awaited through ``answer``, or left alone."""
        from concurrent.futures import Future

        future: Future[T] = Future()
        with self._lock:
            self._calls.put((future, partial(copy_context().run, partial(function, *args, **kwargs))))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        return future

    def close(self) -> None:
        """Let the thread end behind what was submitted."""
        with self._lock:
            if self._thread is not None:
                self._calls.put(None)
                self._thread = None

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            if future.set_running_or_notify_cancel():
                _answer(future, call)
            del item, future, call  # or what it returned would live here until the next call


def _answer(future: Future[T], call: Callable[[], T]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)


async def answer(future: Future[T]) -> T:
    """Return a thread's answer. Cancelling this leaves the thread's call as it is."""
    import asyncio

    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(partial(_pass_on, loop, waiting))
    return await waiting


async def answer_first(future: Future[T]) -> T:
    """Return a thread's answer to a task even if that is cancelled meanwhile, for a call that nothing could undo.

    The cancellation reaches the task at its next ``await``, unless it is taken back before, as the end of a block of
    ``asyncio.timeout`` does. It is raised here when the call has not begun, which it never will then, or has failed.
    """
    import asyncio

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        return await answer(future)
    except asyncio.CancelledError as error:
        cancelled = error
    future.cancel()
    ended: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(partial(_pass_on, loop, ended))
    while not ended.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([ended])
    if ended.cancelled() or ended.exception() is not None:
        raise cancelled
    loop.call_soon(_cancel_again, task, before, cancelled)
    return ended.result()


def _cancel_again(task: asyncio.Task[Any], before: int, cancelled: asyncio.CancelledError) -> None:
    if task.cancelling() > before:
        task.uncancel()  # it stays one request, for whoever counts them
        task.cancel(*cancelled.args)


def _pass_on(loop: asyncio.AbstractEventLoop, waiting: asyncio.Future[Any], done: Future[Any]) -> None:
    with suppress(RuntimeError):  # the loop is closed, and with it whoever waited
        loop.call_soon_threadsafe(_resolve, waiting, done)


def _resolve(waiting: asyncio.Future[Any], done: Future[Any]) -> None:
    if waiting.done():
        return
    if done.cancelled():
        waiting.cancel()
    elif (error := done.exception()) is not None:
        waiting.set_exception(error)
    else:
        waiting.set_result(done.result())


class Alarm:
    """Waits in one thread for all tasks that want messages of the same kinds, from whatever queues."""

    def __init__(self, store: Callable[[], QueueBackend], kinds: frozenset[str]) -> None:
        self._store, self._kinds = store, sorted(kinds)
        self._changed = threading.Condition()
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._asking: frozenset[str] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def is_awake(self) -> bool:
        """Whether its thread runs: as long as somebody waits, and a while longer."""
        return self._thread is not None

    async def wait(self, queue: str, seconds: float | None) -> None:
        """Wait for a chance in this queue."""
        import asyncio

        chance: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._enter(queue, chance):
            self._store().interrupt()  # it is asked about other queues now
        try:
            await asyncio.wait([chance], timeout=seconds)
        finally:
            with self._changed:
                self._waiting.get(queue, set()).discard(chance)

    def _enter(self, queue: str, chance: asyncio.Future[None]) -> bool:
        """Let a task wait; tell whether the store must be asked anew because of it."""
        with self._changed:
            if self._closed:
                raise Closed("the App is closed; open it again with 'with app:'")
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="holdfast-aio-wait", daemon=True)
                thread.start()
                self._thread = thread
            self._waiting.setdefault(queue, set()).add(chance)
            self._changed.notify()
            return self._asking is not None and queue not in self._asking

    def close(self) -> None:
        """Wake everybody, who then finds the App closed. The thread ends by itself."""
        with self._changed:
            self._closed = True
            asking = self._asking is not None
            self._changed.notify()
        if asking:
            with suppress(Closed):
                self._store().interrupt()
        self._wake(list(self._waiting))

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (queues := self._take()) is not None:
            self._wake(self._ask(queues))
            self._asking = None

    def _take(self) -> list[str] | None:
        """Return the queues that somebody waits for, None when nobody has for a while."""
        with self._changed:
            self._waiting = {queue: its for queue, its in self._waiting.items() if its}
            while not self._waiting and not self._closed:
                if not self._changed.wait(LINGER):
                    break
            if self._closed or not self._waiting:
                self._thread = None
                return None
            self._asking = frozenset(self._waiting)
            return sorted(self._waiting)

    def _ask(self, queues: list[str]) -> Collection[str]:
        """Return the queues that have something."""
        try:
            store = self._store()
            chance = store.wait(queues, self._kinds, LOOK_EVERY)
            if not chance or len(queues) == 1:
                return queues if chance else ()
            return [queue for queue in queues if store.wait([queue], self._kinds, 0)]
        except Exception:  # whoever waits looks by itself, and meets the error there
            return queues

    def _wake(self, queues: Collection[str]) -> None:
        with self._changed:
            woken = [chance for queue in queues for chance in self._waiting.pop(queue, ())]
        tell([(chance, None) for chance in woken])
