"""The life of the jobs of one queue: commands in, changed jobs out, no I/O, no clock, no bodies.

:class:`Machine` carries the table of legal moves out in memory: the memory store is this machine behind a lock, and
other stores are driven beside it in tests. It is deterministic: the same commands with the same ``now`` lead to the
same state, so a journal of commands rebuilds it. An illegal command changes nothing and says so by returning None.
Not thread-safe: its owner holds a lock. A job that was leased once counts as having joined its key at ms 0, so it
stays the head of its key until it ends.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection

from holdfast.config import QueueSettings
from holdfast.delivery import ENDED, WAITING, Receipt, Settlement, State
from holdfast.machine.moves import MOVES, REVIVABLE, DeadLetter, Head, revived, settled, taken_back
from holdfast.machine.orders import Heap, first_place
from holdfast.machine.sends import Sends
from holdfast.machine.slots import Revival

STEP = 1000
"""How many jobs one command makes ready, and writes down as expired, at the most."""


class Machine(Sends):
    """The jobs of one queue. ``token`` is the highest that a job may have been given which is no longer there.

    Every grant gives a token above ``floor``: an owner who may have forgotten grants raises it.

    Commands return the heads they changed, or None where the command was illegal; owners keep the bodies, results
    and errors. Whoever reads ``counts`` calls ``advance`` first.
    """

    def __init__(self, settings: QueueSettings, token: int = 0) -> None:
        super().__init__(token)
        self.settings = settings
        self.paused = False
        self.floor = 0
        self._leases: dict[str, dict[str, Head]] = {}
        self._cancelling: dict[str, Head] = {}
        self._ended = {state: Heap() for state in ENDED}
        self._kept = Heap()
        self._forgotten_by_end: list[tuple[int, str]] = []

    # -- time ---------------------------------------------------------------------------------------------------

    def advance(self, now: int, limit: int = STEP) -> tuple[list[Head], int]:
        """Write down what has expired and make ready what is due; return the expired heads and how many were due."""
        expired = self._expiring.pop_until(now, limit)
        for head in expired:
            self._remove_waiting(head)
            self._end("expire", head, State.EXPIRED, now)
        due = self._scheduled.pop_until(now, limit)
        for head in due:
            head.ready = head.due
            self._become_ready("due", head)
        return expired, len(due)

    # -- leasing --------------------------------------------------------------------------------------------------

    def next_chance(self, kinds: Collection[str], max_format: int, now: int) -> int | None:
        """Return when a lease of these kinds may next find something: ``now``, a later ms, or None for never."""
        if self.paused:
            return None
        if self.ready.lanes(kinds, max_format):
            return now
        places = (self._scheduled.place(), self._expiring.place())  # an expiry may free a key
        return min((max(now, place[0]) for place in places if place is not None), default=None)

    def lease(
        self, holder: str, lease_id: str, *, limit: int, kinds: Collection[str], max_format: int, now: int
    ) -> tuple[list[Head], list[Head]]:
        """Grant up to ``limit`` ready jobs of these kinds, best first; return them, and those found expired on the way.

        Call ``advance`` before.
        """
        granted: list[Head] = []
        expired: list[Head] = []
        lanes = [] if self.paused else self.ready.lanes(kinds, max_format)
        while lanes and len(granted) < limit:
            lane = lanes[0] if len(lanes) == 1 else min(lanes, key=first_place)
            head = lane.pop()
            if head is None:
                lanes.remove(lane)
            elif head.expires is not None and head.expires <= now:
                self._expiring.withdraw(head)
                self._end("expire", head, State.EXPIRED, now)
                expired.append(head)
            else:
                self._grant(head, holder, lease_id, now)
                granted.append(head)
        return granted, expired

    def next_expiry(self) -> int | None:
        """Return the ms at which the next waiting job expires, or None."""
        entry = self._expiring.first()
        return None if entry is None else entry[2].expires

    def highest_token(self) -> int:
        """Return a token that no job of this queue, remembered or not, has gone beyond."""
        living = (head.token for head in self.heads.values())
        return max(self.token, self.floor, *living, *self._forgotten.values(), 0)

    def cancels(self, holder: str) -> list[Head]:
        """Return the running jobs of ``holder`` that somebody asked to cancel."""
        return [head for head in self._cancelling.values() if head.holder == holder]

    # -- settling -------------------------------------------------------------------------------------------------

    def running(self, receipt: Receipt) -> Head | None:
        """Return the head that ``receipt`` is the valid proof of, or None when the lease is lost."""
        head = self.heads.get(receipt.id)
        if head is None or head.token != receipt.token or head.state is not State.RUNNING:
            return None
        return head

    def settle(self, settlement: Settlement, now: int) -> Head | None:
        """Carry out one settlement by receipt; None when the lease is lost."""
        head = None if settlement.receipt is None else self.running(settlement.receipt)
        if head is not None:
            verb, state = settled(head, settlement, now)
            self._put(verb, head, state, now)
        return head

    def granted(self, lease_id: str) -> list[Head]:
        """Return the running jobs that one lease call granted."""
        held = (head for leases in self._leases.values() for head in leases.values())
        return sorted((head for head in held if head.lease_id == lease_id), key=_in_order)

    def retire(
        self, holder: str, reason: str, charged: Collection[tuple[str, int]] | None, now: int
    ) -> list[tuple[Head, bool]]:
        """Take back every job of ``holder``; tell of each whether it was charged. See ``taken_back``."""
        taken = []
        for head in sorted(self._leases.get(holder, {}).values(), key=_in_order):
            state, counted = taken_back(head, reason, charged)
            self._put("take_back", head, state, now)
            taken.append((head, counted))
        return taken

    def put_dead(self, letter: DeadLetter, seq: int, now: int) -> Head | None:
        """Store a dead letter; None when its id is known. It has no place in the line of its key, and takes no slot."""
        if self.knows(letter.message.id):
            return None
        head = letter.head(seq, now, self.token)
        assert ("put_dead", None, head.state) in MOVES
        self.heads[head.id] = head
        self.counts[head.state] += 1
        self._ended[head.state].push((now, seq), head)
        return head

    # -- commands of operators ------------------------------------------------------------------------------------

    def cancel(self, job_id: str, reason: str, now: int) -> State | None:
        """Cancel a waiting job, ask for a running one; return the state it is in then, None when unknown."""
        head = self.heads.get(job_id)
        if head is None:
            return None
        if not self._expire_if_over(head, now) and head.state in WAITING:
            self._remove_waiting(head)
            self.heads[head.id] = head
            head.reason = reason
            self._end("cancel", head, State.CANCELLED, now)
        elif head.state is State.RUNNING and head.cancel is None:
            head.cancel = reason
            self._cancelling[head.id] = head
        return head.state

    def revive(self, verb: str, job_id: str, now: int) -> Revival:
        """Make an ended job ready again: ``replay`` as if new, ``reload`` with exactly one more attempt."""
        head = self.heads.get(job_id)
        if head is None or (not self._expire_if_over(head, now) and head.state not in REVIVABLE):
            return Revival.LEFT
        if not self._take_slot(head, now) and verb == "replay":
            return Revival.DUPLICATE
        self._ended[head.state].withdraw(head)
        revived(head, verb, now)
        self._become_ready(verb, head)
        return Revival.MOVED

    def flush(self, state: State, now: int, among: Collection[str] | None = None) -> list[Head]:
        """Remove every job in ``state``, which is not running, or those ``among`` these ids that are in it.

        Call ``advance`` before, until nothing is left to do.
        """
        heads = self.heads
        looked = (
            heads.values() if among is None else [heads[job_id] for job_id in dict.fromkeys(among) if job_id in heads]
        )
        flushed = [head for head in looked if head.state is state]
        for head in flushed:
            if state in WAITING:
                self._remove_waiting(head)
                self.ready.leave(head)
            self._remove("flush", head, now)
        return flushed

    def drop(self, now: int, limit: int) -> tuple[list[Head], list[Head], int]:
        """Remove ended jobs that retention no longer keeps.

        Return those whose result ran out, those removed, and how many ids of earlier ones are remembered no longer.
        """
        lapsed = self._kept.pop_until(now, limit)
        for head in lapsed:
            head.keep_until = 0
            self._ended[head.state].push((head.ended or now, head.seq), head)
        dropped: list[Head] = []
        for state, ended in self._ended.items():
            keep_for, most = self._retention(state)
            gone = ended.pop_until(now - keep_for, limit)
            gone += ended.pop_most(min(limit - len(gone), len(ended) - most))
            dropped += gone
        for head in dropped:
            self._remove("drop", head, now)
        self._leave_slots(now, limit)
        return lapsed, dropped, self._forget(now, limit)

    # -- how it is done -------------------------------------------------------------------------------------------

    def _grant(self, head: Head, holder: str, lease_id: str, now: int) -> None:
        self._change("lease", head, State.RUNNING)
        head.token = max(head.token, self.floor) + 1
        head.attempts += 1
        head.holder, head.lease_id, head.started, head.joined = holder, lease_id, now, 0
        self._leases.setdefault(holder, {})[head.id] = head
        if head.expires is not None:
            self._expiring.withdraw(head)

    def _expire_if_over(self, head: Head, now: int) -> bool:
        if head.state not in WAITING or head.expires is None or head.expires > now:
            return False
        self._remove_waiting(head)
        self._end("expire", head, State.EXPIRED, now)
        return True

    def _end(self, verb: str, head: Head, state: State, now: int) -> None:
        """End a job that stands in no order any more."""
        if head.state is State.RUNNING:
            self._release(head)
        self._change(verb, head, state)
        head.ended, head.cancel = head.expires if state is State.EXPIRED else now, None
        if head.keep_until > now:
            self._kept.push((head.keep_until, head.seq), head)
        else:
            self._ended[state].push((head.ended or now, head.seq), head)
        self.ready.leave(head)

    def _release(self, head: Head) -> None:
        """Take a running job from its holder."""
        if head.holder is not None:
            leases = self._leases[head.holder]
            del leases[head.id]
            if not leases:
                del self._leases[head.holder]
        if head.cancel is not None:
            del self._cancelling[head.id]
        head.lease_id = None

    def _put(self, verb: str, head: Head, state: State, now: int) -> None:
        """Put a running job where the rules send it."""
        if state in ENDED:
            self._end(verb, head, state, now)
            return
        self._release(head)
        self._take_slot(head, now)
        self._expect_expiry(head)
        if state is State.SCHEDULED:
            self._change(verb, head, state)
            self._scheduled.push((head.due, head.seq), head)
        else:
            self._become_ready(verb, head)

    def _remove(self, verb: str, head: Head, now: int) -> None:
        assert (verb, head.state, None) in MOVES, (verb, head.state)
        self.counts[head.state] -= 1
        if head.state in ENDED:
            self._ended[head.state].withdraw(head)
            self._kept.withdraw(head)
        if head.unique is not None:
            self._keep_slot(head, head.unique, now)
        del self.heads[head.id]
        self._forgotten[head.id] = head.token
        heapq.heappush(self._forgotten_by_end, (now if head.ended is None else head.ended, head.id))

    def _retention(self, state: State) -> tuple[int, int]:
        settings = self.settings
        if state is State.DEAD:
            return int(settings.dead_for * 1000), settings.dead_most
        return int(settings.done_for * 1000), settings.done_most

    def _forget(self, now: int, limit: int) -> int:
        until, forgotten = now - int(self.settings.dedupe_window * 1000), 0
        while self._forgotten_by_end and self._forgotten_by_end[0][0] <= until and forgotten < limit:
            _, job_id = heapq.heappop(self._forgotten_by_end)
            # The id may come back, and old receipts must stay lost.
            self.token = max(self.token, self._forgotten.pop(job_id))
            forgotten += 1
        return forgotten


def _in_order(head: Head) -> int:
    return head.seq


def next_change(machine: Machine) -> int | None:
    """Return the ms at which something next happens by time alone: a job is due, expires, or is dropped; or None."""
    ended = [
        entry[0][0] + machine._retention(state)[0]
        for state, heap in machine._ended.items()
        if (entry := heap.first()) is not None
    ]
    places = (machine._scheduled.place(), machine._expiring.place(), machine._kept.place())
    return min([*ended, *(place[0] for place in places if place is not None)], default=None)


def next_turn(machine: Machine) -> int | None:
    """Return the ms at which the next waiting job is due or expires, or None: before, ``advance`` does nothing."""
    places = (machine._scheduled.place(), machine._expiring.place())
    return min((place[0] for place in places if place is not None), default=None)
