"""How jobs are sent: one by one, by a hundred at once, in bulk; by calls, or awaited.

Everybody is warm when the watch starts: connections are open, and each sender has sent a job. Seconds are returned.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from benchmarks.job import ARGUMENTS, Stopwatch

SENDERS = 100
BULK = 1000


class Sender(Protocol):
    """Sends no-op jobs with ARGUMENTS: as many as it is told, and before the watch starts one for each that sends."""

    def one_by_one(self, jobs: int) -> float: ...

    def concurrent(self, jobs: int) -> float: ...

    def bulk(self, jobs: int) -> float | None:
        """None where the library has nothing to send several at once."""

    def noted(self, jobs: int, begun: Callable[[], None]) -> None:
        """Send jobs that note when they begin, each when `begun` has returned, which waits for the one before."""


class Called:
    """A library that is called: a hundred threads send at once."""

    def __init__(
        self,
        send: Callable[..., object],
        note: Callable[[int], object],
        send_many: Callable[[int], object] | None = None,
    ) -> None:
        self._send, self._note, self._send_many = send, note, send_many

    def one_by_one(self, jobs: int) -> float:
        self._send(**ARGUMENTS)
        watch = Stopwatch()
        for _ in range(jobs):
            self._send(**ARGUMENTS)
        return watch.seconds

    def concurrent(self, jobs: int) -> float:
        watches = list[Stopwatch]()
        warm = threading.Barrier(SENDERS, action=lambda: watches.append(Stopwatch()))

        def sender() -> None:
            self._send(**ARGUMENTS)
            warm.wait()
            for _ in range(jobs // SENDERS):
                self._send(**ARGUMENTS)

        threads = [threading.Thread(target=sender) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return watches[0].seconds

    def bulk(self, jobs: int) -> float | None:
        if self._send_many is None:
            return None
        self._send_many(1)
        watch = Stopwatch()
        for size in bulks(jobs):
            self._send_many(size)
        return watch.seconds

    def noted(self, jobs: int, begun: Callable[[], None]) -> None:
        for _ in range(jobs):
            self._note(time.monotonic_ns())
            begun()


class Awaited:
    """A library that is awaited: a hundred tasks of one loop send at once. `opened` holds for as long as it sends."""

    def __init__(
        self,
        opened: Callable[[], AbstractAsyncContextManager[object]],
        send: Callable[..., Awaitable[object]],
        note: Callable[[int], Awaitable[object]],
        send_many: Callable[[int], Awaitable[object]] | None = None,
    ) -> None:
        self._opened, self._send, self._note, self._send_many = opened, send, note, send_many

    def one_by_one(self, jobs: int) -> float:
        async def send() -> None:
            for _ in range(jobs):
                await self._send(**ARGUMENTS)

        async def warm() -> None:
            await self._send(**ARGUMENTS)

        return asyncio.run(self._timed(warm, send))

    def concurrent(self, jobs: int) -> float:
        async def sender(number: int) -> None:
            for _ in range(number):
                await self._send(**ARGUMENTS)

        async def warm() -> None:
            await asyncio.gather(*(sender(1) for _ in range(SENDERS)))

        async def send() -> None:
            await asyncio.gather(*(sender(jobs // SENDERS) for _ in range(SENDERS)))

        return asyncio.run(self._timed(warm, send))

    def bulk(self, jobs: int) -> float | None:
        send_many = self._send_many
        if send_many is None:
            return None

        async def warm() -> None:
            await send_many(1)

        async def send() -> None:
            for size in bulks(jobs):
                await send_many(size)

        return asyncio.run(self._timed(warm, send))

    def noted(self, jobs: int, begun: Callable[[], None]) -> None:
        async def send() -> None:
            async with self._opened():
                for _ in range(jobs):
                    await self._note(time.monotonic_ns())
                    await asyncio.to_thread(begun)

        asyncio.run(send())

    async def _timed(self, warm: Callable[[], Awaitable[None]], send: Callable[[], Awaitable[None]]) -> float:
        async with self._opened():
            await warm()
            watch = Stopwatch()
            await send()
            return watch.seconds


def bulks(jobs: int) -> Sequence[int]:
    """How many each call sends, to send them all."""
    return [min(BULK, jobs - start) for start in range(0, jobs, BULK)]
