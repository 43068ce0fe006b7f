"""What commands on logs are told alike: which log, which group, and a place in it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import click
import msgspec

from holdfast.cli.options import json_option, opened_logs, read_instant, store_options
from holdfast.contract import LogBackend
from holdfast.errors import UsageError, nearest
from holdfast.logged import Ends

F = TypeVar("F", bound=Callable[..., Any])

log_argument = click.argument("log", metavar="LOG")
group_argument = click.argument("group", metavar="GROUP")


def on_logs(command: F) -> F:
    """Give a command ``--url``, ``--app`` and ``--json``, and its function the open logs as ``store`` and ``out``."""

    @functools.wraps(command)
    def run(*args: Any, url: str | None, app: str | None, **given: Any) -> Any:
        with opened_logs(url, app) as store:
            return command(*args, store=store, **given)

    return store_options(cast("F", json_option(run)))


def log_name(store: LogBackend, name: str) -> str:
    """Return the name of a log that exists; ``UsageError`` suggests the nearest."""
    known = sorted(store.logs())
    if name not in known:
        listed = f"known: {', '.join(known)}" if known else "this store has none yet"
        raise UsageError(f"there is no log {name!r}{nearest(name, known)}; {listed}")
    return name


def group_name(store: LogBackend, log: str, name: str) -> str:
    """Return the name of a group that the log has; ``UsageError`` suggests the nearest."""
    known = sorted(one.name for one in store.groups(log))
    if name not in known:
        listed = f"known: {', '.join(known)}" if known else "nobody reads it yet"
        raise UsageError(f"log {log!r} has no group {name!r}{nearest(name, known)}; {listed}")
    return name


class Where(msgspec.Struct, frozen=True):
    """A place in a log that a command names: an offset, or the first message from a time (ms) on, or neither."""

    partition: int | None
    offset: int | None
    time: int | None

    def partitions(self, ends: Sequence[Ends], log: str) -> Sequence[Ends]:
        """Return the partitions that are meant; an offset is one of a single partition."""
        if self.partition is not None:
            count = len(ends)
            ends = [one for one in ends if one.partition == self.partition]
            if not ends:
                raise UsageError(f"log {log!r} has no partition {self.partition}; it has {count}, from 0 on")
        elif self.offset is not None and len(ends) > 1:
            raise click.UsageError(f"{log} has {len(ends)} partitions: say which with --partition.")
        return ends

    def place(self, store: LogBackend, log: str, ends: Ends) -> int:
        """Return the offset in this partition; one of the two must have been given."""
        if self.offset is not None:
            return self.offset
        assert self.time is not None
        return store.find(log, ends.partition, self.time)


def placing(command: F) -> F:
    """Give a command ``--partition``, ``--offset`` and ``--time``, and its function a ``Where`` as ``where``."""

    @functools.wraps(command)
    def run(*args: Any, partition: int | None, offset: int | None, time: int | None, **given: Any) -> Any:
        if offset is not None and time is not None:
            raise click.UsageError("Give --offset or --time, not both.")
        return command(*args, where=Where(partition, offset, time), **given)

    for option in reversed(_PLACES):
        run = option(run)
    return cast("F", run)


_PLACES = (
    click.option("--partition", "-p", type=click.IntRange(0), help="In this partition alone."),
    click.option("--offset", type=click.IntRange(0), help="An offset; needs --partition in a log of several."),
    click.option("--time", callback=read_instant, help="What was appended then: 30m, 2h, 7d ago, or a time in UTC."),
)
