"""What happens to holders and to many jobs at once, within a write transaction: beats, ends, retention, removal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from holdfast.config import QueueSettings
from holdfast.delivery import ENDED, WAITING, Beat, Command, HolderInfo, Receipt, State, Tidied
from holdfast.machine import STEP
from holdfast.stores.sqlite import schedules
from holdfast.stores.sqlite.connection import Connection, Row
from holdfast.stores.sqlite.jobs import take_back
from holdfast.stores.sqlite.orders import advance, free, json_list
from holdfast.stores.sqlite.statements import statements
from holdfast.stores.sqlite.writer import HELD, KEPT, QueueRow, Transaction

_SQL = statements("upkeep.sql")
_PLACES = statements("places.sql")
_SLOTS = statements("slots.sql")
HOLDER_KEPT_MS = 3_600_000
"""How long an ended holder is remembered, so that its late beat is told that it has ended."""
FLUSH_STEP = 10_000
"""How many jobs are flushed in one transaction: others must not wait for a million."""
REMOVE_STEP = 1_000
"""The same for jobs removed by id, each of which is looked up."""


def beat(tx: Transaction, holder: HolderInfo, boot_id: str) -> Beat:
    """Keep a holder alive, and tell it what it should know."""
    if tx.execute(_SQL["has_ended"], (holder.id,)):
        return Beat(alive=False)
    info = msgspec.json.encode(holder).decode()
    [(command,)] = tx.execute(_SQL["put_holder"], (holder.id, info, boot_id, tx.boot + int(holder.ttl * 1000)))
    cancels = tuple(Receipt(*row) for row in tx.execute(_SQL["cancels"], (holder.id,)))
    paused = frozenset(row[0] for row in tx.execute(_SQL["paused"])) & frozenset(holder.queues)
    expires = tx.execute(_SQL["soonest"], (holder.id, boot_id))[0][0]
    soonest = None if expires is None else max(0, expires - tx.boot) / 1000
    next_tick = schedules.next_tick(tx, holder.queues, holder.schedules)
    return Beat(alive=True, cancels=cancels, paused=paused, soonest=soonest, next_tick=next_tick, command=command)


def command(tx: Transaction, holder: str, command: Command) -> bool:
    """Keep a command for a living holder; see ``Commandable``."""
    return bool(tx.execute(_SQL["set_command"], (holder, command)))


def end_holder(tx: Transaction, holder: str) -> bool:
    """Write down that a holder has ended; False when it had, or never was."""
    return bool(tx.execute(_SQL["end_holder"], (holder, tx.boot)))


class Signs(msgspec.Struct, frozen=True):
    """Where there is something to tidy: whether among the holders, and in which queues."""

    holders: bool
    queues: tuple[str, ...]


def signs(connection: Connection, *, boot_id: str, now: int, boot: int) -> Signs:
    """Look for what is to be tidied, in two statements; most of the time it is nothing.

    Whatever :func:`rescue` and :func:`tidy_queue` do must show here, or it is never done.
    """
    [(holders, lapsed)] = connection.execute(_SQL["signs"], (boot_id, boot, boot - HOLDER_KEPT_MS, now))
    rows = connection.execute(_SQL["signs_of_queues"])
    found = [name for name, settings, *rest in rows if lapsed or _has_signs(settings, rest, now)]
    return Signs(bool(holders), tuple(found))


def _has_signs(text: str, row: Sequence[Any], now: int) -> bool:
    expires, due, forgotten, done, dead, tick, slot, counted = row
    settings = msgspec.json.decode(text, type=QueueSettings)
    here: Counter[str] = Counter()
    for state, jobs in msgspec.json.decode(counted, type=list[tuple[str, int]]):
        here[state] += jobs
    here[State.DONE] -= here[KEPT]
    first = (
        (expires, 0.0),
        (due, 0.0),
        (slot, 0.0),
        (forgotten, settings.dedupe_window),
        (done, settings.done_for),
        (dead, settings.dead_for),
        (tick if settings.ticks_for is not None else None, settings.ticks_for or 0.0),
    )
    return (
        any(instant is not None and instant <= now - int(wait * 1000) for instant, wait in first)
        or here[State.DEAD] > settings.dead_most
        or any(here[state] > settings.done_most for state in ENDED if state is not State.DEAD)
    )


def rescue(tx: Transaction, boot_id: str, limit: int) -> int:
    """End the holders that went silent, whole holders until ``limit`` jobs are taken back; return how many were."""
    tx.execute(_SQL["delete_holders"], (boot_id, tx.boot - HOLDER_KEPT_MS))
    taken = 0
    for (holder,) in tx.execute(_SQL["silent_holders"], (boot_id, tx.boot)):
        if taken >= limit:
            break
        end_holder(tx, holder)
        taken += take_back(tx, holder, "its worker went silent", None)
    return taken


def tidy_queue(tx: Transaction, name: str, limit: int) -> Tidied:
    """Do one queue's share of a round of tidying."""
    queue = tx.queue(name)
    if queue is None:
        return Tidied()
    expired, promoted = advance(tx, queue, limit)
    lapsed = _lapse(tx, limit)
    dropped = {state: _drop(tx, queue, state, limit) for state in ENDED}
    until = tx.now - int(queue.settings.dedupe_window * 1000)
    tokens = tx.execute(_SQL["delete_forgotten"], (queue.number, until, limit))
    if tokens and max(tokens)[0] > queue.token:
        tx.execute(_PLACES["raise_token"], (queue.number, max(tokens)[0]))
        tx.altered(name)
    left = len(tx.execute(_SLOTS["delete_left"], (queue.number, tx.now, limit)))
    gone, ticks = sum(dropped.values()), schedules.drop_ticks(tx, queue, limit)
    more = max(expired, promoted, lapsed, len(tokens), left, ticks, *dropped.values()) >= limit
    return Tidied(0, expired, promoted, gone, dropped[State.DEAD], more)


def _lapse(tx: Transaction, limit: int) -> int:
    """Delete the results that are kept no longer, whose jobs are then kept as any other; return how many."""
    rows = tx.execute(_SQL["lapsed"], (tx.now, limit))
    if rows:
        jobs = json_list(seq for seq, _ in rows)
        tx.execute(_SQL["lapse"], (jobs,))
        tx.execute(_SQL["delete_results"], (jobs,))
    for _, lane in rows:
        tx.count(lane, KEPT, -1)
    return len(rows)


def _drop(tx: Transaction, queue: QueueRow, state: State, limit: int) -> int:
    """Forget the ended jobs of one state that are too old or too many; return how many."""
    settings = queue.settings
    keep_for, most = (
        (settings.dead_for, settings.dead_most) if state is State.DEAD else (settings.done_for, settings.done_most)
    )
    counts = tx.counts(queue)
    here = counts.get(state, 0) - (counts.get(KEPT, 0) if state is State.DONE else 0)
    rows = tx.execute(_SQL["aged"], (queue.number, state, tx.now - int(keep_for * 1000), limit)) if here else []
    gone = [(seq, lane) for rank, (seq, lane, aged) in enumerate(rows) if aged or here - rank > most]
    for _, lane in gone:
        tx.count(lane, state, -1)
    _forget(tx, [seq for seq, _ in gone])
    return len(gone)


def _forget(tx: Transaction, jobs: Sequence[int]) -> None:
    """Remove jobs but for their ids."""
    if jobs:
        listed = json_list(jobs)
        tx.execute(_SQL["forget"], (listed, tx.now))
        tx.execute(_SLOTS["leave"], (listed,))
        tx.execute(_SQL["delete_bodies"], (listed,))
        tx.execute(_SQL["delete_runs"], (listed,))
        tx.execute(_SQL["delete_progress"], (listed,))


def catch_up(tx: Transaction, name: str) -> bool:
    """Write down a step of what is due or has expired in a queue; tell whether there may be more."""
    queue = tx.queue(name)
    return queue is not None and max(advance(tx, queue)) == STEP


def flush(tx: Transaction, name: str, state: State, span: tuple[int, int] | None) -> tuple[int, tuple[int, int] | None]:
    """Remove one step of the jobs in a state; see ``Flushable``. Return how many, and the span left to look at.

    ``span`` bounds their send order: None to begin with, and what the last step returned until that is None.
    """
    queue = tx.queue(name)
    if queue is None:
        return 0, None
    if span is None:
        while any(advance(tx, queue)):
            pass
        span = (0, tx.last_seq())
    which = state.value if state in WAITING else "ended"
    rows = tx.execute(_SQL[f"in_{which}"], (queue.number, state, *span, FLUSH_STEP))
    _remove(tx, queue, rows)
    after = rows[-1][0] if state is State.READY and rows else span[0]
    return len(rows), (after, span[1]) if len(rows) == FLUSH_STEP else None


def remove(tx: Transaction, name: str, job_ids: Sequence[str], states: Collection[State]) -> list[str]:
    """Remove those of these jobs that are in one of ``states``; return their ids. See ``Flushable``."""
    queue = tx.queue(name)
    if queue is None:
        return []
    rows = tx.execute(_SQL["in_states"], (queue.number, json_list(job_ids), json_list(states), tx.now))
    _remove(tx, queue, [row[:-1] for row in rows])
    return [row[-1] for row in rows]


def _remove(tx: Transaction, queue: QueueRow, rows: Sequence[Row]) -> None:
    """Remove jobs in any state but running with all that belongs to them, and free their keys."""
    for _, lane, state, held, kept, _ in rows:
        tx.count(lane, state, -1)
        tx.count(lane, HELD, -held)
        tx.count(lane, KEPT, -(kept > 0))
    jobs = [row[0] for row in rows]
    _forget(tx, jobs)
    tx.execute(_SQL["delete_results"], (json_list(jobs),))
    free(tx, queue.number, {row[-1] for row in rows if row[-1] is not None})


def destroy(tx: Transaction, name: str) -> int:
    """Remove a queue with everything but the tokens its jobs had reached; see ``QueueBackend.destroy``."""
    queue = tx.queue(name)
    if queue is None:
        return 0
    jobs, token = tx.execute(_SQL["jobs_of_queue"], (queue.number,))[0]
    schedules.destroy(tx, queue)
    for what in ("bodies", "results", "runs", "progress", "jobs", "counts", "lanes", "queue"):
        tx.execute(_SQL[f"destroy_{what}"], (queue.number,))
    tx.execute(_SLOTS["destroy_slots"], (queue.number,))
    tx.execute(_SQL["remember_token"], (name, max(token, queue.token)))
    tx.altered(name)
    return int(jobs)


def set_paused(tx: Transaction, name: str, *, paused: bool) -> None:
    """Pause or resume a queue."""
    tx.execute(_PLACES["set_paused"], (tx.declared(name).number, paused))
    tx.altered(name)
