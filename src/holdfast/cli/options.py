"""Options that several commands share, and what they become before a command's own code runs."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from holdfast.capabilities import JobFilter
from holdfast.cli.output import Output
from holdfast.cli.project import ON_DISK, find_project
from holdfast.clock import SYSTEM
from holdfast.config import StoreURL, parse_url
from holdfast.contract import LogBackend, QueueBackend
from holdfast.delivery import State
from holdfast.errors import ConfigError, UsageError, nearest

if TYPE_CHECKING:
    from holdfast.app import App

F = TypeVar("F", bound=Callable[..., Any])
B = TypeVar("B", QueueBackend, LogBackend)

URL_VARIABLE, DEFAULT_URL = "HOLDFAST_URL", "sqlite:///holdfast.db"
LOGS_VARIABLE = "HOLDFAST_LOGS_URL"
APP_VARIABLE = "HOLDFAST_APP"


def json_option(command: F) -> F:
    """Give a command ``--json``, and its function an ``Output`` as ``out``."""

    @functools.wraps(command)
    def run(*args: Any, as_json: bool, **given: Any) -> Any:
        return command(*args, out=Output(as_json=as_json), **given)

    return cast("F", click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(run))


def store_options(command: F) -> F:
    """Give a command ``--url`` and ``--app``."""
    command = click.option("--app", metavar="PKG.MOD:APP", help="Use the store of this App.")(command)
    return click.option("--url", help="The store, such as sqlite:///jobs.db.")(command)


def on_store(command: F) -> F:
    """Give a command ``--url``, ``--app`` and ``--json``, and its function an open ``store`` and ``out``."""

    @functools.wraps(command)
    def run(*args: Any, url: str | None, app: str | None, **given: Any) -> Any:
        with opened(url, app) as (store, _):
            return command(*args, store=store, **given)

    return store_options(cast("F", json_option(run)))


queues_option = click.option("--queue", "-q", "queues", multiple=True, help="In this queue; may be repeated.")
limit_option = click.option(
    "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="At most so many."
)
cursor_option = click.option("--cursor", help="Go on where the last page ended; needs one --queue.")
rate_option = click.option("--rate", type=click.FloatRange(0, min_open=True), help="At most so many jobs a second.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only say how many there are.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def selecting(command: F) -> F:
    """Give a command the filters over jobs, and its function a ``JobFilter`` as ``only``."""

    @functools.wraps(command)
    def run(*args: Any, **given: Any) -> Any:
        chosen = {name: given.pop(name) for name in FILTERS}
        only = JobFilter(states=given.pop("states", None) or tuple(State), **chosen)
        return command(*args, only=only, **given)

    for option in reversed(_FILTERS):
        run = option(run)
    return cast("F", run)


# -- values ---------------------------------------------------------------------------------------------------


def read_state(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Read one state, or several, by name; names that other systems use are recognised in the error."""
    return tuple(_state(name) for name in value) if isinstance(value, tuple) else _state(value)


def _state(name: str) -> State:
    if name.lower() in list(State):
        return State(name.lower())
    other = _ELSEWHERE.get(name.lower())
    hint = nearest(name, [known.value for known in State]) if other is None else f" (did you mean {other.value!r}?)"
    raise click.BadParameter(f"{name!r} is no state of a job{hint}; known: {', '.join(State)}")


_ELSEWHERE = {
    "failed": State.DEAD,
    "waiting": State.READY,
    "pending": State.READY,
    "delayed": State.SCHEDULED,
    "active": State.RUNNING,
    "reserved": State.RUNNING,
    "completed": State.DONE,
    "finished": State.DONE,
    "succeeded": State.DONE,
}


def read_instant(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Read a length of time ago, or an ISO 8601 text, which means UTC unless it has a zone, as ms."""
    if value is None:
        return None
    if (ago := re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", value)) is not None:
        return SYSTEM.wall() - int(float(ago[1]) * _UNITS[ago[2]] * 1000)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no time; write 30m, 2h or 7d for so long ago, or a time in UTC such as 2026-01-31T09:00"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def read_headers(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> dict[str, str] | None:
    """Read ``name=value`` pairs."""
    for pair in value:
        if "=" not in pair:
            raise click.BadParameter(f"{pair!r} names no value; write name=value")
    return {name: rest for name, _, rest in (pair.partition("=") for pair in value)} or None


_AGO = "30m, 2h, 7d ago, or a time in UTC"
_FILTERS = (
    click.option("--kind", help="The task's name."),
    click.option("--key", help="The key is exactly this."),
    click.option("--reason", help="The reason is exactly this."),
    click.option("--text", help="This text is in the reason or the last error."),
    click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", callback=read_headers, help="Has this."),
    click.option("--since", callback=read_instant, help=f"Sent since: {_AGO}."),
    click.option("--until", callback=read_instant, help="Sent before."),
    click.option("--ended-since", callback=read_instant, help="Ended since, as when it died."),
    click.option("--ended-until", callback=read_instant, help="Ended before."),
)
FILTERS = ("kind", "key", "reason", "text", "headers", "since", "until", "ended_since", "ended_until")


# -- the store ------------------------------------------------------------------------------------------------


@contextmanager
def opened(url: str | None, app: str | None, *, shared: bool = True) -> Iterator[tuple[QueueBackend, App | None]]:
    """Open the store that a URL, an App, the environment or the project's file names, for a command that looks at it
    from outside; yield it with its App, if one was named.

    One that lives inside a single process is refused, unless it need not be ``shared``.
    """
    parsed, found = _named(url, app)
    if found is not None:
        with found:
            yield _shared(found.backend, found.url) if shared else found.backend, found
        return
    from holdfast.stores import open_store

    store = open_store(parsed)
    try:
        yield _shared(store, parsed) if shared else store, None
    finally:
        store.close()


@contextmanager
def opened_logs(url: str | None, app: str | None) -> Iterator[LogBackend]:
    """Open the logs of the store that is named so, or by ``$HOLDFAST_LOGS_URL``."""
    if url is None and app is None:
        url = os.environ.get(LOGS_VARIABLE)
    parsed, found = _named(url, app, logs=True)
    if found is not None:
        with closing(found):
            yield _shared(found.log_backend, parsed)
        return
    from holdfast.stores import open_logs

    store = open_logs(parsed)
    try:
        yield _shared(store, parsed)
    finally:
        store.close()


def _named(url: str | None, app: str | None, *, logs: bool = False) -> tuple[StoreURL, App | None]:
    """Return the URL of the store that is meant, or that of its ``logs``, and the App whose it is, if one was named;
    what is not there is refused.
    """
    if url is not None and app is not None:
        raise click.UsageError("Give --url or --app, not both.")
    folder, by_default = None, False
    parsed = None if url is None else parse_url(url)
    if url is None and app is None:
        parsed, app, folder = _unsaid()
        by_default = parsed is None and app is None
    if app is not None:
        from holdfast.cli.application import find_app

        found = find_app(app, folder)
        place = found.logs_url or found.url if logs else found.url
        _check_place(place)
        return place, found
    parsed = parsed or parse_url(DEFAULT_URL)
    _check_place(parsed, by_default=by_default)
    return parsed, None


def _unsaid() -> tuple[StoreURL | None, str | None, Path | None]:
    """Return the URL, or the App and the folder of its module, that the environment names, or else the file."""
    if url := os.environ.get(URL_VARIABLE):
        return parse_url(url), None, None
    if app := os.environ.get(APP_VARIABLE):
        return None, app, None
    project = find_project()
    if project is None:
        return None, None, None
    return project.url, project.app if project.url is None else None, project.folder


def _check_place(url: StoreURL, *, by_default: bool = False) -> None:
    """Refuse a file that is not there: looking at it would make it, and a typo would look like an empty store."""
    if url.scheme not in ON_DISK or not url.path or Path(url.path).exists():
        return
    if by_default:
        raise ConfigError(f"which store? Give --url or --app, or set {URL_VARIABLE} ({url.path} is not here)")
    path = Path(url.path).absolute()
    others = [str(other.name) for other in path.parent.glob(f"*{path.suffix}")] if path.parent.is_dir() else []
    near, (what, does, hint) = nearest(path.name, others), _PLACES[url.scheme]
    raise ConfigError(f"{url.text}: there is no {what} {path}{near}; it is made when a program first {does}{hint}")


_PLACES = {
    "sqlite": ("file", "sends", " (three slashes for a relative path, four for an absolute one)"),
    "disk": ("directory", "appends or sends", ""),
}


def _shared(store: B, url: StoreURL) -> B:
    if store.features.multi_process or store.features.durable:
        return store
    raise UsageError(
        f"{url.text}: this store lives inside one process, so a command finds nothing in it; "
        "use one that processes share, such as sqlite:///jobs.db"
    )
