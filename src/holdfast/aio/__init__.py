"""The awaited face of an open App: the same names as on the App itself, and no event loop is ever blocked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar, Unpack

from holdfast.aio.logs import AioGroup, AioLog, AioMember, AioProducer
from holdfast.aio.queues import AioDeliveries, AioPlace, AioQueue
from holdfast.aio.threads import Threads
from holdfast.declared import LogOptions
from holdfast.logs import Log
from holdfast.logs.appends import Appends
from holdfast.message import SendOptions
from holdfast.queues import Queue
from holdfast.tasks.calls import Call, send_calls_soon
from holdfast.tasks.job import Job
from holdfast.tasks.link import Link
from holdfast.tasks.subscribers import EVENTS_QUEUE, Subscribers

__all__ = [
    "Aio",
    "AioDeliveries",
    "AioGroup",
    "AioLog",
    "AioMember",
    "AioPlace",
    "AioProducer",
    "AioQueue",
    "Threads",
]

R = TypeVar("R")
Names = str | Iterable[str] | None


class Blocking(Protocol):
    """What the awaited face needs of its App; these block."""

    def queue(self, name: str) -> Queue: ...
    def queues(
        self, names: Names = None, *, labels: Mapping[str, object] | None = None, group: str | None = None
    ) -> list[Queue]: ...
    def log(self, name: str, **settings: Unpack[LogOptions]) -> Log: ...
    def logs(self, names: Names = None, *, labels: Mapping[str, object] | None = None) -> list[Log]: ...
    def select(
        self, ids: Names = None, *, names: Names = None, labels: Mapping[str, object] | None = None
    ) -> list[Queue | Log]: ...
    def job(self, queue: str, job_id: str) -> Job[Any]: ...
    def rescue(self) -> int: ...


class Aio:
    """``app.aio``: what the App offers, to be awaited. For any number of tasks, on any number of event loops.

    Cancelling a task that waits loses nothing and holds nothing: what was leased for it goes back. Calls are made by
    threads of their own, eight at a time, and any number of tasks may wait for messages beside them.
    """

    def __init__(
        self,
        *,
        app: Blocking,
        link: Link,
        threads: Callable[[], Threads],
        subscribers: Subscribers,
        appends: Callable[[], Appends],
    ) -> None:
        self._app, self._link, self._threads = app, link, threads
        self._subscribers, self._appends = subscribers, appends

    # -- queues ---------------------------------------------------------------------------------------------------

    def queue(self, name: str) -> AioQueue:
        """Return the queue of this name. Touches no store, and makes no queue."""
        return AioQueue(self._app.queue(name), self._threads, self._link)

    async def queues(
        self,
        names: str | Iterable[str] | None = None,
        *,
        labels: Mapping[str, object] | None = None,
        group: str | None = None,
    ) -> list[AioQueue]:
        """Return the queues that the store has, by name: all, or those that match everything that is given."""
        found = await self._threads().call(self._app.queues, names, labels=labels, group=group)
        return [AioQueue(queue, self._threads, self._link) for queue in found]

    # -- logs -----------------------------------------------------------------------------------------------------

    def log(self, name: str, **settings: Unpack[LogOptions]) -> AioLog:
        """Return the log of this name, with these settings. Touches no store. See ``App.log``."""
        return self._aio_log(self._app.log(name, **settings))

    async def logs(
        self, names: str | Iterable[str] | None = None, *, labels: Mapping[str, object] | None = None
    ) -> list[AioLog]:
        """Return the logs there are, by name: all, or those that match everything that is given."""
        return [self._aio_log(log) for log in await self._threads().call(self._app.logs, names, labels=labels)]

    async def select(
        self,
        ids: str | Iterable[str] | None = None,
        *,
        names: str | Iterable[str] | None = None,
        labels: Mapping[str, object] | None = None,
    ) -> list[AioQueue | AioLog]:
        """Return queues and logs, each once, queues first and by name. See ``App.select``."""
        found = await self._threads().call(self._app.select, ids, names=names, labels=labels)
        return [
            self._aio_log(one) if isinstance(one, Log) else AioQueue(one, self._threads, self._link) for one in found
        ]

    def _aio_log(self, log: Log) -> AioLog:
        return AioLog(log, self._threads, self._appends)

    # -- jobs and events ------------------------------------------------------------------------------------------

    async def enqueue_many(self, calls: Iterable[Call[R]]) -> list[Job[R]]:
        """Send calls of any tasks, one round trip a queue, and return their jobs in order. See ``App.enqueue_many``."""
        return await send_calls_soon(self._link, list(calls))

    async def publish(
        self, kind: str, event: object, /, queue: str = EVENTS_QUEUE, **options: Unpack[SendOptions]
    ) -> Job[None]:
        """Store one event; what is sent at the same time shares round trips. See ``App.publish``."""
        return await self._subscribers.publish_soon(kind, event, queue, options)

    async def publish_now(self, kind: str, event: object, /) -> None:
        """Run the subscribers of this kind here, in the order they subscribed, without a store; with none do nothing.

        Each has ended before the next begins, also when this is cancelled; a plain function runs in a thread of the
        App's. The first error is raised and ends it.
        """
        await self._subscribers.publish_now_soon(kind, event)

    async def job(self, queue: str, job_id: str) -> Job[Any]:
        """Look up a job sent by anybody, and return it with its ``view``; ``JobError`` when it does not exist."""
        return await self._threads().call(self._app.job, queue, job_id)

    async def rescue(self) -> int:
        """Take back the jobs of holders that have gone silent, and return how many. See ``App.rescue``."""
        return await self._threads().call(self._app.rescue)
