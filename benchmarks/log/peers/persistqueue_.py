"""persist-queue: its file queue, and its SQLite queue with a thousand puts a commit.

The file queue has no way to put several at once; it hands every message to the system, and syncs its file when that has
100 messages.
"""

import sqlite3
from contextlib import closing
from importlib.metadata import version

from persistqueue import FIFOSQLiteQueue, Queue

from benchmarks.job import Stopwatch, emit, request
from benchmarks.log.messages import BATCH, BODY

PUTS = 5_000


def main() -> None:
    asked = request()
    files = Queue(str(asked.directory / "files"))
    watch = Stopwatch()
    for _ in range(PUTS):
        files.put(BODY)
    rate = watch.rate(PUTS)
    table = FIFOSQLiteQueue(str(asked.directory / "table"), auto_commit=False)
    watch = Stopwatch()
    for _ in range(asked.jobs // BATCH):
        for _ in range(BATCH):
            table.put(BODY)
        table.task_done()
    with closing(sqlite3.connect(asked.directory / "table" / "data.db")) as connection:
        synchronous = connection.execute("pragma synchronous").fetchone()[0]
    figures = {"files": rate, "table": watch.rate(asked.jobs // BATCH * BATCH)}
    emit(f"persist-queue {version('persist-queue')}", {"synchronous": synchronous}, figures)


main()
