"""``holdfast bench``: what a store does on this machine, in jobs a second. ``benchmarks/`` compares with others."""

from __future__ import annotations

import os
import platform
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdfast.cli.options import json_option
from holdfast.cli.output import Output, Progress, Table, length, progress

if TYPE_CHECKING:
    from holdfast.app import App
    from holdfast.tasks.task import Task

BULK = 500
LOOK_EVERY = 0.2


class Measure(msgspec.Struct, frozen=True):
    """How long ``jobs`` took."""

    key: str
    name: str
    jobs: int
    seconds: float

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.jobs / self.seconds


@click.command()
@click.option("--url", help="The store; by default a SQLite file in a temporary directory.")
@click.option("--jobs", type=click.IntRange(100), default=20_000, show_default=True, help="Jobs to send in bulk.")
@click.option("--concurrency", type=click.IntRange(1), default=10, show_default=True, help="The worker's jobs at once.")
@json_option
def bench(url: str | None, jobs: int, concurrency: int, out: Output) -> None:
    """Measure a store: enqueue one by one, enqueue in bulk, and run no-op jobs in one worker.

    Works in a queue of its own, which it removes again. Arguments are JSON, leases and completions are recorded, and
    a send returns when the store keeps its promise.
    """
    with _store(url) as app:
        name = f"holdfast-bench-{secrets.token_hex(4)}"
        task = app.task(name="holdfast.bench", queue=name)(_nothing)
        try:
            measures = _measures(app, task, jobs, concurrency)
        finally:
            app.backend.destroy(name)
        setting = _setting(app, concurrency)
    documents = {m.key: {"jobs": m.jobs, "seconds": m.seconds, "rate": m.rate} for m in measures}
    rows = [[m.name, m.jobs, length(m.seconds), f"{m.rate:,.0f}"] for m in measures]
    out.answer(
        {**setting, "measures": documents},
        f"{setting['store']}: a send is {setting['level']} when it returns",
        f"Python {setting['python']}, {setting['cores']} cores, concurrency {concurrency}",
        "",
        Table(["", "jobs", "time", "jobs/s"], rows),
    )


def _measures(app: App, task: Task[[int], None], jobs: int, concurrency: int) -> list[Measure]:
    few = jobs // 10
    return [
        _measure("enqueue_one", "enqueue one by one", few, lambda bar: _one_by_one(task, few, bar)),
        _measure("enqueue_bulk", f"enqueue {BULK} a call", jobs, lambda bar: _bulk(task, jobs, bar)),
        _measure("work", "run in one worker", jobs + few, lambda bar: _work(app, task.queue, concurrency, bar)),
    ]


def _nothing(number: int) -> None:
    pass


@contextmanager
def _store(url: str | None) -> Iterator[App]:
    from holdfast.app import App

    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder, App(url or _file_in(folder)) as app:
        yield app


def _file_in(folder: str) -> str:
    return f"sqlite:///{folder}/bench.db"


def _measure(key: str, name: str, jobs: int, work: Callable[[Progress], None]) -> Measure:
    with progress(name, jobs) as bar:
        started = time.perf_counter()
        work(bar)
        return Measure(key, name, jobs, time.perf_counter() - started)


def _one_by_one(task: Task[[int], None], jobs: int, bar: Progress) -> None:
    for number in range(jobs):
        task.enqueue(number)
        if number % 100 == 99:
            bar.update(100)


def _bulk(task: Task[[int], None], jobs: int, bar: Progress) -> None:
    for first in range(0, jobs, BULK):
        numbers = range(first, min(first + BULK, jobs))
        task.enqueue_many(task.call(number) for number in numbers)
        bar.update(len(numbers))


def _work(app: App, queue: str, concurrency: int, bar: Progress) -> None:
    worker = app.worker([queue], concurrency=concurrency, drain=True, embedded=False)
    worker.start()
    done = 0
    while worker.join(LOOK_EVERY) is None:
        now = app.backend.stats(queue).done
        bar.update(now - done)
        done = now


def _setting(app: App, concurrency: int) -> dict[str, Any]:
    return {
        "store": app.url.text,
        "level": app.backend.features.level.value,
        "concurrency": concurrency,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
    }
