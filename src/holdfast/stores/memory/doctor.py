"""What an operator should know of a memory store, which is little."""

from __future__ import annotations

from holdfast.capabilities import Doctor, Finding
from holdfast.config import QueueSettings
from holdfast.delivery import QueueStats
from holdfast.stores.memory.lent import Lent
from holdfast.stores.queue_findings import queue_findings


class MemoryDoctor(Lent, Doctor):
    """Examines; the backend lends its limits too."""

    _max_jobs: int
    _max_bytes: int

    def stats(self, queue: str) -> QueueStats:
        """Return counts; the contract's."""
        raise NotImplementedError

    def queues(self) -> dict[str, QueueSettings]:
        """Return the queues; the contract's."""
        raise NotImplementedError

    def examine(self) -> list[Finding]:
        with self._open():
            jobs = sum(len(place.records) for place in self._places.values())
            what = f"{jobs} of at most {self._max_jobs} jobs, {self._bytes} of {self._max_bytes} bytes of bodies"
            full = jobs >= self._max_jobs or self._bytes >= self._max_bytes
        gone = Finding("ok", "jobs live in the memory of this process", "they are gone when it ends")
        room = Finding("error", what, "no more can be sent", "work them off") if full else Finding("ok", what)
        return [gone, room, *queue_findings([self.stats(queue) for queue in self.queues()])]
