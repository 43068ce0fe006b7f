"""``holdfast worker --status``: who asks over HTTP hears how the worker is, and what it counts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from holdfast.cli.output import Output
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.app import App
    from holdfast.worker.health import Health

Place = tuple[str, int]

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where ``prometheus-client`` keeps what several processes count."""
OWN = "holdfast-metrics-"
"""How the name of a directory begins that was made here."""


def read_place(ctx: click.Context, param: click.Parameter, value: str | None) -> Place | None:
    """Read ``[HOST:]PORT``."""
    if value is None:
        return None
    from holdfast.http.status import parse_place

    try:
        return parse_place(value)
    except UsageError as error:
        raise click.BadParameter(str(error)) from None


@contextmanager
def counting_together(place: Place | None) -> Iterator[None]:
    """Let this process and those that it starts in the block count together, if a place to serve at is given.

    It comes before the App is imported: ``prometheus-client`` asks where to count when it is imported.
    """
    if place is None or os.environ.get(VARIABLE) or find_spec("prometheus_client") is None:
        yield
        return
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix=OWN, dir=memory if os.access(memory, os.W_OK) else None) as folder:
        os.environ[VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[VARIABLE]


@contextmanager
def serving(app: App, place: Place | None, health: Callable[[], Health], out: Output) -> Iterator[None]:
    """Serve the status in this block, if a place is given; count from now on."""
    if place is None:
        yield
        return
    from holdfast.http.status import PATHS, StatusServer

    server = StatusServer(*place, health=health, metrics=metrics_of(app), logger=app.events.logger)
    out.say(f"status       {server.url} answers {PATHS}", "")
    server.start()
    try:
        yield
    finally:
        server.stop()


def metrics_of(app: App) -> Callable[[], bytes] | str:
    """Return what tells the App's metrics, or why nothing does."""
    try:
        from holdfast.metrics import Metrics
    except UsageError as missing:
        return str(missing)
    return Metrics.of(app).text
