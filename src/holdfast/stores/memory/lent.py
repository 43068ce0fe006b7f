"""What the memory store's backend lends to the classes of its optional powers, and how it keeps a holder."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

from holdfast.clock import Clock
from holdfast.delivery import Command, HolderInfo
from holdfast.stores.memory.queue import MemoryQueue


class Holder:
    """A holder; ``expires`` and ``ended`` are boot ms."""

    __slots__ = ("command", "ended", "expires", "info")

    def __init__(self, info: HolderInfo) -> None:
        self.info = info
        self.expires = 0
        self.ended: int | None = None
        self.command: Command | None = None


class Lent:
    """The lock, the clock, the places and the holders; every power is inherited by the one backend, which has them."""

    _lock: threading.Condition
    _clock: Clock
    _places: dict[str, MemoryQueue]
    _holders: dict[str, Holder]
    _bytes: int

    def _open(self) -> AbstractContextManager[object]:
        """Hold the lock of an open store; waiters look again when it is let go."""
        raise NotImplementedError

    def _place(self, queue: str) -> MemoryQueue:
        """Return the place of a queue, declared now if need be."""
        raise NotImplementedError
