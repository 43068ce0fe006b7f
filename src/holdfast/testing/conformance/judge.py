"""The judge of the model test: one queue that obeys the pure machine, asked the same questions as the store."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from holdfast.config import QueueSettings
from holdfast.delivery import WAITING, Ack, GiveBack, QueueStats, Receipt, Replayed, Settlement, State
from holdfast.machine import DeadLetter, Head, Machine, charged_runs, replayed
from holdfast.message import Message

QUEUE = "work"


class Grant(NamedTuple):
    """What a lease says of one job; ``token`` is the judge's own."""

    id: str
    attempt: int
    crashes: int
    token: int


class Seen(NamedTuple):
    """What a reader sees of one job. ``holder`` is that of a running one; instants are ms."""

    state: State
    kind: str
    priority: int
    attempts: int
    max_attempts: int | None
    crashes: int
    holder: str | None
    reason: str | None
    cancel_requested: bool
    held: bool
    due: int | None
    expires: int | None
    started: int | None
    ended: int | None


class Judge(Protocol):
    """What a store is compared with. ``now`` is the store's wall clock; receipts carry the judge's own tokens."""

    def send(self, messages: Sequence[Message], now: int) -> list[tuple[str, bool]]:
        """Store the messages; tell of each the id of its job, and whether that had been there."""

    def lease(
        self, holder: str, lease_id: str, *, limit: int, kinds: Collection[str], newest: int, now: int
    ) -> list[Grant]:
        """Grant jobs, best first."""

    def settle(self, settlements: Sequence[Settlement], now: int) -> list[Receipt]:
        """Carry the settlements out; return the receipts that were lost."""

    def retire(self, holder: str, reason: str, charged: Collection[Receipt] | None, now: int) -> int:
        """Take back the jobs of a holder; return how many."""

    def cancel(self, job_ids: Sequence[str], reason: str, now: int) -> dict[str, State]:
        """Cancel jobs; return the states of the known ones."""

    def revive(self, verb: str, job_ids: Sequence[str], now: int) -> Replayed:
        """Replay or reload jobs; return those that moved, and those whose slot another job has."""

    def put_dead(self, letter: DeadLetter, now: int) -> bool:
        """Store a dead letter; tell whether its id was new."""

    def flush(self, state: State, now: int) -> int:
        """Empty a state; return how many went."""

    def tidy(self, now: int) -> None:
        """Drop what retention does not keep."""

    def pause(self, paused: bool) -> None:
        """Pause or resume."""

    def destroy(self, settings: QueueSettings) -> int:
        """Remove everything and begin anew with these settings; return how many jobs went."""

    def cancels(self, holder: str) -> set[Receipt]:
        """Return the runs of a holder that somebody asked to cancel."""

    def leasable(self, kinds: Collection[str], newest: int, now: int) -> bool:
        """Tell whether a lease would be granted something."""

    def seen(self, now: int) -> dict[str, Seen]:
        """Return all jobs."""

    def stats(self, now: int) -> QueueStats:
        """Return the counts."""


class MachineJudge:
    """The judge that every store is measured by."""

    def __init__(self, settings: QueueSettings) -> None:
        self.machine = Machine(settings)
        self._seq = itertools.count(1)

    def send(self, messages: Sequence[Message], now: int) -> list[tuple[str, bool]]:
        plan = self.machine.plan(messages, now)
        for change in plan.changes:
            self.machine.change(change, now)
        for message in plan.new.values():
            self.machine.send(message, next(self._seq), now)
        return plan.answers

    def lease(
        self, holder: str, lease_id: str, *, limit: int, kinds: Collection[str], newest: int, now: int
    ) -> list[Grant]:
        self.machine.advance(now)
        heads, _ = self.machine.lease(holder, lease_id, limit=limit, kinds=kinds, max_format=newest, now=now)
        return [Grant(head.id, head.attempts, head.crashes, head.token) for head in heads]

    def settle(self, settlements: Sequence[Settlement], now: int) -> list[Receipt]:
        lost = []
        for settlement in settlements:
            if isinstance(settlement, GiveBack) and settlement.receipt is None:
                for head in self.machine.granted(settlement.lease_id):
                    self.machine.settle(GiveBack(Receipt(QUEUE, head.id, head.token)), now)
            elif self.machine.settle(settlement, now) is None:
                assert settlement.receipt is not None
                lost.append(settlement.receipt)
            elif isinstance(settlement, Ack):
                self.send(settlement.then, now)
        return lost

    def retire(self, holder: str, reason: str, charged: Collection[Receipt] | None, now: int) -> int:
        return len(self.machine.retire(holder, reason, charged_runs(charged, QUEUE), now))

    def cancel(self, job_ids: Sequence[str], reason: str, now: int) -> dict[str, State]:
        states = {job_id: self.machine.cancel(job_id, reason, now) for job_id in job_ids}
        return {job_id: state for job_id, state in states.items() if state is not None}

    def revive(self, verb: str, job_ids: Sequence[str], now: int) -> Replayed:
        return replayed([(job_id, self.machine.revive(verb, job_id, now)) for job_id in job_ids])

    def put_dead(self, letter: DeadLetter, now: int) -> bool:
        return self.machine.put_dead(letter, next(self._seq), now) is not None

    def flush(self, state: State, now: int) -> int:
        self.machine.advance(now)
        return len(self.machine.flush(state, now))

    def tidy(self, now: int) -> None:
        self.machine.advance(now)
        self.machine.drop(now, 1000)

    def pause(self, paused: bool) -> None:
        self.machine.paused = paused

    def destroy(self, settings: QueueSettings) -> int:
        gone, token = len(self.machine.heads), self.machine.highest_token()
        self.machine = Machine(settings, token)
        return gone

    def cancels(self, holder: str) -> set[Receipt]:
        return {Receipt(QUEUE, head.id, head.token) for head in self.machine.cancels(holder)}

    def leasable(self, kinds: Collection[str], newest: int, now: int) -> bool:
        self.machine.advance(now)
        return not self.machine.paused and bool(self.machine.ready.lanes(kinds, newest))

    def seen(self, now: int) -> dict[str, Seen]:
        self.machine.advance(now)
        return {head.id: _seen(head) for head in self.machine.heads.values()}

    def stats(self, now: int) -> QueueStats:
        self.machine.advance(now)
        oldest = self.machine.ready.oldest()
        return QueueStats(
            queue=QUEUE,
            **{state.value: count for state, count in self.machine.counts.items()},
            held=self.machine.ready.held,
            paused=self.machine.paused,
            unhandled={},
            oldest_ready=None if oldest is None else max(0, now - oldest) / 1000,
        )


def _seen(head: Head) -> Seen:
    waits = head.state in WAITING
    return Seen(
        state=head.state,
        kind=head.kind,
        priority=head.priority,
        attempts=head.attempts,
        max_attempts=head.max_attempts,
        crashes=head.crashes,
        holder=head.holder if head.state is State.RUNNING else None,
        reason="expired" if head.state is State.EXPIRED else head.reason,
        cancel_requested=head.cancel is not None,
        held=head.held,
        due=head.due if waits else None,
        expires=head.expires,
        started=head.started,
        ended=head.ended,
    )
