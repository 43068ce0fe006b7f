"""Who waits in this process for something to happen in a log, and how they are woken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.clock import Clock


class Wakes:
    """One bell for all members: it rings at every commit to the file, whoever made it. Any thread."""

    def __init__(self, clock: Clock) -> None:
        self._changed = threading.Condition()
        self._listeners = 0
        self.rings = 0
        """How often it has rung; take it before you look, and ``wait`` with it."""
        clock.on_move(self.ring)

    def has_listeners(self) -> bool:
        """Tell whether anybody listens now."""
        return self._listeners > 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Count as one who listens."""
        with self._changed:
            self._listeners += 1
        try:
            yield
        finally:
            with self._changed:
                self._listeners -= 1

    def ring(self) -> None:
        """Let everybody look again."""
        with self._changed:
            self.rings += 1
            self._changed.notify_all()

    def wait(self, rings: int, timeout: float) -> None:
        """Block until it rings, or has rung since it had rung ``rings`` times; at most ``timeout`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self.rings != rings, timeout)
