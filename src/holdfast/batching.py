"""Collects while busy: what awaiting senders submit during one call of the store goes into the next, without a timer.

One at a time, an awaited send costs a thread hop and a sync each; collected, a hundred senders share both (measured
on two cores: 2–3 thousand sends a second against 60–120 thousand).
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from holdfast.errors import Closed

if TYPE_CHECKING:
    import asyncio  # at run time only where a loop runs: it costs 40 ms, which commands need not wait for

Item = TypeVar("Item")
Result = TypeVar("Result")

Answers = Sequence[Result | Exception]
"""One answer an item, in their order: its result, or the error that is raised to who submitted it."""
FEWEST_PARTED = 32
"""Fewer items always go in one batch: a second one costs more than it saves."""


class Funnel(Generic[Item, Result]):
    """Hands items that many tasks submit to one function, in batches, on one thread of its own.

    ``function`` gets up to ``most`` items in the order of submitting. When it raises, every item of that batch gets
    the error. At most ``limit`` items wait; further submitters wait for room. The thread starts with the first item.

    Submitters that wait for their answers before they submit again come all at once, and while they do the function has
    nothing to do. Where it ``waits``, for a server that works beside this process, they are parted in two groups, and
    one submits while the other is served: unless a call takes so long that one for all is better.
    """

    def __init__(
        self, function: Callable[[list[Item]], Answers[Result]], *, name: str, most: int = 1000, limit: int = 10_000
    ) -> None:
        self._function, self._name, self._most, self._limit = function, name, most, limit
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: list[tuple[asyncio.Future[Result], Item]] = []
        self._outside: deque[asyncio.Future[None]] = deque()
        self._thread: threading.Thread | None = None
        self._idle = False
        self._closed = False
        self._first = 0.0  # when an item came that the thread had waited for
        self._took = 0.0  # how long the last call took
        self.waits = False
        """Whether most of the function's time is that of a server. The function may set it."""

    async def submit(self, item: Item) -> Result:
        """Return the item's answer or raise its error; ``Closed`` when the funnel is. Any number of loops may submit.

        An item whose task is cancelled before its batch was taken is left out; later, its fate is unknown.
        """
        import asyncio

        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        while (room := self._put(future, item)) is not None:
            await room
        return await future

    def _put(self, future: asyncio.Future[Result], item: Item) -> asyncio.Future[None] | None:
        """Let the item in; when there is no room, return what tells that there may be some now."""
        with self._lock:
            if self._closed:
                raise Closed("the App is closed; nothing was sent: open it again with 'with app:'")
            if len(self._waiting) >= self._limit:
                room: asyncio.Future[None] = future.get_loop().create_future()
                self._outside.append(room)
                return room
            if self._thread is None:
                thread = threading.Thread(target=self._drain, name=self._name, daemon=True)
                thread.start()  # which may fail: then nothing was submitted, and the next one tries again
                self._thread = thread
            self._waiting.append((future, item))
            if self._idle:
                self._idle = False
                self._first = time.perf_counter()
                self._changed.notify()
        return None

    def close(self) -> None:
        """Take no more, hand on what was submitted, and return when all of it has its answer. May be repeated."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _drain(self) -> None:
        while batch := self._take():
            wanted = [(future, item) for future, item in batch if not future.cancelled()]
            answers = self._answers([item for _, item in wanted]) if wanted else ()
            tell([(future, answer) for (future, _), answer in zip(wanted, answers, strict=True)])

    def _take(self) -> list[tuple[asyncio.Future[Result], Item]]:
        """Block until something was submitted and return it; empty when closed and all is done."""
        with self._changed:
            was_idle = not self._waiting
            while not self._waiting:
                self._let_in(len(self._outside))
                if self._closed:
                    return []
                self._idle = True
                self._changed.wait()
            self._idle = False
            most = min(self._most, len(self._waiting) // 2) if was_idle and self._is_parted() else self._most
            batch, self._waiting = self._waiting[:most], self._waiting[most:]
            self._let_in(len(batch))
            return batch

    def _is_parted(self) -> bool:
        """Tell whether two calls, each while the others submit, are over sooner than one call after all have submitted.

        They are while what a call costs whatever its size takes less time than submitting. With a server that is so,
        by measurement, up to where a call takes twice the time of submitting (docs/design/awaited-face.md).
        """
        return self.waits and len(self._waiting) >= FEWEST_PARTED and time.perf_counter() - self._first > self._took / 2

    def _let_in(self, number: int) -> None:
        chosen = [self._outside.popleft() for _ in range(min(number, len(self._outside)))]
        tell([(room, None) for room in chosen])

    def _answers(self, items: list[Item]) -> Answers[Result]:
        start = time.perf_counter()
        try:
            return self._function(items)
        except Exception as error:
            return [error] * len(items)
        finally:
            self._took = time.perf_counter() - start


def tell(answers: Iterable[tuple[asyncio.Future[Result], Result | Exception]]) -> None:
    """Give every future its answer, from any thread: each loop is woken once. Loops that were closed are left out."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Result], Result | Exception]]] = defaultdict(
        list
    )
    for pair in answers:
        by_loop[pair[0].get_loop()].append(pair)
    for loop, pairs in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed, and with it whoever waited
            loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: Sequence[tuple[asyncio.Future[Result], Result | Exception]]) -> None:
    for future, answer in pairs:
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
