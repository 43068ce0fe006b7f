"""Schedules: kept in the slot of their queue, so that a tick is written down in one step with its job."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

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
from holdfast.stores.redis.answers import checked
from holdfast.stores.redis.connection import Arg
from holdfast.stores.redis.keys import Keys, Times
from holdfast.stores.redis.link import Call, Link
from holdfast.stores.redis.messages import groups
from holdfast.stores.redis.places import Places
from holdfast.stores.redis.scripts import Script
from holdfast.stores.redis.sends import check_body

_SAVE, _REMOVE, _FIND, _DUE, _FIRE = (
    Script.load(f"schedules/{name}") for name in ("save", "remove", "find", "due", "fire")
)
_decode = msgspec.json.Decoder(Definition).decode


class KeptSchedules(Schedules):
    """The capability; the backend lends its parts."""

    _link: Link
    _keys: Keys
    _times: Times
    _places: Places

    def _write(self, script: Script, queue: str, *args: Arg) -> Any:
        return self._link.run(script, self._keys.queue(queue), self._times(), *args, durable=True)

    def save_schedule(self, schedule: Schedule, version: int) -> Schedule | None:
        definition, queue, following = schedule.definition, schedule.queue, schedule.next
        body = definition.template.body
        args = (
            *(schedule.name, version, len(body), msgspec.json.encode(definition), definition.source),
            *(int(schedule.paused), "" if following is None else following),
        )
        while (reply := self._places.in_declared(queue, lambda: self._write(_SAVE, queue, *args))) == b"body":
            check_body(queue, self._places.settings(queue), body)
        if reply is None:
            return None
        version, created = reply
        return msgspec.structs.replace(schedule, version=version, created=created, orphaned=False)

    def remove_schedule(self, queue: str, name: str) -> bool:
        return bool(self._write(_REMOVE, queue, name))

    def find_schedules(
        self, queue: str | None = None, name: str | None = None, *, limit: int = 1000, after: tuple[str, str] = ("", "")
    ) -> list[Schedule]:
        queues = sorted(one for one in (self._places.names() if queue is None else [queue]) if one >= after[0])
        replies = checked(
            self._link.run_all(
                [
                    (_FIND, self._keys.queue(one), (self._times(), name or "", after[1] * (one == after[0]), limit))
                    for one in queues
                ]
            )
        )
        found, _ = _readable((one, row) for one, rows in zip(queues, replies, strict=True) for row in rows)
        return [one for one in found if (one.queue, one.name) > after][:limit]

    def due_schedules(self, queues: Sequence[str], own: Collection[str] = (), *, limit: int = 100) -> DueSchedules:
        calls = list[Call]()
        for queue in queues:
            of_queue = owned(queue, "")
            names = (name.removeprefix(of_queue) for name in own if name.startswith(of_queue))
            calls.append((_DUE, self._keys.queue(queue), (self._times(), limit, *names)))
        replies = checked(self._link.run_all(calls))
        found, unreadable = _readable(
            (queue, row) for queue, (_, _, rows) in zip(queues, replies, strict=True) for row in rows
        )
        found.sort(key=_next_tick)
        following = [int(tick) for _, tick, _ in replies if tick != b""]
        now = max((now for now, _, _ in replies), default=0)
        return DueSchedules(tuple(found[:limit]), now, min(following, default=None), tuple(unreadable))

    def fire(self, firings: Sequence[Firing]) -> list[list[Tick] | None]:
        # What is sent is in the definition; a change of it after this look has another version, and fires nothing.
        texts = checked(
            self._link.run_all(
                [(_FIND, self._keys.queue(one.queue), (self._times(), one.name, "", 1)) for one in firings]
            )
        )
        fired: list[list[Tick] | None] = [None] * len(firings)
        calls, numbers = list[Call](), list[int]()
        for number, (firing, rows) in enumerate(zip(firings, texts, strict=True)):
            if rows and int(rows[0][4]) == firing.version:
                numbers.append(number)
                calls.append((_FIRE, self._keys.queue(firing.queue), self._firing(firing, _decode(rows[0][1]))))
        for number, reply in zip(numbers, checked(self._link.run_all(calls, durable=True)), strict=True):
            fired[number] = None if reply is None else _fired(firings[number], reply)
        return fired

    def _firing(self, firing: Firing, definition: Definition) -> list[Arg]:
        following = "" if firing.next is None else firing.next
        args: list[Arg] = [
            *(self._times(), firing.name, firing.version, firing.expected, following, definition.overlap),
        ]
        for planned in firing.ticks:
            job = tick_id(firing.queue, firing.name, planned.tick)
            message = groups([_message(planned, definition, job)]) if planned.send else []
            args += [planned.tick, int(planned.send), job, len(message), *message]
        return args

    def ticks(self, queue: str, name: str, *, limit: int = 100, before: int | None = None) -> list[Tick]:
        key = self._keys.queue(queue)
        until = "+inf" if before is None else f"({before}"
        (rows,) = self._link.call(key, ("ZREVRANGEBYSCORE", f"{key}:ticks:{name}", until, "-inf", "LIMIT", 0, limit))
        return [_tick(row) for row in rows]


def _message(planned: Planned, definition: Definition, job: str) -> Any:
    return planned.message or definition.template.message(job, planned.due)


def _fired(firing: Firing, reply: Sequence[Any]) -> list[Tick]:
    now, *rest = reply
    ticks = list[Tick]()
    for text, outcome in zip(rest[::2], rest[1::2], strict=True):
        tick, became = int(text), TickOutcome(outcome.decode())
        job = tick_id(firing.queue, firing.name, tick) if became is TickOutcome.SENT else None
        ticks.append(Tick(tick=tick, outcome=became, job=job, at=now))
    return ticks


def _tick(row: bytes) -> Tick:
    tick, outcome, at, job = row.decode().split(" ", 3)
    return Tick(tick=int(tick), outcome=TickOutcome(outcome), job=job or None, at=int(at))


def _next_tick(schedule: Schedule) -> int:
    return schedule.next or 0


def _readable(rows: Iterable[tuple[str, Sequence[Any]]]) -> tuple[list[Schedule], list[tuple[str, str, str]]]:
    """Return rows of queues as schedules; and, by queue and name, what is wrong with those that are damaged."""
    found, unreadable = list[Schedule](), list[tuple[str, str, str]]()
    for queue, row in rows:
        name = row[0].decode()
        try:
            found.append(_schedule(queue, name, row))
        except msgspec.MsgspecError as error:
            unreadable.append((queue, name, str(error)))
    return found, unreadable


def _schedule(queue: str, name: str, row: Sequence[Any]) -> Schedule:
    _, definition, paused, following, version, created = row
    return Schedule(
        queue=queue,
        name=name,
        definition=_decode(definition),
        paused=paused == b"1",
        next=int(following) if following else None,
        version=int(version),
        created=int(created),
    )
