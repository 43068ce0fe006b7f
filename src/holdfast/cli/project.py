"""``[tool.holdfast]`` of the project's pyproject.toml: defaults of the command line, and settings of queues."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import click
import msgspec

from holdfast.config import QueueSettings, StoreURL, parse_url
from holdfast.errors import ConfigError, UsageError, nearest

FILE, TABLE = "pyproject.toml", "tool.holdfast"
REPOSITORY = (".git", ".hg", ".jj")
"""What lies at the top of a repository: above it a file belongs to something else."""
META = "holdfast.project"
LOG_FORMATS = ("text", "json")


class _Table(msgspec.Struct, frozen=True):
    app: str | None = None
    url: str | None = None
    tasks: tuple[str, ...] = ()
    queues: tuple[str, ...] | dict[str, dict[str, Any]] = ()
    concurrency: Annotated[int, msgspec.Meta(ge=1)] | None = None
    lanes: dict[str, Annotated[int, msgspec.Meta(ge=1)]] = {}
    grace: Annotated[float, msgspec.Meta(ge=0)] | None = None
    processes: Annotated[int, msgspec.Meta(ge=0)] | None = None
    recycle: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_memory: Annotated[int, msgspec.Meta(ge=1)] | str | None = None
    stall_limit: Annotated[float, msgspec.Meta(gt=0)] | None = None
    ttl: Annotated[float, msgspec.Meta(gt=0)] | None = None
    isolated: Annotated[int, msgspec.Meta(ge=1)] | None = None
    log_format: str | None = None
    status: str | int | None = None


_SUPERVISION = ("processes", "recycle", "max_memory", "stall_limit")
_OPTIONS = (
    "app",
    "tasks",
    "queues",
    "concurrency",
    "lanes",
    "grace",
    "ttl",
    "isolated",
    *_SUPERVISION,
    "log_format",
    "status",
)


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """What one file says. ``queues`` are those to work on, ``settings`` what queues are told; a file has one of both.

    ``lanes`` are written as on the command line, and so are ``tasks``, the packages to discover.
    """

    file: Path
    app: str | None
    url: StoreURL | None
    tasks: tuple[str, ...]
    queues: tuple[str, ...]
    settings: Mapping[str, QueueSettings]
    concurrency: int | None
    lanes: tuple[str, ...]
    grace: float | None
    ttl: float | None
    isolated: int | None
    processes: int | None
    recycle: int | None
    max_memory: int | str | None
    stall_limit: float | None
    log_format: str | None
    status: str | int | None

    @property
    def folder(self) -> Path:
        """Where the file lies: its modules are looked for here, and relative stores lie here."""
        return self.file.parent

    def defaults(self) -> dict[str, Any]:
        """Return what the file says of options, by their parameters' names."""
        said = {name: getattr(self, name) for name in _OPTIONS}
        return {name: value for name, value in said.items() if value not in (None, ())}


def find_project(start: Path | None = None) -> Project | None:
    """Return what the nearest file that has ``[tool.holdfast]`` says, looking in ``start`` (by default the current
    directory) and upwards to the top of its repository. ``ConfigError`` names what is wrong in the file.
    """
    start = (start or Path.cwd()).absolute()
    for folder in (start, *start.parents):
        if (file := folder / FILE).is_file() and (table := _table(file)) is not None:
            return _read(file, table)
        if any((folder / name).exists() for name in REPOSITORY):
            break
    return None


class ProjectCommand(click.Command):
    """A command whose options default to what the project's file says; options given win, then the environment."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:
        project = find_project()
        if project is not None:
            extra.setdefault("default_map", project.defaults())
        context = super().make_context(info_name, args, *rest, **extra)
        context.meta[META] = project
        return context


def from_file(context: click.Context, name: str) -> bool:
    """Tell whether the parameter's value comes from the project's file."""
    return context.get_parameter_source(name) is click.core.ParameterSource.DEFAULT_MAP


@contextmanager
def naming(project: Project, said: str) -> Iterator[None]:
    """Begin errors of the block with the file and what it said."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{project.file}: {said}: {error}") from error


def same_place(one: StoreURL, other: StoreURL) -> bool:
    """Tell whether two URLs name one store, as far as can be seen from here."""
    if one.scheme in ON_DISK and other.scheme == one.scheme:
        return Path(one.path).absolute() == Path(other.path).absolute()
    return (one.scheme, one.host, one.path) == (other.scheme, other.host, other.path)


# -- reading --------------------------------------------------------------------------------------------------


def _table(file: Path) -> Mapping[str, Any] | None:
    import tomllib

    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from error
    table = document.get("tool", {}).get("holdfast")
    if table is None or isinstance(table, dict):
        return table
    raise ConfigError(f"{file}: holdfast is a table: write [{TABLE}]")


def _read(file: Path, table: Mapping[str, Any]) -> Project:
    where = f"{file}: [{TABLE}]"
    _refuse_unknown(where, table, _Table.__struct_fields__)
    try:
        read = msgspec.convert(table, _Table)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {_plainly(error)}") from error
    if read.log_format not in (None, *LOG_FORMATS):
        hint = nearest(str(read.log_format), LOG_FORMATS)
        raise ConfigError(f"{where}: log_format is {' or '.join(LOG_FORMATS)}, not {read.log_format!r}{hint}")
    queues, settings = (read.queues, {}) if isinstance(read.queues, tuple) else ((), read.queues)
    return Project(
        file=file,
        app=read.app,
        url=None if read.url is None else _placed(f"{where} url", read.url, file.parent),
        tasks=read.tasks,
        queues=queues,
        settings={name: _settings(f"{file}: [{TABLE}.queues.{name}]", told) for name, told in settings.items()},
        concurrency=read.concurrency,
        lanes=tuple(f"{queue}={slots}" for queue, slots in read.lanes.items()),
        grace=read.grace,
        ttl=read.ttl,
        isolated=read.isolated,
        **{name: getattr(read, name) for name in _SUPERVISION},
        log_format=read.log_format,
        status=read.status,
    )


def _settings(where: str, told: Mapping[str, Any]) -> QueueSettings:
    _refuse_unknown(where, told, QueueSettings.__struct_fields__)
    if "codec" in told:
        raise ConfigError(f"{where}: a codec is the code's to choose, which has to read with it: App(queues=…)")
    try:
        return msgspec.convert(told, QueueSettings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {_plainly(error)}") from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _refuse_unknown(where: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            raise ConfigError(f"{where} has no {name!r}{nearest(name, known)}; known: {', '.join(known)}")


def _placed(where: str, text: str, folder: Path) -> StoreURL:
    """Read a URL; a relative path in it starts where the file lies."""
    try:
        url = parse_url(text)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    if url.scheme not in ON_DISK or not url.path:
        return url
    return msgspec.structs.replace(url, path=os.path.join(folder, url.path))  # noqa: PTH118 - an absolute one stays


ON_DISK = {"sqlite", "disk"}
"""Schemes whose path is a file or directory of this machine, made when a program first sends."""


def _plainly(error: msgspec.ValidationError) -> str:
    said, _, place = str(error).partition(" - at `$.")
    name = place.rstrip("`").partition("[")[0]
    return f"{name}: {said[0].lower()}{said[1:]}" if name else said
