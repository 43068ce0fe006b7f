"""One member of a group in memory."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import partial

import msgspec

from holdfast.contract import LogMember
from holdfast.errors import Closed, LeaseLost, OffsetGone
from holdfast.logged import Assigned, Chunk, Offset, WhenGone
from holdfast.stores.memory.logs.group import MemoryGroup
from holdfast.stores.memory.logs.holders import Alive, Lender
from holdfast.stores.refused import offset_gone
from holdfast.stores.waiting import Waiting


class MemoryMember(LogMember):
    """Reads for a holder, which is ``alive`` or not."""

    def __init__(self, store: Lender, group: MemoryGroup, alive: Alive, when_gone: WhenGone) -> None:
        self._store, self._group, self._alive = store, group, alive
        self._when_gone = when_gone
        self._waiting = Waiting(store.clock, store.lock)
        self._polling = self._left = False
        self._positions: dict[int, tuple[int, int]] = {}  # the version it was taken at, and what is polled next
        self._assigned: dict[int, Assigned] = {}
        self._turn = 0
        alive.members[self] = group
        group.admit(self)

    # -- what its group sees --------------------------------------------------------------------------------------

    @property
    def holder(self) -> str:
        """The holder it belongs to."""
        return self._alive.id

    def left(self, boot: int) -> float:
        """Return the seconds it has to live, for ever while it polls."""
        if self._alive.retired:
            return 0.0
        return math.inf if self._polling else max(0.0, (self._alive.until - boot) / 1000)

    def wake(self) -> None:
        """Let it look again, if it waits."""
        self._waiting.wake()

    def end(self) -> None:
        """Let it see that the store is closed."""
        self._waiting.close()

    # -- poll -----------------------------------------------------------------------------------------------------

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
        with self._store.opened():
            self._refresh(busy)
            self._polling = True
            try:
                self._waiting.wait(partial(self._look, busy, without, limit, min(min_bytes, max_bytes)), wait)
            finally:
                self._polling = False
            self._refresh(busy)
            return self._take(self._readable(without), limit, max_bytes)

    def _look(self, busy: Collection[int], without: Collection[int], limit: int, min_bytes: int) -> float | None:
        """Return 0 when there is enough or what is next is gone, else how long it takes until another member may have
        fallen silent.
        """
        self._refresh(busy)
        partitions, messages, size = self._group.log.partitions, 0, 0
        for number in self._readable(without):
            _, position = self._positions[number]
            if self._gone(number) is not None:
                return 0
            messages += partitions[number].next - position
            if messages and min_bytes > 1:
                size += partitions[number].bodies_from(position)
        if messages >= limit or (messages and (size >= min_bytes or min_bytes <= 1)):
            return 0
        return self._group.soonest(self, self._store.clock.boot())

    def _refresh(self, busy: Collection[int]) -> None:
        """Share, and stand in each partition held where the group stands if that was sought."""
        if self._left or self._group.removed:
            raise Closed(self._left_or_removed())
        if self._alive.retired:
            raise LeaseLost(f"holder {self.holder!r} was retired; join again under a new incarnation")
        boot, group = self._store.clock.boot(), self._group
        self._alive.seen(boot)
        group.share(self, busy, boot)
        held = group.held(self)
        for number in self._positions.keys() - held:
            del self._positions[number], self._assigned[number]
        for number in held:
            offset = group.offset(number)
            known = self._positions.get(number)
            if known is None or known[0] != offset.version:
                self._positions[number] = (offset.version, offset.next)
                self._assigned[number] = Assigned(offset, self._group.places[number].begun)

    def _left_or_removed(self) -> str:
        name = f"group {self._group.name!r} of log {self._group.log.name!r}"
        return f"this member has left {name}" if self._left else f"{name} was removed; join again to begin anew"

    def _readable(self, without: Collection[int]) -> list[int]:
        return sorted(self._positions.keys() - without)

    def _gone(self, number: int) -> OffsetGone | None:
        """Return what is wrong when that is not there which is to be polled next, unless it can jump."""
        partition, (version, position) = self._group.log.partitions[number], self._positions[number]
        if partition.first <= position <= partition.next:
            return None
        if self._when_gone == "error":
            return offset_gone(self._group.log.name, partition.ends(), position)
        to = partition.first if self._when_gone == "earliest" else partition.next
        self._positions[number] = (version, to)
        return None

    def _take(self, numbers: list[int], limit: int, max_bytes: int) -> list[Chunk]:
        """Take what there is, partition after partition, each time from another one on."""
        chunks, wrong = list[Chunk](), None
        self._turn += 1
        first = self._turn % len(numbers) if numbers else 0
        for number in numbers[first:] + numbers[:first]:
            if (gone := self._gone(number)) is not None:
                wrong = gone
                continue
            version, position = self._positions[number]
            partition = self._group.log.partitions[number]
            if limit < 1 or position == partition.next:
                continue
            for chunk in partition.read(position, limit, max_bytes):
                size = sum(map(len, chunk.bodies))
                if chunks and size > max_bytes:
                    return chunks
                chunks.append(msgspec.structs.replace(chunk, version=version))
                self._positions[number] = (version, chunk.next)
                limit, max_bytes = limit - len(chunk), max_bytes - size
        if wrong is not None and not chunks:
            raise wrong
        return chunks

    def interrupt(self) -> None:
        self._waiting.interrupt()

    # -- commit ---------------------------------------------------------------------------------------------------

    def commit(self, offsets: Sequence[Offset], *, durable: bool = False) -> dict[int, int]:
        with self._store.opened():
            if self._left:
                raise Closed(self._left_or_removed())
            mine = [offset for offset in offsets if self._holds(offset)]
            for offset in mine:
                partition = self._group.log.partitions[offset.partition]
                if offset.next > partition.next:
                    raise offset_gone(self._group.log.name, partition.ends(), offset.next)
            committed = {offset.partition: self._commit(offset) for offset in mine}
            if not self._alive.retired:
                self._alive.seen(self._store.clock.boot())
            if len(mine) < len(offsets):
                self._raise_lost([offset.partition for offset in offsets if offset not in mine])
            return committed

    def _holds(self, offset: Offset) -> bool:
        group = self._group
        return (
            not group.removed
            and offset.partition in group.held(self)
            and group.places[offset.partition].version == offset.version
        )

    def _commit(self, offset: Offset) -> int:
        place = self._group.places[offset.partition]
        if offset.next >= place.next:
            place.move(offset.next, offset.finished)
        return place.next

    def _raise_lost(self, partitions: Sequence[int]) -> None:
        raise LeaseLost(
            f"group {self._group.name!r} of log {self._group.log.name!r}: partitions "
            f"{', '.join(map(str, sorted(partitions)))} are no longer held by this member, or were sought; what it "
            "polled there before is delivered again"
        )

    # -- the rest -------------------------------------------------------------------------------------------------

    def assigned(self) -> dict[int, Assigned]:
        with self._store.opened():
            if self._left:
                raise Closed(self._left_or_removed())
            held = () if self._group.removed else self._group.held(self)
            return {number: its for number, its in self._assigned.items() if number in held}

    def leave(self) -> None:
        with self._store.lock:
            self._left = True
            self._alive.members.pop(self, None)
            self._group.dismiss(self)
            self._waiting.wake()
