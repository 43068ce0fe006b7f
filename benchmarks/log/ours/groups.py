"""Ten groups on one log: what reading it ten times writes, commits apart, as the kernel counts it."""

import time
from pathlib import Path

from benchmarks.job import Stopwatch, emit, request
from benchmarks.log.messages import BATCH, BODIES
from benchmarks.log.ours.places import LOG, VERSION, log_in
from holdfast.delivery import HolderInfo
from holdfast.logged import Columns, Start

GROUPS = 10
QUIET = 1.0
"""Seconds until the writer has marked what it appended as idle, which is a write of its own."""


def writes() -> int:
    """Write calls of this process so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("syscw")).split()[1])


def main() -> None:
    asked = request()
    logs = log_in(asked)
    for _ in range(asked.jobs // BATCH):
        logs.append(LOG, 0, Columns(BODIES))
    holder = HolderInfo(id="reader#1", ttl=60.0, queues=(), kinds=())
    members = [logs.join(LOG, f"g{number}", holder, start=Start()) for number in range(GROUPS)]
    for member in members:
        member.poll(limit=1, wait=1.0)  # takes the partition
    time.sleep(QUIET)
    before, watch, seen = writes(), Stopwatch(), 0
    for member in members:
        while chunks := member.poll(limit=BATCH, wait=0.0):
            seen += sum(map(len, chunks))
    rate = watch.rate(seen)
    extra = writes() - before
    for member in members:
        member.leave()
    logs.close()
    emit(VERSION, {"groups": GROUPS}, {"extra_writes": extra, "read_rate": rate})


main()
