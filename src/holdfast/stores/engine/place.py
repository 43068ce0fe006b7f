"""One queue: its machine, and beside it what the machine does not see (messages, runs, results, progress)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from holdfast.delivery import (
    ENDED,
    WAITING,
    Ack,
    Burial,
    Delivery,
    JobView,
    Nack,
    Outcome,
    Receipt,
    Report,
    Reported,
    Settlement,
    State,
)
from holdfast.failures import ErrorInfo
from holdfast.machine import Change, DeadLetter, Head, ended_run, failed_run, lost_run, seen_state
from holdfast.message import Message
from holdfast.stores.engine.filed import Filed
from holdfast.stores.engine.papers import Unreadable


class Place(Filed):
    """A queue. Nothing here locks or tells the time: the backend does both."""

    # -- messages -------------------------------------------------------------------------------------------------

    def send(self, messages: Sequence[Message], number: int, now: int) -> list[tuple[str, bool]]:
        """Store messages, numbered from ``number`` on; return for each the id of its job and whether it was there."""
        for message in messages:
            if message.unique is not None:
                return self._send_unique(messages, number, now)
        answers = []
        for seq, message in enumerate(messages, number):
            new = self.machine.send(message, seq, now) is not None
            if new:
                self.keep(message, seq, seq)
            answers.append((message.id, not new))
        return answers

    def _send_unique(self, messages: Sequence[Message], number: int, now: int) -> list[tuple[str, bool]]:
        plan = self.machine.plan(messages, now)
        numbers = {id(message): seq for seq, message in reversed(list(enumerate(messages, number)))}
        for change in plan.changes:
            self._change(self.machine.change(change, now), change, numbers[id(change.message)])
        for message in plan.new.values():
            sent, last = plan.sources.get(message.id, (message, message))
            seq = numbers[id(sent)]
            self.machine.send(message, seq, now)
            self.keep(message, seq, numbers[id(last)])
        return plan.answers

    def _change(self, head: Head, change: Change, number: int) -> None:
        record = self.record(head)
        record.message = self._papers.change(record.message, number, change)

    def put_dead(self, letter: DeadLetter, number: int, now: int) -> bool:
        """Store a dead letter, its papers numbered from ``number`` on; False when its id is known."""
        head = self.machine.put_dead(letter, number, now)
        if head is not None:
            self.keep(letter.message, number, number)
            self.note(head, letter.run(now), letter.error, number + 1)
        return head is not None

    def deliver(self, queue: str, heads: Sequence[Head]) -> tuple[list[Delivery], list[Burial]]:
        """Return the deliveries of heads that were just granted, and how those end whose message cannot be read."""
        delivered, lost = list[Delivery](), list[Burial]()
        for head, message in zip(heads, self._papers.messages([self._handle(head) for head in heads]), strict=True):
            if isinstance(message, Unreadable):
                lost.append(Burial(Receipt(queue, head.id, head.token), f"its body is damaged: {message.why}"))
            else:
                delivered.append(_delivery(queue, head, message))
        return delivered, lost

    # -- runs -----------------------------------------------------------------------------------------------------

    def settle(self, settlement: Settlement, number: int, now: int) -> Head | None:
        """Carry out one settlement by receipt, its papers numbered from ``number`` on; None when the lease is lost."""
        if type(settlement) is Ack:
            return self._done(settlement, number, now)
        receipt = settlement.receipt
        head = None if receipt is None else self.machine.running(receipt)
        if head is None:
            return None
        run = failed_run(head, settlement, now)
        self.machine.settle(settlement, now)
        if run is not None:
            error = settlement.error if isinstance(settlement, (Nack, Burial)) else None
            self.note(head, run, error, number)
        return head

    def _done(self, ack: Ack, number: int, now: int) -> Head | None:
        head = self.machine.settle(ack, now)
        if head is not None and head.keep_until > now and ack.result is not None:
            self.record(head).result = self._papers.keep(number, ack.result)
        return head

    def report(self, report: Report, now: int) -> bool:
        """Keep what a run reports; False when its lease is lost."""
        head = self.machine.running(report.receipt)
        if head is not None:
            self.record(head).progress = head.token, Reported(report.fraction, report.note, now)
        return head is not None

    def retire(self, holder: str, reason: str, charged: Collection[tuple[str, int]] | None, now: int) -> list[Head]:
        """Take back the jobs of a holder and note the charged runs."""
        taken = self.machine.retire(holder, reason, charged, now)
        for head, counted in taken:
            if counted:
                self.note(head, lost_run(head, reason, now, crashed=charged is not None))
        return [head for head, _ in taken]

    # -- letting go -----------------------------------------------------------------------------------------------

    def drop(self, now: int, limit: int) -> tuple[int, list[Head]]:
        """Forget what retention no longer keeps; return how many results or ids, whichever is more, and which jobs."""
        lapsed, dropped, forgotten = self.machine.drop(now, limit)
        for head in lapsed:
            self.record(head).result = None
        self.forget(dropped)
        return max(len(lapsed), forgotten), dropped

    def advance(self, now: int) -> list[str]:
        """Write down everything that is due or expired by now; return the ids that expired."""
        expired_ids: list[str] = []
        while True:
            expired, due = self.machine.advance(now)
            expired_ids += [head.id for head in expired]
            if not expired and not due:
                return expired_ids

    # -- looking --------------------------------------------------------------------------------------------------

    def outcome(self, job_id: str, now: int) -> Outcome | None:
        """Return how a job ended, or None when it has not or is not known."""
        head = self.machine.heads.get(job_id)
        state = State.READY if head is None else seen_state(head, now)
        if head is None or state not in ENDED:
            return None
        record = self.records.get(job_id)
        value: bytes | Unreadable | None = None
        error = None
        if record is not None and record.result is not None:
            value = self._papers.result(record.result)
        if isinstance(value, Unreadable):
            return _lost_result(value.why)
        if record is not None and record.runs and state is State.DEAD:
            error = self._attempt(record.runs[-1]).error
        return Outcome(state, value, head.reason or ("expired" if state is State.EXPIRED else None), error)

    def view(self, queue: str, head: Head, now: int, *, runs: bool) -> JobView:
        """Return a job as it stands at ``now``; without its body when that cannot be read."""
        record, message, state = self.records.get(head.id), self.message(head), seen_state(head, now)
        if isinstance(message, Unreadable):
            message = _NOTHING
        ended = head.expires if state is State.EXPIRED and head.ended is None else head.ended
        done = () if state is not State.DONE else (ended_run(head, "done", head.ended or now),)
        progress = None if record is None else record.progress
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
            timeout=message.timeout,
            format=head.format,
            body=message.body,
            headers=message.headers,
            unique=head.unique,
            runs=(*self.runs(head), *done) if runs else (),
            progress=progress[1] if progress and progress[0] == head.token else None,
        )


_NOTHING = Message(id="-", body=b"")


def _lost_result(why: str) -> Outcome:
    """Return the outcome of a job that is done, for a waiter who is not to take nothing for its value."""
    reason = f"its result is damaged: {why}"
    return Outcome(State.DEAD, None, reason, ErrorInfo("CorruptLog", reason))


def _delivery(queue: str, head: Head, message: Message) -> Delivery:
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
