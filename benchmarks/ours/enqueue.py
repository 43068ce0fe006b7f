"""Enqueue: one by one, from 100 threads, from 100 awaiting tasks, and in bulk, each into a new store.

The four take turns in slices, so that a slow second of the disk meets them all.
"""

import asyncio
import threading
from collections.abc import Callable

from benchmarks.job import ARGUMENTS, Request, Stopwatch, emit, noop, request
from benchmarks.ours.places import VERSION, app_in, promised
from holdfast.app import App
from holdfast.tasks.task import Task

SENDERS = 100
BULK = 1000
SLICES = 3
Noop = Task[..., None]


def one_by_one(task: Noop, jobs: int) -> None:
    for _ in range(jobs):
        task.enqueue(**ARGUMENTS)


def threads(task: Noop, jobs: int) -> None:
    senders = [threading.Thread(target=one_by_one, args=(task, jobs // SENDERS)) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()


def awaiting(task: Noop, jobs: int) -> None:
    async def sender() -> None:
        for _ in range(jobs // SENDERS):
            await task.aenqueue(**ARGUMENTS)

    async def all_senders() -> None:
        await asyncio.gather(*(sender() for _ in range(SENDERS)))

    asyncio.run(all_senders())


def bulk(task: Noop, jobs: int) -> None:
    for _ in range(0, jobs, BULK):
        task.enqueue_many([task.call(**ARGUMENTS) for _ in range(BULK)])


WAYS: dict[str, tuple[Callable[[Noop, int], None], int]] = {
    "one_by_one": (one_by_one, 1),
    "threads": (threads, 5),
    "awaiting": (awaiting, 20),
    "bulk": (bulk, 20),
}
"""Each way with how many times the jobs of the first it is given, so that all take about as long."""


def measure(asked: Request, apps: dict[str, App]) -> dict[str, float]:
    tasks = {way: app.task(noop) for way, app in apps.items()}
    seconds = dict.fromkeys(WAYS, 0.0)
    each = max(asked.jobs // SLICES // BULK, 1) * BULK
    for _ in range(SLICES):
        for way, (send, times) in WAYS.items():
            watch = Stopwatch()
            send(tasks[way], each * times)
            seconds[way] += watch.seconds
    for way, (_, times) in WAYS.items():
        assert apps[way].backend.stats(tasks[way].queue).ready == each * times * SLICES, way
    return {way: each * times * SLICES / seconds[way] for way, (_, times) in WAYS.items()}


def main() -> None:
    asked = request()
    apps = {way: app_in(asked, way) for way in WAYS}
    figures = measure(asked, apps)
    settings = {"senders": SENDERS, "bulk": BULK} | promised(apps["bulk"])
    for app in apps.values():
        app.close()
    emit(VERSION, settings, figures)


main()
