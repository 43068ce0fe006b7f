"""``holdfast streams``: how far the groups are that read streams which others fill."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import click

from holdfast.capabilities import ForeignStreams
from holdfast.cli.groups import NounGroup
from holdfast.cli.options import json_option, opened, store_options
from holdfast.cli.output import Output, Table, length
from holdfast.contract import QueueBackend, StreamGroups
from holdfast.entries import entry_at
from holdfast.errors import NotSupported, UsageError
from holdfast.logged import Lag
from holdfast.logs.groups import GroupLag

F = TypeVar("F", bound=Callable[..., Any])
Groups = Mapping[str, Sequence[Lag]]

UNKNOWN = "unknown"
"""What is shown where the server does not know how many entries there are."""

stream_argument = click.argument("stream", metavar="STREAM")


@click.group(cls=NounGroup)
def streams() -> None:
    """Show how far the groups are that read streams which others fill."""


def on_streams(command: F) -> F:
    """Give a command ``--url``, ``--app`` and ``--json``, and its function the groups of streams as ``store``."""

    @functools.wraps(command)
    def run(*args: Any, url: str | None, app: str | None, **given: Any) -> Any:
        with opened(url, app) as (store, _):
            return command(*args, store=_groups_of(store), **given)

    return store_options(cast("F", json_option(run)))


def _groups_of(store: QueueBackend) -> StreamGroups:
    if not isinstance(store, ForeignStreams):
        raise NotSupported(f"{type(store).__name__} has no streams: name a store of redis:// or valkey://")
    return store.open_streams()


@streams.command("list")
@store_options
@json_option
def list_streams(out: Output, url: str | None, app: str | None) -> None:
    """List the streams that the consumers of an App read, with the groups they read in."""
    with opened(url, app) as (store, found):
        if found is None:
            raise UsageError("whose consumers? Give --app package.module:app")
        names = found._consumers.streams()
        lags = {name: _lags(_groups_of(store), name) for name in names}
    rows = [[name, *row] for name, groups in lags.items() for row in _rows(groups)]
    documents = [{"stream": name, "groups": _documents(groups)} for name, groups in lags.items()]
    out.answer(
        {"streams": documents},
        Table(["stream", "group", "behind", "oldest"], rows) if rows else "nobody reads a stream of others yet",
    )


def _rows(groups: Groups) -> list[list[object]]:
    return [[name, _said(lags), length(GroupLag(tuple(lags)).age)] for name, lags in groups.items()]


@streams.command()
@stream_argument
@on_streams
def groups(store: StreamGroups, out: Output, stream: str) -> None:
    """List the groups of a stream, those of other programs too: how many entries are not finished, and who reads."""
    found = [(group, store.lag(stream, group.name)) for group in store.groups(stream)]
    rows = [
        [one.name, _said(lags), length(GroupLag(tuple(lags)).age), len(one.members), length(round(one.idle))]
        for one, lags in found
    ]
    documents = [
        {"group": one.name, "members": one.members, "idle": one.idle, **_document(lags)} for one, lags in found
    ]
    headings = ["group", "behind", "oldest", "members", "idle"]
    out.answer({"groups": documents}, Table(headings, rows) if rows else f"nobody reads {stream}")


@streams.command()
@stream_argument
@click.argument("group", metavar="[GROUP]", required=False)
@click.option(
    "--more-than",
    type=click.IntRange(0),
    help="Exit with 1 if a group is behind by more entries, or the server does not know by how many.",
)
@on_streams
def lag(store: StreamGroups, out: Output, stream: str, group: str | None, *, more_than: int | None) -> None:
    """Show how far a group is behind, or all groups: what nobody was given yet, and what each consumer has."""
    found = _lags(store, stream) if group is None else {group: store.lag(stream, group)}
    rows = [
        [name, one.member or "nobody yet", entry_at(one.next), _said([one]), length(one.age)]
        for name, lags in found.items()
        for one in lags
    ]
    headings = ["group", "consumer", "from", "entries", "oldest"]
    out.answer({"groups": _documents(found)}, Table(headings, rows) if rows else f"nobody reads {stream}")
    if more_than is not None and any(_is_behind(lags, more_than) for lags in found.values()):
        click.get_current_context().exit(1)


# -- values ---------------------------------------------------------------------------------------------------


def _lags(store: StreamGroups, stream: str) -> Groups:
    return {group.name: store.lag(stream, group.name) for group in store.groups(stream)}


def _known(lags: Sequence[Lag]) -> int | None:
    return None if any(lag.more for lag in lags) else GroupLag(tuple(lags)).messages


def _said(lags: Sequence[Lag]) -> object:
    known = _known(lags)
    return UNKNOWN if known is None else known


def _is_behind(lags: Sequence[Lag], more_than: int) -> bool:
    known = _known(lags)
    return known is None or known > more_than


def _documents(groups: Groups) -> dict[str, Any]:
    return {name: _document(lags) for name, lags in groups.items()}


def _document(lags: Sequence[Lag]) -> dict[str, Any]:
    """Return what is told as JSON: ``entries`` is null where the server does not know."""
    each = [
        {"consumer": one.member, "from": entry_at(one.next), "entries": _known([one]), "age": one.age} for one in lags
    ]
    return {"entries": _known(lags), "age": GroupLag(tuple(lags)).age, "consumers": each}
