"""The optional powers of the store: looking, cancelling, replaying, burying, flushing, pausing, commands, progress."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from holdfast.capabilities import (
    REMOVABLE,
    Cancellable,
    Commandable,
    DeadLetters,
    Flushable,
    Inspectable,
    JobFilter,
    Pausable,
    Progress,
    Replayable,
    Results,
    Watch,
    check_removable,
)
from holdfast.delivery import Command, JobView, Outcome, Page, Receipt, Replayed, Report, State
from holdfast.failures import ErrorInfo
from holdfast.machine import Revival, replayed
from holdfast.message import Message
from holdfast.stores.redis import views
from holdfast.stores.redis.answers import checked
from holdfast.stores.redis.completions import Completions
from holdfast.stores.redis.connection import Arg
from holdfast.stores.redis.keys import Keys, Times
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.messages import groups
from holdfast.stores.redis.places import Places
from holdfast.stores.redis.scripts import Script
from holdfast.stores.redis.settles import burial, failure, reported

_GET, _BROWSE, _OUTCOMES, _REPORT = map(Script.load, ("get", "browse", "outcomes", "report"))
_CANCEL, _REVIVE, _PUT_DEAD, _FLUSH = map(Script.load, ("cancel", "revive", "put_dead", "flush"))
_REMOVE, _PAUSE, _COMMAND = map(Script.load, ("remove", "pause", "command"))
LOOKED_AT = 10_000
"""How many jobs one page of a listing looks at, at the most."""
_AT_ONCE = 1_000
"""How many jobs one script looks at: others must not wait for all."""
_REVIVALS = {b"moved": Revival.MOVED, b"duplicate": Revival.DUPLICATE, b"left": Revival.LEFT}


class Operations(
    Inspectable, Cancellable, Replayable, DeadLetters, Flushable, Pausable, Commandable, Progress, Results
):
    """What operators ask of the store; the backend lends its parts."""

    _link: Link
    _keys: Keys
    _times: Times
    _places: Places
    _completions: Completions

    def _run(self, script: Script, queue: str, *args: Arg) -> Any:
        """Run a script that writes, in the slot of a queue."""
        return self._link.run(script, self._keys.queue(queue), self._times(), *args, durable=True)

    def _look(self, script: Script, queue: str, *args: Arg) -> Any:
        """Run a script that only reads."""
        return self._link.run(script, self._keys.queue(queue), self._times(), *args)

    # -- looking --------------------------------------------------------------------------------------------------

    def get(self, queue: str, job_id: str) -> JobView | None:
        reply = self._look(_GET, queue, job_id)
        if reply is None:
            return None
        now, fields, body, runs = reply
        return views.with_runs(views.view(queue, job_id, fields, body, now), runs)

    def browse(
        self, queue: str, only: JobFilter, *, limit: int = 100, cursor: str | None = None, bodies: bool = True
    ) -> Page:
        asks = int(bodies or only.headers is not None), int(only.text is not None)
        step = min(max(1, limit), _AT_ONCE) if only == JobFilter() else _AT_ONCE
        found, looked, behind = list[JobView](), 0, cursor or ""
        while True:
            most = min(step, LOOKED_AT - looked)
            now, rows = self._look(_BROWSE, queue, behind, most, *asks)
            for member, job in views.matching(queue, rows, only, now):
                found.append(job if bodies else views.without_body(job))
                if len(found) >= limit:
                    return Page(tuple(found), member, now)
            looked += len(rows)
            if len(rows) < most:
                return Page(tuple(found), None, now)
            behind = rows[-1][0].decode()
            if looked >= LOOKED_AT:
                return Page(tuple(found), behind, now)

    def outcomes(self, queue: str, job_ids: Sequence[str]) -> dict[str, Outcome]:
        rows = [row for some in _some(job_ids) for row in self._look(_OUTCOMES, queue, *some)]
        return dict(map(views.outcome, rows))

    def watch(self) -> Watch:
        return self._completions.watch()

    # -- changing -------------------------------------------------------------------------------------------------

    def cancel(self, queue: str, job_ids: Sequence[str], reason: str = "cancelled") -> dict[str, State]:
        states = [state for some in _some(job_ids) for state in self._run(_CANCEL, queue, reason, *some)]
        return {job_id: State(state.decode()) for job_id, state in zip(job_ids, states, strict=True) if state}

    def replay(self, queue: str, job_ids: Sequence[str]) -> Replayed:
        return self._revive("replay", queue, job_ids)

    def reload(self, queue: str, job_ids: Sequence[str]) -> list[str]:
        return list(self._revive("reload", queue, job_ids).moved)

    def _revive(self, verb: str, queue: str, job_ids: Sequence[str]) -> Replayed:
        answers = [answer for some in _some(job_ids) for answer in self._run(_REVIVE, queue, verb, *some)]
        return replayed([(job_id, _REVIVALS[answer]) for job_id, answer in zip(job_ids, answers, strict=True)])

    def put_dead(
        self, queue: str, message: Message, reason: str, *, error: ErrorInfo | None, attempts: int, crashes: int
    ) -> bool:
        args = (reason, attempts, crashes, burial(reason), failure(error), *groups([message]))
        return bool(self._places.in_declared(queue, lambda: self._run(_PUT_DEAD, queue, *args)))

    def flush(self, queue: str, state: State) -> int:
        check_removable(queue, [state])
        flushed, behind, last = 0, b"", b""
        while True:
            step, behind, last = self._run(_FLUSH, queue, state.value, behind if last else "", last, _AT_ONCE)
            flushed += int(step)
            if last and not behind:
                return flushed

    def remove(self, queue: str, job_ids: Sequence[str], *, states: Collection[State] = REMOVABLE) -> list[str]:
        check_removable(queue, states)
        names = [state.value for state in states]
        removed = list[str]()
        for some in _some(list(dict.fromkeys(job_ids))):
            removed += [job_id.decode() for job_id in self._run(_REMOVE, queue, len(names), *names, *some)]
        return removed

    def pause(self, queue: str) -> None:
        self._places.in_declared(queue, lambda: self._run(_PAUSE, queue, "pause"))

    def resume(self, queue: str) -> None:
        self._places.in_declared(queue, lambda: self._run(_PAUSE, queue, "resume"))

    def command(self, holder: str, command: Command) -> bool:
        return bool(self._link.run(_COMMAND, self._keys.store, self._times(), holder, command, durable=True))

    def report(self, reports: Sequence[Report]) -> list[Receipt]:
        by_queue: dict[str, list[tuple[int, Report]]] = {}
        for number, one in enumerate(reports):
            by_queue.setdefault(one.receipt.queue, []).append((number, one))
        calls = [
            (_REPORT, self._keys.queue(queue), (self._times(), *reported([one for _, one in its])))
            for queue, its in by_queue.items()
        ]
        replies = checked(self._link.run_all(calls))
        lost = [its[place] for its, reply in zip(by_queue.values(), replies, strict=True) for place in reply]
        return [one.receipt for _, one in sorted(lost, key=_by_number)]


def _by_number(numbered: tuple[int, Report]) -> int:
    return numbered[0]


def _some(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield ids, so many at a time as one script takes."""
    return (job_ids[first : first + _AT_ONCE] for first in range(0, len(job_ids), _AT_ONCE))
