"""The slots of unique keys, within a write transaction: read before a send, taken by it, taken again by a re-entry."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.delivery import State
from holdfast.machine import Head, Slot, kept_until
from holdfast.message import Unique
from holdfast.stores.sqlite.connection import Row
from holdfast.stores.sqlite.heads import JobRow
from holdfast.stores.sqlite.orders import json_list
from holdfast.stores.sqlite.statements import statements
from holdfast.stores.sqlite.writer import Transaction

_SQL = statements("slots.sql")


def read(tx: Transaction, queue: int, keys: Iterable[str]) -> dict[str, Slot]:
    """Return those of the slots that were taken ever and are known."""
    return {row[0]: _slot(row) for row in tx.execute(_SQL["slots"], (queue, json_list(keys)))}


def _slot(row: Row) -> Slot:
    _, job_id, until, lasts, state, expires, _ = row
    return Slot(job_id, until, lasts, None if state is None else State(state), expires)


def take(tx: Transaction, queue: int, head: Head, unique: Unique) -> None:
    """Let a job have the slot of its unique key, whoever had it."""
    tx.execute(_SQL["take"], (queue, unique.key, head.seq, head.id, unique.until, kept_until(unique, head.sent)))


def take_again(tx: Transaction, head: JobRow) -> bool:
    """Let a job that comes back have its slot again; False when another has it."""
    if head.unique is None:
        return True
    for row in tx.execute(_SQL["slots"], (head.queue, json_list([head.unique.key]))):
        if row[-1] == head.seq:
            return True
        if _slot(row).held(tx.now):
            return False
    take(tx, head.queue, head, head.unique)
    return True
