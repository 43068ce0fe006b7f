"""An idle worker: what it costs, and how soon it starts a job that comes.

Each round watches a worker with nothing to do for WINDOW seconds (CPU time of its whole process, and the statements it
makes beside its heartbeats, on Redis its round trips), then enqueues jobs one at a time with pauses. The time of a job
runs from the call of `enqueue`, its sync included, until its function is called; `within` is when the sender lives in
the worker's process, `across` when it is another one.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Protocol

from benchmarks.job import Request, emit, request
from benchmarks.ours.places import VERSION, app_in, promised
from benchmarks.ours.statements import Statements
from holdfast.tasks.task import FunctionTask

WINDOW = 20.0
SETTLED = 1.0
PAUSE = 0.01
PATIENCE = 60.0


class Counted(Protocol):
    """What a worker asks of its store, beside its heartbeats."""

    def clear(self) -> None: ...

    @property
    def count(self) -> int: ...


took: list[float] = []
"""Milliseconds from the call of `enqueue` until the function was called, in the worker's process."""


def begun(sent: int) -> None:
    took.append((time.monotonic_ns() - sent) / 1e6)


def send(task: FunctionTask[[int], None], jobs: int) -> None:
    for _ in range(jobs):
        task.enqueue(time.monotonic_ns())
        time.sleep(PAUSE)


def arrived(jobs: int) -> dict[str, float]:
    """The median and 99th percentile of the jobs that were sent, once all have begun."""
    end = time.monotonic() + PATIENCE
    while len(took) < jobs:
        assert time.monotonic() < end, f"{len(took)} of {jobs} jobs have begun"
        time.sleep(PAUSE)
    cuts = statistics.quantiles(took, n=100)
    took.clear()
    return {"p50_ms": cuts[49], "p99_ms": cuts[98]}


def counted(asked: Request) -> Counted:
    """Begin to count; only the driver of the store that is measured is imported."""
    if asked.store == "redis":
        from benchmarks.ours.round_trips import RoundTrips

        return RoundTrips()
    return Statements()


def idle(statements: Counted) -> dict[str, float]:
    """How much of a core this process uses while the worker waits, and how many statements a second."""
    time.sleep(SETTLED)
    statements.clear()
    wall, cpu = time.monotonic(), time.process_time()
    time.sleep(WINDOW)
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    return {"idle_percent": 100 * cpu / wall, "idle_statements": statements.count / wall}


def sender(asked: Request, orders: Connection) -> None:
    """The life of the other process: sends so many jobs as often as it is told."""
    with app_in(asked) as app:
        task = app.task(name="begun")(begun)
        while orders.recv():
            send(task, asked.jobs)


def measure(
    asked: Request, statements: Counted, task: FunctionTask[[int], None], elsewhere: Callable[[], None] | None
) -> dict[str, float]:
    figures = idle(statements)
    send(task, asked.jobs)
    figures |= {f"within_{name}": value for name, value in arrived(asked.jobs).items()}
    if elsewhere is not None:
        elsewhere()
        figures |= {f"across_{name}": value for name, value in arrived(asked.jobs).items()}
    return figures


def main() -> None:
    asked = request()
    statements = counted(asked)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    other = context.Process(target=sender, args=(asked, there)) if asked.store != "memory" else None
    if other is not None:
        other.start()
    with app_in(asked) as app:
        task = app.task(name="begun")(begun)
        with app.worker(embedded=False):
            for _ in range(asked.rounds):
                elsewhere = None if other is None else lambda: here.send(True)
                figures = measure(asked, statements, task, elsewhere)
                emit(VERSION, {"window_s": WINDOW, "pause_s": PAUSE} | promised(app), figures)
        here.send(False)
        if other is not None:
            other.join()


if __name__ == "__main__":  # the other process imports this module too
    main()
