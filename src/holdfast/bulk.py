"""Many jobs of a queue at once: those that match, page by page, and what is done to them, at a rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from holdfast.capabilities import Inspectable, JobFilter
from holdfast.delivery import JobView, Matching, Page, QueueStats, Replayed
from holdfast.errors import UsageError
from holdfast.machine import REVIVABLE

PAGE = 1000
LARGEST_BATCH = 500
BATCHES_PER_SECOND = 10
"""How finely a rate is kept."""
PAGES_COUNTED = 100
"""So many pages a count looks at, a million jobs, before it says "at least"."""

Which = str | Iterable[str] | JobFilter
"""Jobs, as operators name them: an id, several, or all that match."""


def pages(store: Inspectable, queue: str, only: JobFilter, *, size: int = PAGE, bodies: bool = False) -> Iterator[Page]:
    """Yield the pages of all matching jobs, newest sent first; each is looked up when it is asked for."""
    page = store.browse(queue, only, limit=size, bodies=bodies)
    yield page
    while page.cursor is not None:
        page = store.browse(queue, only, limit=size, cursor=page.cursor, bodies=bodies)
        yield page


def matching(store: Inspectable, queue: str, only: JobFilter, stats: Callable[[], QueueStats]) -> Matching:
    """Count the jobs that match: without looking at them when only states matter, else up to a bound."""
    if only == JobFilter(states=only.states):
        counts = stats()
        return Matching(sum(getattr(counts, state.value) for state in set(only.states)))
    found = 0
    for number, page in enumerate(pages(store, queue, only), 1):
        found += len(page.jobs)
        if number == PAGES_COUNTED and page.cursor is not None:
            return Matching(found, exact=False)
    return Matching(found)


def revivable(only: JobFilter) -> JobFilter:
    """Return the filter of those matching jobs that can run again."""
    return msgspec.structs.replace(only, states=tuple(state for state in REVIVABLE if state in only.states))


def ended_by_now(store: Inspectable, queue: str, only: JobFilter) -> Iterator[JobView]:
    """Yield the matching jobs that can run again and had ended when this began, each once, in whatever order.

    Those that run again meanwhile and die again are not among them, so that whoever revives them comes to an end.
    """
    only = revivable(only)
    first = store.browse(queue, only, limit=PAGE, bodies=False)
    yield from first.jobs
    if first.cursor is not None:
        until = first.at + 1 if only.ended_until is None else min(only.ended_until, first.at + 1)
        bounded, page = msgspec.structs.replace(only, ended_until=until), first
        while page.cursor is not None:
            page = store.browse(queue, bounded, limit=PAGE, cursor=page.cursor, bodies=False)
            yield from page.jobs


class Pace:
    """How fast something is done to many jobs: ``rate`` of them a second, None for at once.

    Setting ``stop`` ends it, also while it waits. Times are real ones: a rate spares what is outside.
    """

    def __init__(self, rate: float | None = None, stop: threading.Event | None = None) -> None:
        if rate is not None and not rate > 0:
            raise UsageError(f"a rate is more than 0 jobs a second, not {rate!r}")
        self._rate, self._stop = rate, stop or threading.Event()
        self._begun = time.monotonic()
        self.size = LARGEST_BATCH if rate is None else max(1, min(LARGEST_BATCH, int(rate / BATCHES_PER_SECOND)))
        """How many jobs to do at a time."""

    def goes_on(self, done: int) -> bool:
        """Wait until more may be done after ``done`` jobs; False when it was stopped. Holds no lock."""
        if self._rate is not None and (early := self._begun + done / self._rate - time.monotonic()) > 0:
            self._stop.wait(early)
        return not self._stop.is_set()


def revive(
    job_ids: Iterable[str], move: Callable[[Sequence[str]], Replayed], pace: Pace, progress: Callable[[int], object]
) -> Replayed:
    """Let ``move`` make these jobs ready, a batch at a time; ``progress`` hears how many were done so far."""
    moved, duplicates, done = list[str](), list[str](), 0
    for batch in _batches(job_ids, pace.size):
        if not pace.goes_on(done):
            break
        its = move(batch)
        moved += its.moved
        duplicates += its.duplicates
        done += len(batch)
        progress(done)
    return Replayed(tuple(moved), tuple(duplicates), Matching(done))


def _batches(job_ids: Iterable[str], size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for job_id in job_ids:
        batch.append(job_id)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
