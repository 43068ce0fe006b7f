"""Jobs as the rules know them, loaded from their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.delivery import State
from holdfast.machine import Head
from holdfast.message import Unique
from holdfast.stores.sqlite.statements import statements
from holdfast.stores.sqlite.writer import Transaction

_SQL = statements("jobs.sql")
decode_unique = msgspec.json.Decoder(Unique).decode


class JobRow(Head):
    """A head as loaded, with the numbers of its lane and queue."""

    lane: int = 0
    queue: int = 0
    queue_name: str = ""


def heads(tx: Transaction, which: str, params: Sequence[Any]) -> list[JobRow]:
    """Return the jobs that one of the ends of the statement ``head`` chooses."""
    return [_job(row) for row in tx.execute(_SQL["head"] + _SQL[which], params)]


def find(tx: Transaction, queue: str, job_id: str) -> JobRow | None:
    """Return one job, None when it or its queue does not exist."""
    place = tx.queue(queue)
    rows = [] if place is None else heads(tx, "head_by_id", (place.number, job_id))
    return rows[0] if rows else None


def _job(row: Sequence[Any]) -> JobRow:
    head = JobRow(*row)
    head.state, head.held = State(head.state), bool(head.held)
    if head.unique is not None:
        head.unique = decode_unique(row[_UNIQUE])
    return head


_UNIQUE = Head.__struct_fields__.index("unique")
