"""The awaited face of an open App: the same names as on the App itself, and no event loop is ever blocked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, Unpack

from holdfast.aio.queues import AioDeliveries, AioPlace, AioQueue
from holdfast.aio.threads import Threads
from holdfast.message import SendOptions
from holdfast.queues import Queue
from holdfast.tasks.calls import Call, send_calls_soon
from holdfast.tasks.job import Job
from holdfast.tasks.link import Link
from holdfast.tasks.subscribers import EVENTS_QUEUE, Subscribers

__all__ = ["Aio", "AioDeliveries", "AioPlace", "AioQueue", "Threads"]

R = TypeVar("R")


class Aio:
    """``app.aio``: what the App offers, to be awaited. For any number of tasks, on any number of event loops.

    Cancelling a task that waits loses nothing and holds nothing: what was leased for it goes back. Calls are made by
    threads of their own, eight at a time, and any number of tasks may wait for messages beside them.
    """

    def __init__(
        self,
        *,
        link: Link,
        threads: Callable[[], Threads],
        subscribers: Subscribers,
        queue: Callable[[str], Queue],
        queues: Callable[..., list[Queue]],
        job: Callable[[str, str], Job[Any]],
        rescue: Callable[[], int],
    ) -> None:
        self._link, self._threads, self._subscribers = link, threads, subscribers
        self._queue, self._queues, self._job, self._rescue = queue, queues, job, rescue

    # -- queues ---------------------------------------------------------------------------------------------------

    def queue(self, name: str) -> AioQueue:
        """Return the queue of this name. Touches no store, and makes no queue."""
        return AioQueue(self._queue(name), self._threads, self._link)

    async def queues(
        self,
        names: str | Iterable[str] | None = None,
        *,
        labels: Mapping[str, object] | None = None,
        group: str | None = None,
    ) -> list[AioQueue]:
        """Return the queues that the store has, by name: all, or those that match everything that is given."""
        found = await self._threads().call(self._queues, names, labels=labels, group=group)
        return [AioQueue(queue, self._threads, self._link) for queue in found]

    # -- jobs and events ------------------------------------------------------------------------------------------

    async def enqueue_many(self, calls: Iterable[Call[R]]) -> list[Job[R]]:
        """Send calls of any tasks, one round trip a queue, and return their jobs in order. See ``App.enqueue_many``."""
        return await send_calls_soon(self._link, list(calls))

    async def publish(
        self, kind: str, event: object, /, queue: str = EVENTS_QUEUE, **options: Unpack[SendOptions]
    ) -> Job[None]:
        """Store one event; what is sent at the same time shares one round trip. See ``App.publish``."""
        return await self._subscribers.publish_soon(kind, event, queue, options)

    async def publish_now(self, kind: str, event: object, /) -> None:
        """Run the subscribers of this kind here, in the order they subscribed, without a store; with none do nothing.

        Each has ended before the next begins, also when this is cancelled; a plain function runs in a thread of the
        App's. The first error is raised and ends it.
        """
        await self._subscribers.publish_now_soon(kind, event)

    async def job(self, queue: str, job_id: str) -> Job[Any]:
        """Look up a job sent by anybody, and return it with its ``view``; ``JobError`` when it does not exist."""
        return await self._threads().call(self._job, queue, job_id)

    async def rescue(self) -> int:
        """Take back the jobs of holders that have gone silent, and return how many. See ``App.rescue``."""
        return await self._threads().call(self._rescue)
