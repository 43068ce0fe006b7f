"""Where jobs stand, within a write transaction: in the line of their key, until they are due, until they expire.

The rules are those of :mod:`holdfast.machine`, carried out on rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from holdfast.delivery import State
from holdfast.machine import STEP
from holdfast.stores.sqlite.connection import Row
from holdfast.stores.sqlite.statements import statements
from holdfast.stores.sqlite.writer import HELD, QueueRow, Transaction

_SQL = statements("jobs.sql")


def json_list(values: Iterable[object]) -> str:
    """Return values as the text that ``json_each`` takes apart."""
    return msgspec.json.encode(list(values)).decode()


# -- keys -----------------------------------------------------------------------------------------------------


def must_wait(
    tx: Transaction, queue: int, key: str, place: tuple[int, int], fronts: dict[str, tuple[int, int]]
) -> bool:
    """Tell whether a job that joins its key at ``place`` is held by the head; if it comes before, it takes over.

    ``fronts`` remembers heads between calls of one batch, whose rows may not be written yet.
    """
    if key not in fronts:
        rows = tx.execute(_SQL["front"], (queue, key))
        if not rows:
            fronts[key] = place
            return False
        seq, lane, _, joined = rows[0]
        if place < (joined, seq):
            tx.execute(_SQL["set_held"], (seq, 1))
            tx.count(lane, HELD, 1)
            fronts[key] = place
            return False
        fronts[key] = (joined, seq)
    return True


def free(tx: Transaction, queue: int, keys: Iterable[str]) -> None:
    """Let the next of each key stand in the ready order, now that another job has left the key."""
    for key in keys:
        for seq, lane, held, _ in tx.execute(_SQL["front"], (queue, key)):
            if held:
                tx.execute(_SQL["set_held"], (seq, 0))
                tx.count(lane, HELD, -1)


# -- time -----------------------------------------------------------------------------------------------------


def advance(tx: Transaction, queue: QueueRow, limit: int = STEP) -> tuple[int, int]:
    """Write down what has expired and make ready what is due; return how many of each."""
    over = expire_over(tx, queue, limit)
    due = tx.execute(_SQL["due"], (queue.number, tx.now, limit))
    if due:
        tx.execute(_SQL["promote"], (json_list(row[0] for row in due),))
    for seq, lane, key, joined, ready in due:
        tx.moved(lane, State.SCHEDULED, State.READY)
        if key is not None and joined is None:
            held = must_wait(tx, queue.number, key, (ready, seq), {})
            tx.execute(_SQL["join"], (seq, ready, held))
            tx.count(lane, HELD, held)
    return over, len(due)


def expire_over(tx: Transaction, queue: QueueRow, limit: int = STEP) -> int:
    """Write down what has expired; return how many."""
    over = tx.execute(_SQL["over"], (queue.number, tx.now, limit))
    expire(tx, queue, over)
    return len(over)


def expire(tx: Transaction, queue: QueueRow, jobs: Sequence[Row]) -> None:
    """Write down that these (rows of ``over``) have expired."""
    if not jobs:
        return
    tx.execute(_SQL["expire"], (json_list(row[0] for row in jobs),))
    for _, lane, state, _, held in jobs:
        tx.moved(lane, State(state), State.EXPIRED)
        tx.count(lane, HELD, -held)
    free(tx, queue.number, {key for _, _, _, key, held in jobs if key is not None and not held})
