"""How jobs come in: new ones, waiting ones that a unique message changes, and the slots of unique keys."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from holdfast.delivery import State
from holdfast.machine.heads import Heads
from holdfast.machine.moves import MOVES, Head
from holdfast.machine.orders import Heap, Lane, ReadyOrder
from holdfast.machine.slots import Change, Plan, Slot, changed, kept_until, planned
from holdfast.message import Message, Unique


class Sends:
    """The part of a :class:`~holdfast.machine.queue.Machine` that takes messages and knows the jobs that wait."""

    def __init__(self, token: int) -> None:
        self.heads = Heads()
        self.counts: dict[State, int] = dict.fromkeys(State, 0)
        self.token = token
        self.ready = ReadyOrder(self.heads)
        self._scheduled = Lane(self.heads)
        self._expiring = Heap()
        self._forgotten: dict[str, int] = {}
        self._slots: dict[str, Head] = {}
        self._left_slots: list[tuple[int, int, Head]] = []

    def send(self, message: Message, seq: int, now: int) -> Head | None:
        """Store a message; None when its id is known. One with a unique key takes its slot: see ``plan``."""
        if self.knows(message.id):
            return None
        head = Head.of(message, seq, now, self.token)
        self.heads[head.id] = head
        if head.unique is not None:
            self._slots[head.unique.key] = head
        self.counts[State.SCHEDULED] += 1
        self._expect_expiry(head)
        if head.due > now:
            self._scheduled.push((head.due, head.seq), head)
        else:
            self._become_ready("due", head)
        return head

    def knows(self, job_id: str) -> bool:
        """Tell whether a job of this id is there, or is remembered."""
        return job_id in self.heads or job_id in self._forgotten

    def plan(self, messages: Sequence[Message], now: int) -> Plan:
        """Return what sending these messages comes to; the owner then sends and changes what the plan names."""
        known = {one.id for one in messages if self.knows(one.id)}
        keys = {one.unique.key for one in messages if one.unique is not None}
        return planned(messages, known, {key: slot for key in keys if (slot := self._slot(key)) is not None}, now)

    def waiting(self) -> int:
        """Return how many jobs wait, which is what a queue's ``limit`` bounds."""
        return self.counts[State.SCHEDULED] + self.counts[State.READY]

    def change(self, change: Change, now: int) -> Head:
        """Let a waiting job take over what a new message says."""
        head = self.heads[change.job_id]
        was, head_of_key = head.state, head.started is not None  # it was leased, and keeps its place in its key
        self._remove_waiting(head)
        changed(head, change.message, change.verb, now)
        self._expect_expiry(head)
        if change.verb == "debounce":
            if was is State.READY and not head_of_key:
                self.ready.leave(head)
            self._put_off(head, now)
        elif was is State.READY:
            self.ready.stand_again(head)
        else:
            self._scheduled.push((head.due, head.seq), head)
        return head

    def _put_off(self, head: Head, now: int) -> None:
        if head.due <= now:
            self._become_ready("debounce", head)
        else:
            self._change("debounce", head, State.SCHEDULED)
            self._scheduled.push((head.due, head.seq), head)

    # -- how it is done -------------------------------------------------------------------------------------------

    def _change(self, verb: str, head: Head, target: State) -> None:
        assert (verb, head.state, target) in MOVES, (verb, head.state, target)
        self.counts[head.state] -= 1
        self.counts[target] += 1
        head.state = target

    def _become_ready(self, verb: str, head: Head) -> None:
        self._change(verb, head, State.READY)
        self.ready.enter(head)

    def _remove_waiting(self, head: Head) -> None:
        """Take a waiting job out of the order it stands in."""
        self._expiring.withdraw(head)
        if head.state is State.SCHEDULED:
            self._scheduled.withdraw(head)
        else:
            self.ready.withdraw(head)

    def _expect_expiry(self, head: Head) -> None:
        if head.expires is not None:
            self._expiring.push((head.expires, head.seq), head)

    # -- slots ----------------------------------------------------------------------------------------------------

    def _slot(self, key: str) -> Slot | None:
        head = self._slots.get(key)
        if head is None or head.unique is None:
            return None
        return Slot.of(head, head.unique, removed=self.heads.get(head.id) is not head)

    def _take_slot(self, head: Head, now: int) -> bool:
        """Let a job that comes back have its slot again; False when another has it."""
        if head.unique is None or self._slots.get(head.unique.key) is head:
            return True
        slot = self._slot(head.unique.key)
        if slot is not None and slot.held(now):
            return False
        self._slots[head.unique.key] = head
        return True

    def _keep_slot(self, head: Head, unique: Unique, now: int) -> None:
        """Keep the slot of a job that is removed for as long as its ``within`` lasts."""
        heapq.heappush(self._left_slots, (kept_until(unique, head.sent), head.seq, head))
        self._leave_slots(now, limit=2)

    def _leave_slots(self, now: int, limit: int) -> None:
        """Forget slots of removed jobs that are over."""
        while self._left_slots and self._left_slots[0][0] <= now and limit > 0:
            *_, head = heapq.heappop(self._left_slots)
            limit -= 1
            if head.unique is not None and self._slots.get(head.unique.key) is head:
                del self._slots[head.unique.key]
