"""Logs in the memory of this process: the reference for all others, and the logs of tests."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.clock import SYSTEM, Clock
from holdfast.config import BATCH_MOST, LogSettings
from holdfast.contract import Features, LogBackend
from holdfast.logged import Chunk, Columns, Ends, LogTidied, Producer, StoredAt
from holdfast.message import Level
from holdfast.stores.memory.logs.groups import MemoryGroups
from holdfast.stores.memory.logs.log import MemoryLog

__all__ = ["DEFAULT_MAX_LOG_BYTES", "MemoryLogs"]

DEFAULT_MAX_LOG_BYTES = 1 << 30


class MemoryLogs(MemoryGroups, LogBackend):
    """Logs behind one lock. ``max_bytes`` bounds what all of them keep together: ``QueueFull``.

    Whoever waits is woken by what he waits for; nothing is polled. ``close_store`` closes the store that holds these
    logs, which ends them; without one they are a store of their own.
    """

    features = Features(level=Level.MEMORY, durable=False, multi_process=False, multi_host=False, max_body=BATCH_MOST)

    def __init__(
        self,
        clock: Clock = SYSTEM,
        *,
        max_bytes: int = DEFAULT_MAX_LOG_BYTES,
        close_store: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(clock)
        self._close_store = close_store or self.end
        self._max_bytes = max_bytes
        self._bytes = 0

    # -- logs -----------------------------------------------------------------------------------------------------

    def declare(self, log: str, settings: LogSettings) -> None:
        with self.opened():
            known = self._logs.get(log) or MemoryLog(log)
            known.declare(settings)
            self._logs[log] = known

    def logs(self) -> dict[str, LogSettings]:
        with self.opened():
            return {name: log.settings for name, log in self._logs.items()}

    def destroy(self, log: str) -> int:
        with self.opened():
            known = self._logs.pop(log, None)
            if known is None:
                return 0
            self._bytes -= known.size
            for group in known.groups.values():
                group.remove()
            return sum(partition.next - partition.first for partition in known.partitions)

    def append(self, log: str, partition: int, columns: Columns, *, producer: Producer | None = None) -> StoredAt:
        with self.opened():
            room, now = self._max_bytes - self._bytes, self.clock.wall()
            offset, gained, duplicate = self._log(log).append(partition, columns, producer, now, room)
            self._bytes += gained
            return StoredAt(log, partition, offset, Level.MEMORY, duplicate)

    def flush(self, log: str) -> Level:
        with self.opened():
            self._log(log)
            return Level.MEMORY

    def read(self, log: str, partition: int, offset: int, *, limit: int, max_bytes: int) -> list[Chunk]:
        with self.opened():
            its = self._log(log).partition(partition)
            its.check(offset)
            return its.read(offset, limit, max_bytes)

    def ends(self, log: str) -> list[Ends]:
        with self.opened():
            return [partition.ends() for partition in self._log(log).partitions]

    def find(self, log: str, partition: int, time: int) -> int:
        with self.opened():
            return self._log(log).partition(partition).find(time)

    def tidy(self, limit: int = 1000) -> LogTidied:
        with self.opened():
            now, boot, done = self.clock.wall(), self.clock.boot(), LogTidied()
            for log in self._logs.values():
                done += log.tidy(now, boot, limit)
            self._bytes -= done.bytes
            for name in [name for name, one in self._holders.items() if not one.members and one.until <= boot]:
                del self._holders[name]
            return done

    def close(self) -> None:
        self._close_store()

    def end(self) -> None:
        """Let go of everything of the logs; the store is closing."""
        with self.lock:
            self._closed = True
            members = [member for holder in self._holders.values() for member in holder.members]
            for member in members:
                member.end()
            self._logs.clear()
