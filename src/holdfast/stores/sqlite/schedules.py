"""Schedules on rows: kept, looked up by their next tick, fired in one step with their jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import partial

import msgspec

from holdfast.capabilities import (
    Definition,
    DueSchedules,
    Firing,
    Planned,
    Schedule,
    Schedules,
    Tick,
    TickOutcome,
    owned,
    tick_id,
)
from holdfast.clock import Clock
from holdfast.contract import Features
from holdfast.delivery import State
from holdfast.errors import QueueFull
from holdfast.stores.sqlite import heads, jobs, sends
from holdfast.stores.sqlite.connection import Connection, Row
from holdfast.stores.sqlite.file import Reader
from holdfast.stores.sqlite.orders import json_list
from holdfast.stores.sqlite.statements import statements
from holdfast.stores.sqlite.writer import QueueRow, Transaction, Writer

_SQL = statements("schedules.sql")
_BEGINNING, _END = -(2**62), 2**62
_ALL = -1
MOST_CLOSED = 1000
"""At how many ticks of a schedule that allows overlap a firing looks, whether their jobs have ended."""
_decode = msgspec.json.Decoder(Definition).decode


class KeptSchedules(Schedules):
    """The capability; the backend lends its connections."""

    features: Features
    _clock: Clock
    _writer: Writer
    _reader: Reader

    def save_schedule(self, schedule: Schedule, version: int) -> Schedule | None:
        return self._writer.run(lambda tx: save(tx, schedule, version))

    def remove_schedule(self, queue: str, name: str) -> bool:
        return self._writer.run(lambda tx: remove(tx, queue, name))

    def find_schedules(
        self, queue: str | None = None, name: str | None = None, *, limit: int = 1000, after: tuple[str, str] = ("", "")
    ) -> list[Schedule]:
        asked = (queue, name, *after, limit)
        return _readable(self._reader.read(lambda connection: connection.execute(_SQL["list"], asked)))[0]

    def due_schedules(self, queues: Sequence[str], own: Collection[str] = (), *, limit: int = 100) -> DueSchedules:
        now = self._clock.wall()
        return self._reader.read(partial(due, queues=queues, own=own, limit=limit, now=now))

    def fire(self, firings: Sequence[Firing]) -> list[list[Tick] | None]:
        return self._writer.run(lambda tx: [fire(tx, firing, self.features) for firing in firings])

    def ticks(self, queue: str, name: str, *, limit: int = 100, before: int | None = None) -> list[Tick]:
        asked = (queue, name, _END if before is None else before, limit)
        rows = self._reader.read(lambda connection: connection.execute(_SQL["ticks"], asked))
        return [Tick(tick=tick, outcome=TickOutcome(outcome), job=job, at=at) for tick, outcome, job, at in rows]


# -- keeping --------------------------------------------------------------------------------------------------


def save(tx: Transaction, schedule: Schedule, version: int) -> Schedule | None:
    """Store a schedule in place of one version of it; see ``Schedules``."""
    queue, definition = tx.declared(schedule.queue), schedule.definition
    sends.check_body(queue, definition.template.body)
    found = tx.execute(_SQL["find"], (queue.number, schedule.name))
    if version != (found[0][4] if found else 0):
        return None
    text = msgspec.json.encode(definition).decode()
    state = (text, definition.source, schedule.paused, schedule.next)
    if found:
        tx.execute(_SQL["update"], (found[0][0], *state))
    else:
        tx.execute(_SQL["insert"], (queue.number, schedule.name, *state, tx.now))
    created = found[0][5] if found else tx.now
    return msgspec.structs.replace(schedule, version=version + 1, created=created, orphaned=False)


def remove(tx: Transaction, queue_name: str, name: str) -> bool:
    """Remove a schedule and its ticks."""
    queue = tx.queue(queue_name)
    found = [] if queue is None else tx.execute(_SQL["find"], (queue.number, name))
    for number, *_ in found:
        tx.execute(_SQL["delete_ticks"], (number,))
        tx.execute(_SQL["delete"], (number,))
    return bool(found)


def destroy(tx: Transaction, queue: QueueRow) -> None:
    """Remove all schedules of a queue that is being destroyed."""
    tx.execute(_SQL["destroy_ticks"], (queue.number,))
    tx.execute(_SQL["destroy_schedules"], (queue.number,))


# -- what is due ----------------------------------------------------------------------------------------------


def due(connection: Connection, queues: Sequence[str], own: Collection[str], limit: int, now: int) -> DueSchedules:
    """Return the schedules whose tick has come, and the next tick of the others."""
    rows: list[Row] = []
    for queue in queues:
        names = json_list(one.removeprefix(owned(queue, "")) for one in own if one.startswith(owned(queue, "")))
        rows += connection.execute(_SQL["due"], (queue, now, names, limit))
    found, unreadable = _readable(rows)
    found.sort(key=lambda schedule: schedule.next or 0)
    following = connection.execute(_SQL["next"], (json_list(queues), json_list(own), now))[0][0]
    return DueSchedules(tuple(found[:limit]), now, following, tuple(unreadable))


def next_tick(tx: Transaction, queues: Collection[str], own: Collection[str]) -> float | None:
    """Return in how many seconds the next tick comes, None for never."""
    following = tx.execute(_SQL["next"], (json_list(queues), json_list(own), _BEGINNING))[0][0]
    return None if following is None else (following - tx.now) / 1000


# -- firing ---------------------------------------------------------------------------------------------------


class _Fired:
    """One firing while it is carried out: the schedule's number, and its open ticks with their jobs' ids."""

    def __init__(self, tx: Transaction, queue: QueueRow, number: int, firing: Firing, definition: Definition) -> None:
        self.queue, self.number, self.firing, self.definition = queue, number, firing, definition
        self.reason = f"replaced by the next tick of schedule {firing.name}"
        self.open: dict[int, str] = {}
        ended: list[int] = []
        most = MOST_CLOSED if definition.overlap == "allow" else _ALL  # where jobs may meet, a backlog may be long
        for tick, job, over in tx.execute(_SQL["open"], (number, queue.number, tx.now, most)):
            self.open[tick] = job
            if over:
                ended.append(tick)
        self.close(tx, ended)

    def close(self, tx: Transaction, ticks: Sequence[int]) -> None:
        """Write down that the jobs of these ticks have ended."""
        if ticks:
            tx.execute(_SQL["close"], (self.number, json_list(ticks)))
        for tick in ticks:
            del self.open[tick]


def fire(tx: Transaction, firing: Firing, features: Features) -> list[Tick] | None:
    """Carry out one firing; see ``Schedules``."""
    queue = tx.queue(firing.queue)
    rows = [] if queue is None else tx.execute(_SQL["find"], (queue.number, firing.name))
    if queue is None or not rows:
        return None
    number, definition, _, following, version, _, count = rows[0]
    if (version, following) != (firing.version, firing.expected):
        return None
    fired = _Fired(tx, queue, number, firing, _decode(definition))
    known = tx.execute(_SQL["known_ticks"], (number, json_list(one.tick for one in firing.ticks)))
    new = [one for one in firing.ticks if (one.tick,) not in known]
    ticks = [_tick(tx, fired, planned, features) for planned in new]
    most = queue.settings.ticks_most
    surplus = 0 if most is None else max(0, count + len(ticks) - most)
    gone = tx.execute(_SQL["prune"], (number, surplus)) if surplus else []
    tx.execute(_SQL["fired"], (number, firing.next, len(ticks) - len(gone)))
    return ticks


def _tick(tx: Transaction, fired: _Fired, planned: Planned, features: Features) -> Tick:
    outcome = _outcome(tx, fired, planned, features)
    job = tick_id(fired.queue.name, fired.firing.name, planned.tick) if outcome is TickOutcome.SENT else None
    row = (fired.number, planned.tick, fired.queue.number, outcome.value, job, tx.now, job is not None)
    tx.execute(_SQL["insert_tick"], row)
    if job is not None:
        fired.open[planned.tick] = job
    return Tick(tick=planned.tick, outcome=outcome, job=job, at=tx.now)


def _outcome(tx: Transaction, fired: _Fired, planned: Planned, features: Features) -> TickOutcome:
    """Send the job of a tick if that is to be; return what became of the tick."""
    name, overlap = fired.queue.name, fired.definition.overlap
    if not planned.send:
        return TickOutcome.MISSED
    if fired.open and overlap == "skip":
        return TickOutcome.SKIPPED
    replaced = overlap == "replace" and _replace_waiting(tx, fired)
    job = tick_id(name, fired.firing.name, planned.tick)
    try:
        message = planned.message or fired.definition.template.message(job, planned.due)
        [stored] = sends.store(tx, fired.queue, [message], features.level, limited=not replaced)
    except QueueFull:
        return TickOutcome.FULL
    if stored.id != job:
        return TickOutcome.SKIPPED
    for running in fired.open.values() if overlap == "replace" else ():
        jobs.cancel(tx, name, running, fired.reason)
    return TickOutcome.SENT


def _replace_waiting(tx: Transaction, fired: _Fired) -> bool:
    """Cancel the jobs of earlier ticks that wait; tell whether there were any, whose place the next job takes."""
    found = {tick: heads.find(tx, fired.queue.name, job) for tick, job in fired.open.items()}
    waiting = [tick for tick, head in found.items() if head is None or head.state is not State.RUNNING]
    for tick in waiting:
        jobs.cancel(tx, fired.queue.name, fired.open[tick], fired.reason)
    fired.close(tx, waiting)
    return bool(waiting)


# -- retention ------------------------------------------------------------------------------------------------


def drop_ticks(tx: Transaction, queue: QueueRow, limit: int) -> int:
    """Remove up to ``limit`` ticks of a queue that are too old, and return how many."""
    if queue.settings.ticks_for is None:
        return 0
    until = tx.now - int(queue.settings.ticks_for * 1000)
    rows: list[Row] = tx.execute(_SQL["aged"], (queue.number, until, limit))
    tx.executemany(_SQL["delete_tick"], rows)
    tx.executemany(_SQL["fewer_ticks"], Counter(schedule for schedule, _ in rows).items())
    return len(rows)


def _readable(rows: Iterable[Row]) -> tuple[list[Schedule], list[tuple[str, str, str]]]:
    """Return rows as schedules; and, by queue and name, what is wrong with those that are damaged."""
    found: list[Schedule] = []
    unreadable: list[tuple[str, str, str]] = []
    for row in rows:
        try:
            found.append(_schedule(row))
        except msgspec.MsgspecError as error:
            unreadable.append((row[0], row[1], str(error)))
    return found, unreadable


def _schedule(row: Row) -> Schedule:
    queue, name, definition, paused, following, version, created = row
    return Schedule(
        queue=queue,
        name=name,
        definition=_decode(definition),
        paused=bool(paused),
        next=following,
        version=version,
        created=created,
    )
