"""What a send does within a write transaction: new jobs, and waiting ones that a unique message changes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from holdfast.delivery import State
from holdfast.errors import BodyTooLarge
from holdfast.machine import Change, DeadLetter, Head, Plan, changed, planned, queue_full
from holdfast.message import Level, Message, Stored
from holdfast.stores.sqlite import slots
from holdfast.stores.sqlite.connection import Row
from holdfast.stores.sqlite.heads import JobRow, find
from holdfast.stores.sqlite.orders import expire_over, free, json_list, must_wait
from holdfast.stores.sqlite.statements import statements
from holdfast.stores.sqlite.writer import HELD, QueueRow, Transaction

_SQL = statements("jobs.sql")


def send(
    tx: Transaction, name: str, messages: Sequence[Message], level: Level, *, limited: bool = True
) -> list[Stored]:
    """Store messages; see ``QueueBackend.send``."""
    queue = tx.declared(name)
    for message in messages if limited else ():
        check_body(queue, message.body)
    return store(tx, queue, messages, level, limited=limited)


def check_body(queue: QueueRow, body: bytes) -> None:
    """Raise ``BodyTooLarge`` when the queue does not take a body of this size."""
    if not queue.settings.min_body <= len(body) <= queue.settings.max_body:
        raise BodyTooLarge(
            f"queue {queue.name!r}: a body of {len(body)} bytes is outside {queue.settings.min_body} … "
            f"{queue.settings.max_body}; store it elsewhere and send its address, or raise max_body"
        )


def store(
    tx: Transaction, queue: QueueRow, messages: Sequence[Message], level: Level, *, limited: bool = False
) -> list[Stored]:
    """Store messages whatever their size, as follow-ups are; ``QueueFull`` only when they are ``limited``."""
    plan = _plan(tx, queue, messages)
    if limited and queue.settings.limit is not None and plan.new:
        _check_limit(tx, queue, queue.settings.limit, len(plan.new))
    return _carry_out(tx, queue, plan, level)


def _plan(tx: Transaction, queue: QueueRow, messages: Sequence[Message]) -> Plan:
    ids = json_list(message.id for message in messages)
    known = {row[0] for row in tx.execute(_SQL["known_ids"], (queue.number, ids))}
    keys = {message.unique.key for message in messages if message.unique is not None}
    return planned(messages, known, slots.read(tx, queue.number, keys) if keys else {}, tx.now)


def _check_limit(tx: Transaction, queue: QueueRow, limit: int, new: int) -> None:
    """Raise ``QueueFull`` when so many more jobs would be too many; nothing was changed for this send yet."""
    waiting = _waiting(tx, queue)
    while waiting + new > limit and expire_over(tx, queue):
        waiting = _waiting(tx, queue)
    if waiting + new > limit:
        raise queue_full(queue.name, limit, waiting, new)


def _waiting(tx: Transaction, queue: QueueRow) -> int:
    counts = tx.counts(queue)
    return counts.get(State.SCHEDULED, 0) + counts.get(State.READY, 0)


def _carry_out(tx: Transaction, queue: QueueRow, plan: Plan, level: Level) -> list[Stored]:
    for change in plan.changes:
        _change(tx, queue, change)
    fronts: dict[str, tuple[int, int]] = {}
    jobs: list[Row] = []
    bodies: list[Row] = []
    for message in plan.new.values():
        head = Head.of(message, tx.next_seq(), tx.now, queue.token)
        jobs.append(_job_row(tx, queue, head, message.timeout, fronts))
        bodies.append((head.seq, message.body, _headers(message)))
        if message.unique is not None:
            slots.take(tx, queue.number, head, message.unique)
    if jobs:
        tx.executemany(_SQL["insert_job"], jobs)
        tx.executemany(_SQL["insert_body"], bodies)
    return [Stored(queue.name, job_id, level, duplicate) for job_id, duplicate in plan.answers]


def _headers(message: Message) -> str | None:
    return msgspec.json.encode(message.headers).decode() if message.headers else None


def _job_row(
    tx: Transaction, queue: QueueRow, head: Head, timeout: float | None, fronts: dict[str, tuple[int, int]]
) -> Row:
    lane = tx.lane(queue, head.kind, head.format)
    state = State.SCHEDULED if head.due > tx.now else State.READY
    joined, held = None, False
    if head.key is not None and state is State.READY:
        joined = head.ready
        held = must_wait(tx, queue.number, head.key, (joined, head.seq), fronts)
        tx.count(lane, HELD, held)
    tx.count(lane, state, 1)
    return (
        head.seq,
        queue.number,
        lane,
        head.id,
        state.value,
        head.key,
        head.priority,
        head.max_attempts,
        head.token,
        head.sent,
        head.due,
        head.ready,
        head.expires,
        joined,
        held,
        timeout,
        _slot(head),
    )


def _slot(head: Head) -> str | None:
    return None if head.unique is None else msgspec.json.encode(head.unique).decode()


def put_dead(tx: Transaction, name: str, letter: DeadLetter) -> int | None:
    """Store a dead letter and return its number, None when its id is known; see ``DeadLetters``."""
    queue, message = tx.declared(name), letter.message
    if tx.execute(_SQL["known_ids"], (queue.number, json_list([message.id]))):
        return None
    head = letter.head(tx.next_seq(), tx.now, queue.token)
    lane = tx.lane(queue, head.kind, head.format)
    tx.count(lane, State.DEAD, 1)
    tx.execute(
        _SQL["insert_dead"],
        (
            head.seq,
            queue.number,
            lane,
            head.id,
            head.key,
            head.priority,
            head.max_attempts,
            head.attempts,
            head.crashes,
            head.token,
            head.sent,
            head.due,
            head.ready,
            head.expires,
            head.ended,
            head.reason,
            message.timeout,
            _slot(head),
        ),
    )
    tx.execute(_SQL["insert_body"], (head.seq, message.body, _headers(message)))
    return head.seq


# -- changes --------------------------------------------------------------------------------------------------


def _change(tx: Transaction, queue: QueueRow, change: Change) -> None:
    """Let a waiting job take over what a new message says."""
    head, message = find(tx, queue.name, change.job_id), change.message
    assert head is not None, change.job_id  # the plan was made in this very transaction
    was, was_held, was_lane = head.state, head.held, head.lane
    changed(head, message, change.verb, tx.now)
    head.lane = tx.lane(queue, head.kind, head.format)
    # A job that was leased keeps its place in its key's line; another that is put off leaves it, and may join again.
    leaves = change.verb == "debounce" and head.key is not None and head.started is None
    if change.verb == "debounce":
        head.state = State.SCHEDULED if head.due > tx.now else State.READY
    head.held = was_held and not leaves
    for lane, state, held, jobs in ((was_lane, was, was_held, -1), (head.lane, head.state, head.held, 1)):
        tx.count(lane, state, jobs)
        tx.count(lane, HELD, jobs * held)
    place = (head.seq, head.state, head.due, head.ready, head.held, leaves)
    fields = (head.lane, head.priority, head.max_attempts, head.expires, message.timeout)
    tx.execute(_SQL["change_job"], place + fields)
    tx.execute(_SQL["change_body"], (head.seq, message.body, _headers(message)))
    if leaves and head.key is not None:
        _join_anew(tx, head.queue, head.key, head, freed=was is State.READY and not was_held)


def _join_anew(tx: Transaction, queue: int, key: str, head: JobRow, *, freed: bool) -> None:
    """See to the line of a key that a job has left: let the next one stand, and the job join it if it is ready."""
    if freed:
        free(tx, queue, [key])
    if head.state is State.READY:
        held = must_wait(tx, queue, key, (head.ready, head.seq), {})
        tx.execute(_SQL["join"], (head.seq, head.ready, held))
        tx.count(head.lane, HELD, held)
