"""The optional powers of the memory store: looking, cancelling, replaying, burying, flushing, pausing, waiting for
results, progress, commands.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Sequence
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
    Progress,
    Replayable,
    Results,
    Watch,
    check_removable,
)
from holdfast.delivery import ENDED, Command, JobView, Outcome, Page, Receipt, Replayed, Report, State
from holdfast.failures import ErrorInfo
from holdfast.machine import DeadLetter, Head, replayed, seen_state
from holdfast.message import NO_HEADERS, Message
from holdfast.stores.memory.lent import Lent
from holdfast.stores.memory.queue import MemoryQueue

LOOKED_AT = 10_000
"""How many jobs one page of a listing looks at, at the most."""


class Operations(
    Lent, Inspectable, Cancellable, Replayable, DeadLetters, Flushable, Pausable, Commandable, Results, Progress
):
    """What operators and waiters ask of the store."""

    _seq: Iterator[int]
    _watches: set[MemoryWatch]

    def get(self, queue: str, job_id: str) -> JobView | None:
        with self._open():
            place = self._places.get(queue)
            head = None if place is None else place.machine.heads.get(job_id)
            return None if place is None or head is None else place.view(queue, head, self._clock.wall(), runs=True)

    def browse(
        self, queue: str, only: JobFilter, *, limit: int = 100, cursor: str | None = None, bodies: bool = True
    ) -> Page:
        before, limit = None if cursor is None else int(cursor), max(1, limit)
        with self._open():
            place, now = self._places.get(queue), self._clock.wall()
            if place is None:
                return Page((), at=now)
            newest_first = reversed(place.machine.heads.values())
            heads = (head for head in newest_first if before is None or head.seq < before)
            jobs: list[JobView] = []
            looked, last = 0, None
            for head in islice(heads, LOOKED_AT):
                looked, last = looked + 1, head.seq
                view = place.view(queue, head, now, runs=False)
                if _matches(view, only, place.last_error(head.id)):
                    jobs.append(view if bodies else msgspec.structs.replace(view, body=b"", headers=NO_HEADERS))
                if len(jobs) == limit:
                    break
            more = last is not None and (looked == LOOKED_AT or len(jobs) == limit)
            return Page(tuple(jobs), str(last) if more else None, now)

    def cancel(self, queue: str, job_ids: Sequence[str], reason: str = "cancelled") -> dict[str, State]:
        with self._open():
            place = self._places.get(queue)
            if place is None:
                return {}
            now = self._clock.wall()
            states = {job_id: place.machine.cancel(job_id, reason, now) for job_id in job_ids}
            known = {job_id: state for job_id, state in states.items() if state is not None}
            self._tell_watches(queue, [job_id for job_id, state in known.items() if state in ENDED])
            return known

    def replay(self, queue: str, job_ids: Sequence[str]) -> Replayed:
        return self._revive("replay", queue, job_ids)

    def reload(self, queue: str, job_ids: Sequence[str]) -> list[str]:
        return list(self._revive("reload", queue, job_ids).moved)

    def _revive(self, verb: str, queue: str, job_ids: Sequence[str]) -> Replayed:
        with self._open():
            place = self._places.get(queue)
            if place is None:
                return Replayed()
            now = self._clock.wall()
            return replayed([(job_id, place.machine.revive(verb, job_id, now)) for job_id in job_ids])

    def put_dead(
        self, queue: str, message: Message, reason: str, *, error: ErrorInfo | None, attempts: int, crashes: int
    ) -> bool:
        letter = DeadLetter(message, reason, error, attempts, crashes)
        with self._open():
            stored = self._place(queue).put_dead(letter, next(self._seq), self._clock.wall())
            self._bytes += len(message.body) * stored
            return stored

    def flush(self, queue: str, state: State) -> int:
        check_removable(queue, [state])
        with self._open():
            place = self._places.get(queue)
            if place is None:
                return 0
            now = self._clock.wall()
            advance_fully(place, now)
            return len(self._removed(queue, place, place.machine.flush(state, now)))

    def remove(self, queue: str, job_ids: Sequence[str], *, states: Collection[State] = REMOVABLE) -> list[str]:
        check_removable(queue, states)
        with self._open():
            place = self._places.get(queue)
            if place is None:
                return []
            now = self._clock.wall()
            advance_fully(place, now)
            gone = [head for state in states for head in place.machine.flush(state, now, job_ids)]
            return self._removed(queue, place, gone)

    def _removed(self, queue: str, place: MemoryQueue, heads: list[Head]) -> list[str]:
        self._bytes -= place.forget(heads)
        removed = [head.id for head in heads]
        self._tell_watches(queue, removed)
        return removed

    def pause(self, queue: str) -> None:
        with self._open():
            self._place(queue).machine.paused = True

    def resume(self, queue: str) -> None:
        with self._open():
            self._place(queue).machine.paused = False

    def command(self, holder: str, command: Command) -> bool:
        with self._open():
            known = self._holders.get(holder)
            if known is None or known.ended is not None:
                return False
            known.command = command
            return True

    def outcomes(self, queue: str, job_ids: Sequence[str]) -> dict[str, Outcome]:
        with self._open():
            place = self._places.get(queue)
            if place is None:
                return {}
            now = self._clock.wall()
            found = ((job_id, place.outcome(job_id, now)) for job_id in job_ids)
            return {job_id: outcome for job_id, outcome in found if outcome is not None}

    def report(self, reports: Sequence[Report]) -> list[Receipt]:
        with self._open():
            now = self._clock.wall()
            return [one.receipt for one in reports if not self._report(one, now)]

    def _report(self, report: Report, now: int) -> bool:
        place = self._places.get(report.receipt.queue)
        return place is not None and place.report(report, now)

    def watch(self) -> Watch:
        watch = MemoryWatch(self)
        with self._open():
            self._watches.add(watch)
        return watch

    def _tell_watches(self, queue: str, job_ids: Collection[str]) -> None:
        for watch in self._watches if job_ids else ():
            watch.tell(queue, job_ids)

    def _wake_watches(self) -> None:
        with self._lock:
            for watch in self._watches:
                watch.look_again()

    def _over(self, queue: str, job_ids: Collection[str]) -> list[str]:
        """Return those of the jobs that have ended, or do not exist."""
        with self._open():
            place, now = self._places.get(queue), self._clock.wall()
            heads = {} if place is None else place.machine.heads
            return [job_id for job_id in job_ids if job_id not in heads or seen_state(heads[job_id], now) in ENDED]

    def _until_expiry(self, queues: Collection[str]) -> float | None:
        """Write down what has expired in these queues; return the seconds until the next expiry, None for never."""
        with self._open():
            now = self._clock.wall()
            places = {queue: self._places[queue] for queue in queues if queue in self._places}
            for queue, place in places.items():
                self._tell_watches(queue, advance_fully(place, now))
            nexts = [place.machine.next_expiry() for place in places.values()]
            return min(((expiry - now) / 1000 for expiry in nexts if expiry is not None), default=None)


class MemoryWatch(Watch):
    """Told by the store of every end, it keeps those it watches. Its own lock is the innermost."""

    def __init__(self, store: Operations) -> None:
        self._store = store
        self._changed = threading.Condition()
        self._watched: set[tuple[str, str]] = set()
        self._queues: set[str] = set()
        self._ended: list[tuple[str, str]] = []
        self._interrupted = False
        self._look = False

    def add(self, queue: str, job_ids: Collection[str]) -> None:
        with self._changed:
            self._watched.update((queue, job_id) for job_id in job_ids)
            self._queues.add(queue)
        self.tell(queue, self._store._over(queue, job_ids))
        self.look_again()

    def discard(self, queue: str, job_ids: Collection[str]) -> None:
        gone = {(queue, job_id) for job_id in job_ids}
        with self._changed:
            self._watched -= gone
            self._ended = [job for job in self._ended if job not in gone]

    def wait(self, timeout: float) -> list[tuple[str, str]]:
        end = time.monotonic() + timeout
        while True:
            with self._changed:
                self._look, queues = False, list(self._queues)
            pause = self._store._until_expiry(queues)  # jobs also end by time alone, with nobody near
            with self._changed:
                left = end - time.monotonic()
                if self._ended or self._interrupted or left <= 0:
                    self._interrupted = False
                    ended, self._ended = self._ended, []
                    return ended
                if not self._look:
                    self._changed.wait(left if pause is None else min(left, pause))

    def interrupt(self) -> None:
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def close(self) -> None:
        with self._store._lock:
            self._store._watches.discard(self)

    def tell(self, queue: str, job_ids: Collection[str]) -> None:
        """Take note that jobs have ended."""
        with self._changed:
            ended = [(queue, job_id) for job_id in job_ids if (queue, job_id) in self._watched]
            if ended:
                self._watched.difference_update(ended)
                self._ended += ended
                self._changed.notify_all()

    def look_again(self) -> None:
        """Ask the store again when the next job expires: a clock was moved, a job added, the store closed."""
        with self._changed:
            self._look = True
            self._changed.notify_all()


def advance_fully(place: MemoryQueue, now: int) -> list[str]:
    """Write down everything that is due or expired by now; return the ids that expired."""
    expired_ids: list[str] = []
    while True:
        expired, due = place.machine.advance(now)
        expired_ids += [head.id for head in expired]
        if not expired and not due:
            return expired_ids


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
