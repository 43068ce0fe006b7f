"""One group in memory: its place in each partition, and who of its members holds which."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from math import inf
from typing import Protocol

from holdfast.logged import Crashes, Offset
from holdfast.stores.memory.logs.partition import MemoryPartition

MOST_FINISHED = 4096
"""How many offsets finished beyond its place a group remembers in a partition, the lowest."""
_versions = itertools.count(1)  # of all places: that of a group made again is above those it had before


class Reader(Protocol):
    """What a group sees of its members."""

    @property
    def holder(self) -> str:
        """The holder it belongs to."""

    def left(self, boot: int) -> float:
        """Return the seconds it has to live if it is not seen again; 0 when it has ended."""

    def wake(self) -> None:
        """Let it look again, if it waits."""

    def end(self) -> None:
        """Let it see that its store is closed."""


class Parted(Protocol):
    """What a group sees of its log."""

    name: str
    partitions: list[MemoryPartition]


class Place:
    """Where a group stands in a partition, and who reads there."""

    __slots__ = ("begun", "crashes", "finished", "next", "owner", "version")

    def __init__(self, next_: int) -> None:
        self.next = next_
        self.begun = self.version = next(_versions)
        self.finished: tuple[int, ...] = ()
        self.crashes: dict[int, Crashes] = {}
        self.owner: Reader | None = None

    def move(self, next_: int, finished: Sequence[int]) -> None:
        """Go on to ``next_``, with these offsets finished beyond it."""
        self.next = next_
        beyond = {offset for offset in finished if offset >= next_}
        self.finished = tuple(sorted(beyond)[:MOST_FINISHED])
        if self.crashes:
            self.crashes = {at: one for at, one in self.crashes.items() if at >= next_ and at not in beyond}

    def charge(self, offset: int, run: int, reason: str) -> Crashes:
        """Note a death at a message that has not finished; return what is noted."""
        if offset < self.next or offset in self.finished:
            return Crashes()
        self.crashes[offset] = self.crashes.get(offset, Crashes()).charged(run, reason)
        return self.crashes[offset]

    def seek(self, next_: int) -> None:
        """Begin anew at ``next_``: what was polled before can no longer be committed."""
        self.next, self.finished, self.crashes = next_, (), {}
        self.begun = self.version = next(_versions)

    def begin(self, owner: Reader) -> None:
        """Be read by another from now on."""
        self.owner = owner
        self.version = next(_versions)


class MemoryGroup:
    """The places of a group and the members that share them. Not thread-safe: its store's lock is held."""

    def __init__(self, log: Parted, name: str, nexts: Sequence[int], boot: int) -> None:
        self.log, self.name = log, name
        self.removed = False
        self.places = [Place(next_) for next_ in nexts]
        self.seen = boot
        self._members: dict[Reader, set[int]] = {}
        self._free = set(range(len(nexts)))

    def nexts(self) -> list[int]:
        """Return the offset to be read next in each partition."""
        return [place.next for place in self.places]

    def offset(self, partition: int) -> Offset:
        """Return the place in a partition."""
        place = self.places[partition]
        return Offset(partition, place.next, place.version, place.finished)

    def idle(self, boot: int) -> int:
        """Return the ms since a member was seen or anything was committed; a member that waits is seen now."""
        return 0 if any(member.left(boot) == inf for member in self._members) else max(0, boot - self.seen)

    # -- who reads what -------------------------------------------------------------------------------------------

    def admit(self, member: Reader) -> None:
        """Count one more member, which holds nothing yet."""
        self._members[member] = set()
        self.wake()

    def live(self, boot: int) -> list[Reader]:
        """Return the members that live."""
        return [member for member in self._members if member.left(boot)]

    def holders(self, boot: int) -> tuple[str, ...]:
        """Return the holders whose members live."""
        return tuple(sorted({member.holder for member in self.live(boot)}))

    def holder_of(self, partition: int, boot: int) -> str | None:
        """Return who reads a partition now."""
        owner = self.places[partition].owner
        return owner.holder if owner is not None and owner.left(boot) else None

    def held(self, member: Reader) -> Collection[int]:
        """Return the partitions that a member holds."""
        return self._members.get(member, ())

    def share(self, member: Reader, busy: Collection[int], boot: int) -> None:
        """Take from a member what it has too much of and is not busy with; give it free ones up to its share.

        The member lives; those that have ended are removed first.
        """
        for ended in [other for other in self._members if other is not member and not other.left(boot)]:
            self.dismiss(ended)
        if member not in self._members:
            self.admit(member)
        mine = self._members[member]
        share = -(-len(self.places) // len(self._members))
        if len(mine) > share:
            idle = sorted(mine.difference(busy), reverse=True)
            self._let_go(mine, idle[: len(mine) - share])
        while self._free and len(mine) < share:
            self._take(member, min(self._free))

    def soonest(self, member: Reader, boot: int) -> float | None:
        """Return the seconds until the first of the others may have ended; None for never."""
        soonest = min(
            (left for other in self._members if other is not member and (left := other.left(boot))), default=inf
        )
        return None if soonest == inf else soonest

    def dismiss(self, member: Reader) -> int:
        """Forget a member; return how many partitions it held."""
        mine = self._members.pop(member, set())
        count = len(mine)
        self._let_go(mine, list(mine))
        if not count:
            self.wake()  # the shares of the others have grown
        return count

    def _take(self, member: Reader, partition: int) -> None:
        self._free.discard(partition)
        self._members[member].add(partition)
        self.places[partition].begin(member)

    def _let_go(self, mine: set[int], partitions: Sequence[int]) -> None:
        for partition in partitions:
            mine.discard(partition)
            self._free.add(partition)
            self.places[partition].owner = None
        if partitions:
            self.wake()

    # -- what happens to the log ----------------------------------------------------------------------------------

    def appended(self, partition: int) -> None:
        """Wake who reads this partition."""
        owner = self.places[partition].owner
        if owner is not None:
            owner.wake()

    def grow(self) -> None:
        """Take up the log's new partitions from their first message on."""
        new = range(len(self.places), len(self.log.partitions))
        self.places += [Place(0) for _ in new]
        self._free.update(new)
        self.wake()

    def remove(self) -> None:
        """End: members hear of it."""
        self.removed = True
        self.wake()

    def wake(self) -> None:
        """Let all members look again that wait."""
        for member in self._members:
            member.wake()
