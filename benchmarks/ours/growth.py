"""Does the memory of a worker's process grow with the jobs it has done?

A queue that keeps few ended jobs and forgets ids at once is fed and worked on in one process. The resident memory is
read after a tenth of the jobs, when everything has been used once, and after all of them, each time with nothing left
to do. `held` is how many jobs the store still keeps then.
"""

import gc
import os
import time
from pathlib import Path

from benchmarks.job import ARGUMENTS, Stopwatch, emit, noop, request
from benchmarks.ours.places import VERSION, app_in, promised
from holdfast.app import App
from holdfast.config import QueueSettings
from holdfast.delivery import QueueStats
from holdfast.tasks.task import Task

BULK = 1000
AHEAD = 5000
LOOK_EVERY = 0.005
KEPT = 1000
SETTLED = 3.0
"""Seconds for the tidying, which comes every second, to be done."""

Noop = Task[..., None]


def resident_mib() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def unended(stats: QueueStats) -> int:
    return stats.ready + stats.running


def feed(app: App, task: Noop, jobs: int) -> None:
    """Send so many, never far ahead of the worker, and return when all are done and the store has been tidied."""
    sent = 0
    while (left := unended(app.backend.stats(task.queue))) or sent < jobs:
        if left < AHEAD and sent < jobs:
            task.enqueue_many([task.call(**ARGUMENTS) for _ in range(BULK)])
            sent += BULK
        else:
            time.sleep(LOOK_EVERY)
    time.sleep(SETTLED)


def main() -> None:
    asked = request()
    with app_in(asked) as app:
        task = app.task(noop)
        app.backend.declare(task.queue, QueueSettings(done_most=KEPT, dedupe_window=0.0))
        with app.worker(embedded=False):
            feed(app, task, asked.jobs // 10)
            before, watch = resident_mib(), Stopwatch()
            feed(app, task, asked.jobs - asked.jobs // 10)
            rate = watch.rate(asked.jobs - asked.jobs // 10)
            after, held = resident_mib(), app.backend.stats(task.queue).done
        figures = {"before_mib": before, "after_mib": after, "growth_percent": 100 * (after - before) / before}
        emit(VERSION, {"kept": KEPT} | promised(app), figures | {"held": held, "processed": rate})


main()
