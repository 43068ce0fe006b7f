"""``holdfast workers``: who works on a store's queues, what each is doing, and what it is told to do."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
import msgspec

from holdfast.cli.groups import NounGroup
from holdfast.cli.options import json_option, opened, store_options, yes_option
from holdfast.cli.output import Output, Table, count, length
from holdfast.delivery import Command, HolderInfo

if TYPE_CHECKING:
    from holdfast.worker.commanding import AppWorkers

F = TypeVar("F", bound=Callable[..., Any])

CALLER, SILENT = "caller", "silent"
"""The state of who calls ``queue.lease`` and is no worker, and of one whose jobs may be taken back."""


class _ListsByDefault(NounGroup):
    """Does ``list`` when no command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def on_workers(command: F) -> F:
    """Give a command ``--url``, ``--app`` and ``--json``, and its function ``book`` and ``out``."""

    @functools.wraps(command)
    def run(*args: Any, url: str | None, app: str | None, **given: Any) -> Any:
        with opened(url, app) as (store, _):
            from holdfast.worker.commanding import AppWorkers

            return command(*args, book=AppWorkers(lambda: store), **given)

    return store_options(cast("F", json_option(run)))


def choosing(command: F) -> F:
    """Give a command the workers it is meant for: by name, or ``--all``."""
    command = click.option("--all", "everyone", is_flag=True, help="Every worker.")(command)
    return click.argument("names", nargs=-1, metavar="[WORKER]...")(command)


@click.group(cls=_ListsByDefault)
def workers() -> None:
    """List and show workers, and let them be quiet, work or stop.

    WORKER is an id, the beginning of one, a name, or the number of a process: a worker's, or a supervisor's for all of
    its workers. Without a command they are listed.
    """


# -- looking --------------------------------------------------------------------------------------------------


@workers.command("list")
@on_workers
def list_workers(book: AppWorkers, out: Output) -> None:
    """List the workers that live, what each is doing, and when it last said so."""
    found = book.list()
    out.answer({"workers": [_document(holder) for holder in found]}, _table(found) if found else "no worker lives")


def _table(found: Sequence[HolderInfo]) -> Table:
    headings = ["id", "state", "slots", "running", "memory", "last beat", "queues", "version", "host", "pid"]
    headings += ["supervisor"]
    return Table(headings, [_row(holder) for holder in found])


def _row(holder: HolderInfo) -> list[object]:
    return [
        holder.id,
        _state(holder),
        f"{holder.used}/{holder.slots}" if holder.slots else None,
        _running(holder),
        _bytes(holder.memory),
        _ago(holder.beaten),
        ", ".join(holder.queues),
        holder.version,
        holder.host,
        holder.pid,
        holder.supervisor or None,
    ]


def _running(holder: HolderInfo) -> str:
    """Return the kind of the job that has run longest, and how many others there are."""
    if not holder.running:
        return ""
    others = f" +{holder.used - 1}" if holder.used > 1 else ""
    return f"{holder.running[0].kind or '(raw)'} {length(round(holder.running[0].seconds))}{others}"


@workers.command()
@click.argument("name", metavar="WORKER")
@on_workers
def show(book: AppWorkers, out: Output, name: str) -> None:
    """Show a worker and the jobs it runs, those that have run longest first."""
    found = book.find(name)
    parts = [part for holder in found for part in (_in_full(holder), _jobs(holder), "")]
    out.answer({"workers": [_document(holder) for holder in found]}, *parts[:-1])


def _in_full(holder: HolderInfo) -> str:
    free = f"{holder.slots}, {holder.slots - holder.used} of them free" if holder.slots else "none: it is no worker"
    facts = {
        "worker": holder.id,
        "process": f"{holder.pid} on {holder.host}",
        "supervisor": str(holder.supervisor or ""),
        "version": holder.version,
        "state": _state(holder),
        "queues": ", ".join(holder.queues),
        "kinds": ", ".join(kind or "(raw)" for kind in holder.kinds),
        "slots": free,
        "memory": _bytes(holder.memory),
        "loop lag": length(holder.lag),
        "last beat": f"{_ago(holder.beaten) or 'unknown'}; its jobs go back {length(holder.ttl)} after it",
    }
    return "\n".join(f"{name:<10}  {fact}" for name, fact in facts.items() if fact)


def _jobs(holder: HolderInfo) -> str | Table:
    if not holder.running:
        return "it runs no job"
    return Table(
        ["job", "queue", "kind", "for"],
        [[job.id, job.queue, job.kind, length(round(job.seconds))] for job in holder.running],
    )


# -- telling --------------------------------------------------------------------------------------------------


@workers.command()
@choosing
@on_workers
def quiet(book: AppWorkers, out: Output, names: Sequence[str], *, everyone: bool) -> None:
    """Let workers lease nothing more; jobs that run go on, others go back."""
    _tell(book, out, _chosen(book, names, everyone=everyone), "quiet")


@workers.command()
@choosing
@on_workers
def work(book: AppWorkers, out: Output, names: Sequence[str], *, everyone: bool) -> None:
    """Let workers that are quiet lease again."""
    _tell(book, out, _chosen(book, names, everyone=everyone), "work")


@workers.command()
@choosing
@yes_option
@on_workers
def stop(book: AppWorkers, out: Output, names: Sequence[str], *, everyone: bool, yes: bool) -> None:
    """Let workers end as after SIGTERM; jobs that run have their grace."""
    chosen = _chosen(book, names, everyone=everyone)
    if len(chosen) > len(names):
        out.confirm(f"this stops {count(len(chosen), 'worker')}", yes=yes)
    _tell(book, out, chosen, "stop")


def _chosen(book: AppWorkers, names: Sequence[str], *, everyone: bool) -> list[HolderInfo]:
    if bool(names) == everyone:
        raise click.UsageError("Which workers? Name them, or give --all.")
    if everyone:
        return [holder for holder in book.list() if holder.slots]
    found = {holder.id: holder for name in names for holder in book.find(name)}
    return list(found.values())


def _tell(book: AppWorkers, out: Output, holders: Sequence[HolderInfo], command: Command) -> None:
    told = book.tell(holders, command)
    out.answer(
        {"workers": [{"id": holder.id, "told": command} for holder in told]},
        *[f"told to {'be ' if command == 'quiet' else ''}{command}: {holder.id}" for holder in told],
        *([] if told else ["no worker lives"]),
    )


# -- how they read --------------------------------------------------------------------------------------------


def _document(holder: HolderInfo) -> dict[str, Any]:
    return {
        "id": holder.id,
        "name": holder.name,
        "state": _state(holder),
        "host": holder.host,
        "pid": holder.pid,
        "supervisor": holder.supervisor or None,
        "version": holder.version,
        "queues": list(holder.queues),
        "kinds": list(holder.kinds),
        "slots": holder.slots,
        "used": holder.used,
        "running": [msgspec.structs.asdict(job) for job in holder.running],
        "memory": holder.memory,
        "lag": holder.lag,
        "ttl": holder.ttl,
        "beaten": holder.beaten,
    }


def _state(holder: HolderInfo) -> str:
    if holder.beaten is None or holder.beaten > holder.ttl:
        return SILENT
    return holder.state or CALLER


def _ago(seconds: float | None) -> str | None:
    return None if seconds is None else f"{length(round(seconds))} ago"


def _bytes(number: int) -> str | None:
    return f"{number / 1_000_000:.0f} MB" if number else None
