"""Opening a log for writing: a gigabyte of sealed segments, and a full segment of 256 MiB whose writer was killed."""

import multiprocessing
import os
import signal

from benchmarks.job import Request, Stopwatch, emit, request
from benchmarks.log.ours.places import LOG, VERSION, log_in
from holdfast.logged import Columns

BODY = b"m" * 1000
COLUMNS = Columns([BODY] * 1000)
SEALED = 4 * 267 + 1
"""Appends that fill four segments of 256 MiB, and begin a fifth."""
TAIL = 260
"""Appends that nearly fill one."""


def fill(asked: Request, name: str, appends: int, *, die: bool) -> None:
    """Append so many times in a process that closes the log, or does not."""
    logs = log_in(asked, "os", name)
    for _ in range(appends):
        logs.append(LOG, 0, COLUMNS)
    if die:
        os.kill(os.getpid(), signal.SIGKILL)
    logs.close()


def opened(asked: Request, name: str) -> float:
    """Open the log, and append to it, which recovers it; return the seconds."""
    watch = Stopwatch()
    logs = log_in(asked, "os", name)
    logs.append(LOG, 0, Columns([b"one more"]))
    seconds = watch.seconds
    logs.close()
    return seconds


def main() -> None:
    asked = request()
    spawn = multiprocessing.get_context("spawn")
    log_in(asked, "os", "nothing").close()  # a process imports the store once: that is not what is measured
    figures = {}
    for name, appends, die in (("sealed", SEALED, False), ("tail", TAIL, True)):
        filling = spawn.Process(target=fill, args=(asked, name, appends), kwargs={"die": die})
        filling.start()
        filling.join()
        figures[f"{name}_ms"] = opened(asked, name) * 1e3
    emit(VERSION, {"sealed appends of 1 MB": SEALED, "torn-off appends of 1 MB": TAIL, "cache": "warm"}, figures)


if __name__ == "__main__":
    main()
