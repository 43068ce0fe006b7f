"""What all cases of logs share: a log of one partition, and short words to append, read, join, poll and commit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from holdfast.config import LogSettings
from holdfast.contract import LogBackend, LogMember
from holdfast.delivery import HolderInfo
from holdfast.logged import Chunk, Columns, Offset, Producer, Start, StoredAt
from holdfast.testing.conformance.cases import LONG
from holdfast.testing.conformance.logs.harness import LogHarness
from holdfast.testing.conformance.meant import Meant

LOG = "events"
GROUP = "readers"
READER = "reader#1"
OTHER = "other#1"
PLENTY = 1 << 30


class LogCases(Meant):
    """The base of all case classes of logs. ``logs`` is the handle that writes."""

    harness: LogHarness
    logs: LogBackend

    @pytest.fixture(autouse=True)
    def _open(self, harness: LogHarness) -> None:
        self.harness = harness
        self.logs = harness.open_logs()
        self.declare()

    def declare(self, log: str = LOG, **settings: Any) -> None:
        """Declare a log with these settings."""
        self.logs.declare(log, LogSettings(**settings))

    def elapse(self, seconds: float) -> None:
        """Let time pass on every clock."""
        self.harness.elapse(seconds)

    # -- appending and reading ------------------------------------------------------------------------------------

    def append(
        self, *bodies: str | bytes, partition: int = 0, log: str = LOG, producer: Producer | None = None, **columns: Any
    ) -> StoredAt:
        """Append these in one call."""
        return self.logs.append(log, partition, Columns(_bytes(bodies), **columns), producer=producer)

    def append_each(self, *bodies: str | bytes, partition: int = 0, log: str = LOG) -> None:
        """Append each of these in a call of its own."""
        for body in bodies:
            self.append(body, partition=partition, log=log)

    def read(self, offset: int = 0, *, partition: int = 0, log: str = LOG, **bounds: int) -> list[str]:
        """Return the bodies from ``offset`` on."""
        return bodies(self.chunks(offset, partition=partition, log=log, **bounds))

    def chunks(
        self, offset: int = 0, *, partition: int = 0, log: str = LOG, limit: int = PLENTY, max_bytes: int = PLENTY
    ) -> list[Chunk]:
        """Return what one read returns."""
        return checked(self.logs.read(log, partition, offset, limit=limit, max_bytes=max_bytes))

    def read_all(self, *, partition: int = 0, log: str = LOG) -> list[str]:
        """Return the bodies of all that there is, read by as many reads as it takes."""
        offset = self.logs.ends(log)[partition].first
        found: list[Chunk] = []
        while new := self.chunks(offset, partition=partition, log=log):
            found += new
            offset = new[-1].next
        return bodies(found)

    # -- groups ---------------------------------------------------------------------------------------------------

    def join(
        self,
        group: str = GROUP,
        *,
        holder: str = READER,
        log: str = LOG,
        start: Start | None = None,
        ttl: float = LONG,
        **options: Any,
    ) -> LogMember:
        """Return a new member of a group, on the handle that writes."""
        return self.logs.join(log, group, HolderInfo(id=holder, ttl=ttl), start=start or Start(), **options)

    def poll(self, member: LogMember, limit: int = PLENTY, *, wait: float = 0, **options: Any) -> list[Chunk]:
        """Poll once; without ``wait`` for what is there now."""
        return checked(member.poll(limit=limit, wait=wait, **options))

    def polled(self, member: LogMember, limit: int = PLENTY, *, wait: float = 0, **options: Any) -> list[str]:
        """Poll once, and return the bodies."""
        return bodies(self.poll(member, limit, wait=wait, **options))

    def commit(self, member: LogMember, chunks: Iterable[Chunk], *, durable: bool = False) -> dict[int, int]:
        """Commit all of what was polled."""
        ends = {chunk.partition: Offset(chunk.partition, chunk.next, chunk.version) for chunk in chunks}
        return member.commit(list(ends.values()), durable=durable)

    def place(self, group: str = GROUP, *, partition: int = 0, log: str = LOG) -> int:
        """Return the offset that a group has committed in a partition."""
        return self.logs.lag(log, group)[partition].next


def checked(chunks: list[Chunk]) -> list[Chunk]:
    """Return what was read, if it can be committed: a chunk without messages may lie behind what nobody has read."""
    assert all(map(len, chunks)), "every chunk has messages"
    return chunks


def bodies(chunks: Iterable[Chunk]) -> list[str]:
    """Return the bodies of chunks, in their order."""
    return [body.decode() for chunk in chunks for body in chunk.bodies]


def _bytes(bodies: Iterable[str | bytes]) -> list[bytes]:
    return [body.encode() if isinstance(body, str) else body for body in bodies]
