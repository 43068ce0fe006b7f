"""What a store implements to serve logs. See the package for what all docstrings have in common.

A log has partitions 0, 1, …; offsets in a partition begin at 0 and rise by one a message. Readers see only what is
durable at the log's level. A log that nobody declared does not exist: ``UsageError`` names it and those there are; so
does it with a partition that the log does not have.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

from holdfast.config import LogSettings
from holdfast.contract.features import Features
from holdfast.delivery import HolderInfo
from holdfast.logged import (
    Assigned,
    Chunk,
    Columns,
    Crashes,
    Ends,
    GroupInfo,
    Lag,
    LogTidied,
    Offset,
    Producer,
    Start,
    StoredAt,
    WhenGone,
)
from holdfast.message import Level


class LogGroups(Protocol):
    """The groups of the logs of a store: the part of a :class:`LogBackend` that remembers who has read what."""

    def join(
        self, log: str, group: str, holder: HolderInfo, *, start: Start, when_gone: WhenGone = "error"
    ) -> LogMember:
        """Return a new member of the group, which holds no partition yet; its owner leaves or closes.

        ``start`` is for a group that does not exist: it is made, and its offset in every partition is fixed and
        durable on return. Its versions are above those of an earlier group of its name. One holder may have several
        members, of the same group too.
        """

    def groups(self, log: str) -> list[GroupInfo]:
        """Return the groups of a log. Changes nothing."""

    def lag(self, log: str, group: str) -> list[Lag]:
        """Return how far a group is behind in each partition, without scanning; ``UsageError`` when there is none."""

    def seek(self, log: str, group: str, offsets: Mapping[int, int]) -> None:
        """Set the group's place in these partitions; durable on return. Makes the group if need be.

        Raises the version of those places, forgets what was finished beyond, and lets members poll from there next: a
        commit of what was polled before loses. ``OffsetGone``, and nothing is changed, for an offset beside the ends;
        that behind the last message is allowed.
        """

    def forget(self, log: str, group: str) -> bool:
        """Remove a group with its offsets; tell whether there was one. Its members lose their partitions."""

    def charge(self, log: str, group: str, partition: int, offset: int, *, run: int, reason: str) -> Crashes:
        """Note that a process died, for ``reason``, in this ``run`` of the message; return what is noted by now.

        Durable on return. A run counts once, however often it is charged. Forgotten once the group's place is beyond,
        and by ``seek``; a message that the group has finished is not charged.
        """

    def crashes(self, log: str, group: str, partition: int) -> dict[int, Crashes]:
        """Return, by offset, what was charged to messages that the group has not finished. Costs no scan."""

    def beat(self, holder: HolderInfo) -> bool:
        """Keep the partitions of all members of the holder for ``holder.ttl`` seconds; False when it was retired.

        Every poll and commit does as much. Stores that see a process die need no beat. Need not be synced.
        """

    def retire(self, holder: str) -> int:
        """Take all partitions from the members of a holder that is gone; return how many. May be repeated."""


@runtime_checkable
class LogBackend(LogGroups, Protocol):
    """A store that holds logs, and their groups."""

    features: Features

    def declare(self, log: str, settings: LogSettings) -> None:
        """Make the log exist with these settings; on return both are durable.

        May be repeated: the last settings win, but that partitions never become fewer (``UsageError``, nothing
        changed). Groups that exist begin a new partition at its first message.
        """

    def logs(self) -> dict[str, LogSettings]:
        """Return the logs there are."""

    def destroy(self, log: str) -> int:
        """Remove the log with every message, group and setting; return how many messages went.

        Durable on return; repeating it returns 0. Members lose their partitions, readers find nothing. A log of the
        same name made later begins at offset 0 and finds nothing old.
        """

    def append(self, log: str, partition: int, columns: Columns, *, producer: Producer | None = None) -> StoredAt:
        """Add the messages behind the last one, together or not at all; return the place of the first.

        On return they are as safe as ``StoredAt.level`` says. Any number of threads may append; the messages of one
        call lie side by side. With a ``producer``, an append whose sequence it has appended before stores nothing and
        returns where that lies, as a ``duplicate``, as far back as its last five appends; a gap in its sequence, or an
        epoch older than one seen, is a ``UsageError``. Raises ``BodyTooLarge`` (also of what the log's ``limit_bytes``
        never has room for) and ``QueueFull`` (``limit_bytes``, a full disk) with nothing stored; after
        ``BackendError(outcome_unknown=True)`` it may be.
        """

    def flush(self, log: str) -> Level:
        """Make everything appended so far as safe as this store can; return how safe that is."""

    def read(self, log: str, partition: int, offset: int, *, limit: int, max_bytes: int) -> list[Chunk]:
        """Return messages from ``offset`` on, up to ``limit`` and ``max_bytes`` of bodies but at least one; no group
        knows of it. Empty at the end; no chunk is without messages. Raises ``OffsetGone`` beside the ends,
        ``CorruptLog`` where bytes are damaged.
        """

    def ends(self, log: str) -> list[Ends]:
        """Return what each partition holds, in order. Costs no scan."""

    def find(self, log: str, partition: int, time: int) -> int:
        """Return the offset of the first message appended at ``time`` (ms) or later; ``Ends.next`` if there is none.

        Costs a search in an index and in one append.
        """

    def tidy(self, limit: int = 1000) -> LogTidied:
        """Do a bounded round of housekeeping: drop what retention no longer keeps, and groups past their expiry.

        Needs no leader. A store with one writing process does this there, and elsewhere only to logs that nobody
        writes and that are in use here.
        """

    def close(self) -> None:
        """Let go of everything: members, files, connections; flushed before. May be repeated."""


class LogMember(Protocol):
    """One reader in a group. Each partition of the log is held by at most one member of a group at any time.

    Partitions are shared by as many as live: a member holds at most their number divided by that of the members,
    rounded up; it keeps what it has, and takes over what a dead or leaving one had within a second. ``poll`` and
    ``commit`` are for one thread at a time; ``interrupt`` may be called from any.
    """

    def poll(
        self,
        *,
        limit: int,
        wait: float,
        max_bytes: int = 16 << 20,
        min_bytes: int = 1,
        busy: Collection[int] = (),
        without: Collection[int] = (),
    ) -> list[Chunk]:
        """Return messages of the partitions held that this member has not returned yet, in order for each.

        No chunk is without messages. What a poll had found that raises then comes with the next one.

        Takes free partitions, and lets go of those it has too many of, but none that is ``busy``; what was polled
        before from partitions that are not is taken to be over. Blocks at most ``wait`` seconds, until there are
        ``min_bytes``; ``limit`` and ``max_bytes`` bound the answer, but it has one message at least if there is one.
        A partition that is taken over, or sought, is returned from its group's place on. Of partitions ``without``
        which it is to be, nothing is returned, raised or waited for.

        Raises ``OffsetGone`` as ``when_gone`` says, and ``CorruptLog`` where bytes are damaged, both naming the
        partition, at once when the others have nothing; ``Closed`` when the log or the group was removed, ``LeaseLost``
        when its holder was retired.
        """

    def interrupt(self) -> None:
        """End the poll that is going on, or the next one. Never blocks."""

    def commit(self, offsets: Sequence[Offset], *, durable: bool = False) -> dict[int, int]:
        """Set the group's place in partitions this member holds; return what is committed there now.

        A ``next`` lower than what is committed changes nothing. ``finished`` replaces what was finished beyond, as far
        as the store keeps it; what it drops will be returned again. Raises ``LeaseLost``, naming the partitions, when
        one of them is no longer this member's or its version is no longer that of the place (somebody sought it); the
        others are committed. Durable on return with ``durable``, else within 50 ms; losing one means that messages
        are returned again. ``OffsetGone`` for a ``next`` beyond the end.
        """

    def assigned(self) -> dict[int, Assigned]:
        """Return the partitions this member holds. Asks the store for nothing."""

    def leave(self) -> None:
        """Let go of all partitions, commits made durable. May be repeated; other calls raise ``Closed`` then."""
