"""The server's memory after a million jobs, of a queue whose history is over, over that after the first ten thousand.

Jobs are enqueued and run in turns by one App, so that few wait at a time.
"""

import time

from benchmarks.job import ARGUMENTS, Stopwatch, emit, noop, request
from benchmarks.ours.places import VERSION
from benchmarks.redis.wire import Wire
from holdfast.app import App
from holdfast.config import QueueSettings
from holdfast.tasks.task import Task

PART = 10_000
BATCH = 1_000
KEEP = 1.0
LOOK_EVERY = 0.01


def run(app: App, task: Task[..., None], jobs: int) -> None:
    """Enqueue and await so many jobs, part by part."""
    for _ in range(0, jobs, PART):
        for _ in range(0, PART, BATCH):
            task.enqueue_many([task.call(**ARGUMENTS) for _ in range(BATCH)])
        while (stats := app.backend.stats(task.queue)).ready or stats.running:
            time.sleep(LOOK_EVERY)  # the server's count is all that tells


def used(app: App, task: Task[..., None], wire: Wire) -> int:
    """Bytes the server uses once the history is over and removed."""
    time.sleep(KEEP)  # until the youngest job is old enough to go
    while app.backend.tidy().more or app.backend.stats(task.queue).done:
        time.sleep(LOOK_EVERY)
    time.sleep(KEEP)  # the server makes its tables smaller little by little
    return wire.memory()


def main() -> None:
    asked = request()
    wire, watch = Wire(asked.url), Stopwatch()
    with App(asked.url) as app:
        task: Task[..., None] = app.task(noop)
        app.queue(task.queue).declare(QueueSettings(done_for=KEEP, dedupe_window=KEEP))
        with app.worker(embedded=False):
            run(app, task, PART)
            start = used(app, task, wire)
            run(app, task, asked.jobs - PART)
            end = used(app, task, wire)
    figures = {"over_start": end / start, "start_bytes": start, "end_bytes": end, "seconds": watch.seconds}
    emit(VERSION, {"keep_s": KEEP, "part": PART}, figures)


main()
