"""One queue in memory: its machine, and beside it what the machine does not see (bodies, runs, results)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

from holdfast.config import QueueSettings
from holdfast.delivery import (
    ENDED,
    WAITING,
    Ack,
    Attempt,
    Delivery,
    JobView,
    Outcome,
    Report,
    Reported,
    Settlement,
    State,
    keep_runs,
)
from holdfast.machine import DeadLetter, Head, Machine, ended_run, failed_run, lost_run, merged, seen_state
from holdfast.message import Message


class Record(msgspec.Struct, eq=False, gc=False):
    """A message with what has become of it."""

    message: Message
    runs: tuple[Attempt, ...] = ()
    result: bytes | None = None
    progress: tuple[int, Reported] | None = None  # with the token of its run


class MemoryQueue:
    """A queue. Nothing here locks or tells the time: the backend does both."""

    def __init__(self, settings: QueueSettings, token: int = 0) -> None:
        self.machine = Machine(settings, token)
        self.records: dict[str, Record] = {}

    def send(self, messages: Sequence[Message], seqs: Iterator[int], now: int) -> tuple[list[tuple[str, bool]], int]:
        """Store messages; return for each the id of its job and whether that is a duplicate, and the bytes gained."""
        for message in messages:
            if message.unique is not None:
                return self._send_unique(messages, seqs, now)
        answers, gained = [], 0
        for message in messages:
            new = self.machine.send(message, next(seqs), now) is not None
            if new:
                self.records[message.id] = Record(message)
                gained += len(message.body)
            answers.append((message.id, not new))
        return answers, gained

    def _send_unique(
        self, messages: Sequence[Message], seqs: Iterator[int], now: int
    ) -> tuple[list[tuple[str, bool]], int]:
        plan, gained = self.machine.plan(messages, now), 0
        for change in plan.changes:
            self.machine.change(change, now)
            record = self.records[change.job_id]
            gained += len(change.message.body) - len(record.message.body)
            record.message = merged(record.message, change.message, change.verb)
        for message in plan.new.values():
            self.machine.send(message, next(seqs), now)
            self.records[message.id] = Record(message)
            gained += len(message.body)
        return plan.answers, gained

    def put_dead(self, letter: DeadLetter, seq: int, now: int) -> bool:
        """Store a dead letter; False when its id is known."""
        if self.machine.put_dead(letter, seq, now) is None:
            return False
        self.records[letter.message.id] = Record(letter.message, (letter.run(now),))
        return True

    def deliver(self, queue: str, head: Head) -> Delivery:
        """Return the delivery of a head that was just granted."""
        message = self.records[head.id].message
        return Delivery(
            queue,
            head.id,
            head.token,
            head.attempts,
            message.body,
            head.kind,
            message.headers,
            head.key,
            head.priority,
            head.crashes,
            head.max_attempts,
            message.timeout,
            head.sent,
            head.started or 0,
            head.ready,
        )

    def settle(self, settlement: Settlement, now: int) -> Head | None:
        """Carry out one settlement by receipt; None when the lease is lost."""
        if type(settlement) is Ack:
            return self._done(settlement, now)
        receipt = settlement.receipt
        head = None if receipt is None else self.machine.running(receipt)
        if head is None:
            return None
        run = failed_run(head, settlement, now)
        self.machine.settle(settlement, now)
        if run is not None:
            record = self.records[head.id]
            record.runs = keep_runs((*record.runs, run))
        return head

    def _done(self, ack: Ack, now: int) -> Head | None:
        head = self.machine.settle(ack, now)
        if head is not None and head.keep_until > now:
            self.records[head.id].result = ack.result
        return head

    def report(self, report: Report, now: int) -> bool:
        """Keep what a run reports; False when its lease is lost."""
        head = self.machine.running(report.receipt)
        if head is not None:
            self.records[head.id].progress = head.token, Reported(report.fraction, report.note, now)
        return head is not None

    def retire(self, holder: str, reason: str, charged: Collection[tuple[str, int]] | None, now: int) -> list[Head]:
        """Take back the jobs of a holder and note the charged runs."""
        taken = self.machine.retire(holder, reason, charged, now)
        for head, counted in taken:
            if counted:
                record = self.records[head.id]
                record.runs = keep_runs((*record.runs, lost_run(head, reason, now, crashed=charged is not None)))
        return [head for head, _ in taken]

    def drop(self, now: int, limit: int) -> tuple[int, list[Head], int]:
        """Forget what retention no longer keeps.

        Return how many results or ids that was, whichever is more, which jobs, and the bytes of their bodies.
        """
        lapsed, dropped, forgotten = self.machine.drop(now, limit)
        for head in lapsed:
            self.records[head.id].result = None
        return max(len(lapsed), forgotten), dropped, self.forget(dropped)

    def forget(self, heads: list[Head]) -> int:
        """Let go of the records of jobs that the machine has removed; return the bytes of their bodies."""
        return sum(len(self.records.pop(head.id).message.body) for head in heads)

    def outcome(self, job_id: str, now: int) -> Outcome | None:
        """Return how a job ended, or None when it has not or is not known."""
        head = self.machine.heads.get(job_id)
        state = State.READY if head is None else seen_state(head, now)
        if head is None or state not in ENDED:
            return None
        record = self.records[job_id]
        error = record.runs[-1].error if record.runs and state is State.DEAD else None
        return Outcome(state, record.result, head.reason or ("expired" if state is State.EXPIRED else None), error)

    def view(self, queue: str, head: Head, now: int, *, runs: bool) -> JobView:
        """Return a job as it stands at ``now``."""
        record, state = self.records[head.id], seen_state(head, now)
        ended = head.expires if state is State.EXPIRED and head.ended is None else head.ended
        done = () if state is not State.DONE else (ended_run(head, "done", head.ended or now),)
        return JobView(
            queue=queue,
            id=head.id,
            kind=head.kind,
            state=state,
            key=head.key,
            priority=head.priority,
            attempts=head.attempts,
            max_attempts=head.max_attempts,
            crashes=head.crashes,
            token=head.token,
            sent=head.sent,
            due=head.due if state in WAITING else None,
            expires=head.expires,
            started=head.started,
            ended=ended,
            holder=None if state in WAITING else head.holder,
            held=head.held,
            cancel_requested=head.cancel is not None,
            reason=head.reason or ("expired" if state is State.EXPIRED else None),
            timeout=record.message.timeout,
            format=head.format,
            body=record.message.body,
            headers=record.message.headers,
            unique=head.unique,
            runs=(*record.runs, *done) if runs else (),
            progress=record.progress[1] if record.progress and record.progress[0] == head.token else None,
        )

    def last_error(self, job_id: str) -> str:
        """Return the text of a job's last error, empty when it has none."""
        runs = self.records[job_id].runs
        error = runs[-1].error if runs else None
        return "" if error is None else f"{error.type}: {error.message}"
