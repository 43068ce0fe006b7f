"""What happens to jobs within a write transaction: leased, settled, taken back, cancelled, run again.

The rules themselves are those of :mod:`holdfast.machine`; here they are carried out on rows. Two hot paths, lease
and ack, are sets of rows instead. Functions named after contract verbs keep what the contract says of them.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Generator, Mapping, Sequence
from itertools import islice

import msgspec

from holdfast.delivery import (
    ENDED,
    FIRST_ERRORS,
    LAST_ERRORS,
    WAITING,
    Ack,
    Attempt,
    Delivery,
    GiveBack,
    Receipt,
    Report,
    Settlement,
    State,
)
from holdfast.errors import LeaseLost
from holdfast.machine import (
    REVIVABLE,
    DeadLetter,
    Revival,
    charged_runs,
    failed_run,
    lost_run,
    millis,
    revived,
    seen_state,
    settled,
    taken_back,
)
from holdfast.message import NO_HEADERS, Level
from holdfast.stores.sqlite import sends, slots
from holdfast.stores.sqlite.connection import Row
from holdfast.stores.sqlite.heads import JobRow, find, heads
from holdfast.stores.sqlite.orders import advance, expire, free, json_list, must_wait
from holdfast.stores.sqlite.statements import statements
from holdfast.stores.sqlite.writer import HELD, KEPT, Transaction

_SQL = statements("jobs.sql")
_decode_headers = msgspec.json.Decoder(dict[str, str]).decode


# -- leasing --------------------------------------------------------------------------------------------------


class Wanted(msgspec.Struct, frozen=True):
    """What one lease call asks for."""

    queue: str
    holder: str
    lease_id: str
    limit: int
    kinds: Collection[str]
    max_format: int


def lease(tx: Transaction, wanted: Wanted) -> list[Delivery]:
    """Grant jobs; see ``QueueBackend.lease``."""
    if not tx.execute(_SQL["live_holder"], (wanted.holder,)):
        raise LeaseLost(f"holder {wanted.holder!r} has ended or never beat; take a new incarnation")
    queue = tx.queue(wanted.queue)
    if queue is None:
        return []
    advance(tx, queue)
    if queue.paused:
        return []
    kinds = tx.execute(_SQL["lanes"], (queue.number, wanted.max_format, json_list(wanted.kinds)))
    while True:
        rows = _best(tx, [lane for lane, _ in kinds], wanted.limit)
        over = [row for row in rows if row[4] is not None and row[4] <= tx.now]
        if not over:
            return _grant(tx, wanted, dict(kinds), rows)
        expire(tx, queue, [(row[2], row[3], State.READY, row[8], 0) for row in over])


def _best(tx: Transaction, lanes: Sequence[int], limit: int) -> list[Row]:
    """Return the first ``limit`` ready jobs of all lanes; a lane is read only as far as it contributes."""
    if len(lanes) == 1:
        return tx.execute(_SQL["ready"], (lanes[0], limit))
    cursors: list[Generator[Row]] = [tx.rows(_SQL["ready"], (lane, limit)) for lane in lanes]
    rows = list(islice(heapq.merge(*cursors), limit))
    for cursor in cursors:
        cursor.close()
    return rows


def _grant(tx: Transaction, wanted: Wanted, kinds: Mapping[int, str], rows: Sequence[Row]) -> list[Delivery]:
    if not rows:
        return []
    tx.execute(_SQL["grant"], (json_list(row[2] for row in rows), wanted.holder, wanted.lease_id, tx.now))
    for lane, jobs in Counter(row[3] for row in rows).items():
        tx.moved(lane, State.READY, State.RUNNING, jobs)
    name, now = wanted.queue, tx.now
    return [
        Delivery(
            name,
            job_id,
            token + 1,
            attempts + 1,
            body,
            kinds[lane],
            NO_HEADERS if headers is None else _decode_headers(headers),
            key,
            -order,
            crashes,
            max_attempts,
            timeout,
            sent,
            now,
            ready,
        )
        for (
            order,
            ready,
            _,
            lane,
            _,
            job_id,
            token,
            attempts,
            key,
            crashes,
            max_attempts,
            timeout,
            sent,
            body,
            headers,
        ) in rows
    ]


# -- settling -------------------------------------------------------------------------------------------------


def settle(tx: Transaction, settlements: Sequence[Settlement], level: Level) -> list[Receipt]:
    """Carry out settlements in their order, runs of acks of one queue together; see ``QueueBackend.settle``."""
    lost: list[Receipt] = []
    acks: dict[str, Ack] = {}
    for settlement in settlements:
        receipt = settlement.receipt
        together = isinstance(settlement, Ack) and settlement.receipt.id not in acks
        if acks and not (together and receipt and receipt.queue == next(iter(acks.values())).receipt.queue):
            lost += _ack(tx, acks, level)
            acks = {}
        if isinstance(settlement, Ack):
            acks[settlement.receipt.id] = settlement
            if settlement.then and any(message.unique is not None for message in settlement.then):
                lost += _ack(tx, acks, level)  # what is acked after it may have the slot that a follow-up wants
                acks = {}
        else:
            lost += _settle_one(tx, settlement)
    return lost + _ack(tx, acks, level)


def _ack(tx: Transaction, acks: Mapping[str, Ack], level: Level) -> list[Receipt]:
    """Ack jobs of one queue, given by id."""
    if not acks:
        return []
    queue = tx.queue(next(iter(acks.values())).receipt.queue)
    if queue is None:
        return [ack.receipt for ack in acks.values()]
    by_kept: dict[int, list[tuple[str, int]]] = {}
    for job_id, ack in acks.items():
        by_kept.setdefault(_kept(ack, tx.now), []).append((job_id, ack.receipt.token))
    done: set[str] = set()
    for kept, receipts in by_kept.items():
        rows = tx.execute(_SQL["ack"], (json_list(receipts), queue.number, tx.now, kept))
        done.update(row[0] for row in rows)
        for lane, jobs in Counter(row[2] for row in rows).items():
            tx.moved(lane, State.RUNNING, State.DONE, jobs)
            tx.count(lane, KEPT, jobs if kept else 0)
        if kept:
            tx.executemany(_SQL["insert_result"], [(seq, acks[job_id].result) for job_id, seq, _, _ in rows])
        free(tx, queue.number, {key for *_, key in rows if key is not None})
    follow_ups = [message for job_id, ack in acks.items() if ack.then and job_id in done for message in ack.then]
    if follow_ups:
        sends.store(tx, queue, follow_ups, level)
    return [ack.receipt for job_id, ack in acks.items() if job_id not in done]


def _kept(ack: Ack, now: int) -> int:
    """Return until when the result of an ack is kept, 0 for not at all."""
    return now + millis(ack.keep_result) if ack.result is not None and ack.keep_result > 0 else 0


def _settle_one(tx: Transaction, settlement: Settlement) -> list[Receipt]:
    receipt = settlement.receipt
    if receipt is None:
        _give_back_lease(tx, settlement)
        return []
    head = find(tx, receipt.queue, receipt.id)
    if head is None or head.token != receipt.token or head.state is not State.RUNNING:
        return [receipt]
    run = failed_run(head, settlement, tx.now)
    _, state = settled(head, settlement, tx.now)
    put(tx, head, state)
    if run is not None:
        _add_run(tx, head.seq, run)
    return []


def report(tx: Transaction, reports: Sequence[Report]) -> list[Receipt]:
    """Keep what runs report; see ``Progress``."""
    kept: set[tuple[str, str, int]] = set()
    by_queue: dict[str, dict[Receipt, Report]] = {}
    for one in reports:
        by_queue.setdefault(one.receipt.queue, {})[one.receipt] = one
    for name, its in by_queue.items():
        queue = tx.queue(name)
        if queue is not None:
            rows = json_list((one.receipt.id, one.receipt.token, one.fraction, one.note) for one in its.values())
            written = tx.execute(_SQL["report"], (rows, queue.number, tx.now))
            kept.update((name, job_id, token) for job_id, token in written)
    receipts = [one.receipt for one in reports]
    return [one for one in receipts if (one.queue, one.id, one.token) not in kept]


def _give_back_lease(tx: Transaction, settlement: Settlement) -> None:
    queue = tx.queue(settlement.queue) if isinstance(settlement, GiveBack) else None
    if queue is None or not isinstance(settlement, GiveBack):
        return
    for head in heads(tx, "heads_of_lease", (queue.number, settlement.lease_id)):
        _, state = settled(head, settlement, tx.now)
        put(tx, head, state)


def take_back(tx: Transaction, holder: str, reason: str, charged: Collection[Receipt] | None) -> int:
    """Take back the jobs of a holder that has ended; see ``QueueBackend.retire``."""
    taken = heads(tx, "heads_of_holder", (holder,))
    runs = {name: charged_runs(charged, name) for name in {head.queue_name for head in taken}}
    for head in taken:
        state, counted = taken_back(head, reason, runs[head.queue_name])
        put(tx, head, state)
        if counted:
            _add_run(tx, head.seq, lost_run(head, reason, tx.now, crashed=charged is not None))
    return len(taken)


def _add_run(tx: Transaction, seq: int, run: Attempt) -> None:
    """Keep a failed run with its job: of all runs the first two and the last eight."""
    position = tx.execute(_SQL["last_run"], (seq,))[0][0] + 1
    error = run.error
    texts = (None, None, None) if error is None else (error.type, error.message, error.traceback)
    tx.execute(_SQL["insert_run"], (seq, position, run.number, run.holder, run.started, run.ended, run.outcome, *texts))
    if position - LAST_ERRORS > FIRST_ERRORS:
        tx.execute(_SQL["delete_run"], (seq, position - LAST_ERRORS))


# -- one job --------------------------------------------------------------------------------------------------


def put(tx: Transaction, head: JobRow, state: State) -> None:
    """Write a job down in the state that the rules send it to, and let the next of its key follow if it ended."""
    if head.unique is not None and state in WAITING:
        slots.take_again(tx, head)
    tx.moved(head.lane, head.state, state)
    ended = state in ENDED
    if ended:
        head.ended, head.cancel = head.expires if state is State.EXPIRED else tx.now, None
        tx.count(head.lane, HELD, -head.held)
    was_held, head.held, head.state = head.held, head.held and not ended, state
    tx.execute(
        _SQL["save"],
        (
            head.seq,
            state.value,
            head.attempts,
            head.max_attempts,
            head.crashes,
            head.due,
            head.ready,
            head.expires,
            head.started,
            head.ended,
            head.reason,
            head.cancel,
            head.held,
            ended,
        ),
    )
    if ended and head.key is not None and not was_held:
        free(tx, head.queue, [head.key])


def cancel(tx: Transaction, queue: str, job_id: str, reason: str) -> State | None:
    """Cancel one job; see ``Cancellable``."""
    head = _current(tx, queue, job_id)
    if head is None:
        return None
    if head.state in WAITING:
        head.reason = reason
        put(tx, head, State.CANCELLED)
    elif head.state is State.RUNNING:
        tx.execute(_SQL["request_cancel"], (head.seq, reason))
    return head.state


def revive(tx: Transaction, verb: str, queue: str, job_id: str) -> Revival:
    """Replay or reload one job; see ``Replayable``."""
    head = _current(tx, queue, job_id)
    if head is None or head.state not in REVIVABLE:
        return Revival.LEFT
    if verb == "replay" and not slots.take_again(tx, head):
        return Revival.DUPLICATE
    revived(head, verb, tx.now)
    put(tx, head, State.READY)
    if head.key is not None:
        held = must_wait(tx, head.queue, head.key, (head.ready, head.seq), {})
        tx.execute(_SQL["join"], (head.seq, head.ready, held))
        tx.count(head.lane, HELD, held)
    return Revival.MOVED


def put_dead(tx: Transaction, queue: str, letter: DeadLetter) -> bool:
    """Store a dead letter with its run; see ``DeadLetters``."""
    seq = sends.put_dead(tx, queue, letter)
    if seq is not None:
        _add_run(tx, seq, letter.run(tx.now))
    return seq is not None


def _current(tx: Transaction, queue: str, job_id: str) -> JobRow | None:
    """Return one job after writing down that it has expired, if it has."""
    head = find(tx, queue, job_id)
    if head is not None and seen_state(head, tx.now) is State.EXPIRED and head.state is not State.EXPIRED:
        head.reason = "expired"
        put(tx, head, State.EXPIRED)
    return head
