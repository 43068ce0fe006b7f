"""One message an append, one after the other, each durable: the log, a raw write with fdatasync of as many bytes, and
SQLite with `synchronous = FULL`, taking turns append by append, so that a slow moment of the disk slows all alike.
"""

import os
import time
from collections.abc import Callable

import apsw

from benchmarks.job import Request, emit, request
from benchmarks.log.messages import BODY, quantile
from benchmarks.log.ours.places import LOG, VERSION, log_in
from holdfast.logged import Columns

STORED = 64 + 4 + len(BODY) + 4
"""Bytes that an append of one message puts into the file: header, length, body, padding to a multiple of 8."""


def raw(asked: Request) -> Callable[[], None]:
    fd = os.open(asked.directory / "raw", os.O_WRONLY | os.O_CREAT)
    data, at = bytes(STORED), 0

    def append() -> None:
        nonlocal at
        os.pwrite(fd, data, at)
        os.fdatasync(fd)
        at += STORED

    return append


def sqlite(asked: Request) -> Callable[[], None]:
    connection = apsw.Connection(str(asked.directory / "single.db"))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.execute("create table m (id integer primary key, b blob)")

    def append() -> None:
        connection.execute("insert into m (b) values (?)", (BODY,))

    return append


def main() -> None:
    asked = request()
    logs = log_in(asked)
    columns = Columns([BODY])
    appends: dict[str, Callable[[], object]] = {
        "raw": raw(asked),
        "log": lambda: logs.append(LOG, 0, columns),
        "sqlite": sqlite(asked),
    }
    taken: dict[str, list[float]] = {name: [] for name in appends}
    for number in range(asked.jobs + 20):
        for name, append in appends.items():
            begin = time.perf_counter()
            append()
            if number >= 20:
                taken[name].append(time.perf_counter() - begin)
    logs.close()
    p50 = {name: quantile(values, 0.5) for name, values in taken.items()}
    figures = {f"{name}_p50_us": value * 1e6 for name, value in p50.items()}
    figures |= {f"{name}_p99_us": quantile(values, 0.99) * 1e6 for name, values in taken.items()}
    figures |= {f"{name}_rate": 1 / p50[name] for name in p50}
    emit(VERSION, {}, figures | {"over_raw": p50["log"] / p50["raw"], "over_sqlite": p50["log"] / p50["sqlite"]})


main()
