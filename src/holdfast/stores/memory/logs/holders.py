"""How long the holders of members live, and what the store of logs lends to its members."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Protocol

from holdfast.clock import Clock
from holdfast.stores.memory.logs.group import MemoryGroup, Reader

RETIRED_KEPT_MS = 3_600_000
"""How long a retired holder is remembered, so that its late beat is told."""


class Alive:
    """A holder with its members: it lives for ``ttl`` ms after it was last seen, until it is retired.

    All members are of this process, which is alive when it is asked: there is no death to see but silence.
    """

    __slots__ = ("groups", "id", "members", "retired", "ttl", "until")

    def __init__(self, id_: str, ttl: float) -> None:
        self.id = id_
        self.ttl = int(ttl * 1000)
        self.until = 0
        self.retired = False
        self.members: dict[Reader, MemoryGroup] = {}

    def seen(self, boot: int) -> None:
        """Let it live on from ``boot``."""
        self.until = boot + self.ttl
        for group in self.members.values():
            group.seen = boot

    def retire(self, boot: int) -> int:
        """End it; return how many partitions its members held."""
        self.retired, self.until = True, boot + RETIRED_KEPT_MS
        return sum(group.dismiss(member) for member, group in self.members.items())


class Lender(Protocol):
    """What a member needs of its store."""

    clock: Clock
    lock: threading.Condition

    def opened(self) -> AbstractContextManager[None]:
        """Take the lock; ``Closed`` when the store is closed."""
