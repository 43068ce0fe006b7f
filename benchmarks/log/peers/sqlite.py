"""SQLite as a log: a table with a row a message, a thousand rows a transaction, with `synchronous` FULL and NORMAL; and
one row a transaction from 64 threads, each with a connection of its own.
"""

import threading
import time

import apsw

from benchmarks.job import Request, Stopwatch, emit, request
from benchmarks.log.messages import BATCH, BODIES, BODY, quantile

THREADS = 64
SINGLES = 3_000


def opened(asked: Request, level: str) -> apsw.Connection:
    connection = apsw.Connection(str(asked.directory / f"{level}.db"))
    connection.set_busy_timeout(60_000)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", level)
    assert connection.pragma("synchronous") == {"full": 2, "normal": 1}[level]
    connection.execute("create table if not exists messages (id integer primary key, body blob)")
    return connection


def batches(connection: apsw.Connection, messages: int) -> float:
    rows, watch = [(body,) for body in BODIES], Stopwatch()
    for _ in range(messages // BATCH):
        with connection:
            connection.executemany("insert into messages (body) values (?)", rows)
    return watch.rate(messages)


def threads(asked: Request) -> dict[str, float]:
    opened(asked, "full")
    taken: list[float] = []

    def produce() -> None:
        connection = opened(asked, "full")
        for _ in range(SINGLES // THREADS):
            begin = time.perf_counter()
            connection.execute("insert into messages (body) values (?)", (BODY,))
            taken.append(time.perf_counter() - begin)

    running = [threading.Thread(target=produce) for _ in range(THREADS)]
    watch = Stopwatch()
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return {"threads_rate": watch.rate(len(taken)), "threads_p99_ms": quantile(taken, 0.99) * 1e3}


def main() -> None:
    asked = request()
    figures = {level: batches(opened(asked, level), asked.jobs) for level in ("full", "normal")}
    reading, watch = opened(asked, "full"), Stopwatch()
    count = sum(1 for _ in reading.execute("select body from messages order by id"))
    figures["read"] = watch.rate(count)
    emit(f"SQLite {apsw.sqlite_lib_version()}", {"rows a transaction": BATCH}, figures | threads(asked))


main()
