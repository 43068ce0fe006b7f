"""``holdfast dead``: what was given up, why, and another chance for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from holdfast.cli import views
from holdfast.cli.choosing import choose, place, queue_names
from holdfast.cli.groups import NounGroup
from holdfast.cli.jobs import page
from holdfast.cli.options import (
    cursor_option,
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
from holdfast.delivery import State

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
    found, cursor, more = page(store, names, only, given["limit"], cursor)
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
@on_store
def replay(store: QueueBackend, out: Output, job_ids: Sequence[str], **given: Any) -> None:
    """Make dead letters ready again, as if new: with all attempts.

    holdfast queues reload gives exactly one more attempt instead.
    """
    only = msgspec.structs.replace(given["only"], states=DEAD)
    names = queue_names(store, given["queues"])
    revive(store, out, choose(store, job_ids, names, only, everything=given["everything"]), "replay", given["rate"])


@dead.command()
@queues_option
@yes_option
@on_store
def purge(store: QueueBackend, out: Output, queues: Sequence[str], *, yes: bool) -> None:
    """Remove all dead letters of the queues named, or of all queues, for good."""
    counts = {name: letters for name in queue_names(store, queues) if (letters := store.stats(name).dead)}
    total = sum(counts.values())
    if total:
        out.confirm(f"this removes {count(total, 'dead letter')} of {', '.join(counts)} for good", yes=yes)
    removed: dict[str, int] = {}
    with progress("purging", total) as bar:
        for name, letters in counts.items():
            removed[name] = place(store, name).flush(State.DEAD)
            bar.update(letters)
    gone = sum(removed.values())
    out.answer({"count": gone, "queues": removed}, f"{count(gone, 'dead letter')} removed")
