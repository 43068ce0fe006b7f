"""``holdfast dead``: what was given up, why, and another chance for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from holdfast.bulk import Which
from holdfast.capabilities import JobFilter
from holdfast.cli import views
from holdfast.cli.choosing import place, queue_names, targets
from holdfast.cli.groups import NounGroup
from holdfast.cli.jobs import page
from holdfast.cli.options import (
    cursor_option,
    dry_run_option,
    limit_option,
    on_store,
    queues_option,
    rate_option,
    selecting,
    yes_option,
)
from holdfast.cli.output import Output, count, progress
from holdfast.cli.reviving import revive
from holdfast.contract import QueueBackend
from holdfast.delivery import Matching, State

DEAD = (State.DEAD,)


@click.group(cls=NounGroup)
def dead() -> None:
    """List, replay and purge dead letters."""


@dead.command("list")
@queues_option
@selecting
@limit_option
@cursor_option
@on_store
def list_dead(store: QueueBackend, out: Output, queues: Sequence[str], cursor: str | None, **given: Any) -> None:
    """List dead letters with their last error, newest sent first."""
    names = queue_names(store, queues)
    if cursor is not None and len(names) != 1:
        raise click.UsageError("--cursor goes with one --queue: each queue has pages of its own.")
    only = msgspec.structs.replace(given["only"], states=DEAD)
    found, cursor, more = page(store, names, only, given["limit"], cursor, bodies=False)
    looked = [job for letter in found if (job := place(store, letter.queue).get(letter.id)) is not None]
    errors = {job.id: views.last_error(job) for job in looked}
    hint = f"more: --queue {names[0]} --cursor {cursor}" if cursor else "more: raise --limit, or choose one --queue"
    out.answer(
        {
            "jobs": [{**views.job_document(job), "error": errors[job.id]} for job in looked],
            "cursor": cursor,
            "more": more,
        },
        views.job_table(looked, errors) if looked else "no dead letters match",
        *([hint] if more else []),
    )


@dead.command()
@click.argument("job_ids", nargs=-1, metavar="[ID]...")
@queues_option
@selecting
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
@rate_option
@dry_run_option
@on_store
def replay(store: QueueBackend, out: Output, job_ids: Sequence[str], **given: Any) -> None:
    """Make dead letters ready again, as if new: with all attempts.

    holdfast queues reload gives exactly one more attempt instead.
    """
    only = msgspec.structs.replace(given["only"], states=DEAD)
    names = queue_names(store, given["queues"])
    meant = targets(store, job_ids, names, only, everything=given["everything"])
    revive(store, out, meant, "replay", rate=given["rate"], dry_run=given["dry_run"])


@dead.command()
@click.argument("job_ids", nargs=-1, metavar="[ID]...")
@queues_option
@selecting
@dry_run_option
@yes_option
@on_store
def purge(store: QueueBackend, out: Output, job_ids: Sequence[str], *, yes: bool, **given: Any) -> None:
    """Remove dead letters for good: those named, those that match, or else all of the queues named, or of all.

    What has been replayed meanwhile is left alone.
    """
    only = msgspec.structs.replace(given["only"], states=DEAD)
    names = queue_names(store, given["queues"])
    meant = targets(store, job_ids, names, only, everything=not job_ids and only == JobFilter(states=DEAD))
    letters = {name: its for name, which in meant.items() if (its := _letters(store, name, which)).jobs}
    total = sum(letters.values(), Matching())
    if given["dry_run"]:
        out.answer({"dry_run": True, "count": total.jobs, "exact": total.exact}, f"{_count(total)} would be removed")
        return
    if total.jobs:
        out.confirm(f"this removes {_count(total)} of {', '.join(letters)} for good", yes=yes)
    removed: dict[str, int] = {}
    with progress("purging", total.jobs) as bar:
        for name, its in letters.items():
            removed[name] = _purge(store, name, meant[name])
            bar.update(its.jobs)
    gone = sum(removed.values())
    out.answer({"count": gone, "queues": removed}, f"{count(gone, 'dead letter')} removed")


def _letters(store: QueueBackend, queue: str, which: Which) -> Matching:
    one = place(store, queue)
    if isinstance(which, JobFilter):
        return one.count(which)
    looked = [one.get(job_id) for job_id in which]
    return Matching(sum(job is not None and job.state is State.DEAD for job in looked))


def _purge(store: QueueBackend, queue: str, which: Which) -> int:
    one = place(store, queue)
    if which == JobFilter(states=DEAD):
        return one.flush(State.DEAD)
    return len(one.remove(which, states=DEAD))


def _count(letters: Matching) -> str:
    return count(letters.jobs, "dead letter") if letters.exact else f"{letters} dead letters"
