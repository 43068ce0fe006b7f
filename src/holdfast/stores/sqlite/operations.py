"""The optional powers of the SQLite store: looking, cancelling, replaying, burying, flushing, pausing, commands,
results, progress.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

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
from holdfast.clock import Clock
from holdfast.delivery import Command, JobView, Outcome, Page, Receipt, Replayed, Report, State
from holdfast.failures import ErrorInfo
from holdfast.machine import DeadLetter, replayed
from holdfast.message import Message
from holdfast.stores.sqlite import jobs, reading, upkeep
from holdfast.stores.sqlite.connection import Location
from holdfast.stores.sqlite.file import Reader
from holdfast.stores.sqlite.watch import SqliteWatch
from holdfast.stores.sqlite.writer import Transaction, Writer


class Operations(
    Inspectable, Cancellable, Replayable, DeadLetters, Flushable, Pausable, Commandable, Results, Progress
):
    """What operators and waiters ask of the store; the backend lends its connections."""

    _place: Location
    _clock: Clock
    _writer: Writer
    _reader: Reader
    _watches: set[SqliteWatch]

    def get(self, queue: str, job_id: str) -> JobView | None:
        return self._reader.read(lambda connection: reading.get(connection, queue, job_id, self._clock.wall()))

    def browse(
        self, queue: str, only: JobFilter, *, limit: int = 100, cursor: str | None = None, bodies: bool = True
    ) -> Page:
        which = reading.Which(queue, only, self._clock.wall(), max(1, limit), cursor, bodies=bodies)
        return self._reader.read(partial(reading.browse, which=which))

    def cancel(self, queue: str, job_ids: Sequence[str], reason: str = "cancelled") -> dict[str, State]:
        def command(tx: Transaction) -> dict[str, State]:
            states = {job_id: jobs.cancel(tx, queue, job_id, reason) for job_id in job_ids}
            return {job_id: state for job_id, state in states.items() if state is not None}

        return self._writer.run(command)

    def replay(self, queue: str, job_ids: Sequence[str]) -> Replayed:
        return self._revive("replay", queue, job_ids)

    def reload(self, queue: str, job_ids: Sequence[str]) -> list[str]:
        return list(self._revive("reload", queue, job_ids).moved)

    def _revive(self, verb: str, queue: str, job_ids: Sequence[str]) -> Replayed:
        return self._writer.run(lambda tx: replayed([(one, jobs.revive(tx, verb, queue, one)) for one in job_ids]))

    def put_dead(
        self, queue: str, message: Message, reason: str, *, error: ErrorInfo | None, attempts: int, crashes: int
    ) -> bool:
        letter = DeadLetter(message, reason, error, attempts, crashes)
        return self._writer.run(lambda tx: jobs.put_dead(tx, queue, letter))

    def flush(self, queue: str, state: State) -> int:
        check_removable(queue, [state])
        while self._writer.run(lambda tx: upkeep.catch_up(tx, queue)):
            pass
        flushed, span = 0, None
        while True:
            step, span = self._writer.run(partial(upkeep.flush, name=queue, state=state, span=span))
            flushed += step
            if span is None:
                return flushed

    def remove(self, queue: str, job_ids: Sequence[str], *, states: Collection[State] = REMOVABLE) -> list[str]:
        check_removable(queue, states)
        given, removed = list(dict.fromkeys(job_ids)), list[str]()
        for start in range(0, len(given), upkeep.REMOVE_STEP):
            some = given[start : start + upkeep.REMOVE_STEP]
            removed += self._writer.run(partial(upkeep.remove, name=queue, job_ids=some, states=states))
        return removed

    def pause(self, queue: str) -> None:
        self._writer.run(lambda tx: upkeep.set_paused(tx, queue, paused=True))

    def resume(self, queue: str) -> None:
        self._writer.run(lambda tx: upkeep.set_paused(tx, queue, paused=False))

    def command(self, holder: str, command: Command) -> bool:
        return self._writer.run(lambda tx: upkeep.command(tx, holder, command), quiet=True)

    def outcomes(self, queue: str, job_ids: Sequence[str]) -> dict[str, Outcome]:
        now = self._clock.wall()
        return self._reader.read(lambda connection: reading.outcomes(connection, queue, job_ids, now))

    def report(self, reports: Sequence[Report]) -> list[Receipt]:
        return self._writer.run(lambda tx: jobs.report(tx, reports), quiet=True)

    def watch(self) -> Watch:
        self._reader.check_open()
        watch = SqliteWatch(Reader(self._place), self._clock, self._watches.discard)
        self._watches.add(watch)
        return watch
