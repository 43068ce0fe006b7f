"""Huey on SQLite, synced at every commit: enqueue one by one, then one consumer process with worker threads.

Huey keeps its own settings otherwise (write-ahead journal, pickled arguments). Results are stored, also those that are
None, since Holdfast records every completion too. A job counts when its result is in the database.
"""

import time
from typing import Any

import huey as library
from huey import SqliteHuey

from benchmarks.job import ARGUMENTS, Request, Stopwatch, emit, noop, request

LOOK_EVERY = 0.01


def enqueue(task: Any, jobs: int) -> float:
    watch = Stopwatch()
    for _ in range(jobs):
        task(**ARGUMENTS)
    return watch.rate(jobs)


def process(app: SqliteHuey, asked: Request) -> float:
    """Jobs per second from the start of the consumer until every result is stored."""
    consumer = app.create_consumer(workers=asked.workers, periodic=False, check_worker_health=False)
    watch = Stopwatch()
    consumer.start()
    while app.result_count() < asked.jobs:
        time.sleep(LOOK_EVERY)
    rate = watch.rate(asked.jobs)
    consumer.stop(graceful=True)
    return rate


def main() -> None:
    asked = request()
    app = SqliteHuey("bench", filename=str(asked.directory / "huey.db"), fsync=True, store_none=True)
    enqueued = enqueue(app.task()(noop), asked.jobs)
    processed = process(app, asked)
    emit(
        f"huey {library.__version__}",
        {
            "workers": asked.workers,
            "worker_type": "thread",
            "journal_mode": app.storage.sql("pragma journal_mode", results=True)[0][0],
            "synchronous": app.storage.sql("pragma synchronous", results=True)[0][0],
            "results": "stored, None too",
            "serializer": "pickle (its default)",
        },
        {"processed": processed, "enqueued": enqueued},
    )


main()
