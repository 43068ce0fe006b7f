"""``holdfast logs``: logs and their groups, how far those are, and what can be done to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdfast.cli.groups import NounGroup
from holdfast.cli.log_messages import Tail, entries_of, message_document, message_row
from holdfast.cli.log_options import Where, group_argument, group_name, log_argument, log_name, on_logs, placing
from holdfast.cli.log_verifying import repair, verify
from holdfast.cli.options import read_headers, yes_option
from holdfast.cli.output import Output, Table, ago, count, iso, length, progress
from holdfast.cli.sizes import size
from holdfast.config import LogSettings
from holdfast.contract import LogBackend
from holdfast.errors import nearest
from holdfast.logged import Ends, Lag

if TYPE_CHECKING:
    from holdfast.logs import Log


@click.group(cls=NounGroup)
def logs() -> None:
    """List, read, append to, verify and destroy logs; look after their groups."""


# -- looking --------------------------------------------------------------------------------------------------


@logs.command("list")
@on_logs
def list_logs(store: LogBackend, out: Output) -> None:
    """List the logs with what they hold, and how many groups read them."""
    found = [(name, settings, store.ends(name), len(store.groups(name))) for name, settings in store.logs().items()]
    documents = [_document(*one) for one in found]
    headings = ["log", "partitions", "messages", "size", "oldest", "groups", "labels"]
    table = Table(headings, [_row(*one) for one in found])
    out.answer({"logs": documents}, table if found else "this store has no logs yet")


def _document(name: str, settings: LogSettings, ends: Sequence[Ends], groups: int) -> dict[str, Any]:
    return {
        "log": name,
        "messages": _messages(ends),
        "bytes": sum(one.bytes for one in ends),
        "oldest": iso(_oldest(ends)),
        "groups": groups,
        "partitions": [{**msgspec.structs.asdict(one), "oldest": iso(one.oldest)} for one in ends],
        "settings": {**msgspec.structs.asdict(settings), "labels": dict(settings.labels)},
    }


def _row(name: str, settings: LogSettings, ends: Sequence[Ends], groups: int) -> list[object]:
    labels = " ".join(f"{label}={value}" for label, value in sorted(settings.labels.items()))
    stored = size(sum(one.bytes for one in ends))
    return [name, settings.partitions, _messages(ends), stored, ago(_oldest(ends)), groups, labels]


def _messages(ends: Sequence[Ends]) -> int:
    return sum(one.next - one.first for one in ends)


def _oldest(ends: Sequence[Ends]) -> int | None:
    return min((one.oldest for one in ends if one.oldest is not None), default=None)


@logs.command()
@log_argument
@placing
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="At most so many.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is appended, until Ctrl-C.")
@on_logs
def tail(store: LogBackend, out: Output, log: str, where: Where, *, limit: int, follow: bool) -> None:
    """Show the last messages of a log, or those from an offset or a time on. No group knows of it.

    With --follow and --json, each message is a line of its own.
    """
    tailing = Tail(store, log_name(store, log), where, last=limit)
    if not follow:
        found = tailing.read(limit)
        rows = Table(["place", "appended", "key", "body"], [message_row(one) for one in found])
        out.answer({"messages": [message_document(one) for one in found]}, rows if found else "nothing is there")
        return
    for one in tailing.follow():
        if out.as_json:
            click.echo(msgspec.json.encode(message_document(one)).decode())
        else:
            click.echo("  ".join(str(cell) for cell in message_row(one) if cell is not None))


# -- appending ------------------------------------------------------------------------------------------------


@logs.command()
@log_argument
@click.argument("bodies", nargs=-1, metavar="[BODY]...")
@click.option("--key", help="Of all of these messages: it chooses their partition.")
@click.option(
    "--header", "headers", multiple=True, metavar="NAME=VALUE", callback=read_headers, help="May be repeated."
)
@click.option("--partition", "-p", type=click.IntRange(0), help="To this partition, whatever the key.")
@on_logs
def append(
    store: LogBackend,
    out: Output,
    log: str,
    bodies: Sequence[str],
    *,
    key: str | None,
    headers: Mapping[str, str] | None,
    partition: int | None,
) -> None:
    """Append texts to a log that exists, or without any the lines of standard input, each as a message."""
    place, stored = _log(store, log_name(store, log)), 0
    with progress("appending", len(bodies)) as bar:
        for some in entries_of(bodies, key, headers):
            stored += len(place.append_many(some, partition=partition))
            bar.update(len(some))
    out.answer({"log": log, "count": stored}, f"{count(stored, 'message')} appended to {log}")


def _log(store: LogBackend, name: str) -> Log:
    from holdfast.clock import SYSTEM
    from holdfast.declared import DeclaredLogs
    from holdfast.events import LOGGER
    from holdfast.logs import Beats, Log

    return Log(name, lambda: store, DeclaredLogs(strict=True), lambda: Beats(lambda: store, "holdfast", SYSTEM, LOGGER))


# -- groups ---------------------------------------------------------------------------------------------------


@logs.command("groups")
@log_argument
@on_logs
def list_groups(store: LogBackend, out: Output, log: str) -> None:
    """List the groups of a log, with how far they are behind and what is kept for them alone."""
    found = [(group, store.lag(log, group.name)) for group in store.groups(log_name(store, log))]
    headings = ["group", "behind", "oldest", "members", "idle", "kept for it"]
    rows = [
        [one.name, _behind(lags), length(_age(lags)), len(one.members), length(round(one.idle)), size(one.pins)]
        for one, lags in found
    ]
    documents = [{**msgspec.structs.asdict(one), "messages": _behind(lags), "age": _age(lags)} for one, lags in found]
    out.answer({"groups": documents}, Table(headings, rows) if found else f"nobody reads {log}")


@logs.command()
@log_argument
@click.argument("group", metavar="[GROUP]", required=False)
@click.option("--more-than", type=click.IntRange(0), help="Exit with 1 if a group is behind by more messages.")
@on_logs
def lag(store: LogBackend, out: Output, log: str, group: str | None, more_than: int | None) -> None:
    """Show how far a group is behind in each partition, or all groups."""
    names = (
        [one.name for one in store.groups(log_name(store, log))] if group is None else [group_name(store, log, group)]
    )
    found = {name: store.lag(log, name) for name in names}
    headings = ["group", "partition", "next", "behind", "oldest", "member"]
    rows = [[name, *_lag_row(one)] for name, lags in found.items() for one in lags]
    documents = {
        name: {
            "messages": _behind(lags),
            "age": _age(lags),
            "partitions": [msgspec.structs.asdict(one) for one in lags],
        }
        for name, lags in found.items()
    }
    out.answer({"groups": documents}, Table(headings, rows) if rows else f"nobody reads {log}")
    if more_than is not None and any(_behind(lags) > more_than for lags in found.values()):
        click.get_current_context().exit(1)


def _lag_row(one: Lag) -> list[object]:
    place = f"{one.next} (gone)" if one.gone else one.next
    return [one.partition, place, one.messages, length(one.age), one.member]


def _behind(lags: Sequence[Lag]) -> int:
    return sum(one.messages for one in lags)


def _age(lags: Sequence[Lag]) -> float | None:
    return max((one.age for one in lags if one.age is not None), default=None)


@logs.command()
@log_argument
@group_argument
@click.option("--to", type=click.Choice(["earliest", "latest"]), help="An end of the log.")
@placing
@yes_option
@on_logs
def seek(store: LogBackend, out: Output, log: str, group: str, *, to: str | None, where: Where, yes: bool) -> None:
    """Let a group go on elsewhere, now, whatever its members are at. It is made if there is none."""
    if sum(one is not None for one in (to, where.time, where.offset)) != 1:
        raise click.UsageError("Give one of --to, --time and --offset.")
    places = {
        ends.partition: (ends.first if to == "earliest" else ends.next) if to else where.place(store, log, ends)
        for ends in where.partitions(store.ends(log_name(store, log)), log)
    }
    known = {one.name for one in store.groups(log)}
    if group not in known:
        out.confirm(f"{log} has no group {group!r}{nearest(group, known)}; this makes it", yes=yes)
    before = {one.partition: one.next for one in store.lag(log, group)} if group in known else {}
    skipped = sum(max(0, place - before.get(partition, place)) for partition, place in places.items())
    if skipped:
        out.confirm(f"this skips {count(skipped, 'message')} that {group} has not committed", yes=yes)
    store.seek(log, group, places)
    said = ", ".join(f"{partition}: {place}" for partition, place in places.items())
    out.answer({"log": log, "group": group, "offsets": places}, f"{group} goes on at {said}")


@logs.command()
@log_argument
@group_argument
@yes_option
@on_logs
def forget(store: LogBackend, out: Output, log: str, group: str, *, yes: bool) -> None:
    """Remove a group with its offsets; the messages stay. Nothing is kept for it any more."""
    group_name(store, log_name(store, log), group)
    out.confirm(f"this removes group {group} of {log}, and with it how far it is", yes=yes)
    gone = store.forget(log, group)
    out.answer({"count": int(gone)}, f"{group} of {log} is forgotten" if gone else f"{log} has no group {group}")


# -- the whole log --------------------------------------------------------------------------------------------


@logs.command()
@log_argument
@yes_option
@on_logs
def destroy(store: LogBackend, out: Output, log: str, *, yes: bool) -> None:
    """Remove a log with its messages and groups, for good."""
    total = _messages(store.ends(log_name(store, log)))
    out.confirm(f"this destroys {log} with {count(total, 'message')}", yes=yes)
    gone = store.destroy(log)
    out.answer({"count": gone, "log": log}, f"destroyed {log} with {count(gone, 'message')}")


logs.add_command(verify)
logs.add_command(repair)
