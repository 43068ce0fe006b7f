"""The App: what a program opens from a URL, and what hands out everything else."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypedDict, TypeVar, Unpack, cast, overload

import msgspec

from holdfast.aio import Aio
from holdfast.capabilities import Inspectable, Logs, Schedules
from holdfast.clock import SYSTEM, Clock
from holdfast.codec import Codec, choose
from holdfast.config import QueueSettings, parse_url
from holdfast.declared import DeclaredQueues
from holdfast.errors import JobError, NotSupported, UsageError, nearest
from holdfast.events import LOGGER, Event, Events, is_coroutine_function
from holdfast.lifetime import Lifetime
from holdfast.listeners import AsyncListener, AsyncListeners
from holdfast.logs.opening import Opened, OpenLogs
from holdfast.message import SendOptions
from holdfast.middleware import Middleware
from holdfast.places import Places
from holdfast.queues import Queue
from holdfast.stores import holds_logs_alone, open_logs, open_store
from holdfast.tasks.calls import Call, send_calls
from holdfast.tasks.consumers import Consumers, StreamOptions
from holdfast.tasks.dependencies import Dependencies
from holdfast.tasks.isolating import address_of, surrounded
from holdfast.tasks.job import Job
from holdfast.tasks.making import WorkerScope
from holdfast.tasks.registry import Declaration, Registry, TaskOptions
from holdfast.tasks.subscribers import EVENTS_QUEUE, Function, SubscriberOptions, Subscribers
from holdfast.tasks.task import CoroutineTask, FunctionTask, Task
from holdfast.worker import Context, Handler, Lane, Worker, WorkerOptions
from holdfast.worker.gates import Gates

if TYPE_CHECKING:
    from holdfast.schedule.book import AppSchedules
    from holdfast.schedule.schedule import DeclaredOptions
    from holdfast.worker.commanding import AppWorkers

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=Task[..., Any])
E = TypeVar("E", bound=Event)
W = TypeVar("W", bound=Worker)

URL_VARIABLE, DEFAULT_URL = "HOLDFAST_URL", "sqlite:///holdfast.db"
LOGS_VARIABLE = "HOLDFAST_LOGS_URL"


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
    lanes: Sequence[Lane]
    supervised: bool
    isolated: int | None


def _schedules_of(app: App) -> AppSchedules:
    from holdfast.schedule.book import AppSchedules  # most programs only send, and need no zones and no rules

    return AppSchedules(app._link.sender, app._life.store, app.events, lambda: app._clock)


def _workers_of(app: App) -> AppWorkers:
    from holdfast.worker.commanding import AppWorkers

    return AppWorkers(app._life.store)


def _handler(task: Task[..., Any], here: WorkerScope, elsewhere: WorkerScope) -> Handler:
    """Return a task's handler; what isolated ones depend on is opened where they run, and not with the others'."""
    if not task.settings.isolate:
        return surrounded(task, here)
    return msgspec.structs.replace(surrounded(task, elsewhere), isolated=address_of(task))


def _consumers_of(app: App) -> Consumers:
    return Consumers(app.tasks, app._link)


class AppOptions(TypedDict, total=False):
    """What else an App can be told, see ``App``."""

    logger: logging.Logger | None
    queues: Mapping[str, QueueSettings]
    strict_queues: bool
    client: object
    pool: object
    logs: str | None


class App(Places):
    """Holds the store behind ``url`` (or ``$HOLDFAST_URL``, or ``sqlite:///holdfast.db``) and the program's tasks.

    Nothing is read or written before the first use or ``with app:``. ``close`` runs at exit by itself; ``with app:``
    opens again. After a fork the child opens the store anew at its first use. Every method may be called from any
    thread, except that declaring tasks is for one at a time.

    ``codec`` writes arguments and results of tasks that choose none: ``json``, ``msgpack``, or a ``Codec``;
    ``pickle`` needs ``allow_pickle=True``, for writing as for reading. ``logger`` is where the library's own lines go,
    and what ``ctx.logger`` builds on; None silences both. ``events`` brings a logger of its own.

    ``queues`` declares queues with their settings, which are written to the store when it is opened and has others.
    With ``strict_queues`` no other queue can be used: a ``UsageError`` tells of it before anything is read or written.

    ``logs`` is the URL of the store of its logs (or ``$HOLDFAST_LOGS_URL``), where that is another one.

    ``client`` and ``pool`` are the program's own ways to the store, for stores that take them: see the opener of each.
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
        **options: Unpack[AppOptions],
    ) -> None:
        if unknown := min(options.keys() - AppOptions.__annotations__.keys(), default=None):
            raise TypeError(f"App() got an unexpected keyword argument {unknown!r}")
        own = {name: options.get(name) for name in ("client", "pool") if name in options}
        self.url = parse_url(url or os.environ.get(URL_VARIABLE) or DEFAULT_URL)
        self.name = name
        self.events = events or Events(options.get("logger", LOGGER))
        self.middleware: Middleware[Context] = Middleware()
        """What surrounds every run of a handler, and every send: ``@app.middleware.run``, ``@app.middleware.send``."""
        self.dependencies = Dependencies(self.events.logger)
        """What handlers are given by ``Depends``; ``app.dependencies.override`` replaces a provider in tests."""
        self._listeners = AsyncListeners(self.events.logger)
        strict = options.get("strict_queues", False)
        logs_url = options.get("logs") or os.environ.get(LOGS_VARIABLE)
        self.logs_url = parse_url(logs_url) if logs_url else None
        self._logs = OpenLogs(self._open_logs, name=name or self.url.text, events=self.events, strict=strict)
        self._life = life = Lifetime(
            partial(open_store, self.url, clock=clock, **own),
            name=name or self.url.text,
            events=self.events,
            middleware=self.middleware,
            clock=clock,
            parts=(self.dependencies, self._listeners, self._logs),
            declared=DeclaredQueues(options.get("queues"), strict=strict, allow_pickle=allow_pickle),
        )
        self._link = self._life.link
        self.gate = Gates()
        """Holds kinds back: ``app.gate(task, predicate)``."""
        chosen = choose(codec, allow_pickle=allow_pickle)
        self.tasks = Registry(self._link, self.dependencies, codec=chosen, allow_pickle=allow_pickle)
        """The declared tasks by name, subscribers included; an unknown name raises ``UnknownTask``."""
        self._subscribers = Subscribers(self.tasks, self._link, codec=chosen)
        self.aio = Aio(
            link=self._link,
            threads=lambda: life.threads,
            subscribers=self._subscribers,
            app=self,
            appends=lambda: self._logs.appends,
        )
        """What the App offers, to be awaited."""

    workers = cached_property(_workers_of)
    """Who works on this App's store, in whatever process, to list, quiet and stop."""
    schedules = cached_property(_schedules_of)
    """The schedules of this App's store, to add, list, edit, pause and run."""

    _consumers = cached_property(_consumers_of)

    def __repr__(self) -> str:
        return f"<App {self.name or self.url.text!r}>"

    @property
    def _clock(self) -> Clock:
        return self._life.clock

    def _open_logs(self) -> Opened:
        self._life.open_part()
        clock, url = self._clock, self.logs_url or self.url
        if not self._life.lent and (url != self.url or holds_logs_alone(url)):
            return Opened(open_logs(url, clock=clock), is_own=True, clock=clock)
        store = self._life.store()
        if not isinstance(store, Logs):
            raise NotSupported(f"{self.url.text} holds no logs: name a store that does, App(…, logs='disk:data')")
        return Opened(store.open_logs(), is_own=False, clock=clock)

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

    def schedule(self, **options: Unpack[DeclaredOptions]) -> Callable[[T], T]:
        """Declare that a task is sent at times: ``@app.schedule(cron="0 9 * * MON-FRI", tz="Europe/Paris")`` above
        ``@app.task``. Touches no store; workers that start store it, and it ticks while one of them lives.

        ``every=`` in place of ``cron=`` is an interval; see ``ScheduleOptions`` for the others. ``UsageError`` names
        the option that does not fit.
        """

        def declare(task: T) -> T:
            if not isinstance(task, Task):
                raise UsageError(f"{task!r:.80} is no task: put @app.schedule(…) above @app.task, not below it")
            return self.schedules.declare(task, options, self.tasks.get)

        return declare

    def enqueue_many(self, calls: Iterable[Call[R]], *, connection: object = None) -> list[Job[R]]:
        """Send calls of any tasks, one round trip a queue, and return their jobs in order.

        When a queue's round trip raises, those before it are stored; sending all of the calls again is safe. With a
        ``connection`` they are stored when the transaction there commits.
        """
        return send_calls(self._link, list(calls), connection)

    # -- events ---------------------------------------------------------------------------------------------------

    def on(self, kind: str, /, **options: Unpack[SubscriberOptions]) -> Callable[[Function], Function]:
        """Subscribe a function to events of this kind: ``@app.on("user.created")``. It stays a plain function.

        It takes the event as its one argument, decoded by its annotation; each event becomes a job of its own for it,
        with the attempts, timeout and dead letter of its options. Several may subscribe to one kind, under different
        names; all of them belong to one deployment. ``UsageError`` names what does not fit. Touches no store.
        """
        return self._subscribers.on(kind, options)

    def consume(self, log: str = "", **options: Unpack[StreamOptions]) -> Callable[[Function], Function]:
        """Let a function handle the messages of a log: ``@app.consume(log="orders", group="billing")``, or those of a
        Redis stream that others fill: ``@app.consume(stream="orders", group="billing")``. It stays a plain function.

        It takes the message as its one argument, decoded by its annotation; ``bytes`` is the body as it is, a
        ``LogMessage`` has its place too. This App's workers handle each message once for the group, those of one key in
        their order, with the retries, timeout and dead letters of its options; see ``ConsumerOptions``, and
        ``StreamOptions`` for what a stream has beside. Dead letters are in the queue ``<log>.<group>``, and run in this
        function again when they are replayed. ``UsageError`` names what does not fit. Touches no store.
        """
        return self._consumers.consume(log, options)

    def publish(
        self, kind: str, event: object, /, queue: str = EVENTS_QUEUE, **options: Unpack[SendOptions]
    ) -> Job[None]:
        """Store one event, and return its job, which is done once each subscriber has a job of its own.

        That happens in one step in the worker that leases it; the subscribers are those it knows. When it knows none,
        the event stays ready, and is shown as unhandled. The options are those of any send: headers, priority,
        timeout, ``max_attempts`` and key pass on to the subscribers' jobs, whose key is ``<key>/<subscriber>``, so that
        no subscriber waits for another. Blocks for one round trip; ``UsageError`` when the event cannot be encoded.
        """
        return self._subscribers.publish(kind, event, queue, options)

    def publish_now(self, kind: str, event: object, /) -> None:
        """Call the subscribers of this kind here, in the order they subscribed, without a store; with none do nothing.

        The first error ends it and is raised. ``UsageError``, and nothing is called, when one of them is an
        ``async def``: ``await app.aio.publish_now`` runs those too.
        """
        self._subscribers.publish_now(kind, event)

    # -- workers and jobs -----------------------------------------------------------------------------------------

    def worker(self, queues: Sequence[str | Queue] | None = None, **options: Unpack[EmbeddedOptions]) -> Worker:
        """Return a worker for this process, not started: ``with app.worker(concurrency=4):`` works until its end.

        It takes the declared tasks from ``queues``, given by name or as ``app.queues(…)``, by default every queue
        that one of them or a declared schedule names, and fires the schedules of those queues. What is declared later
        is not among them. ``close`` stops it, and so does the end of the program's main thread. ``UsageError`` names
        an option that is unknown.
        """
        return self._worker(Worker, queues, options, ticking=True)

    def _worker(
        self,
        make: type[W],
        queues: Sequence[str | Queue] | None,
        options: EmbeddedOptions,
        *,
        ticking: bool = False,
        consuming: bool = True,
    ) -> W:
        if isinstance(queues, str):
            raise UsageError(f"the queues of a worker are several texts: app.worker([{queues!r}])")
        known = WorkerOptions.__struct_fields__
        if unknown := min(options.keys() - set(known), default=None):
            raise UsageError(f"unknown worker option {unknown!r}{nearest(unknown, known)}; known: {', '.join(known)}")
        tasks, scopes = self.tasks.values(), (self.dependencies.worker(), self.dependencies.worker())
        if queues is None:
            queues = [*(task.queue for task in tasks), *self.schedules.queues()]
        names = [queue.name if isinstance(queue, Queue) else self.queue(queue).name for queue in queues]
        store = self.backend
        readings = [one for one in self._consumers.readings() if consuming and one.queue in names]
        worker = make(
            self._life.served(readings),
            list(dict.fromkeys(names)),
            [*(_handler(task, *scopes) for task in tasks), *self._subscribers.handlers()],
            events=self.events,
            options=msgspec.structs.replace(WorkerOptions(embedded=True, name=self.name), **options),
            clock=self._clock,
            services=[self.schedules.ticker(names)] if ticking and isinstance(store, Schedules) else [],
        )
        worker.heed(self.gate)
        self._life.add(worker)
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

    def rescue(self) -> int:
        """Take back the jobs of holders that have gone silent, or whose process has gone from this machine, and return
        how many; workers do it by themselves.
        """
        return self._life.rescue()

    @overload
    def listen(self, event_type: type[E], listener: Callable[[E], object]) -> Callable[[], None]: ...
    @overload
    def listen(self, event_type: type[E]) -> Callable[[Callable[[E], R]], Callable[[E], R]]: ...
    def listen(self, event_type: type[E], listener: Callable[[E], object] | None = None) -> Any:
        """Call ``listener`` with every event of this type that happens in this process; the returned function ends
        that. With no listener, return a decorator for one.

        A function is called in the thread where the event happens, and should return quickly. A coroutine function is
        awaited on a loop of its own thread, one event after the other, and delays no job; when 10 000 events wait for
        it, further ones are dropped, and that is logged. ``close`` gives it 5 seconds for what still waits.
        """
        if listener is None:
            return partial(self._listening, event_type)
        if is_coroutine_function(listener):
            listener = self._listeners.listener(cast(AsyncListener, listener))
        return self.events.listen(event_type, listener)

    def _listening(self, event_type: type[E], listener: Callable[[E], R]) -> Callable[[E], R]:
        self.listen(event_type, listener)
        return listener

    # -- open and close -------------------------------------------------------------------------------------------

    def close(self) -> int:
        """Stop the App's workers, send what was submitted, end the App's threads, close the store. May be repeated.

        What ``queue.lease`` still holds goes back. A job in a thread that could not be stopped keeps its lease, and
        with it the store behind this App, until it ends: so nobody runs it twice at once. Then 0 is returned.

        Returns how many jobs are lost by it: 0 unless the store is not durable. Later uses raise ``Closed`` until
        ``with app:`` opens it again.
        """
        return self._life.close()

    def __enter__(self) -> Self:
        if not self._life.lent and holds_logs_alone(self.url):
            self._life.revive()
            self._logs.store()
        else:
            self._life.reopen()
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
