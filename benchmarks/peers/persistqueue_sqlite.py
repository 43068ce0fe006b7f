"""persist-queue's SQLiteAckQueue: put one by one, then get, call, ack by one thread, each step committed alone.

The library sets no `synchronous`, so SQLite's own default counts; it is read back and reported. Acked rows slow its
`get`, therefore they are cleared as it offers, every CLEAR_EVERY jobs. One thread, since a lock serialises it anyway.
"""

import sqlite3
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from persistqueue import SQLiteAckQueue
from persistqueue.serializers import json as json_serializer

from benchmarks.job import ARGUMENTS, Stopwatch, emit, noop, request

CLEAR_EVERY = 500


def enqueue(queue: SQLiteAckQueue, jobs: int) -> float:
    watch = Stopwatch()
    for _ in range(jobs):
        queue.put(ARGUMENTS)
    return watch.rate(jobs)


def process(queue: SQLiteAckQueue, jobs: int) -> float:
    watch = Stopwatch()
    for done in range(1, jobs + 1):
        item = queue.get(block=False, raw=True)
        noop(**item["data"])
        queue.ack(id=item["pqid"])
        if done % CLEAR_EVERY == 0:
            queue.clear_acked_data(max_delete=CLEAR_EVERY, keep_latest=0)
    return watch.rate(jobs)


def pragmas(file: Path) -> dict[str, object]:
    """What a connection that sets nothing has in this file."""
    with closing(sqlite3.connect(file)) as connection:
        names = ("journal_mode", "synchronous")
        return {name: connection.execute(f"pragma {name}").fetchone()[0] for name in names}


def main() -> None:
    asked = request()
    queue = SQLiteAckQueue(str(asked.directory), serializer=json_serializer, db_file_name="queue.db")
    enqueued = enqueue(queue, asked.jobs)
    processed = process(queue, asked.jobs)
    settings = {"threads": 1, "serializer": "json", "cleared every": CLEAR_EVERY}
    emit(
        f"persist-queue {version('persist-queue')}",
        settings | pragmas(asked.directory / "queue.db"),
        {"processed": processed, "enqueued": enqueued},
    )


main()
