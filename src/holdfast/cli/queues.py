"""``holdfast queues``: the places, how full they are, and what can be done to a whole one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdfast.cli.choosing import place, queue_names
from holdfast.cli.groups import NounGroup
from holdfast.cli.options import dry_run_option, on_store, rate_option, read_state, selecting, yes_option
from holdfast.cli.output import Output, Table, count, length, progress
from holdfast.cli.reviving import revive
from holdfast.config import QueueSettings
from holdfast.contract import QueueBackend
from holdfast.declared import Selector
from holdfast.delivery import QueueStats, State

if TYPE_CHECKING:
    from holdfast.queues import Place

COUNTS = tuple(state.value for state in State)

names_argument = click.argument("names", nargs=-1, metavar="QUEUE...", required=True)


@click.group(cls=NounGroup)
def queues() -> None:
    """List, measure, pause, reload, flush and destroy queues."""


def _read_labels(context: click.Context, option: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    labels = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"write NAME=VALUE, not {text!r}.")
        labels[name] = value
    return labels


# -- looking --------------------------------------------------------------------------------------------------


@queues.command("list")
@click.option(
    "--label",
    "labels",
    multiple=True,
    callback=_read_labels,
    metavar="NAME=VALUE",
    help="Those with this label; may be repeated, and then all count.",
)
@click.option("--group", help="Those of this group.")
@on_store
def list_queues(store: QueueBackend, out: Output, labels: Mapping[str, str], group: str | None) -> None:
    """List the queues with how many jobs are in each state, and their labels and groups."""
    known = store.queues()
    names = Selector(labels=labels, group=group).select(known)
    found = [(store.stats(name), known[name]) for name in names]
    documents = [
        {**stats_document(stats), "labels": dict(settings.labels), "group": settings.group} for stats, settings in found
    ]
    none = "no queue matches" if known else "this store has no queues yet"
    out.answer({"queues": documents}, _table(found) if found else none)


def _table(found: Sequence[tuple[QueueStats, QueueSettings]]) -> Table:
    """Return queues as a table; its columns of labels and groups are there when a queue has any."""
    cells = [(_labels(settings), settings.group, "paused" if stats.paused else None) for stats, settings in found]
    extra = [column for column in range(3) if column == 2 or any(row[column] for row in cells)]
    return Table(
        ["queue", *COUNTS, *(("labels", "group", "")[column] for column in extra)],
        [
            [stats.queue, *(getattr(stats, state) for state in COUNTS), *(row[column] for column in extra)]
            for (stats, _), row in zip(found, cells, strict=True)
        ],
    )


def _labels(settings: QueueSettings) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(settings.labels.items()))


@queues.command("stats")
@click.argument("names", nargs=-1, metavar="[QUEUE]...")
@on_store
def show_stats(store: QueueBackend, out: Output, names: Sequence[str]) -> None:
    """Show counts, the age of the oldest ready job, pauses, and kinds that no live worker handles."""
    found = [store.stats(name) for name in queue_names(store, names)]
    out.answer(
        {"queues": [stats_document(stats) for stats in found]},
        "\n\n".join(_in_full(stats) for stats in found) or "this store has no queues yet",
    )


def stats_document(stats: QueueStats) -> dict[str, Any]:
    """Return a queue's counts as JSON."""
    return {**msgspec.structs.asdict(stats), "depth": stats.depth, "unhandled": dict(stats.unhandled)}


def _in_full(stats: QueueStats) -> str:
    lines = [f"queue         {stats.queue}{'  (paused: no lease is granted)' if stats.paused else ''}"]
    lines += [f"{state:<12}  {getattr(stats, state)}" for state in COUNTS]
    if stats.held:
        lines.append(f"held          {stats.held} of the ready ones wait behind the head of their key")
    lines.append(f"oldest ready  {length(stats.oldest_ready) or 'none could start now'}")
    for kind, number in stats.unhandled.items():
        lines.append(f"unhandled     {number} of kind {kind or '(raw)'}: no live worker of this queue has that task")
    return "\n".join(lines)


# -- pausing --------------------------------------------------------------------------------------------------


@queues.command()
@names_argument
@on_store
def pause(store: QueueBackend, out: Output, names: Sequence[str]) -> None:
    """Let no worker lease from these queues; sends go on, and so do jobs that run."""
    _each(store, out, names, lambda one: one.pause(), "paused")


@queues.command()
@names_argument
@on_store
def resume(store: QueueBackend, out: Output, names: Sequence[str]) -> None:
    """Let workers lease from these queues again."""
    _each(store, out, names, lambda one: one.resume(), "resumed")


def _each(store: QueueBackend, out: Output, names: Sequence[str], verb: Callable[[Place], None], done: str) -> None:
    names = queue_names(store, names)
    for name in names:
        verb(place(store, name))
    out.answer({"queues": names}, f"{done}: {', '.join(names)}")


# -- reload, flush, destroy -----------------------------------------------------------------------------------


@queues.command("reload")
@names_argument
@selecting
@rate_option
@dry_run_option
@on_store
def reload_dead(store: QueueBackend, out: Output, names: Sequence[str], **given: Any) -> None:
    """Move dead letters back to ready with exactly one more attempt each.

    --reason timeout chooses those that ran out of time.
    """
    only = msgspec.structs.replace(given["only"], states=(State.DEAD,))
    meant = dict.fromkeys(queue_names(store, names), only)
    revive(store, out, meant, "reload", rate=given["rate"], dry_run=given["dry_run"])


@queues.command()
@names_argument
@click.option(
    "--state", callback=read_state, default="dead", show_default=True, help="Which jobs; running ones never are."
)
@yes_option
@on_store
def flush(store: QueueBackend, out: Output, names: Sequence[str], state: State, *, yes: bool) -> None:
    """Remove every job in one state from these queues, for good."""
    if state is State.RUNNING:
        raise click.UsageError("Running jobs cannot be flushed: holdfast jobs cancel asks their workers to stop them.")
    counts = {name: getattr(store.stats(name), state.value) for name in queue_names(store, names)}
    total = sum(counts.values())
    if total:
        out.confirm(f"this removes {count(total, f'{state} job')} of {', '.join(counts)} for good", yes=yes)
    removed: dict[str, int] = {}
    with progress("flushing", total) as bar:
        for name, jobs in counts.items():
            removed[name] = place(store, name).flush(state)
            bar.update(jobs)
    gone = sum(removed.values())
    out.answer({"count": gone, "state": state.value, "queues": removed}, f"{count(gone, f'{state} job')} removed")


@queues.command()
@names_argument
@yes_option
@on_store
def destroy(store: QueueBackend, out: Output, names: Sequence[str], *, yes: bool) -> None:
    """Remove queues with every job, result and setting in them, for good."""
    names = queue_names(store, names)
    found = [store.stats(name) for name in names]
    total = sum(getattr(stats, state) for stats in found for state in COUNTS)
    running = sum(stats.running for stats in found)
    warning = f", {running} of them running now" if running else ""
    out.confirm(f"this destroys {', '.join(names)} with {count(total, 'job')}{warning}", yes=yes)
    removed = {name: place(store, name).destroy() for name in names}
    gone = sum(removed.values())
    out.answer({"count": gone, "queues": removed}, f"destroyed {', '.join(names)} with {count(gone, 'job')}")
