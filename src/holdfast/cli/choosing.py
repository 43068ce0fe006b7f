"""Which jobs a command means: those named by id, or all that match; always as ids by queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import click
import msgspec

from holdfast.bulk import Which
from holdfast.capabilities import Inspectable, JobFilter
from holdfast.contract import QueueBackend
from holdfast.delivery import JobView, State
from holdfast.errors import JobError, NotSupported, UsageError, nearest

if TYPE_CHECKING:
    from holdfast.queues import Place

PAGE = 1000

Chosen = Mapping[str, Sequence[str]]
"""Ids by queue."""


def queue_names(store: QueueBackend, given: Sequence[str] = ()) -> list[str]:
    """Return the given queues, or all, sorted; ``UsageError`` for one that does not exist, suggesting the nearest."""
    known = sorted(store.queues())
    for name in given:
        if name not in known:
            listed = f"known: {', '.join(known)}" if known else "this store has none yet"
            raise UsageError(f"there is no queue {name!r}{nearest(name, known)}; {listed}")
    return list(dict.fromkeys(given)) if given else known


def place(store: QueueBackend, name: str) -> Place:
    """Return a queue as operators see it."""
    from holdfast.queues import Place  # leases and heartbeats come with it, which most commands do without

    return Place(name, lambda: store)


def find_job(store: QueueBackend, job_id: str, queues: Sequence[str]) -> JobView:
    """Look one job up in these queues; ``JobError`` when none has it, ``UsageError`` when several do."""
    if not isinstance(store, Inspectable):
        raise NotSupported(f"{type(store).__name__} cannot look at jobs")
    found = [job for queue in queues if (job := store.get(queue, job_id)) is not None]
    if not found:
        where = f"queue {queues[0]!r}" if len(queues) == 1 else f"any of {len(queues)} queues"
        raise JobError(
            f"there is no job {job_id} in {where}: it was removed, or never sent; "
            "holdfast jobs list shows those there are",
            job_id=job_id,
        )
    if len(found) > 1:
        raise UsageError(f"several queues have a job {job_id}: say --queue {found[0].queue} (or another)")
    return found[0]


def matching(
    store: QueueBackend, queues: Sequence[str], only: JobFilter, limit: int = PAGE, *, bodies: bool = False
) -> Iterator[JobView]:
    """Yield all jobs of these queues that match, newest first in each; ``limit`` are looked up at a time."""
    for queue in queues:
        one, cursor = place(store, queue), None
        while True:
            page = one.browse(only, limit=limit, cursor=cursor, bodies=bodies)
            yield from page.jobs
            if (cursor := page.cursor) is None:
                break


def choose_all(store: QueueBackend, queues: Sequence[str], only: JobFilter) -> dict[str, list[str]]:
    """Return the ids of all matching jobs. They are settled now: what a command does to them adds none."""
    chosen: dict[str, list[str]] = {}
    for job in matching(store, queues, only):
        chosen.setdefault(job.queue, []).append(job.id)
    return chosen


def choose(
    store: QueueBackend, job_ids: Sequence[str], queues: Sequence[str], only: JobFilter, *, everything: bool
) -> Chosen:
    """Return the jobs named by ``job_ids``, or those that match ``only``, which must then say something.

    ``JobFilter.states`` are those that the command can act on; they alone say nothing.
    """
    named = _named(store, job_ids, queues, only, everything=everything)
    return choose_all(store, queues, only) if named is None else named


def targets(
    store: QueueBackend, job_ids: Sequence[str], queues: Sequence[str], only: JobFilter, *, everything: bool
) -> Mapping[str, Which]:
    """Do as ``choose`` does, but leave it to each queue to find the jobs that match."""
    named = _named(store, job_ids, queues, only, everything=everything)
    return dict.fromkeys(queues, only) if named is None else named


def _named(
    store: QueueBackend, job_ids: Sequence[str], queues: Sequence[str], only: JobFilter, *, everything: bool
) -> Chosen | None:
    """Return the jobs named by id, None when filters choose; a usage error when neither, or both, do."""
    says = msgspec.structs.replace(only, states=tuple(State)) != JobFilter()
    if not job_ids and not says and not everything:
        raise click.UsageError("Which jobs? Give ids, or filters such as --kind and --reason, or --all.")
    if not job_ids:
        return None
    if says or everything:
        raise click.UsageError("Give ids, or say which jobs by filters or --all, not both.")
    chosen: dict[str, list[str]] = {}
    for job_id in dict.fromkeys(job_ids):
        chosen.setdefault(find_job(store, job_id, queues).queue, []).append(job_id)
    return chosen


def in_batches(chosen: Chosen, size: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the chosen ids, a queue and at most ``size`` at a time."""
    for queue, job_ids in chosen.items():
        rest = iter(job_ids)
        while batch := list(islice(rest, size)):
            yield queue, batch
