"""What a log and its groups should be, kept in plain lists and dictionaries: what stores are compared with.

Which of the free partitions a member takes, and which of its surplus it lets go, is the store's to choose: the judge
checks the choice, and follows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.logged import Chunk, Offset

UNKNOWN = -1
"""A version that nobody has seen yet: of a place that was sought, or let go of."""


class Place:
    """A group in a partition: where it stands, and who reads there (by slot)."""

    def __init__(self, next_: int) -> None:
        self.next = next_
        self.finished: tuple[int, ...] = ()
        self.seen = 0
        self.version = UNKNOWN
        self.owner: str | None = None

    def void(self) -> None:
        """Let no commit of what was polled so far count any more."""
        self.version = UNKNOWN


class Reading:
    """A member: its group, and what it polls next in each partition that it holds."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.positions: dict[int, int] = {}


class LogJudge:
    """One log with messages that are all different, its groups, and members by slot."""

    def __init__(self, partitions: int) -> None:
        self.messages: list[list[bytes]] = [[] for _ in range(partitions)]
        self.first = [0] * partitions
        self.groups: dict[str, list[Place]] = {}
        self.readers: dict[str, Reading] = {}

    # -- the log --------------------------------------------------------------------------------------------------

    def append(self, partition: int, bodies: Sequence[bytes]) -> int:
        """Append; return the offset of the first."""
        self.messages[partition] += bodies
        return len(self.messages[partition]) - len(bodies)

    def grow(self) -> None:
        """Add a partition."""
        self.messages.append([])
        self.first.append(0)
        for places in self.groups.values():
            places.append(Place(0))

    def drop(self) -> int:
        """Drop everything; return how many messages went."""
        ends = [len(messages) for messages in self.messages]
        dropped = sum(ends) - sum(self.first)
        self.first = ends
        return dropped

    def in_reach(self, partition: int, offset: int) -> bool:
        """Tell whether an offset lies between the ends."""
        return self.first[partition] <= offset <= len(self.messages[partition])

    # -- groups ---------------------------------------------------------------------------------------------------

    def make(self, group: str, *, latest: bool = False) -> list[Place]:
        """Return the places of a group, made if need be."""
        if group not in self.groups:
            starts = [len(messages) for messages in self.messages] if latest else self.first
            self.groups[group] = [Place(start) for start in starts]
        return self.groups[group]

    def seek(self, group: str, offsets: Mapping[int, int]) -> bool:
        """Set a group; tell whether all offsets were in reach, else nothing is changed."""
        if not all(self.in_reach(partition, offset) for partition, offset in offsets.items()):
            return False
        places = self.make(group)
        for partition, offset in offsets.items():
            place = places[partition]
            place.next, place.finished = offset, ()
            place.void()
        return True

    def join(self, slot: str, group: str, *, latest: bool) -> None:
        """Count a member more."""
        self.make(group, latest=latest)
        self.readers[slot] = Reading(group)

    def leave(self, slot: str) -> None:
        """Forget a member."""
        reader = self.readers.pop(slot)
        for partition in reader.positions:
            self._let_go(reader.group, partition)

    def forget(self, group: str) -> list[str]:
        """Forget a group; return the slots of its members."""
        slots = [slot for slot, reader in self.readers.items() if reader.group == group]
        for slot in slots:
            self.leave(slot)
        self.groups.pop(group, None)
        return slots

    def lag(self, group: str) -> list[tuple[int, int, bool]]:
        """Return, for each partition, the place, how many messages are behind it, and whether some are gone."""
        return [
            (place.next, len(messages) - max(place.next, first), place.next < first)
            for place, messages, first in zip(self.groups[group], self.messages, self.first, strict=True)
        ]

    def _let_go(self, group: str, partition: int) -> None:
        place = self.groups[group][partition]
        place.owner = None
        place.void()

    # -- members --------------------------------------------------------------------------------------------------

    def polled(self, slot: str, chunks: Sequence[Chunk], held: Mapping[int, Offset], limit: int) -> None:
        """Check what a poll, that was busy with nothing, returned, and what the member holds after it; follow it."""
        reader = self.readers[slot]
        self._follow(slot, reader, held)
        places = self.groups[reader.group]
        members = sum(other.group == reader.group for other in self.readers.values())
        share = -(-len(places) // members)
        assert len(held) <= share, "no more than its share"
        assert len(held) == share or all(place.owner for place in places), "a free partition is taken"
        count = sum(map(len, chunks))
        assert count <= limit
        for chunk in chunks:
            assert len(chunk), "every chunk has messages"
            self._check(reader, chunk, held)
        left = sum(len(self.messages[number]) - position for number, position in reader.positions.items())
        assert count == limit or not left, "all there is, up to the limit"

    def _follow(self, slot: str, reader: Reading, held: Mapping[int, Offset]) -> None:
        places = self.groups[reader.group]
        for gone in reader.positions.keys() - held.keys():
            del reader.positions[gone]
            self._let_go(reader.group, gone)
        for partition, assigned in held.items():
            place = places[partition]
            assert place.owner in {None, slot}, "no partition is held by two"
            if place.version == UNKNOWN:
                assert assigned.version > place.seen, "a version rises with each seek and each owner"
                assert (assigned.next, assigned.finished) == (place.next, place.finished)
                place.owner, place.version, place.seen = slot, assigned.version, assigned.version
                reader.positions[partition] = place.next
            assert assigned.version == place.version
            reader.positions[partition] = max(reader.positions[partition], self.first[partition])

    def _check(self, reader: Reading, chunk: Chunk, held: Mapping[int, Offset]) -> None:
        assert chunk.partition in held
        assert chunk.base == reader.positions[chunk.partition], "in order, none left out, none twice"
        assert list(chunk.bodies) == self.messages[chunk.partition][chunk.base : chunk.next]
        assert chunk.version == held[chunk.partition].version
        reader.positions[chunk.partition] = chunk.next

    def commit(self, slot: str, offsets: Sequence[Offset]) -> tuple[dict[int, int], list[int]]:
        """Commit; return what is committed, and the partitions that were lost."""
        reader, committed, lost = self.readers[slot], dict[int, int](), list[int]()
        for offset in offsets:
            place = self.groups[reader.group][offset.partition]
            if place.owner != slot or place.version != offset.version:
                lost.append(offset.partition)
                continue
            if offset.next >= place.next:
                place.next = offset.next
                place.finished = tuple(sorted({one for one in offset.finished if one >= offset.next}))
            committed[offset.partition] = place.next
        return committed, lost
