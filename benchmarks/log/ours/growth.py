"""Resident memory of a process that appends and reads a backlog: after all of it, over that after the first tenth."""

import gc
import os
from pathlib import Path

from benchmarks.job import emit, request
from benchmarks.log.messages import BATCH, BODIES
from benchmarks.log.ours.places import LOG, VERSION, log_in
from holdfast.logged import Columns


def resident() -> float:
    """Resident bytes of this process that are its own; pages of mapped files are the system's cache."""
    gc.collect()
    _, whole, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return (whole - shared) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    asked = request()
    logs, sizes = log_in(asked, "os"), []
    tenth = asked.jobs // BATCH // 10
    for _ in range(10):
        for _ in range(tenth):
            logs.append(LOG, 0, Columns(BODIES))
        at = logs.ends(LOG)[0].next - tenth * BATCH
        while chunks := logs.read(LOG, 0, at, limit=BATCH, max_bytes=1 << 20):
            at = chunks[-1].next
        sizes.append(resident())
    logs.close()
    figures = {"growth_percent": (sizes[-1] / sizes[0] - 1) * 100, "resident_mib": sizes[-1] / (1 << 20)}
    emit(VERSION, {"messages": asked.jobs}, figures)


main()
