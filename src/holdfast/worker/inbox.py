"""Where leased jobs stand until a runner's thread takes them: one line, in order, for all its threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import SimpleQueue

from holdfast.delivery import Delivery


class Inbox:
    """A line of deliveries that several threads take from. No job stands behind another that is running.

    Takers call ``take``, a plain ``deque.popleft``: it raises ``IndexError`` when the line is empty, and then they
    ``wait``. That keeps the price of a job at one C call; only a line that has run dry costs a wake-up.
    """

    def __init__(self, takers: int) -> None:
        self._line: deque[Delivery] = deque()
        self._takers = takers
        self._changing = threading.Lock()
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self.take: Callable[[], Delivery] = self._line.popleft

    def __len__(self) -> int:
        return len(self._line)

    def put(self, deliveries: Iterable[Delivery]) -> None:
        """Append deliveries, and call as many takers as there is work for."""
        with self._changing:
            self._line.extend(deliveries)
            self._call()

    def take_back(self, wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        """Remove and return what is still in line and ``wanted``; the rest keeps its order."""
        with self._changing:
            standing: list[Delivery] = []
            with suppress(IndexError):
                while True:
                    standing.append(self.take())
            self._line.extend(delivery for delivery in standing if not wanted(delivery))
            self._call()
            return [delivery for delivery in standing if wanted(delivery)]

    def wait(self) -> bool:
        """Block until there may be something to take; False when this taker should end."""
        return self._calls.get()

    def call(self) -> None:
        """Call one taker: whoever was called and cannot come passes the call on."""
        self._calls.put(True)

    def dismiss(self) -> None:
        """Let one taker that waits, now or later, end."""
        self._calls.put(False)

    def _call(self) -> None:
        # A taker that saw the line empty either finds a call that waits here or is given one: calls are made after
        # the line has grown, and those that nobody answered count for the next time.
        for _ in range(min(len(self._line), self._takers) - self._calls.qsize()):
            self._calls.put(True)
