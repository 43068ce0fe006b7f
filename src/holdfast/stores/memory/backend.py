"""The memory store's backend: an engine whose papers are the messages themselves, bounded by count and bytes."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.capabilities import Doctor, Finding, Logs
from holdfast.clock import SYSTEM, Clock
from holdfast.contract import Features
from holdfast.errors import QueueFull
from holdfast.failures import ErrorInfo
from holdfast.machine import Change, merged
from holdfast.message import Level, Message
from holdfast.stores.engine import Engine, EngineBackend
from holdfast.stores.log_findings import log_findings
from holdfast.stores.memory.logs import DEFAULT_MAX_LOG_BYTES, MemoryLogs
from holdfast.stores.queue_findings import queue_findings

MAX_BODY = 1 << 30
DEFAULT_MAX_JOBS = 1_000_000
DEFAULT_MAX_BYTES = 1 << 30
EVERYTHING = 1 << 62


class MemoryPapers:
    """Papers that are their own handles. ``bytes`` are those of the bodies."""

    def __init__(self) -> None:
        self.bytes = 0

    def keep(self, number: int, paper: Message | ErrorInfo | bytes) -> object:
        if isinstance(paper, Message):
            self.bytes += len(paper.body)
        return paper

    def change(self, handle: Message, number: int, change: Change) -> object:
        self.drop(handle)
        return self.keep(number, merged(handle, change.message, change.verb))

    def drop(self, handle: Message) -> None:
        self.bytes -= len(handle.body)

    def messages(self, handles: Sequence[Message]) -> list[Message]:
        return list(handles)

    def error(self, handle: ErrorInfo) -> ErrorInfo:
        return handle

    def result(self, handle: bytes) -> bytes:
        return handle


class MemoryEngine(Engine):
    """An engine that says when it is full."""

    def __init__(self, max_jobs: int, max_bytes: int) -> None:
        self.contents = MemoryPapers()
        super().__init__(self.contents, lambda queue, job_ids: None)
        self.max_jobs, self.max_bytes = max_jobs, max_bytes

    @property
    def jobs(self) -> int:
        """How many jobs there are."""
        return sum(len(place.machine.heads) for place in self.places.values())

    def make_room(self, queue: str, messages: Sequence[Message], now: int) -> None:
        """Drop what retention does not keep when that makes room; ``QueueFull`` when it does not."""
        super().make_room(queue, messages, now)
        if self._has_room(messages):
            return
        new = list(self.place(queue).machine.plan(messages, now).new.values())
        for place in self.places.values():
            place.drop(now, EVERYTHING)
        if not self._has_room(new):
            raise QueueFull(f"the memory store is full ({self.max_jobs} jobs, {self.max_bytes} bytes of bodies)")

    def _has_room(self, messages: Sequence[Message]) -> bool:
        size = self.contents.bytes + sum(len(message.body) for message in messages)
        return self.jobs + len(messages) <= self.max_jobs and size <= self.max_bytes


class MemoryBackend(EngineBackend, Doctor, Logs):
    """Queues and logs in the memory of this process; ``QueueFull`` where it is bounded.

    ``max_jobs`` and ``max_bytes`` (of bodies) bound the queues, ``max_log_bytes`` the logs.
    """

    features = Features(level=Level.MEMORY, durable=False, multi_process=False, multi_host=False, max_body=MAX_BODY)
    engine_class = MemoryEngine
    _engine: MemoryEngine

    def __init__(
        self,
        clock: Clock = SYSTEM,
        *,
        max_jobs: int = DEFAULT_MAX_JOBS,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_log_bytes: int = DEFAULT_MAX_LOG_BYTES,
    ) -> None:
        super().__init__(self.engine_class(max_jobs, max_bytes), clock, "memory store")
        self._logs = MemoryLogs(clock, max_bytes=max_log_bytes, close_store=self.close)

    def open_logs(self) -> MemoryLogs:
        return self._logs

    def close(self) -> int:
        self._logs.end()
        return super().close()

    def examine(self) -> list[Finding]:
        with self._open():
            engine, size = self._engine, self._engine.contents.bytes
            what = f"{engine.jobs} of at most {engine.max_jobs} jobs, {size} of {engine.max_bytes} bytes of bodies"
            full = engine.jobs >= engine.max_jobs or size >= engine.max_bytes
        gone = Finding("ok", "jobs live in the memory of this process", "they are gone when it ends")
        room = Finding("error", what, "no more can be sent", "work them off") if full else Finding("ok", what)
        stats = [self.stats(queue) for queue in self.queues()]
        return [gone, room, *queue_findings(stats), *log_findings(self._logs)]
