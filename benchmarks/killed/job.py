"""What the modules of all contestants share: the job, and the three things the harness asks of them.

`python -m benchmarks.killed.peers.NAME enqueue --jobs N` sends the jobs, `… work` becomes the library's own worker
command, `… left` tells what the library still has. It needs the standard library alone, since it is imported in the
environments of the peers.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from benchmarks.job import emit

DIRECTORY = Path(os.environ.get("KILLED_DIRECTORY", "."))
URL = os.environ.get("KILLED_URL", "")
TUNED = os.environ.get("KILLED_TUNED") == "1"

SECONDS = 0.005
SOON = 5
"""The tuned settings: seconds after which a job or its worker counts as dead, where a library lets one choose."""


@cache
def effects() -> int:
    """The file of side effects."""
    return os.open(DIRECTORY / "effects", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def note(number: int, what: str) -> None:
    """The side effect, in one write that no other process's can tear."""
    os.write(effects(), f"{number} {what} {os.getpid()} {time.monotonic()}\n".encode())


def work(number: int) -> None:
    """The job."""
    note(number, "started")
    time.sleep(SECONDS)
    note(number, "done")


async def awaited_work(number: int) -> None:
    """The same, as an async function."""
    note(number, "started")
    await asyncio.sleep(SECONDS)
    note(number, "done")


def main(
    *,
    version: str,
    settings: Mapping[str, object],
    enqueue: Callable[[int], object],
    command: Sequence[str],
    left: Callable[[], Mapping[str, float]],
) -> None:
    """Do what the command line asks for.

    `left` returns `unfinished`, the jobs that the library itself still counts as waiting or running, and `failed`,
    those it has given up, where it can tell.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("enqueue", "work", "left"))
    parser.add_argument("--jobs", type=int, default=0)
    asked = parser.parse_args()
    if asked.what == "work":
        os.execv(Path(sys.executable).with_name(command[0]), command)
    elif asked.what == "enqueue":
        enqueue(asked.jobs)
        emit(version, settings, {"enqueued": asked.jobs})
    else:
        emit(version, settings, left())
