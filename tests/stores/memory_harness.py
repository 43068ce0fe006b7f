"""The memory store under test, its queues and its logs: one handle, gone when it is closed, with a clock that stands
until it is moved.
"""

from holdfast.stores.memory import MemoryBackend
from holdfast.stores.memory.logs import MemoryLogs
from holdfast.testing.clock import MovableClock
from holdfast.testing.conformance import Harness, LogHarness


class MemoryHarness(Harness):
    """Hands out the same store again and again."""

    def __init__(self) -> None:
        self.clock = MovableClock(ticking=False)
        self._store = MemoryBackend(self.clock)

    def open(self) -> MemoryBackend:
        return self._store

    def close(self) -> None:
        self._store.close()


class MemoryLogHarness(LogHarness):
    """Hands out the same logs again and again."""

    def __init__(self) -> None:
        self.clock = MovableClock(ticking=False)
        self._store = MemoryBackend(self.clock)

    def open_logs(self) -> MemoryLogs:
        return self._store.open_logs()

    def close(self) -> None:
        self._store.close()
