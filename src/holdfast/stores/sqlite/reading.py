"""Looking at jobs, outcomes and chances through a reading connection; nothing here changes the file."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec

from holdfast.capabilities import JobFilter
from holdfast.delivery import WAITING, Attempt, JobView, Outcome, Page, Reported, State
from holdfast.failures import ErrorInfo
from holdfast.message import FORMAT, NO_HEADERS
from holdfast.stores.sqlite.connection import Connection, Row
from holdfast.stores.sqlite.heads import decode_unique
from holdfast.stores.sqlite.orders import json_list
from holdfast.stores.sqlite.statements import statements

_SQL = statements("reading.sql")
LOOKED_AT = 10_000
"""How many jobs one page of a listing looks at, at the most."""
_END_OF_TIME = 2**63 - 1
_NEVER = 8e15


def get(connection: Connection, queue: str, job_id: str, now: int) -> JobView | None:
    """Return one job with its runs; see ``Inspectable``."""
    rows = connection.execute(_SQL["view"] + _SQL["by_id"], {"now": now, "queue": queue, "id": job_id, "bodies": True})
    if not rows:
        return None
    view = _view(queue, rows[0])
    runs = _runs(connection, rows[0][-1])
    if view.state is State.DONE:
        runs = (*runs, _done_run(view))
    return msgspec.structs.replace(view, runs=runs)


class Which(NamedTuple):
    """The jobs of one page, as of ``now``."""

    queue: str
    only: JobFilter
    now: int
    limit: int
    cursor: str | None
    bodies: bool


def browse(connection: Connection, which: Which) -> Page:
    """Return a page, newest sent first; see ``Inspectable``."""
    queue, only, now, limit, cursor, bodies = which
    before = _END_OF_TIME if cursor is None else int(cursor)
    last = connection.execute(_SQL["floor"], (before, LOOKED_AT - 1))
    floor = last[0][0] if last else 0
    rows = connection.execute(
        _SQL["view"] + _SQL["page"],
        {
            "now": now,
            "queue": queue,
            "before": before,
            "floor": floor,
            "limit": limit,
            "bodies": bodies,
            "states": json_list(only.states),
            "kind": only.kind,
            "since": only.since,
            "until": only.until,
            "ended_since": only.ended_since,
            "ended_until": only.ended_until,
            "reason": only.reason,
            "text": only.text,
            "key": only.key,
            "headers": None if only.headers is None else msgspec.json.encode(only.headers).decode(),
        },
    )
    further = rows[-1][-1] if len(rows) == limit else floor
    return Page(tuple(_view(queue, row) for row in rows), str(further) if further else None, now)


def outcomes(connection: Connection, queue: str, job_ids: Iterable[str], now: int) -> dict[str, Outcome]:
    """Return how those jobs ended that have; see ``Results``."""
    found: dict[str, Outcome] = {}
    for job_id, stored, _, reason, value, seq in connection.execute(_SQL["outcomes"], (queue, json_list(job_ids), now)):
        state = State.EXPIRED if stored in WAITING else State(stored)
        runs = _runs(connection, seq) if state is State.DEAD else ()
        why = "expired" if state is State.EXPIRED else reason
        found[job_id] = Outcome(state, value, why, runs[-1].error if runs else None)
    return found


def ended(connection: Connection, queue: str, job_ids: Collection[str], now: int) -> tuple[list[str], int | None]:
    """Return those of the ids that have ended or are not known, and when the first of the others expires."""
    living: dict[str, int | None] = dict(connection.execute(_SQL["unended"], (queue, json_list(job_ids), now)))
    expiries = (expires for expires in living.values() if expires is not None)
    return [job_id for job_id in job_ids if job_id not in living], min(expiries, default=None)


def chance(connection: Connection, queues: Sequence[str], kinds: Collection[str]) -> tuple[int | None, frozenset[str]]:
    """Return when a lease may next find something: 0 for now, else the ms of the next due time, None for never.

    And the ids of the holders that live now.
    """
    [(found, holders)] = connection.execute(_SQL["chance"], (json_list(queues), FORMAT, json_list(kinds)))
    living = frozenset(msgspec.json.decode(holders, type=list[str]))
    return (None if found is None or found > _NEVER else int(found)), living


def _runs(connection: Connection, seq: int) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(
            number=number,
            holder=holder,
            started=started,
            ended=end,
            outcome=outcome,
            error=None if type_ is None else ErrorInfo(type_, message, traceback),
        )
        for number, holder, started, end, outcome, type_, message, traceback in connection.execute(_SQL["runs"], (seq,))
    )


def _done_run(view: JobView) -> Attempt:
    return Attempt(
        number=view.attempts,
        holder=view.holder or "",
        started=view.started or 0,
        ended=view.ended or 0,
        outcome="done",
    )


def _view(queue: str, row: Row) -> JobView:
    state = State(row[2])
    over = state is State.EXPIRED and row[13] is None
    return JobView(
        queue=queue,
        id=row[0],
        kind=row[1],
        state=state,
        key=row[3],
        priority=row[4],
        attempts=row[5],
        max_attempts=row[6],
        crashes=row[7],
        token=row[8],
        sent=row[9],
        due=row[10] if state in WAITING else None,
        expires=row[11],
        started=row[12],
        ended=row[11] if over else row[13],
        holder=None if state in WAITING else row[14],
        held=bool(row[15]),
        cancel_requested=bool(row[16]),
        reason="expired" if over else row[17],
        timeout=row[18],
        format=row[19],
        body=row[20],
        headers=NO_HEADERS if row[21] is None else msgspec.json.decode(row[21], type=dict[str, str]),
        unique=None if row[22] is None else decode_unique(row[22]),
        progress=None if row[23] is None else Reported(row[23], row[24], row[25]),
    )
