"""What operators ask of a store with an engine: look, cancel, replay, bury, flush, pause, give commands."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice

import msgspec

from holdfast.capabilities import (
    REMOVABLE,
    Cancellable,
    Commandable,
    DeadLetters,
    Flushable,
    Inspectable,
    JobFilter,
    Pausable,
    Replayable,
    check_removable,
)
from holdfast.delivery import Command, JobView, Page, Replayed, State
from holdfast.failures import ErrorInfo
from holdfast.message import NO_HEADERS, Message
from holdfast.stores.engine import commands
from holdfast.stores.engine.face import Face

LOOKED_AT = 10_000
"""How many jobs one page of a listing looks at, at the most."""
PAGE_BYTES = 64 << 20
"""A page of a listing ends with the job that brings its bodies to so many bytes."""


class Operations(Face, Inspectable, Cancellable, Replayable, DeadLetters, Flushable, Pausable, Commandable):
    """What operators ask of the store."""

    # -- looking --------------------------------------------------------------------------------------------------

    def get(self, queue: str, job_id: str) -> JobView | None:
        with self._open():
            place = self._engine.places.get(queue)
            head = None if place is None else place.machine.heads.get(job_id)
            return None if place is None or head is None else place.view(queue, head, self._clock.wall(), runs=True)

    def browse(
        self, queue: str, only: JobFilter, *, limit: int = 100, cursor: str | None = None, bodies: bool = True
    ) -> Page:
        before, limit = None if cursor is None else int(cursor), max(1, limit)
        with self._open():
            place, now = self._engine.places.get(queue), self._clock.wall()
            if place is None:
                return Page((), at=now)
            newest_first = place.machine.heads.newest()
            heads = (head for head in newest_first if before is None or head.seq < before)
            jobs: list[JobView] = []
            looked, size, last = 0, 0, None
            for head in islice(heads, LOOKED_AT):
                looked, last = looked + 1, head.seq
                view = place.view(queue, head, now, runs=False)
                if _matches(view, only, place.last_error(head.id)):
                    view = view if bodies else msgspec.structs.replace(view, body=b"", headers=NO_HEADERS)
                    jobs.append(view)
                    size += len(view.body)
                if len(jobs) == limit or size >= PAGE_BYTES:
                    break
            more = last is not None and (looked == LOOKED_AT or len(jobs) == limit or size >= PAGE_BYTES)
            return Page(tuple(jobs), str(last) if more else None, now)

    # -- changing -------------------------------------------------------------------------------------------------

    def cancel(self, queue: str, job_ids: Sequence[str], reason: str = "cancelled") -> dict[str, State]:
        with self._open(durable=True):
            return self._do(self._engine.cancel, commands.Cancel(queue, tuple(job_ids), reason))

    def replay(self, queue: str, job_ids: Sequence[str]) -> Replayed:
        with self._open(durable=True):
            return self._do(self._engine.revive, commands.Revive("replay", queue, tuple(job_ids)))

    def reload(self, queue: str, job_ids: Sequence[str]) -> list[str]:
        with self._open(durable=True):
            revived = self._do(self._engine.revive, commands.Revive("reload", queue, tuple(job_ids)))
            return list(revived.moved)

    def put_dead(
        self, queue: str, message: Message, reason: str, *, error: ErrorInfo | None, attempts: int, crashes: int
    ) -> bool:
        letter = commands.PutDead(queue, message, reason, error, attempts, crashes)
        with self._open(durable=True):
            return self._do(self._engine.put_dead, letter, papers=1 + (error is not None))

    def flush(self, queue: str, state: State) -> int:
        check_removable(queue, [state])
        with self._open(durable=True):
            return self._do(self._engine.flush, commands.Flush(queue, state))

    def remove(self, queue: str, job_ids: Sequence[str], *, states: Collection[State] = REMOVABLE) -> list[str]:
        check_removable(queue, states)
        with self._open(durable=True):
            return self._do(self._engine.remove, commands.Remove(queue, tuple(job_ids), tuple(states)))

    def pause(self, queue: str) -> None:
        with self._open(durable=True):
            self._do(self._engine.pause, commands.Pause(queue, True))

    def resume(self, queue: str) -> None:
        with self._open(durable=True):
            self._do(self._engine.pause, commands.Pause(queue, False))

    def command(self, holder: str, command: Command) -> bool:
        with self._open(durable=True):
            return self._do(self._engine.tell, commands.Tell(holder, command))


def _matches(job: JobView, only: JobFilter, error: str) -> bool:
    return (
        job.state in only.states
        and only.kind in (None, job.kind)
        and only.reason in (None, job.reason)
        and only.key in (None, job.key)
        and _within(only.since, job.sent, only.until)
        and (not _asks_for_end(only) or _within(only.ended_since, job.ended, only.ended_until))
        and (only.text is None or only.text in f"{job.reason or ''}\n{error}")
        and (only.headers is None or only.headers.items() <= job.headers.items())
    )


def _asks_for_end(only: JobFilter) -> bool:
    return only.ended_since is not None or only.ended_until is not None


def _within(since: int | None, instant: int | None, until: int | None) -> bool:
    return instant is not None and (since is None or instant >= since) and (until is None or instant < until)
