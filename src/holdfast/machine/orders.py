"""The orders jobs stand in: heaps whose entries can be withdrawn, the line of each key, and who may be leased next.

Ready jobs stand in lanes, one a kind, priority and format, by the ms of becoming ready. A key stands in its lane
with its head alone; those behind it are held. All ties go by send order.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Collection, Iterator
from typing import ClassVar

from holdfast.machine.heads import Heads, Rows, rank
from holdfast.machine.moves import Head

Rank = tuple[int, ...]
Entry = tuple[Rank, int, Head]


class Heap:
    """Heads by place, whose entries can be withdrawn; withdrawn ones go when they surface or outnumber the rest.

    Nearly every head comes with a later place than those before it, so most entries stand in a plain line, and only
    those that come out of order in a heap: that is what makes a job cost the same however many wait.
    """

    __slots__ = ("_alive", "_late", "_line")
    _serial: ClassVar[Iterator[int]] = itertools.count()

    def __init__(self) -> None:
        self._line: deque[Entry] = deque()
        self._late: list[Entry] = []
        self._alive: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._alive)

    def push(self, place: Rank, head: Head) -> None:
        serial = next(self._serial)
        self._alive[head.id] = serial
        if not self._line or self._line[-1][0] <= place:
            self._line.append((place, serial, head))
        else:
            heapq.heappush(self._late, (place, serial, head))
        if len(self._line) + len(self._late) > 2 * len(self._alive) + 64:
            self._line = deque(entry for entry in self._line if self._is_alive(entry))
            self._late = [entry for entry in self._late if self._is_alive(entry)]
            heapq.heapify(self._late)

    def withdraw(self, head: Head) -> None:
        self._alive.pop(head.id, None)

    def first(self) -> Entry | None:
        line, late = self._line, self._late
        while line and not self._is_alive(line[0]):
            line.popleft()
        while late and not self._is_alive(late[0]):
            heapq.heappop(late)
        if late and (not line or late[0] < line[0]):
            return late[0]
        return line[0] if line else None

    def place(self) -> Rank | None:
        """Return where the first one stands; None when there is none."""
        entry = self.first()
        return None if entry is None else entry[0]

    def pop(self) -> Head | None:
        line, late, alive = self._line, self._late, self._alive
        while line or late:
            is_late = late and (not line or late[0] < line[0])
            _, serial, head = heapq.heappop(late) if is_late else line.popleft()
            if alive.get(head.id) == serial:
                del alive[head.id]
                return head
        return None

    def pop_until(self, until: int, limit: int) -> list[Head]:
        """Pop the heads whose place begins with at most ``until``, at most ``limit`` of them."""
        popped: list[Head] = []
        while len(popped) < limit and (entry := self.first()) is not None and entry[0][0] <= until:
            popped += self.pop_most(1)
        return popped

    def pop_most(self, limit: int) -> list[Head]:
        """Pop the first ``limit`` heads, or all there are."""
        popped: list[Head] = []
        while len(popped) < limit and (head := self.pop()) is not None:
            popped.append(head)
        return popped

    def _is_alive(self, entry: Entry) -> bool:
        return self._alive.get(entry[2].id) == entry[1]


class Lane:
    """As a heap, with plain jobs packed: see :mod:`holdfast.machine.heads`. ``prefix`` begins every place in it."""

    __slots__ = ("_heads", "_prefix", "_rest", "_rows")

    def __init__(self, heads: Heads, prefix: Rank = ()) -> None:
        self._heads, self._prefix = heads, prefix
        self._rows, self._rest = Rows(heads), Heap()

    def __len__(self) -> int:
        return len(self._rows) + len(self._rest)

    def push(self, place: Rank, head: Head) -> None:
        """Let a head stand at its place; a packed one is known by its row from then on, and ``head`` by nobody."""
        row = self._heads.pack(head)
        if row is None:
            self._rest.push(place, head)
        else:
            self._rows.push(row)

    def withdraw(self, head: Head) -> None:
        """Take a head out; if it was packed, its owner removes it, or puts it back among the heads, next."""
        if self._heads.is_packed(head.id):
            self._rows.leave()
        else:
            self._rest.withdraw(head)

    def place(self) -> Rank | None:
        """Return where the first one stands; None when there is none."""
        row, rest = self._rows.first(), self._rest.place()
        packed = None if row is None else (*self._prefix, *rank(row))
        return min((place for place in (packed, rest) if place is not None), default=None)

    def pop(self) -> Head | None:
        """Take the first one out."""
        if not self._rest:
            return self._rows.pop()
        row, rest = self._rows.first(), self._rest.place()
        is_packed = row is not None and (rest is None or (*self._prefix, *rank(row)) < rest)
        return self._rows.pop() if is_packed else self._rest.pop()

    def pop_until(self, until: int, limit: int) -> list[Head]:
        """Pop the heads whose place begins with at most ``until``, at most ``limit`` of them."""
        popped: list[Head] = []
        while len(popped) < limit and (place := self.place()) is not None and place[0] <= until:
            head = self.pop()
            assert head is not None
            popped.append(head)
        return popped


class Line:
    """The jobs of one key that are ready, running or waiting for a retry: the head, and those it holds."""

    __slots__ = ("front", "waiting")

    def __init__(self, front: Head) -> None:
        self.front = front
        self.waiting = Heap()


class ReadyOrder:
    """The ready jobs of a queue; ``held`` counts those behind the head of their key."""

    def __init__(self, heads: Heads) -> None:
        self.held = 0
        self._heads = heads
        self._lanes: dict[str, dict[tuple[int, int], Lane]] = {}
        self._lines: dict[str, Line] = {}

    def lanes(self, kinds: Collection[str], max_format: int) -> list[Lane]:
        """Return the lanes of these kinds that are not empty; forget empty ones."""
        found = []
        for kind in kinds:
            lanes = self._lanes.get(kind)
            if lanes is None:
                continue
            for order in [order for order, lane in lanes.items() if not lane]:
                del lanes[order]
            found += [lane for (_, format_), lane in lanes.items() if format_ <= max_format]
        return found

    def enter(self, head: Head) -> None:
        """Let a job that has become ready stand in its lane if it is the head of its key or has none, else hold it."""
        line = None if head.key is None else self._lines.get(head.key)
        if head.key is None or (line is not None and line.front is head):
            self._stand(head)
            return
        head.joined = head.ready
        if line is None:
            self._lines[head.key] = Line(head)
            self._stand(head)
        elif (head.joined, head.seq) < (line.front.joined, line.front.seq):
            self.withdraw(line.front)
            self._hold(line, line.front)
            line.front = head
            self._stand(head)
        else:
            self._hold(line, head)

    def withdraw(self, head: Head) -> None:
        """Take a ready job out of its lane, if it stands there; it stays in the line of its key."""
        if not head.held:
            self._lanes[head.kind][-head.priority, head.format].withdraw(head)

    def stand_again(self, head: Head) -> None:
        """Let a ready job that was withdrawn stand in the lane that is its own now; it kept its place in its line."""
        if not head.held:
            self._stand(head)

    def leave(self, head: Head) -> None:
        """Take a job out of the line of its key; if it was the head, the next one stands in its lane at once."""
        line = None if head.key is None else self._lines.get(head.key)
        if line is None or head.key is None:
            return
        if head.held:
            head.held = False
            self.held -= 1
            line.waiting.withdraw(head)
        elif line.front is head:
            following = line.waiting.pop()
            if following is None:
                del self._lines[head.key]
                return
            line.front = following
            following.held = False
            self.held -= 1
            self._stand(following)

    def by_kind(self) -> dict[tuple[str, int], int]:
        """Return how many jobs stand in lanes, by kind and format."""
        ready: dict[tuple[str, int], int] = {}
        for kind, lanes in self._lanes.items():
            for (_, format_), lane in lanes.items():
                ready[kind, format_] = ready.get((kind, format_), 0) + len(lane)
        return ready

    def oldest(self) -> int | None:
        """Return the earliest ms at which a job that stands in a lane became ready."""
        places = (lane.place() for lanes in self._lanes.values() for lane in lanes.values())
        return min((place[1] for place in places if place is not None), default=None)

    def _stand(self, head: Head) -> None:
        lanes = self._lanes.setdefault(head.kind, {})
        order = (-head.priority, head.format)
        if order not in lanes:
            lanes[order] = Lane(self._heads, order[:1])
        lanes[order].push(head.place, head)

    def _hold(self, line: Line, head: Head) -> None:
        head.held = True
        self.held += 1
        line.waiting.push((head.joined, head.seq), head)


def first_place(lane: Lane) -> Rank:
    """Return where the first of a lane stands; an empty lane sorts last."""
    return lane.place() or (2**63,)
