"""One reader in a group: polls messages, and commits how far it has got."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from holdfast.contract import LogMember
from holdfast.errors import Closed, UsageError
from holdfast.logged import Assigned, Offset
from holdfast.logs.batch import Batch, NextOffsets
from holdfast.message import Seconds, check_whole, seconds

MOST = 500
MOST_BYTES = 16 << 20
NEVER = 0
"""A version that no place of a group has: its commit is refused."""


class Member:
    """Made by ``Group.member``, and closed by its owner. For one thread at a time; ``interrupt`` is for any."""

    def __init__(self, log: str, group: str, member: LogMember, left: Callable[[], None]) -> None:
        self._log, self._group = log, group
        self._member, self._left = member, left
        self._versions: dict[int, int] = {}
        self._process = os.getpid()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Member of group {self._group!r} of log {self._log!r}>"

    @property
    def assigned(self) -> Mapping[int, Assigned]:
        """The partitions it holds, each with the group's place when it was taken. Asks the store for nothing."""
        return self._checked().assigned()

    def poll(self, limit: int = MOST, wait: Seconds = 1.0, *, max_bytes: int = MOST_BYTES, min_bytes: int = 1) -> Batch:
        """Return the next messages, up to ``limit`` and ``max_bytes`` of bodies, but at least one if there is one.

        Waits up to ``wait`` seconds until there are ``min_bytes``; empty when there are none, or when it was
        interrupted. What it returned before is taken to be done with, committed or not: it comes again only after a
        seek, or to whoever takes the partition next. Raises ``OffsetGone`` when retention has removed what the group
        was to read (see ``Log.group``), ``CorruptLog`` where bytes are damaged, ``Closed`` when the log or the group
        has been removed, ``LeaseLost`` when the process was taken for dead: join anew.
        """
        check_whole(limit, f"{self!r}: limit", 1)
        patience = seconds(wait, f"{self!r}: the time to wait")
        batch = Batch(self._checked().poll(limit=limit, wait=patience, max_bytes=max_bytes, min_bytes=min_bytes))
        self._versions.update({chunk.partition: chunk.version for chunk in batch.chunks})
        return batch

    def commit(self, offsets: Mapping[int, int], *, durable: bool = False) -> dict[int, int]:
        """Set the group's place: ``batch.next_offsets``, or the offset to be read next by partition, of the last poll.

        Return what is committed now, which is more if more had been committed before. On disk within 50 ms, or on
        return if ``durable``; a commit that a crash takes away means that messages come again. Raises ``LeaseLost``
        when a partition is no longer this member's, or somebody has sought it since it was polled; the others are
        committed all the same.
        """
        places = offsets.places if isinstance(offsets, NextOffsets) else self._places(offsets)
        return self._checked().commit(places, durable=durable)

    def _places(self, offsets: Mapping[int, int]) -> list[Offset]:
        if not isinstance(offsets, Mapping):
            raise UsageError(f"{self!r}: commit(batch.next_offsets), or an offset by partition, not {offsets!r:.80}")
        check_offsets(offsets, f"{self!r}: commit")
        assigned, places = self.assigned, list[Offset]()
        for partition, following in offsets.items():
            version = self._versions.get(partition)
            if version is None:
                version = assigned[partition].place.version if partition in assigned else NEVER
            places.append(Offset(partition, following, version))
        return places

    def interrupt(self) -> None:
        """End the poll that is going on, or the next one. Never blocks."""
        self._member.interrupt()

    def close(self) -> None:
        """Leave the group: its partitions go to other members at once, commits are durable. May be repeated."""
        if self._closed or os.getpid() != self._process:
            return
        self._closed = True
        try:
            self._member.leave()
        finally:
            self._left()

    def _checked(self) -> LogMember:
        if self._closed:
            raise Closed(f"{self!r} is closed")
        if os.getpid() != self._process:
            raise Closed(f"{self!r} belongs to the process that this one was forked from; join anew here")
        return self._member

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_offsets(offsets: Mapping[int, int], what: str) -> None:
    """Raise ``UsageError`` naming ``what`` unless these are offsets by partition, all of them whole numbers."""
    for partition, offset in offsets.items():
        check_whole(partition, f"{what}: a partition", 0)
        check_whole(offset, f"{what}: the offset of partition {partition}", 0)
