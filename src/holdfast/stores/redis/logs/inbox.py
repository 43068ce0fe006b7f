"""What a member has fetched of a partition it holds, and not returned yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from holdfast.errors import CorruptLog
from holdfast.logged import Chunk
from holdfast.stores.budget import Budget, cut
from holdfast.stores.redis.logs.reading import FIELDS, decoded


class Inbox:
    """Of one partition, taken at one ``version``: ``position`` is polled next, ``behind`` fetched next.

    ``first`` and ``end`` are those of the partition when it was last asked; ``messages`` and ``bytes`` (of bodies) are
    what is here. ``last`` is the number of the append before ``behind``; empty for one that is not known.
    """

    def __init__(self, partition: int, version: int, position: int) -> None:
        self.partition, self.version = partition, version
        self.first, self.end = 0, position
        self._chunks: deque[tuple[Chunk | CorruptLog, int]] = deque()
        self.jump(position)

    def jump(self, position: int) -> None:
        """Poll from there next."""
        self.position = self.behind = position
        self._chunks.clear()
        self.messages = self.bytes = 0
        self.last = b""

    def has_gone_back(self, first: int, end: int, last: bytes) -> bool:
        """Tell whether the partition is not as it was when it was asked last, but for what was appended and dropped."""
        return self.first > first or self.behind > end or (self.last != last and bool(self.last and last))

    @property
    def is_gone(self) -> bool:
        """Tell whether that is not there which is to be polled next."""
        return not self.first <= self.position <= self.end

    @property
    def is_filled(self) -> bool:
        """Tell whether there is something to take."""
        return bool(self._chunks)

    @property
    def is_damaged(self) -> bool:
        """Tell whether what is to be polled next is damaged."""
        return bool(self._chunks) and isinstance(self._chunks[0][0], CorruptLog)

    def fill(self, log: str, first: int, end: int, last: bytes, *appends: Any) -> None:
        """Put in what was read from ``behind`` on."""
        self.first, self.end = first, end
        if self.is_gone:
            self.jump(self.position)
            return
        self.last = appends[-1] if appends else self.last or last
        for one in decoded(log, self.partition, appends, self.behind, self.version):
            if isinstance(one, Chunk):
                size = sum(map(len, one.bodies))
                self._chunks.append((one, size))
                self.messages += len(one)
                self.bytes += size
            else:
                self._chunks.append((one, 0))
            self.behind = one.next

    def add(self, log: str, appends: Sequence[bytes]) -> bool:
        """Put in what was appended behind; False, and nothing is done, when it does not follow what was fetched."""
        base, _, count = appends[-FIELDS].partition(b"-")
        if int(appends[0].partition(b"-")[0]) != self.behind:
            return False
        self.fill(log, self.first, max(self.end, int(base) + int(count)), self.last, *appends)
        return True

    def take(self, budget: Budget) -> list[Chunk]:
        """Take what the budget allows; ``CorruptLog`` when damage comes first."""
        taken = list[Chunk]()
        while self._chunks and not budget.is_used_up():
            first, size = self._chunks[0]
            if isinstance(first, CorruptLog):
                if taken:
                    break
                raise first
            if len(first) <= budget.messages and size <= budget.bytes:
                budget.take_all(len(first), size)
                self._chunks.popleft()
                self._taken(taken, first, size)
                continue
            parts, rest = cut(first, budget)
            for part in parts:
                given = sum(map(len, part.bodies))
                self._taken(taken, part, given)
                size -= given
            if rest is not None:
                self._chunks[0] = rest, size
                break
            self._chunks.popleft()
        return taken

    def _taken(self, taken: list[Chunk], part: Chunk, size: int) -> None:
        taken.append(part)
        self.position = part.next
        self.messages -= len(part)
        self.bytes -= size
