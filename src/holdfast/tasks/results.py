"""Waits for jobs to end: one thread and one watch for any number of waiters, threads and event loops alike.

The watch wakes the thread when jobs end; every few seconds it also looks by itself, so a lost notification delays and
never hangs. When the store is away it asks again, with backoff, for as long as anybody waits.
"""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar, runtime_checkable

from holdfast.batching import tell
from holdfast.capabilities import Inspectable, Results, Watch
from holdfast.delivery import Outcome
from holdfast.errors import BackendError, Closed, HoldfastError, JobError, NotSupported

if TYPE_CHECKING:
    import asyncio  # at run time only where a loop runs, see holdfast.batching

LOOK_EVERY = 10.0
"""Seconds after which outcomes are looked up without having been told."""
LOOK_MOST = 1000
"""How many outcomes one look asks for at a time."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0

Key = tuple[str, str]
"""Queue and id of a job."""


T = TypeVar("T")


class Caller(Protocol):
    """Calls a function in a thread, and returns what it returns to who awaits it."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]:
        """Raise what the function raises."""


@runtime_checkable
class ResultStore(Results, Inspectable, Protocol):
    """What a store must be for its jobs to be waited for."""


_Waiter: TypeAlias = "Future[Outcome] | asyncio.Future[Outcome]"
"""A thread that waits, or a task of an event loop."""


class Waiters:
    """Hands outcomes to those who wait. ``store`` is called on the thread, so it may open the store there; ``call``
    calls what may block in another thread, for who is on an event loop.

    The thread starts with the first waiter, and ends when nobody has waited for ``look_every`` seconds. Both waits
    raise ``TimeoutError`` when the waiter's own ``timeout`` (seconds; None waits for ever, 0 looks once) is over,
    ``JobError`` for a job the store does not know, ``NotSupported`` when it keeps no outcomes, ``Closed`` after
    ``close``, and a ``BackendError`` only if trying again is of no use.
    """

    def __init__(self, store: Callable[[], object], call: Caller, *, look_every: float = LOOK_EVERY) -> None:
        self._store, self._call, self._look_every = store, call, look_every
        self._lock = threading.Lock()
        self._waiters: dict[Key, list[_Waiter]] = {}
        self._new: list[Key] = []
        self._left: list[Key] = []
        self._watch: Watch | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def wait(self, key: Key, timeout: float | None) -> Outcome:
        """Block until the job has ended."""
        try:
            outcome = self._look_once(key)
        except BackendError as error:
            if timeout == 0 or not error.retryable:
                raise
            outcome = None
        if outcome is not None:
            return outcome
        waiter: Future[Outcome] = Future()
        self._enter(key, waiter)
        try:
            return waiter.result(timeout)
        finally:
            self._leave(key, waiter)

    async def wait_async(self, key: Key, timeout: float | None) -> Outcome:  # noqa: ASYNC109 - the waiter's own time
        """Wait until the job has ended, blocking no loop and making no thread of its own."""
        import asyncio

        if timeout == 0 and (outcome := await self._call(partial(self._look_once, key))) is not None:
            return outcome
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._enter(key, waiter)
        try:
            async with asyncio.timeout(timeout):
                return await waiter
        finally:
            self._leave(key, waiter)

    def close(self) -> None:
        """Raise ``Closed`` to all who wait, end the thread and leave nothing in the store. May be repeated."""
        self._stop.set()
        with self._lock:
            thread, watch = self._thread, self._watch
        if watch is not None:
            watch.interrupt()
        if thread is not None:
            thread.join()

    def _look_once(self, key: Key) -> Outcome | None:
        return self._checked().outcomes(key[0], [key[1]]).get(key[1])

    # -- who waits ------------------------------------------------------------------------------------------------

    def _enter(self, key: Key, waiter: _Waiter) -> None:
        with self._lock:
            if self._stop.is_set():
                raise Closed("the App is closed; nobody can wait for its jobs: open it again with 'with app:'")
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="holdfast-results", daemon=True)
                thread.start()  # which may fail: then nobody waits, and the next one tries again
                self._thread = thread
            first_news = not self._new
            others = self._waiters.setdefault(key, [])
            if not others:
                self._new.append(key)
            others.append(waiter)
            watch = self._watch if first_news else None  # whoever came before has interrupted it already
        if watch is not None:
            watch.interrupt()

    def _leave(self, key: Key, waiter: _Waiter) -> None:
        with self._lock:
            others = self._waiters.get(key)
            if others is None or waiter not in others:
                return
            others.remove(waiter)
            if not others:
                del self._waiters[key]
                self._left.append(key)

    def _answer(self, answers: Mapping[Key, Outcome | Exception]) -> None:
        with self._lock:
            told = [(waiter, answer) for key, answer in answers.items() for waiter in self._waiters.pop(key, ())]
        tell([(waiter, answer) for waiter, answer in told if not isinstance(waiter, Future)])
        for waiter, answer in told:
            if isinstance(waiter, Future):
                _settle(waiter, answer)

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            started = monotonic()
            try:
                if self._serve():
                    return
            except Exception as error:  # who waits must hear of it, whatever it is
                if not isinstance(error, BackendError) or not error.retryable:
                    self._fail(error)
                    return
                pause = FIRST_PAUSE if monotonic() - started > LONGEST_PAUSE else min(LONGEST_PAUSE, pause * 2)
                self._stop.wait(pause * random.random())
        self._fail(Closed("the App was closed before the job ended"))

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self._thread = None
            keys = list(self._waiters)
        self._answer(dict.fromkeys(keys, error))

    def _serve(self) -> bool:
        """Watch, and answer, until closed, or until nobody waits any more: then the thread is to end."""
        store = self._checked()
        with closing(store.watch()) as watch:
            with self._lock:
                self._new, self._left = list(self._waiters), []
                self._watch = watch
            try:
                return self._follow(store, watch)
            finally:
                self._let_go(watch)

    def _let_go(self, watch: Watch) -> None:
        with self._lock:
            if self._watch is watch:  # another thread may have come, with a watch of its own
                self._watch = None

    def _follow(self, store: ResultStore, watch: Watch) -> bool:
        looked = monotonic()
        while not self._stop.is_set():
            with self._lock:
                new, self._new, left, self._left = self._new, [], self._left, []
                left = [key for key in left if key not in self._waiters]
            _by_queue(left, watch.discard)
            _by_queue(new, watch.add)
            self._look(store, watch, watch.wait(self._look_every))
            if monotonic() - looked >= self._look_every:
                looked = monotonic()
                self._look_at_all(store)
                if self._nobody_waits():
                    return True
        return False

    def _nobody_waits(self) -> bool:
        """Tell whether nobody waits; whoever comes after that starts another thread."""
        with self._lock:
            if not self._waiters:
                self._thread = self._watch = None
            return not self._waiters

    def _look(self, store: ResultStore, watch: Watch, ended: list[Key]) -> None:
        """Answer for the jobs that are said to have ended; those that live again meanwhile are watched again."""
        found = _outcomes(store, ended)
        missing = [key for key in ended if key not in found]
        gone = [key for key in missing if store.get(*key) is None]
        self._answer({**found, **{key: _unknown(key) for key in gone}})
        _by_queue(set(missing).difference(gone), watch.add)

    def _look_at_all(self, store: ResultStore) -> None:
        with self._lock:
            keys = iter(list(self._waiters))
        while chunk := list(islice(keys, LOOK_MOST)):
            self._answer(_outcomes(store, chunk))

    def _checked(self) -> ResultStore:
        store = self._store()
        if isinstance(store, ResultStore):
            return store
        raise NotSupported(f"{type(store).__name__} keeps no outcomes, so nobody can wait for its jobs")


def _settle(future: Future[Outcome], answer: Outcome | Exception) -> None:
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _by_queue(keys: Iterable[Key], act: Callable[[str, list[str]], None]) -> None:
    grouped: defaultdict[str, list[str]] = defaultdict(list)
    for queue, job_id in keys:
        grouped[queue].append(job_id)
    for queue, job_ids in grouped.items():
        act(queue, job_ids)


def _outcomes(store: ResultStore, keys: Iterable[Key]) -> dict[Key, Outcome]:
    found: dict[Key, Outcome] = {}

    def look(queue: str, job_ids: list[str]) -> None:
        found.update({(queue, job_id): outcome for job_id, outcome in store.outcomes(queue, job_ids).items()})

    _by_queue(keys, look)
    return found


def _unknown(key: Key) -> HoldfastError:
    return JobError(f"queue {key[0]!r} has no job {key[1]}: it was removed, or never sent", job_id=key[1])
