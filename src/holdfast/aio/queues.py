"""The awaited face of a queue: the same names, on the same open store, and no event loop is ever blocked."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TypeVar, Unpack

from holdfast.aio.threads import Threads, answer, answer_first
from holdfast.bulk import PAGE, Which
from holdfast.capabilities import REMOVABLE, JobFilter
from holdfast.config import QueueSettings
from holdfast.delivery import Ack, Delivery, GiveBack, JobView, Matching, Page, QueueStats, Receipt, Replayed, State
from holdfast.errors import Closed
from holdfast.message import Message, Seconds, SendOptions, Stored
from holdfast.queues import RAW, Deliveries, Queue, Reviving, message_of
from holdfast.tasks.link import Link

T = TypeVar("T")


@contextmanager
def _stopping(how: Reviving) -> Iterator[None]:
    """Stop what runs in another thread when this block ends with an error, such as a cancellation."""
    stop = how.setdefault("stop", threading.Event())
    try:
        yield
    except BaseException:
        stop.set()
        raise


class AioPlace:
    """A queue as operators see it; each method does what that of ``Place`` does. For any number of tasks and loops."""

    def __init__(self, queue: Queue, threads: Callable[[], Threads]) -> None:
        self.name = queue.name
        self._queue, self._threads = queue, threads

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    async def declare(self, settings: QueueSettings) -> None:
        """Make the queue exist with these settings; the last ones win."""
        await self._threads().call(self._queue.declare, settings)

    async def destroy(self) -> int:
        """Remove the queue with everything in it; return how many jobs went. Running ones lose their lease."""
        return await self._threads().call(self._queue.destroy)

    async def stats(self) -> QueueStats:
        """Return exact counts of every state."""
        return await self._threads().call(self._queue.stats)

    async def depth(self) -> int:
        """Return how many jobs could start now."""
        return await self._threads().call(self._queue.depth)

    async def get(self, job_id: str) -> JobView | None:
        """Return one job with its runs, or None when it does not exist."""
        return await self._threads().call(self._queue.get, job_id)

    async def browse(
        self, only: JobFilter | None = None, *, limit: int = 100, cursor: str | None = None, bodies: bool = True
    ) -> Page:
        """Return up to ``limit`` matching jobs, newest first; pass the page's cursor for the next."""
        return await self._threads().call(self._queue.browse, only, limit=limit, cursor=cursor, bodies=bodies)

    async def jobs(self, only: JobFilter | None = None, *, bodies: bool = True) -> AsyncIterator[JobView]:
        """Yield all matching jobs, newest sent first. See ``Place.jobs``."""
        page = await self.browse(only, limit=PAGE, bodies=bodies)
        while True:
            for job in page.jobs:
                yield job
            if page.cursor is None:
                return
            page = await self.browse(only, limit=PAGE, cursor=page.cursor, bodies=bodies)

    async def count(self, only: JobFilter | None = None) -> Matching:
        """Count the matching jobs. See ``Place.count``."""
        return await self._threads().call(self._queue.count, only)

    async def cancel(self, which: Which, reason: str = "cancelled") -> dict[str, State]:
        """Cancel waiting jobs and ask for running ones; return the state each is in then."""
        return await self._threads().call(self._queue.cancel, which, reason)

    async def replay(self, which: Which, **how: Unpack[Reviving]) -> Replayed:
        """Make dead, cancelled and expired jobs ready as if new; return which were. See ``Place.replay``.

        Cancelling the task that awaits it stops it.
        """
        with _stopping(how):
            return await self._threads().call_apart(self._queue.replay, which, **how)

    async def reload(self, which: Which, **how: Unpack[Reviving]) -> Replayed:
        """Give dead, cancelled and expired jobs exactly one more attempt; return which got it. See ``Place.reload``.

        Cancelling the task that awaits it stops it.
        """
        with _stopping(how):
            return await self._threads().call_apart(self._queue.reload, which, **how)

    async def remove(self, which: Which, *, states: Collection[State] = REMOVABLE) -> list[str]:
        """Remove jobs for good if they are in one of ``states``; return the ids of those that went."""
        return await self._threads().call(self._queue.remove, which, states=states)

    async def flush(self, state: State) -> int:
        """Remove every job in ``state``, which is not running; return how many."""
        return await self._threads().call(self._queue.flush, state)

    async def pause(self) -> None:
        """Grant no lease, to anybody, until :meth:`resume`; sends and running jobs go on."""
        await self._threads().call(self._queue.pause)

    async def resume(self) -> None:
        """Grant leases again."""
        await self._threads().call(self._queue.resume)


class AioQueue(AioPlace):
    """A queue as its users see it: messages go in, deliveries come out. For any number of tasks and loops."""

    def __init__(self, queue: Queue, threads: Callable[[], Threads], link: Link) -> None:
        super().__init__(queue, threads)
        self._link = link

    async def settings(self) -> QueueSettings | None:
        """Return what the queue was told, None when it does not exist."""
        return await self._threads().call(self._queue.settings)

    async def send(self, body: bytes, **options: Unpack[SendOptions]) -> Stored:
        """Store one message; what is sent at the same time shares round trips. See ``Queue.send``."""
        return (await self._send(self._queue._messages([body], options), options))[0]

    async def send_many(self, bodies: Iterable[bytes | Message], **options: Unpack[SendOptions]) -> list[Stored]:
        """Store messages in one call; return one receipt each, in order. See ``Queue.send_many``."""
        messages = self._queue._messages(bodies, options)
        return await self._send(messages, options) if messages else []

    async def _send(self, messages: Sequence[Message], options: SendOptions) -> list[Stored]:
        return await self._link.send_soon(self.name, messages, connection=options.get("connection"))

    @asynccontextmanager
    async def lease(
        self, limit: int = 10, *, kinds: Collection[str] = RAW, wait: Seconds | None = 0.0
    ) -> AsyncIterator[AioDeliveries]:
        """Lease up to ``limit`` messages for the block: ``async with queue.lease() as deliveries:``.

        Waits up to ``wait`` seconds (None: for ever) for the first; whoever is cancelled while waiting holds none. What
        the block marks is settled at its end, also when that is a cancellation. All else is as in ``Queue.lease``.
        """
        self._queue._check_lease(limit, kinds)
        granted = await self._wait_and_lease(limit, kinds, wait)
        leased = Deliveries(granted, self._queue._settle, self._queue._events, self._queue._is_done)
        deliveries = AioDeliveries(leased, self._threads())
        error: Exception | None = None
        try:
            yield deliveries
        except Exception as raised:
            error = raised
            raise
        finally:
            await deliveries._end(error)

    async def pop(self, timeout: Seconds | None = None) -> Message | None:  # noqa: ASYNC109 - as Queue.pop has it
        """Take one message out, at most once: it is acknowledged before it is returned. See ``Queue.pop``.

        Whoever is cancelled while waiting takes none. When the message is already being acknowledged, that comes first:
        the message is returned, and the task is cancelled at its next ``await``, unless that was ``asyncio.timeout``,
        whose block ended in time then.
        """
        while granted := await self._wait_and_lease(1, RAW, timeout):
            taken = granted[0]
            settled = self._threads().submit(self._acknowledge, taken)
            if not await self._unless_cancelled(settled, partial(self._take_back, settled, taken), answer_first):
                return message_of(taken)
        return None

    # -- leasing, and giving back what nobody waits for any more --------------------------------------------------

    async def _wait_and_lease(self, limit: int, kinds: Collection[str], wait: Seconds | None) -> list[Delivery]:
        from asyncio import get_running_loop

        now, patience = get_running_loop().time, self._queue._patience(wait)
        end = None if patience is None else now() + patience
        while True:
            leased = self._threads().submit(self._queue._insist, limit, kinds)
            granted = await self._unless_cancelled(leased, partial(self._give_back, leased))
            left = None if end is None else end - now()
            if granted or (left is not None and left <= 0):
                return granted
            await self._threads().until_chance(self.name, kinds, left)

    async def _unless_cancelled(
        self, future: Future[T], undo: Callable[[], None], answered: Callable[[Future[T]], Awaitable[T]] = answer
    ) -> T:
        """Return what a thread answers; if the task is cancelled before it has the answer, let a thread ``undo`` it."""
        from asyncio import CancelledError

        try:
            return await answered(future)
        except CancelledError:
            with suppress(Closed):  # closing an App gives back all that is leased
                self._threads().submit(undo)  # behind the future in line, so it waits for one that has begun
            raise

    def _give_back(self, leased: Future[list[Delivery]]) -> None:
        try:
            granted = leased.result()
        except Exception as error:
            self._queue._events.logger.debug("a lease that nobody waits for has failed: %s", error)
            return
        if granted:
            self._queue._settle([GiveBack(delivery.receipt) for delivery in granted])

    def _acknowledge(self, taken: Delivery) -> list[Receipt]:
        return self._queue._settle([Ack(taken.receipt)], otherwise=[GiveBack(taken.receipt)])

    def _take_back(self, settled: Future[list[Receipt]], taken: Delivery) -> None:
        if settled.cancelled():
            self._queue._settle([GiveBack(taken.receipt)])
        elif error := settled.exception():  # it goes back, as far as anybody knows
            self._queue._events.logger.debug("job %s was popped by nobody, and its ack failed: %s", taken.id, error)


class AioDeliveries:
    """What one lease granted; mark each with its ``ack``, ``nack``, ``bury`` or ``give_back``. For one task."""

    def __init__(self, deliveries: Deliveries, threads: Threads) -> None:
        self._deliveries, self._threads = deliveries, threads
        self._lock = threading.Lock()  # a flush that was cancelled may still go on when the block ends

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self._deliveries)

    def __len__(self) -> int:
        return len(self._deliveries)

    async def flush(self) -> list[Receipt]:
        """Settle what is marked so far; return the receipts whose lease had been lost."""
        return await answer(self._threads.submit(self._locked, self._deliveries.flush))

    async def _end(self, error: Exception | None) -> None:
        await answer(self._threads.submit(self._locked, self._close, error))

    def _close(self, error: Exception | None) -> None:
        try:
            if error is not None:
                self._deliveries.fail(error)
        finally:
            self._deliveries.close()

    def _locked(self, function: Callable[..., T], *arguments: object) -> T:
        with self._lock:
            return function(*arguments)
