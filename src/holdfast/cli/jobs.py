"""``holdfast jobs``: look at jobs in any state, cancel them, run them again."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import islice
from typing import Any

import click
import msgspec

from holdfast.capabilities import JobFilter, Results
from holdfast.cli import views
from holdfast.cli.choosing import choose, find_job, in_batches, matching, place, queue_names, targets
from holdfast.cli.groups import NounGroup
from holdfast.cli.options import (
    cursor_option,
    dry_run_option,
    limit_option,
    on_store,
    queues_option,
    rate_option,
    read_state,
    selecting,
    yes_option,
)
from holdfast.cli.output import Output, Table, count, progress
from holdfast.cli.reviving import revive
from holdfast.contract import QueueBackend
from holdfast.delivery import ENDED, WAITING, JobView, State
from holdfast.machine import REVIVABLE

CANCELLABLE = (*WAITING, State.RUNNING)
BATCH = 500


@click.group(cls=NounGroup)
def jobs() -> None:
    """List, show, cancel and replay jobs."""


# -- list -----------------------------------------------------------------------------------------------------


@jobs.command("list")
@queues_option
@click.option("--state", "states", callback=read_state, multiple=True, help="In this state; may be repeated.")
@selecting
@limit_option
@cursor_option
@on_store
def list_jobs(store: QueueBackend, out: Output, queues: Sequence[str], cursor: str | None, **given: Any) -> None:
    """List jobs, newest first.

    A page of one queue ends with a cursor for the next page.
    """
    names = queue_names(store, queues)
    if cursor is not None and len(names) != 1:
        raise click.UsageError("--cursor goes with one --queue: each queue has pages of its own.")
    found, cursor, more = page(store, names, given["only"], given["limit"], cursor, bodies=out.as_json)
    hint = f"more: --queue {names[0]} --cursor {cursor}" if cursor else "more: raise --limit, or choose one --queue"
    out.answer(
        {"jobs": [views.job_document(job) for job in found], "cursor": cursor, "more": more},
        views.job_table(found) if found else "no jobs match",
        *([hint] if more else []),
    )


def page(
    store: QueueBackend, queues: Sequence[str], only: JobFilter, limit: int, cursor: str | None, *, bodies: bool
) -> tuple[list[JobView], str | None, bool]:
    """Return up to ``limit`` matching jobs, newest first, the cursor of the next page, and whether there are more."""
    if len(queues) != 1:
        each = (matching(store, [name], only, limit + 1, bodies=bodies) for name in queues)
        newest = heapq.merge(*each, key=lambda job: -job.sent)
        found = list(islice(newest, limit + 1))
        return found[:limit], None, len(found) > limit
    found, one = [], place(store, queues[0])
    while len(found) < limit:  # a page looks at so many jobs and may be short
        part = one.browse(only, limit=limit - len(found), cursor=cursor, bodies=bodies)
        found += part.jobs
        if (cursor := part.cursor) is None:
            break
    return found, cursor, cursor is not None


# -- show -----------------------------------------------------------------------------------------------------


@jobs.command()
@click.argument("job_id", metavar="ID")
@queues_option
@on_store
def show(store: QueueBackend, out: Output, job_id: str, queues: Sequence[str]) -> None:
    """Show one job: its state, arguments, result, and every run with its error."""
    job = find_job(store, job_id, queue_names(store, queues))
    outcome = store.outcomes(job.queue, [job.id]).get(job.id) if isinstance(store, Results) else None
    value = None if outcome is None or outcome.value is None else views.read(outcome.value, {})
    document = {
        **views.job_document(job),
        "result": None if value is views.UNREADABLE else value,
        "runs": [views.run_document(run) for run in job.runs],
    }
    out.answer(document, *views.job_in_full(job, outcome))


# -- cancel ---------------------------------------------------------------------------------------------------


@jobs.command()
@click.argument("job_ids", nargs=-1, metavar="[ID]...")
@queues_option
@selecting
@click.option("--all", "everything", is_flag=True, help="Every job that waits or runs.")
@yes_option
@on_store
def cancel(store: QueueBackend, out: Output, job_ids: Sequence[str], **given: Any) -> None:
    """Cancel jobs that wait, and ask the workers of those that run to stop them."""
    only = msgspec.structs.replace(given["only"], states=CANCELLABLE)
    names = queue_names(store, given["queues"])
    chosen = choose(store, job_ids, names, only, everything=given["everything"])
    total = sum(map(len, chosen.values()))
    if not job_ids and total:
        out.confirm(f"this cancels {count(total, 'job')}", yes=given["yes"])
    states: dict[tuple[str, str], State] = {}
    with progress("cancelling", total) as bar:
        for queue, ids in in_batches(chosen, BATCH):
            states |= {(queue, job_id): state for job_id, state in place(store, queue).cancel(ids).items()}
            bar.update(len(ids))
    rows = [(job_id, queue, state.value, _remark(state)) for (queue, job_id), state in states.items()]
    out.answer(
        {"jobs": [{"id": job_id, "queue": queue, "state": state} for job_id, queue, state, _ in rows]},
        Table(["id", "queue", "state", ""], rows) if rows else "no jobs match",
    )


def _remark(state: State) -> str:
    if state is State.RUNNING:
        return "its worker was asked to stop it"
    return "had ended before" if state in ENDED - {State.CANCELLED} else ""


# -- replay ---------------------------------------------------------------------------------------------------


@jobs.command()
@click.argument("job_ids", nargs=-1, metavar="[ID]...")
@queues_option
@click.option("--state", "states", callback=read_state, multiple=True, help="Only dead, cancelled or expired ones.")
@selecting
@click.option("--all", "everything", is_flag=True, help="Every dead, cancelled and expired job.")
@rate_option
@dry_run_option
@on_store
def replay(store: QueueBackend, out: Output, job_ids: Sequence[str], **given: Any) -> None:
    """Make dead, cancelled and expired jobs ready again, as if new.

    A job in another state is left alone, so this may be repeated.
    """
    only: JobFilter = given["only"]
    states = tuple(state for state in only.states if state in REVIVABLE)
    if not states:
        raise click.UsageError(f"Only {', '.join(REVIVABLE)} jobs can be replayed.")
    meant = targets(
        store,
        job_ids,
        queue_names(store, given["queues"]),
        msgspec.structs.replace(only, states=states),
        everything=given["everything"] or states != REVIVABLE,
    )
    revive(store, out, meant, "replay", rate=given["rate"], dry_run=given["dry_run"])
