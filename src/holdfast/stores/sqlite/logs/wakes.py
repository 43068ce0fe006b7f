"""Who waits in this process for something to happen in a log, and how they are woken."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.clock import Clock


class Wakes:
    """A bell for each log, by its number, that rings when something was committed to it. Any thread.

    What this process commits to queues rings none, and what it commits to logs wakes nobody who waits for jobs; of what
    others commit nobody knows where, so all bells ring.
    """

    def __init__(self, clock: Clock) -> None:
        self._rung = threading.Condition()
        self._listeners = 0
        self._of_all = 0
        self._of_one: Counter[int] = Counter()
        clock.on_move(self.ring_all)

    def has_listeners(self) -> bool:
        """Tell whether anybody listens now."""
        return self._listeners > 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Count as one who listens."""
        with self._rung:
            self._listeners += 1
        try:
            yield
        finally:
            with self._rung:
                self._listeners -= 1

    def rings(self, log: int) -> int:
        """Return how often its bell has rung; ask before you look, and ``wait`` with it."""
        return self._of_all + self._of_one[log]

    def ring(self, log: int) -> None:
        """Let those look again who wait for this log."""
        with self._rung:
            self._of_one[log] += 1
            self._rung.notify_all()

    def ring_all(self) -> None:
        """Let everybody look again."""
        with self._rung:
            self._of_all += 1
            self._rung.notify_all()

    def wait(self, log: int, rings: int, timeout: float) -> None:
        """Block until its bell rings, or has rung since it had rung ``rings`` times; at most ``timeout`` seconds."""
        with self._rung:
            self._rung.wait_for(lambda: self.rings(log) != rings, timeout)
