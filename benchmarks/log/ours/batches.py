"""A thousand messages an append from one thread, in each sync mode; then all of them read, checksums verified."""

from benchmarks.job import Request, Stopwatch, emit, request
from benchmarks.log.messages import BATCH, BODIES
from benchmarks.log.ours.places import LOG, SYNCS, VERSION, log_in
from holdfast.contract import LogBackend
from holdfast.logged import Columns


def fill(logs: LogBackend, messages: int) -> float:
    columns, watch = Columns(BODIES), Stopwatch()
    for _ in range(messages // BATCH):
        logs.append(LOG, 0, columns)
    return watch.rate(messages // BATCH * BATCH)


def read(logs: LogBackend, messages: int) -> float:
    """Read everything as objects of bytes."""
    watch, at = Stopwatch(), 0
    while chunks := logs.read(LOG, 0, at, limit=16 * BATCH, max_bytes=16 << 20):
        for chunk in chunks:
            at += len(list(chunk.bodies))
    assert at == messages, at
    return watch.rate(messages)


def main() -> None:
    asked: Request = request()
    figures = {}
    for sync in SYNCS:
        logs = log_in(asked, sync)
        figures[sync] = fill(logs, asked.jobs)
        if sync == "always":
            figures["read"] = read(logs, asked.jobs)
        logs.close()
    emit(VERSION, {"messages an append": BATCH}, figures)


main()
