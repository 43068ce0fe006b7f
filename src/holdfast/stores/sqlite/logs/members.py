"""Who reads what in a group, within a write transaction: members join, share its partitions, commit, and go."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec

from holdfast.delivery import HolderInfo
from holdfast.errors import Closed, LeaseLost
from holdfast.logged import Assigned, Ends, Offset, Start
from holdfast.stores.refused import offset_gone
from holdfast.stores.sqlite.logs.groups import finished_of, make
from holdfast.stores.sqlite.logs.liveness import Instant, MemberRow, members
from holdfast.stores.sqlite.logs.places import LogRow, Source
from holdfast.stores.sqlite.orders import json_list
from holdfast.stores.sqlite.statements import statements
from holdfast.stores.sqlite.writer import Transaction
from holdfast.stores.versions import version_at

_SQL = statements("logs/groups.sql")
_encode = msgspec.json.Encoder().encode
MOST_FINISHED = 4096
"""How many offsets finished beyond its place a group remembers in a partition, the lowest."""


class Member(NamedTuple):
    """A member, and of which group of which log it is; ``boot`` is the id of the boot it lives in."""

    log: LogRow
    group: str
    reading: int
    number: int
    holder: HolderInfo
    boot: str

    def __str__(self) -> str:
        return f"group {self.group!r} of log {self.log.name!r}"


class Standing(NamedTuple):
    """What a member holds, as of ``changes``; the other members, and how many partitions and free ones there are.

    It is not ``registered`` when others have taken it for dead.
    """

    changes: int
    registered: bool
    others: list[MemberRow]
    partitions: int
    free: int
    held: dict[int, Assigned]

    @property
    def share(self) -> int:
        """How many partitions a member holds at the most."""
        return -(-self.partitions // (len(self.others) + 1))

    def surplus(self, busy: Collection[int]) -> list[int]:
        """Return those partitions that are to be let go now, of those that are not busy the last ones."""
        idle = sorted(set(self.held).difference(busy), reverse=True)
        return idle[: max(0, len(self.held) - self.share)]

    def lacking(self) -> int:
        """Return how many partitions are to be taken now."""
        return max(0, min(self.free, self.share - len(self.held)))


# -- coming, staying, going ---------------------------------------------------------------------------------------


def join(tx: Transaction, log: LogRow, group: str, holder: HolderInfo, *, start: Start, boot: str) -> Member:
    """Add a member; see ``LogGroups``."""
    if not keep_alive(tx, holder, boot):
        raise retired(holder)
    number = make(tx, log, group, start, boot)
    [(member,)] = tx.execute(_SQL["insert_member"], (number, holder.id))
    tx.execute(_SQL["change"], (number,))
    tx.execute(_SQL["seen"], (number, tx.now, boot, tx.boot))
    return Member(log, group, number, member, holder, boot)


def keep_alive(tx: Transaction, holder: HolderInfo, boot: str) -> bool:
    """Let a holder live on with all its members; False when it was retired."""
    expires = tx.boot + int(holder.ttl * 1000)
    alive = tx.execute(_SQL["put_holder"], (holder.id, _encode(holder).decode(), boot, expires))
    if alive:
        tx.execute(_SQL["seen_with"], (holder.id, tx.now, boot, tx.boot))
    return bool(alive)


def share(tx: Transaction, member: Member, gone: Collection[int], busy: Collection[int]) -> Standing:
    """Let go of what a member has too much of and is not busy with; give it free partitions up to its share.

    Members that have fallen silent, and those that are ``gone``, are removed first.
    """
    if not tx.execute(_SQL["changes"], (member.reading,)):
        raise removed(member)
    if not keep_alive(tx, member.holder, member.boot):
        raise retired(member.holder)
    now = Instant(tx.now, tx.boot, member.boot)
    dead = {row.number for row in others(tx, member) if row.is_silent(now) or row.number in gone}
    for number in dead:
        dismiss(tx, number)
    found = standing(tx, member)
    was_registered = found is not None and found.registered
    if not was_registered:
        tx.execute(_SQL["put_member"], (member.number, member.reading, member.holder.id))
        found = standing(tx, member)
    assert found is not None, member  # its group was there in this very transaction
    surplus, lacking = found.surplus(busy), found.lacking()
    if surplus:
        tx.execute(_SQL["let_go"], (member.reading, member.number, json_list(surplus)))
    if lacking:
        tx.execute(_SQL["take"], (member.reading, member.number, lacking, version_at(tx.now)))
    if dead or surplus or lacking or not was_registered:
        tx.execute(_SQL["change"], (member.reading,))
    return standing(tx, member) or found


def dismiss(tx: Transaction, number: int) -> int:
    """Remove a member; return how many partitions it held."""
    tx.execute(_SQL["remove_member"], (number,))
    return len(tx.execute(_SQL["free"], (number,)))


def leave(tx: Transaction, member: Member) -> None:
    """Let go of everything a member holds; see ``LogMember``."""
    dismiss(tx, member.number)
    tx.execute(_SQL["change"], (member.reading,))


def retire(tx: Transaction, holder: str, boot: str) -> int:
    """End a holder; see ``LogGroups``."""
    its = tx.execute(_SQL["members_of"], (holder,))
    tx.execute(_SQL["retire_holder"], (holder, boot, tx.boot))
    held = sum(dismiss(tx, number) for number, _ in its)
    for number in {number for _, number in its}:
        tx.execute(_SQL["change"], (number,))
    return held


def retired(holder: HolderInfo) -> LeaseLost:
    """Return what the members of a holder that was retired are told."""
    return LeaseLost(f"holder {holder.id!r} was retired; join under a new incarnation")


def removed(member: Member) -> Closed:
    """Return what a member of a group that is no more is told."""
    return Closed(f"{member} was removed; join again to begin anew")


def changes(source: Source, member: Member) -> int | None:
    """Return how often anything changed for the members of a group; None when it is no more."""
    rows = source.execute(_SQL["changes"], (member.reading,))
    return int(rows[0][0]) if rows else None


def standing(source: Source, member: Member) -> Standing | None:
    """Return where a member stands; None when its group is no more.

    All members count, also those that have ended and were not dismissed yet.
    """
    now = changes(source, member)  # first: what changes while the rest is read must count as new
    if now is None:
        return None
    [(count, free)] = source.execute(_SQL["shares"], (member.reading,))
    held = {row[0]: _assigned(*row) for row in source.execute(_SQL["held"], (member.reading, member.number))}
    rows = members(source, member.reading)
    registered = any(row.number == member.number for row in rows)
    return Standing(now, registered, others(source, member), count, free, held)


def others(source: Source, member: Member) -> list[MemberRow]:
    """Return the other members of a member's group."""
    return [row for row in members(source, member.reading) if row.number != member.number]


def _assigned(partition: int, next_: int, version: int, finished: str | None, begun: int) -> Assigned:
    return Assigned(Offset(partition, next_, version, finished_of(finished)), begun)


# -- commits ------------------------------------------------------------------------------------------------------


class Committed(NamedTuple):
    """What is committed now, by partition; and those partitions whose offsets came too late."""

    places: dict[int, int]
    lost: list[int]


def commit(tx: Transaction, member: Member, offsets: Sequence[Offset]) -> Committed:
    """Move the places a member holds; see ``LogMember``."""
    places: dict[int, tuple[Offset, int]] = {}
    lost: list[int] = []
    for offset in offsets:
        rows = tx.execute(_SQL["place"], (member.log.number, member.reading, offset.partition))
        if not rows or rows[0][1:3] != (offset.version, member.number):
            lost.append(offset.partition)
            continue
        next_, _, _, _, first, end = rows[0]
        if offset.next > end:
            raise offset_gone(member.log.name, Ends(offset.partition, first, end), offset.next)
        places[offset.partition] = offset, next_
    for offset, next_ in places.values():
        if offset.next >= next_:
            _move(tx, member.reading, offset)
    if places:
        tx.execute(_SQL["seen"], (member.reading, tx.now, member.boot, tx.boot))
    return Committed({partition: max(offset.next, next_) for partition, (offset, next_) in places.items()}, lost)


def _move(tx: Transaction, reading: int, offset: Offset) -> None:
    beyond = sorted({one for one in offset.finished if one >= offset.next})[:MOST_FINISHED]
    finished = _encode(beyond).decode() if beyond else None
    tx.execute(_SQL["move"], (reading, offset.partition, offset.next, finished))
    tx.execute(_SQL["forget_crashes"], (reading, offset.partition, offset.next))
