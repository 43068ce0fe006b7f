"""Which messages of a log may run now, and how far a group has got when they end in any order. No I/O, no clock.

    added ──▶ waiting ──▶ running ──finish──▶ finished
                 │ ▲         │
                 ▼ │         │ give_back
                held ◀───────┘ of its key an earlier one has not finished

Messages of one key run one after the other, in the order of their offsets; those without a key are free. Another order
may be asked for: that of the partition, or none. The place of a group in a partition is that of its first unfinished
message, and what was finished beyond it is remembered beside it, so that it does not run again.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping
from heapq import heappop, heappush, nsmallest
from itertools import chain
from typing import Any, Literal, NamedTuple

from holdfast.logged import Assigned, Chunk, LogMessage, Offset

MOST = 10_000
MOST_BYTES = 64 << 20
MOST_FINISHED = 1000
"""How many offsets finished beyond the place are told to the store; those that are not told may run again."""

Order = Literal["key", "partition", "none"]
"""Which messages wait for earlier ones: those of the same key, all of a partition, or none."""


class Ready(NamedTuple):
    """A message that runs now, and the ``version`` of its group's place, by which its end is told."""

    message: LogMessage
    version: int


class OffsetTracker:
    """Follows the messages of one member, from poll to commit. For one thread at a time.

    It is meant to hold ``limit`` unfinished messages and ``limit_bytes`` of their bodies: poll no more than ``room``.
    Every step costs the same however many messages it holds, but that ``commits`` looks at all that are unfinished.
    """

    def __init__(
        self,
        *,
        limit: int = MOST,
        limit_bytes: int = MOST_BYTES,
        most_finished: int = MOST_FINISHED,
        order: Order = "key",
    ) -> None:
        self._limit, self._limit_bytes, self._most_finished = limit, limit_bytes, most_finished
        self._order = order
        self._partitions: dict[int, _Partition] = {}
        self._turns: deque[int] = deque()

    @property
    def unfinished(self) -> int:
        """How many messages were added and have not finished."""
        return sum(partition.count for partition in self._partitions.values())

    @property
    def room(self) -> int:
        """How many more messages may be added; 0 when the bytes are used up."""
        return self.room_beside(())

    def room_beside(self, partitions: Collection[int]) -> int:
        """Return the same when what was added of these does not count."""
        counted = [its for number, its in self._partitions.items() if number not in partitions]
        if sum(its.bytes for its in counted) >= self._limit_bytes:
            return 0
        return max(0, self._limit - sum(its.count for its in counted))

    @property
    def partitions(self) -> set[int]:
        """The partitions that are followed."""
        return set(self._partitions)

    @property
    def busy(self) -> set[int]:
        """The partitions of which messages are running."""
        return {number for number, partition in self._partitions.items() if partition.running}

    # -- partitions come and go -----------------------------------------------------------------------------------

    def assign(self, assigned: Mapping[int, Assigned]) -> list[LogMessage]:
        """Follow these partitions, each from its group's place on, and no others; return what was running of those
        that went, or whose place has a newer version: it is lost.

        A partition that is followed already, at that version or a newer one, stays as it is.
        """
        lost = [message for gone in self._partitions.keys() - assigned.keys() for message in self.revoke(gone)]
        for number, its in assigned.items():
            known = self._partitions.get(number)
            if known is None or known.version < its.place.version:
                lost += self._begin(its.place)
        return lost

    def revoke(self, partition: int) -> list[LogMessage]:
        """Forget a partition; return what was running: it is lost, and so is what waited."""
        gone = self._partitions.pop(partition, None)
        if gone is None:
            return []
        self._turns.remove(partition)
        return [gone.open[offset] for offset in sorted(gone.running)]

    def _begin(self, place: Offset) -> list[LogMessage]:
        lost = self.revoke(place.partition)
        self._partitions[place.partition] = self._follow(place)
        self._turns.append(place.partition)
        return lost

    def _follow(self, place: Offset) -> _Partition:
        return _Partition(place, self._order)

    # -- messages -------------------------------------------------------------------------------------------------

    def add(self, chunk: Chunk) -> list[LogMessage]:
        """Let these messages wait for their turn; those that were added before, or finished, are left out.

        When the chunk has another version, somebody sought the place, and all that was there before is forgotten: then
        what was running of it is returned, and is lost.
        """
        lost: list[LogMessage] = []
        known = self._partitions.get(chunk.partition)
        if known is None or known.version != chunk.version:
            lost = self._begin(Offset(chunk.partition, chunk.base, chunk.version))
        self._partitions[chunk.partition].add(chunk)
        return lost

    def ready(self, limit: int, *, without: Collection[int] = ()) -> list[Ready]:
        """Return up to ``limit`` messages that may run now, and count them as running; partitions take turns, and none
        of those ``without`` which it is to be.
        """
        found: list[Ready] = []
        for _ in range(len(self._turns)):
            if len(found) >= limit:
                break
            partition = self._partitions[self._turns[0]]
            self._turns.rotate(-1)
            if partition.number in without:
                continue
            while len(found) < limit and (message := partition.hand_out()) is not None:
                found.append(Ready(message, partition.version_of(message.offset)))
        return found

    def finish(self, partition: int, offset: int, version: int) -> bool:
        """Count a running message as finished: the next of its key may run. False when it is lost, or not running."""
        its = self._running(partition, offset, version)
        if its is None:
            return False
        its.finish(offset)
        return True

    def give_back(self, partition: int, offset: int, version: int) -> bool:
        """Let a running message wait again, before all others of its key. False when it is lost, or not running."""
        its = self._running(partition, offset, version)
        if its is None:
            return False
        its.give_back(offset)
        return True

    def _running(self, partition: int, offset: int, version: int) -> _Partition | None:
        its = self._partitions.get(partition)
        if its is None or offset not in its.running or its.version_of(offset) != version:
            return None
        return its

    # -- commits --------------------------------------------------------------------------------------------------

    def commits(self) -> list[Offset]:
        """Return the places that have moved since the last ones that were ``committed``, to be committed."""
        moved = [its for its in self._partitions.values() if its.changes != its.committed]
        return [its.place(self._most_finished) for its in moved]

    def committed(self, offsets: Iterable[Offset]) -> None:
        """Hear that these places, the last that ``commits`` returned of their partitions, are committed."""
        for offset in offsets:
            its = self._partitions.get(offset.partition)
            if its is not None and its.version == offset.version:
                its.committed = its.asked


class _Partition:
    """The messages of one partition. ``open`` are those behind ``cursor`` that have not finished, by offset; the others
    behind it have. What is before it waits in ``chunks``, the first of them from ``index`` on.

    ``held`` has each line of which a message is open (that of its key, or of all): the offsets of those that wait.
    ``free`` is a heap of open messages that may run.
    """

    def __init__(self, place: Offset, order: Order) -> None:
        self._order = order
        self.number, self.version = place.partition, place.version
        self.count = self.bytes = 0
        self.running: set[int] = set()
        self.open: OrderedDict[int, LogMessage] = OrderedDict()  # whose first is found at once, as a dict's is not
        self.changes = self.asked = self.committed = 0
        self._cursor = self._end = place.next
        self._finished = {offset for offset in place.finished if offset >= place.next}
        self._chunks: deque[Chunk] = deque()
        self._index = 0
        self._free: list[int] = []
        self._held: dict[str, deque[int]] = {}

    def version_of(self, offset: int) -> int:
        """Return the version by which the end of this message is told."""
        return self.version

    def add(self, chunk: Chunk) -> None:
        if chunk.next <= self._end:
            return
        chunk = chunk.between(self._end)
        self._end = chunk.next
        self._chunks.append(chunk)
        self.count += len(chunk)
        self.bytes += sum(map(len, chunk.bodies))

    def hand_out(self) -> LogMessage | None:
        """Return the next message that may run, now running; None when there is none."""
        if self._free:
            message = self.open[heappop(self._free)]
            self.running.add(message.offset)
            return message
        while self._chunks:
            message = self._look_at_next()
            if message.offset in self._finished:
                self._finished.remove(message.offset)
                self._end_of(message)
                continue
            self.open[message.offset] = message
            if self._may_run(message):
                self.running.add(message.offset)
                return message
        return None

    def _look_at_next(self) -> LogMessage:
        chunk = self._chunks[0]
        message = chunk.message(self._index)
        self._cursor = message.offset + 1
        self._index += 1
        if self._index == len(chunk):
            self._chunks.popleft()
            self._index = 0
        return message

    def _may_run(self, message: LogMessage) -> bool:
        """Tell whether no earlier message of the same line is open; else hold this one until none is."""
        line = self._line(message)
        if line is None:
            return True
        behind = self._held.get(line)
        if behind is None:
            self._held[line] = deque()
            return True
        behind.append(message.offset)
        return False

    def _line(self, message: LogMessage) -> str | None:
        """Return what one message at a time runs of, None for one that is free."""
        return message.key if self._order == "key" else "" if self._order == "partition" else None

    def finish(self, offset: int) -> None:
        self.running.remove(offset)
        message = self.open.pop(offset)
        self._end_of(message)
        line = self._line(message)
        if line is None:
            return
        behind = self._held[line]
        if behind:
            heappush(self._free, behind.popleft())
        else:
            del self._held[line]

    def give_back(self, offset: int) -> None:
        self.running.remove(offset)
        heappush(self._free, offset)

    def _end_of(self, message: LogMessage) -> None:
        self.count -= 1
        self.bytes -= len(message.body)
        self.changes += 1

    def place(self, most_finished: int) -> Offset:
        self.asked = self.changes
        following = next(iter(self.open), self._cursor)
        while following in self._finished:
            following += 1
        finished = tuple(offset for offset in self._finished_beyond(most_finished) if offset > following)
        return Offset(self.number, following, self.version, finished)

    def _finished_beyond(self, most: int) -> list[int]:
        """Return the first offsets that are finished though an earlier one is not; one without a message is as well."""
        found: list[int] = []
        behind = None
        for offset in chain(self.open, (self._cursor,)):
            if behind is not None:
                found += range(behind, min(offset, behind + most - len(found)))
            if len(found) >= most:
                return found
            behind = offset + 1
        return found + nsmallest(most - len(found), self._finished)


# -- streams --------------------------------------------------------------------------------------------------


class EntryTracker(OffsetTracker):
    """The same for a stream, whose group remembers each entry for itself: they come in any order, with gaps between.

    Each has the version of the chunk in which it came. A place has no ``next``: its ``finished`` are the entries that
    have ended and are not ``committed``.

    What waits here is kept from other members, so little is: twice as much as ended at the last commit.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._ahead = 1

    def room_beside(self, partitions: Collection[int]) -> int:
        """Return how many more entries may be added, as if nothing of these were there."""
        counted = [its for number, its in self._partitions.items() if number not in partitions]
        waiting = sum(its.waiting for its in counted if isinstance(its, _Entries))
        return max(0, min(super().room_beside(partitions), self._ahead - waiting))

    def _follow(self, place: Offset) -> _Partition:
        return _Entries(place, self._order)

    def add(self, chunk: Chunk) -> list[LogMessage]:
        """Let these entries wait for their turn; what is there already, or of a partition not assigned, is left out."""
        its = self._partitions.get(chunk.partition)
        if its is not None and its.version <= chunk.version:
            its.add(chunk)
        return []

    def committed(self, offsets: Iterable[Offset]) -> None:
        """Hear that these entries are committed."""
        for offset in offsets:
            its = self._partitions.get(offset.partition)
            if isinstance(its, _Entries) and its.version == offset.version:
                self._ahead = max(1, 2 * len(offset.finished))
                its.forget(offset.finished)


class _Entries(_Partition):
    """The entries of one stream: ``open`` are those that were looked at, in no order."""

    def __init__(self, place: Offset, order: Order) -> None:
        super().__init__(place, order)
        self._versions: dict[int, int] = {}
        self._ended: dict[int, None] = {}

    def version_of(self, offset: int) -> int:
        return self._versions.get(offset, self.version)

    @property
    def waiting(self) -> int:
        """How many could run at once, and were not handed out."""
        return len(self._chunks) + len(self._free)

    def add(self, chunk: Chunk) -> None:
        if chunk.base in self._versions:
            return
        self._versions[chunk.base] = chunk.version
        self._chunks.append(chunk)
        self.count += 1
        self.bytes += len(chunk.bodies[0])

    def _may_run(self, message: LogMessage) -> bool:
        behind = self._held.get(line) if (line := self._line(message)) is not None else None
        if not behind or behind[-1] < message.offset:
            return super()._may_run(message)
        insort(behind, message.offset)  # an older one, that somebody else had before
        return False

    def finish(self, offset: int) -> None:
        super().finish(offset)
        self._ended[offset] = None

    def place(self, most_finished: int) -> Offset:
        self.asked = self.changes
        return Offset(self.number, 0, self.version, tuple(self._ended))

    def forget(self, offsets: Iterable[int]) -> None:
        """Hear that the end of these is committed."""
        for offset in offsets:
            self._ended.pop(offset, None)
            self._versions.pop(offset, None)
        if not self._ended:
            self.committed = self.changes
