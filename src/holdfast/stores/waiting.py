"""Who waits for work in this process, and how they are woken or sent home."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from holdfast.clock import Clock
from holdfast.errors import Closed


class Waiting:
    """The waits of one open store. ``condition`` may be the store's own lock; every method takes it."""

    def __init__(self, clock: Clock, condition: threading.Condition | None = None) -> None:
        self._changed = condition or threading.Condition()
        self._waiters = 0
        self._interrupts = 0
        self._interrupt_next = False
        self._closed = False
        clock.on_move(self.wake)

    def has_waiters(self) -> bool:
        """Tell whether anybody waits now."""
        return self._waiters > 0

    def wait(self, look: Callable[[], float | None], timeout: float, *, poll: float | None = None) -> bool:
        """Block until ``look`` answers 0, at most ``timeout`` seconds; False when that passed or on an interrupt.

        ``look`` returns the seconds until there may be something, 0 for now, None for not in sight. It is asked
        again after every ``wake``, when its seconds are over, and every ``poll`` seconds. The caller's patience is
        real time, also where the store's clock stands still or is moved.
        """
        end = time.monotonic() + timeout
        with self._changed:
            if self._closed:
                raise Closed("the store is closed")
            if self._interrupt_next:
                self._interrupt_next = False
                return False
            self._waiters += 1
            try:
                return self._look_until(end, look, poll)
            finally:
                self._waiters -= 1

    def _look_until(self, end: float, look: Callable[[], float | None], poll: float | None) -> bool:
        interrupts = self._interrupts
        while self._interrupts == interrupts and not self._closed:
            pause = look()
            if pause is not None and pause <= 0:
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._changed.wait(min(length for length in (left, pause, poll) if length is not None))
        return False

    def wake(self) -> None:
        """Let every waiter look again."""
        if self._waiters:
            with self._changed:
                self._changed.notify_all()

    def interrupt(self) -> None:
        """End the waits going on, or else the next one to come."""
        with self._changed:
            self._interrupts += 1
            self._interrupt_next = not self._waiters
            self._changed.notify_all()

    def close(self) -> None:
        """End the waits going on; later ones raise ``Closed``."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
