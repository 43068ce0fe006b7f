"""What commands print: one JSON document, or aligned tables; and progress, where somebody watches."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any, Literal, Protocol

import click

from holdfast.cli.groups import one_line
from holdfast.clock import SYSTEM

GAP = "  "
STYLES = {"dead": "red", "running": "green", "paused": "yellow", "expired": "yellow", "cancelled": "yellow"}


class Table:
    """Rows under headings. Cells are shown as text; None shows as nothing."""

    def __init__(self, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self.headings = [heading.upper() for heading in headings]
        self.rows = [["" if cell is None else one_line(str(cell)) for cell in row] for row in rows]

    def plain(self, width: int | None = None) -> list[str]:
        """Return the table as lines, cut at ``width`` when there is one."""
        widths, numeric = [self.room(heading) for heading in self.headings], self.numeric()
        lines = [self.headings, *self.rows]
        texts = [GAP.join(map(_aligned, line, widths, numeric)).rstrip() for line in lines]
        return texts if width is None else [f"{text[: width - 1]}…" if len(text) > width else text for text in texts]

    def room(self, heading: str) -> int:
        """Return how many characters the column under ``heading`` takes."""
        column = self.headings.index(heading)
        return max(len(line[column]) for line in (self.headings, *self.rows))

    def numeric(self) -> list[bool]:
        """Tell which columns hold numbers alone, and are aligned to the right."""
        columns = range(len(self.headings))
        return [all(row[column].replace(",", "").isdecimal() for row in self.rows) for column in columns]


def _aligned(cell: str, room: int, right: bool) -> str:
    return cell.rjust(room) if right else cell.ljust(room)


Part = str | Table


class Output:
    """Where one command's answer goes: a JSON document on standard output, or text for people."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    def answer(self, document: Mapping[str, Any], *parts: Part) -> None:
        """Print the document when JSON was asked for, else the parts. To be called once."""
        if self.as_json:
            click.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))
            return
        for part in parts:
            _show(part)

    def say(self, *parts: Part) -> None:
        """Print parts beside the answer: for people only, so on standard error when the answer is JSON."""
        for part in parts:
            _show(part, err=self.as_json)

    def confirm(self, what: str, *, yes: bool) -> None:
        """Return when the user agrees to ``what``; ask on a terminal, refuse without one unless ``yes``."""
        if yes:
            return
        if not sys.stdin.isatty():
            raise click.UsageError(f"{what}: nobody is there to ask; add --yes if this is meant.")
        click.confirm(f"{what}. Go on?", abort=True, err=True)


def _show(part: Part, *, err: bool = False) -> None:
    if isinstance(part, str):
        click.echo(part, err=err)
        return
    terminal = (sys.stderr if err else sys.stdout).isatty()
    if terminal and find_spec("rich") is not None:
        _show_rich(part, err=err)
        return
    for line in part.plain(shutil.get_terminal_size().columns if terminal else None):
        click.echo(line, err=err)


def _show_rich(table: Table, *, err: bool) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=None, pad_edge=False, header_style="bold", padding=(0, len(GAP), 0, 0))
    for heading, numeric in zip(table.headings, table.numeric(), strict=True):
        side: Literal["left", "right"] = "right" if numeric else "left"
        narrowest = table.room(heading) if heading == "ID" else len(heading)
        shown.add_column(heading, justify=side, no_wrap=True, overflow="ellipsis", min_width=narrowest)
    for row in table.rows:
        shown.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    Console(stderr=err).print(shown)


# -- progress -------------------------------------------------------------------------------------------------


class Progress(Protocol):
    """What long work tells of itself."""

    def update(self, n_steps: int) -> None:
        """Tell that so many more steps are done."""


class _Silent:
    def update(self, n_steps: int) -> None:
        """Tell nobody."""


@contextmanager
def progress(label: str, length: int) -> Iterator[Progress]:
    """Show a bar on standard error while the block runs, if that is a terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb" or not length:
        yield _Silent()
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar


# -- how values read ------------------------------------------------------------------------------------------


def iso(millis: int | None) -> str | None:
    """Return an instant as ISO 8601 in UTC, to the millisecond."""
    if millis is None:
        return None
    return datetime.fromtimestamp(millis / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ago(millis: int | None) -> str | None:
    """Return how long ago an instant was, for people."""
    if millis is None:
        return None
    seconds = max(0, SYSTEM.wall() - millis) // 1000
    unit, name = next((unit, name) for unit, name in (*_UNITS, (1, "s")) if seconds >= 2 * unit or unit == 1)
    return f"{seconds // unit} {name}"


def length(seconds: float | None) -> str | None:
    """Return a length of time in the unit that suits it."""
    if seconds is None:
        return None
    for unit, name in _UNITS:
        if seconds >= unit * (1 if seconds % unit == 0 else 2):
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"


_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def count(number: int, noun: str) -> str:
    """Return ``1 job`` or ``2 jobs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
