"""What a store implements to let streams be consumed that others fill, such as programs in other languages.

A stream is a key of the server as its owners call it; nothing here adds a prefix. It is a log of one partition, 0,
whose offsets are the ids of entries (:mod:`holdfast.entries`), and its groups are those of the server, which other
programs may share. A group knows of each entry who has it: entries are shared by as many members as there are, none has
a partition to itself.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol, runtime_checkable

import msgspec

from holdfast.contract.logs import LogMember
from holdfast.delivery import HolderInfo
from holdfast.entries import Shape
from holdfast.errors import LeaseLost
from holdfast.logged import Crashes, GroupInfo, Lag, Start


class EntriesLost(LeaseLost):
    """Entries that were committed are another's by now, which are these ``offsets``; all others are committed."""

    def __init__(self, message: str, offsets: Collection[int]) -> None:
        super().__init__(message)
        self.offsets = offsets


class StreamReading(msgspec.Struct, frozen=True):
    """How a member takes entries: in which ``shape`` they are handed on, and whether a commit is to ``delete`` them."""

    shape: Shape = Shape()
    delete: bool = False


@runtime_checkable
class StreamGroups(Protocol):
    """The groups of the streams of a store. Whether a member lives is told by the heartbeat of its holder."""

    def join(self, stream: str, group: str, holder: HolderInfo, *, start: Start, reading: StreamReading) -> LogMember:
        """Return a new member of the group, of which one holder has one at a time; its owner leaves.

        Stream and group are made if need be, the group at ``start``: an end, or a time; ``UsageError`` for an offset.
        One that is removed under its members they make again, where it stood. Nothing is ever deleted from the stream
        but as ``reading`` says.

        ``poll`` returns chunks of one entry, those first that the holder had before, then those that others had who
        have died, then new ones; of those that somebody had before ``Chunk.again`` is set. ``commit`` takes the
        entries in ``finished``, whatever ``next`` is, and raises ``EntriesLost`` for those that are another's by now.
        ``leave`` leaves what has not finished to whoever comes, once the holder is retired.
        """

    def groups(self, stream: str) -> list[GroupInfo]:
        """Return the groups of a stream, none when there is no such. Members are holders, and consumers of others."""

    def lag(self, stream: str, group: str) -> list[Lag]:
        """Return how many entries nobody has been given yet, and then, by consumer, those not finished.

        ``UsageError`` when there is no such group. Costs no scan: where the server has not counted, there are
        ``Lag.more`` than one.
        """

    def charge(self, stream: str, group: str, partition: int, offset: int, *, run: int, reason: str) -> Crashes:
        """Note that a process died in this ``run`` of an entry, as ``LogGroups.charge`` does."""

    def crashes(self, stream: str, group: str, partition: int) -> dict[int, Crashes]:
        """Return, by offset, what was charged to entries that are not finished."""
