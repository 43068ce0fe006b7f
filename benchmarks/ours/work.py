"""No-op jobs through one worker: a queue is filled, then a worker of a process of its own (not embedded) empties it.

Time counts from the start of the worker until the store says that nothing waits or runs any more. The store tidies as
it goes, with the settings every queue has. The fill, in batches, is a figure of its own.
"""

import time

from benchmarks.job import ARGUMENTS, Request, Stopwatch, awaited_noop, emit, noop, request
from benchmarks.ours.places import VERSION, app_in, promised
from holdfast.app import App
from holdfast.tasks.task import Task

LOOK_EVERY = 0.01
BATCH = 1000


def fill(task: Task[..., None], jobs: int) -> float:
    watch = Stopwatch()
    for start in range(0, jobs, BATCH):
        task.enqueue_many([task.call(**ARGUMENTS) for _ in range(min(BATCH, jobs - start))])
    return watch.rate(jobs)


def process(app: App, queue: str, asked: Request) -> float:
    worker = app.worker(concurrency=asked.workers, embedded=False)
    watch = Stopwatch()
    worker.start()
    while (stats := app.backend.stats(queue)).ready or stats.running:
        time.sleep(LOOK_EVERY)
    rate = watch.rate(asked.jobs)
    worker.stop()
    report = worker.join()
    assert report is not None
    assert report.done == asked.jobs, report
    return rate


def main() -> None:
    asked = request()
    with app_in(asked) as app:
        task: Task[..., None] = app.task(awaited_noop) if asked.awaited else app.task(noop)
        enqueued = fill(task, asked.jobs)
        processed = process(app, task.queue, asked)
        settings = {"concurrency": asked.workers, "awaited": asked.awaited, "enqueued in batches of": BATCH}
        emit(VERSION, settings | promised(app), {"processed": processed, "enqueued": enqueued})


main()
