"""What every face of an engine has: its lock, its clock, and the one way to carry a command out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import TypeVar

from holdfast.clock import Clock
from holdfast.stores.engine.commands import At, Command
from holdfast.stores.engine.engine import Engine
from holdfast.stores.engine.watching import EngineWatch

T = TypeVar("T")
C = TypeVar("C", bound=Command)


class Face:
    """The base of the classes that ask the engine; the one backend inherits them all and fills this in."""

    _clock: Clock
    _lock: threading.Condition
    _engine: Engine
    _watches: set[EngineWatch]

    def _open(self, *, durable: bool = False) -> AbstractContextManager[object]:
        """Hold the lock of an open store; waiters look again when it is let go. ``Closed`` when it is not open.

        With ``durable``, what was done by then is safe to the store's level before this is left.
        """
        raise NotImplementedError

    def _do(self, carry_out: Callable[[C, At], T], command: C, papers: int = 0) -> T:
        """Carry a command out, which has so many papers, and write it down where the store has a journal.

        Call it with the lock held.
        """
        raise NotImplementedError

    def _catch_up(self, *queues: str) -> None:
        """Write down all that is due or has expired in these queues."""
        raise NotImplementedError

    def _tell_watches(self, queue: str, job_ids: Collection[str]) -> None:
        """Tell watches of ends."""
        raise NotImplementedError
