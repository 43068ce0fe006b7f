"""What is open behind an App: its store, and the threads that look after it. Opened at the first use, told of forks
and of the program's end.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Protocol, TypeVar, runtime_checkable

from holdfast.aio.threads import Threads
from holdfast.capabilities import Transactional
from holdfast.clock import Clock
from holdfast.contract import QueueBackend
from holdfast.declared import DeclaredQueues
from holdfast.errors import Closed
from holdfast.events import Events
from holdfast.heartbeat import Heartbeat, this_process
from holdfast.logs.opening import OpenLogs
from holdfast.middleware import Middleware
from holdfast.sending import Sender
from holdfast.tasks.link import Link
from holdfast.worker import Context, Worker
from holdfast.worker.consuming.reading import Reading
from holdfast.worker.inside import check_store
from holdfast.worker.tidying import Tidying, tidy_all

LAST_BEAT = 5.0
"""Seconds that a closing App gives its heartbeat to hand back what is still leased."""


T = TypeVar("T")


class Part(Protocol):
    """What an App holds beside its store. It begins again by itself when it is used again."""

    def close(self) -> None:
        """End everything. May be repeated."""

    def renew(self) -> object:
        """Begin afresh, in the child of a fork; return what belongs to the parent and is to be kept as it is."""


@runtime_checkable
class Untidy(Part, Protocol):
    """A part that gathers what must be tidied."""

    def tidy(self, stop: threading.Event) -> None:
        """Tidy what is open until there is nothing more to do, or ``stop`` is set."""


@runtime_checkable
class Keeping(Part, Protocol):
    """A part that keeps something of the store it is used with, or of what goes with that."""

    def restore(self, kept: object) -> None:
        """Go on with what ``renew`` returned."""


class Lifetime:
    """``open_store`` opens the store, which is then told of the ``declared`` queues; ``parts`` end before it.

    Every method may be called from any thread.
    """

    def __init__(
        self,
        open_store: Callable[[], QueueBackend],
        *,
        name: str,
        events: Events,
        middleware: Middleware[Context],
        clock: Clock,
        parts: Sequence[Part] = (),
        declared: DeclaredQueues | None = None,
    ) -> None:
        self._open_store = open_store
        self._declared = declared or DeclaredQueues()
        self._name, self._events, self._parts = name, events, parts
        self.clock = clock
        self.link = Link(self.store, Sender(self.store, events, middleware, self._declared), self._call)
        self.threads = Threads(self.store)
        self._lock = threading.Lock()
        self._store: QueueBackend | None = None
        self._tidying: Tidying | None = None
        self._heartbeat: Heartbeat | None = None
        self._workers: weakref.WeakSet[Worker] = weakref.WeakSet()
        self._closed = False
        self.lent = 0
        """How many loans there are now: see ``lend``."""
        _LIVING.add(self)

    # -- what is open ---------------------------------------------------------------------------------------------

    def store(self) -> QueueBackend:
        """Return the open store, opening it if need be; ``Closed`` after ``close``."""
        store = self._store  # read once: close may take it away meanwhile
        return self._open() if store is None else store

    def _open(self) -> QueueBackend:
        with self._lock:
            if self._closed:
                raise self._refusal()
            if self._store is None:
                self._store = self._declared_in(self._open_store())
                self._begin_tidying()
            return self._store

    def open_part(self) -> None:
        """Hear that a part opens something that must be tidied; ``Closed`` after ``close``."""
        with self._lock:
            if self._closed:
                raise self._refusal()
            self._begin_tidying()

    def _begin_tidying(self) -> None:
        if self._tidying is None:
            self._tidying = Tidying(self, self._events.logger)

    def _declared_in(self, store: QueueBackend) -> QueueBackend:
        """Let the store know the program's queues; it is closed when it cannot."""
        check_store(store, self._name)
        try:
            self._declared.write(store)
        except BaseException:
            store.close()
            raise
        return store

    async def _call(self, function: Callable[[], T], /) -> T:
        return await self.threads.call(function)

    def heartbeat(self) -> Heartbeat:
        """Return what keeps the leases of this App's queues alive; it beats once something is leased."""
        store = self.store()
        with self._lock:
            if self._store is not store:
                raise self._refusal()  # closed since, and maybe opened again: leases here would be of the old store
            if self._heartbeat is None:
                self._heartbeat = Heartbeat(
                    store, this_process(self._name), clock=self.clock, logger=self._events.logger
                )
            return self._heartbeat

    def _refusal(self) -> Closed:
        return Closed(f"{self._name or 'this App'} is closed; open it again with 'with app:'")

    def add(self, worker: Worker) -> None:
        """Let ``close`` stop this worker, and so the end of the program's main thread."""
        self._workers.add(worker)
        _stop_workers_at_exit()

    def served(self, readings: Sequence[Reading] = ()) -> QueueBackend:
        """Return the store as workers use it, and whoever sees to dead ones: with the groups of these ``readings``."""
        store, logs = self.store(), [part for part in self._parts if isinstance(part, OpenLogs)]
        if not logs:
            return store
        from holdfast.worker.consuming.backend import Consuming  # most programs only send

        return Consuming(store, logs[0], self._events, self.clock, readings)

    def rescue(self, stop: threading.Event | None = None) -> int:
        """Tidy until there is nothing more to do, or ``stop`` is set; return how many jobs were taken back."""
        store, heartbeat = self.served(), self._heartbeat
        if heartbeat is not None:
            heartbeat.catch_up()  # or a machine that has slept would take its own jobs for those of the dead
        return tidy_all(store, self._events, stop or threading.Event())

    def tidy(self, stop: threading.Event) -> None:
        """Tidy what is open, the store and the parts, until there is nothing more to do, or ``stop`` is set.

        A worker that works tidies the store itself, and need not have it done twice.
        """
        try:
            if self._store is not None and not any(worker.health().ready for worker in list(self._workers)):
                self.rescue(stop)
        finally:
            for part in self._parts:
                if isinstance(part, Untidy):
                    part.tidy(stop)

    @contextmanager
    def lend(self, store: QueueBackend, clock: Clock) -> Iterator[None]:
        """Let everything of this App live on ``store`` and ``clock`` in the block, for a test; afterwards all is as
        before. What was opened on them is closed then, the store too; loans may be nested.
        """
        with self._lock:
            before = (self.clock, self._store, self._tidying, self._heartbeat, self._workers, self._closed)
            threads, self.threads = self.threads, Threads(self.store)
            self.clock, self._store, self._tidying, self._heartbeat = clock, store, None, None
            self._workers, self._closed = weakref.WeakSet(), False
            self.lent += 1
        kept = [(part, part.renew()) for part in self._parts if isinstance(part, Keeping)]
        with self.link.renewed():
            try:
                self._declared.write(store)
                yield
            finally:
                self.close()
                for part, its in kept:
                    part.restore(its)
                with self._lock:
                    self.clock, self._store, self._tidying, self._heartbeat, self._workers, self._closed = before
                    self.threads = threads
                    self.lent -= 1

    # -- its end --------------------------------------------------------------------------------------------------

    def revive(self) -> None:
        """Let everything be opened again after ``close``."""
        with self._lock:
            if self._closed:
                self._closed = False
                self.link.renew()
                self.threads = Threads(self.store)

    def reopen(self) -> None:
        """Open the store now, also after ``close``."""
        self.revive()
        store = self.store()
        if isinstance(store, Transactional):
            store.queues()  # or a caller's transaction may find a store that is not set up, and could not do it

    def close(self) -> int:
        """End everything; return how many jobs are lost by it. See ``App.close``."""
        lingering = self.stop_workers()
        if not lingering:
            self._close_parts()
        self.link.close()
        self.threads.close()
        with self._lock:
            self._closed = True
            store, self._store = self._store, None
            tidying, self._tidying = self._tidying, None
            heartbeat, self._heartbeat = self._heartbeat, None
        if tidying is not None:
            tidying.stop()
        if not lingering:
            self._close_parts()  # what somebody opened again meanwhile
        if heartbeat is not None:
            heartbeat.stop()
            heartbeat.join(LAST_BEAT)
        if store is None:
            return 0
        if lingering:
            closing = threading.Thread(
                target=self._close_later, args=(store, lingering), name="holdfast-close", daemon=True
            )
            with suppress(RuntimeError):  # no thread begins while the program ends, and those jobs end with it
                closing.start()
            return 0
        return store.close()

    def _close_parts(self) -> None:
        for part in self._parts:
            part.close()

    def _close_later(self, store: QueueBackend, lingering: Sequence[Worker]) -> None:
        for worker in lingering:
            worker.linger()
        self._close_parts()
        store.close()

    def stop_workers(self) -> list[Worker]:
        """Stop all workers; return those of whose jobs some could not be stopped and still run."""
        workers = list(self._workers)
        self._workers.clear()
        for worker in workers:
            worker.stop()
        return [worker for worker in workers if self._lingers(worker)]

    def _lingers(self, worker: Worker) -> bool:
        try:
            worker.join()
        except Exception:  # what ended it was logged then, and the others must end too
            self._events.logger.debug("a worker of %r had ended with an error", self._name, exc_info=True)
        return not worker.linger(0)

    def forget(self) -> None:
        """Let go, in the child, of what belongs to the parent: no lock of it is taken, no connection closed."""
        workers = list(self._workers)
        for worker in workers:
            worker.forget()
        parts = [part.renew() for part in self._parts]
        inherited = (self._store, self._tidying, self._heartbeat, self.link.waiters, self.threads, workers, parts)
        _ABANDONED.append(inherited)
        self.threads = Threads(self.store)
        self._workers = weakref.WeakSet()
        self._lock = threading.Lock()
        self._store = self._tidying = self._heartbeat = None
        self.link.renew()


# -- processes: forks and the end --------------------------------------------------------------------------------

_LIVING: weakref.WeakSet[Lifetime] = weakref.WeakSet()
_ABANDONED: list[object] = []
"""What a child inherited and must not use: kept, or its finalizers would close the parent's connections."""


@cache
def _stop_workers_at_exit() -> None:
    """Let all workers end when the main thread has, while jobs may still use an executor.

    The functions of ``atexit`` come too late for that: before them, Python shuts every executor, in functions that
    only its own library registers. They run last first, so the executors' own must be there already.
    """
    import concurrent.futures.thread  # noqa: F401 - it registers when it is imported

    register = getattr(threading, "_register_atexit", atexit.register)
    with suppress(RuntimeError):  # the program is ending: _at_exit will do
        register(_stop_all_workers)


def _stop_all_workers() -> None:
    for living in list(_LIVING):
        living.stop_workers()


def _after_fork() -> None:
    for living in list(_LIVING):
        living.forget()


def _at_exit() -> None:
    for living in list(_LIVING):
        living.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
