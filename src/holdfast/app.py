"""The App: what a program opens from a URL, and what hands out everything else."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from functools import cache
from types import TracebackType
from typing import Any, ParamSpec, Self, TypedDict, TypeVar, Unpack, overload

import msgspec

from holdfast.capabilities import Inspectable
from holdfast.clock import SYSTEM, Clock
from holdfast.codec import Codec, choose
from holdfast.config import parse_url
from holdfast.contract import QueueBackend
from holdfast.errors import BackendError, Closed, JobError, NotSupported, UsageError, nearest
from holdfast.events import Event, Events
from holdfast.heartbeat import Heartbeat, this_process
from holdfast.queues import Queue
from holdfast.stores import open_store
from holdfast.tasks.calls import Call, send_calls, send_calls_soon
from holdfast.tasks.job import Job
from holdfast.tasks.link import Link
from holdfast.tasks.registry import Declaration, Registry, TaskOptions
from holdfast.tasks.task import CoroutineTask, FunctionTask
from holdfast.worker import Worker, WorkerOptions
from holdfast.worker.housekeeping import tidy

logger = logging.getLogger("holdfast")

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound=Event)

URL_VARIABLE, DEFAULT_URL = "HOLDFAST_URL", "sqlite:///holdfast.db"
TIDY_EVERY = 60.0
LAST_BEAT = 5.0
"""Seconds that a closing App gives its heartbeat to hand back what is still leased."""


class EmbeddedOptions(TypedDict, total=False):
    """The options of a worker, see ``WorkerOptions``; one inside another program is ``embedded`` unless it says no."""

    concurrency: int
    name: str
    ttl: float
    grace: float
    prefetch: float
    embedded: bool
    busy_poll: float
    idle_poll: float
    stall_after: float
    drain: bool
    max_jobs: int | None


class App:
    """Holds the store behind ``url`` (or ``$HOLDFAST_URL``, or ``sqlite:///holdfast.db``) and the program's tasks.

    Nothing is read or written before the first use or ``with app:``. ``close`` runs at exit by itself; ``with app:``
    opens again. After a fork the child opens the store anew at its first use. Every method may be called from any
    thread, except that declaring tasks is for one at a time.

    ``codec`` writes arguments and results of tasks that choose none: ``json``, ``msgpack``, or a ``Codec``;
    ``pickle`` needs ``allow_pickle=True``, for writing as for reading.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        name: str = "",
        clock: Clock = SYSTEM,
        codec: str | Codec = "json",
        allow_pickle: bool = False,
        events: Events | None = None,
    ) -> None:
        self.url = parse_url(url or os.environ.get(URL_VARIABLE) or DEFAULT_URL)
        self.name = name
        self.events = events or Events()
        self._clock = clock
        self._link = Link(self._opened, self.events)
        self.tasks = Registry(self._link, codec=choose(codec, allow_pickle=allow_pickle), allow_pickle=allow_pickle)
        """The declared tasks by name; an unknown name raises ``UnknownTask``."""
        self._lock = threading.Lock()
        self._store: QueueBackend | None = None
        self._tidying: _Tidying | None = None
        self._heartbeat: Heartbeat | None = None
        self._workers: weakref.WeakSet[Worker] = weakref.WeakSet()
        self._closed = False
        _APPS.add(self)

    def __repr__(self) -> str:
        return f"<App {self.name or self.url.text!r}>"

    # -- tasks ----------------------------------------------------------------------------------------------------

    @overload
    def task(  # type: ignore[overload-overlap] # a coroutine function is meant by what it awaits to
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CoroutineTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> FunctionTask[P, R]: ...
    @overload
    def task(self, /, **options: Unpack[TaskOptions]) -> Declaration: ...
    def task(self, function: Callable[..., Any] | None = None, /, **options: Unpack[TaskOptions]) -> Any:
        """Declare a function as a task: ``@app.task`` or ``@app.task(queue="mail", retry=3)``. Touches no store.

        ``UsageError`` names the option, or the parameter, that cannot be used.
        """
        if function is None:
            return Declaration(self.tasks, options)
        return self.tasks.declare(function, options)

    def enqueue_many(self, calls: Iterable[Call[R]]) -> list[Job[R]]:
        """Send calls of any tasks, one round trip a queue, and return their jobs in order.

        When a queue's round trip raises, those before it are stored; sending all of the calls again is safe.
        """
        return send_calls(self._link, list(calls))

    async def aenqueue_many(self, calls: Iterable[Call[R]]) -> list[Job[R]]:
        """Do as ``enqueue_many`` does, blocking no event loop."""
        return await send_calls_soon(self._link, list(calls))

    def worker(self, queues: Sequence[str] | None = None, **options: Unpack[EmbeddedOptions]) -> Worker:
        """Return a worker for this process, not started: ``with app.worker(concurrency=4):`` works until its end.

        It takes the declared tasks from ``queues``, by default every queue that one of them names. Tasks declared
        later are not among them. ``close`` stops it, and so does the end of the program's main thread. ``UsageError``
        names an option that is unknown.
        """
        if isinstance(queues, str):
            raise UsageError(f"the queues of a worker are several texts: app.worker([{queues!r}])")
        known = WorkerOptions.__struct_fields__
        if unknown := min(options.keys() - set(known), default=None):
            raise UsageError(f"unknown worker option {unknown!r}{nearest(unknown, known)}; known: {', '.join(known)}")
        tasks = self.tasks.values()
        worker = Worker(
            self.backend,
            list(dict.fromkeys(task.queue for task in tasks) if queues is None else queues),
            [task.handler() for task in tasks],
            events=self.events,
            options=msgspec.structs.replace(WorkerOptions(embedded=True, name=self.name), **options),
            clock=self._clock,
        )
        self._workers.add(worker)
        _stop_workers_at_exit()
        return worker

    def job(self, queue: str, job_id: str) -> Job[Any]:
        """Look up a job sent by anybody, and return it with its ``view``; ``JobError`` when it does not exist.

        Its result is decoded as its task says, or as plain JSON when this App has no such task.
        """
        store = self.backend
        if not isinstance(store, Inspectable):
            raise NotSupported(f"{type(store).__name__} cannot look at jobs")
        view = store.get(queue, job_id)
        if view is None:
            raise JobError(f"queue {queue!r} has no job {job_id}: it was removed, or never sent", job_id=job_id)
        decode = self.tasks[view.kind].decode_result if view.kind in self.tasks else choose("json").decoder(Any)
        return Job(self._link, queue, job_id, decode, view=view)

    # -- queues and the store -------------------------------------------------------------------------------------

    def queue(self, name: str) -> Queue:
        """Return the queue of this name, for bytes and leases of one's own. Touches no store, and makes no queue."""
        return Queue(name, self._opened, self._beating, self.events)

    def queues(self) -> list[Queue]:
        """Return every queue that the store has, by name."""
        return [self.queue(name) for name in sorted(self.backend.queues())]

    @property
    def backend(self) -> QueueBackend:
        """The open store itself, for what the App does not offer; opened if need be."""
        return self._opened()

    def rescue(self) -> int:
        """Take back the jobs of holders that have gone silent, and return how many; workers do it by themselves."""
        return self._rescue(threading.Event())

    def _rescue(self, stop: threading.Event) -> int:
        store, heartbeat = self.backend, self._heartbeat
        if heartbeat is not None:
            heartbeat.catch_up()  # or a machine that has slept would take its own jobs for those of the dead
        return _tidy(store, self.events, stop)

    def listen(self, event_type: type[E], listener: Callable[[E], object]) -> Callable[[], None]:
        """Call ``listener`` with every event of this type that happens in this process, in the thread where it
        happens; the returned function ends that.
        """
        return self.events.listen(event_type, listener)

    # -- open and close -------------------------------------------------------------------------------------------

    def close(self) -> int:
        """Stop the App's workers, send what was submitted, end the App's threads, close the store. May be repeated.

        What ``queue.lease`` still holds goes back. A job in a thread that could not be stopped keeps its lease, and
        with it the store behind this App, until it ends: so nobody runs it twice at once. Then 0 is returned.

        Returns how many jobs are lost by it: 0 unless the store is not durable. Later uses raise ``Closed`` until
        ``with app:`` opens it again.
        """
        lingering = self._stop_workers()
        self._link.close()
        with self._lock:
            self._closed = True
            store, self._store = self._store, None
            tidying, self._tidying = self._tidying, None
            heartbeat, self._heartbeat = self._heartbeat, None
        if tidying is not None:
            tidying.stop()
        if heartbeat is not None:
            heartbeat.stop()
            heartbeat.join(LAST_BEAT)
        if store is None:
            return 0
        if lingering:
            closing = threading.Thread(target=_close_later, args=(store, lingering), name="holdfast-close", daemon=True)
            with suppress(RuntimeError):  # no thread begins while the program ends, and those jobs end with it
                closing.start()
            return 0
        return store.close()

    def _stop_workers(self) -> list[Worker]:
        """Stop all workers; return those of whose jobs some could not be stopped and still run."""
        workers = list(self._workers)
        self._workers.clear()
        for worker in workers:
            worker.stop()
        return [worker for worker in workers if self._lingers(worker)]

    def _lingers(self, worker: Worker) -> bool:
        try:
            report = worker.join()
        except Exception:  # what ended it was logged then, and the others must end too
            logger.debug("a worker of %r had ended with an error", self, exc_info=True)
            return False
        return report is not None and report.abandoned > 0 and not worker.linger(0)

    def __enter__(self) -> Self:
        with self._lock:
            if self._closed:
                self._closed = False
                self._link.renew()
        self._opened()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        from asyncio import to_thread

        return await to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from asyncio import to_thread

        await to_thread(self.close)

    def _opened(self) -> QueueBackend:
        store = self._store  # read once: close may take it away meanwhile
        return self._open() if store is None else store

    def _open(self) -> QueueBackend:
        with self._lock:
            if self._closed:
                raise self._refusal()
            if self._store is None:
                self._store = open_store(self.url, clock=self._clock)
                self._tidying = _Tidying(self)
            return self._store

    def _beating(self) -> Heartbeat:
        """Return what keeps the leases of this App's queues alive; it beats once something is leased."""
        store = self._opened()
        with self._lock:
            if self._store is not store:
                raise self._refusal()  # closed since, and maybe opened again: leases here would be of the old store
            if self._heartbeat is None:
                self._heartbeat = Heartbeat(store, this_process(self.name), clock=self._clock)
            return self._heartbeat

    def _refusal(self) -> Closed:
        return Closed(f"{self!r} is closed; open it again with 'with app:'")

    def _forked(self) -> None:
        """Let go, in the child, of what belongs to the parent: no lock of it is taken, no connection closed."""
        workers = list(self._workers)
        for worker in workers:
            worker.forget()
        _ABANDONED.append((self._store, self._tidying, self._heartbeat, self._link.waiters, workers))
        self._workers = weakref.WeakSet()
        self._lock = threading.Lock()
        self._store = self._tidying = self._heartbeat = None
        self._link.renew()


def _close_later(store: QueueBackend, lingering: Sequence[Worker]) -> None:
    for worker in lingering:
        worker.linger()
    store.close()


def _tidy(store: QueueBackend, events: Events, stop: threading.Event) -> int:
    """Tidy a store until there is nothing more to do or ``stop``, and return how many jobs were taken back."""
    rescued = 0
    while True:
        done = tidy(store, events)
        rescued += done.rescued
        if not done.more or stop.is_set():
            return rescued


class _Tidying:
    """Tidies the store once a minute, for as long as the App is open: some programs only send."""

    def __init__(self, app: App) -> None:
        self._stop = threading.Event()
        # The thread holds the App weakly, or one that nobody closes would live as long as the program.
        arguments = (weakref.ref(app), self._stop)
        self._thread = threading.Thread(target=_keep_tidy, args=arguments, name="holdfast-tidy", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def _keep_tidy(app: weakref.ref[App], stop: threading.Event) -> None:
    while not stop.wait(TIDY_EVERY):
        held = app()
        if held is None:
            return
        try:
            held._rescue(stop)
        except (BackendError, Closed):
            logger.debug("tidying %r is put off", held, exc_info=True)  # whoever uses the store will say so
        del held


# -- processes: forks and the end --------------------------------------------------------------------------------

_APPS: weakref.WeakSet[App] = weakref.WeakSet()
_ABANDONED: list[object] = []
"""What a child inherited and must not use: kept, or its finalizers would close the parent's connections."""


def _after_fork() -> None:
    for app in list(_APPS):
        app._forked()


def _at_exit() -> None:
    for app in list(_APPS):
        app.close()


@cache
def _stop_workers_at_exit() -> None:
    """Let the workers of all Apps end when the main thread has, while jobs may still use an executor.

    The functions of ``atexit`` come too late for that: before them, Python shuts every executor, in functions that
    only its own library registers. They run last first, so the executors' own must be there already.
    """
    import concurrent.futures.thread  # noqa: F401 - it registers when it is imported

    register = getattr(threading, "_register_atexit", atexit.register)
    with suppress(RuntimeError):  # the program is ending: _at_exit will do
        register(_stop_all_workers)


def _stop_all_workers() -> None:
    for app in list(_APPS):
        app._stop_workers()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
