"""What the memory store's backend lends to the classes of its optional powers."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

from holdfast.clock import Clock
from holdfast.stores.memory.queue import MemoryQueue


class Lent:
    """The lock, the clock and the places; every power is inherited by the one backend, which has them."""

    _lock: threading.Condition
    _clock: Clock
    _places: dict[str, MemoryQueue]
    _bytes: int

    def _open(self) -> AbstractContextManager[object]:
        """Hold the lock of an open store; waiters look again when it is let go."""
        raise NotImplementedError

    def _place(self, queue: str) -> MemoryQueue:
        """Return the place of a queue, declared now if need be."""
        raise NotImplementedError
