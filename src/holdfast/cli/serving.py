"""``holdfast worker --status``: who asks over HTTP hears how the worker is, and what it counts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, gettempdir
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


JUST_MADE = 60.0
"""Seconds in which a directory without a lock is still about to get one."""


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
    parent = memory if os.access(memory, os.W_OK) else Path(gettempdir())
    sweep(parent)
    with TemporaryDirectory(prefix=OWN, dir=parent) as folder, _held(Path(folder)):
        os.environ[VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[VARIABLE]


def sweep(parent: Path) -> None:
    """Remove the directories in it whose owners were killed: their locks have gone with them."""
    for folder in parent.glob(f"{OWN}*"):
        with suppress(OSError), _held(folder):
            if time.time() - folder.stat().st_mtime > JUST_MADE:
                rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Lock a directory for this block, at most until the process ends; ``OSError`` when another one has."""
    import fcntl  # which not every system has

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


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
