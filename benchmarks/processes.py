"""Worker processes with all their descendants: stopped as one, then killed with -9 or let go on.

Freezing first makes it one death, as when a machine or a container goes: no parent lives to see its child die and to
clean up after it.
"""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

SETTLED = 0.01
"""Seconds in which a process that was told to stop has stopped, or has finished the fork it was in."""


def descendants(root: int) -> list[int]:
    """`root` and all processes below it, parents before their children."""
    parents = [(int(stat.parent.name), parent(stat)) for stat in Path("/proc").glob("[0-9]*/stat")]
    family = [root]
    for member in family:
        family += [pid for pid, above in parents if above == member]
    return family


def parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended meanwhile
        return 0


def freeze(root: int) -> list[int]:
    """Stop `root` and what descends from it; returns them when none is left that runs."""
    frozen: list[int] = []
    while fresh := [pid for pid in descendants(root) if pid not in frozen]:
        for pid in fresh:
            send(pid, signal.SIGSTOP)
        frozen += fresh
        time.sleep(SETTLED)
    return frozen


def thaw(family: list[int]) -> None:
    for pid in reversed(family):
        send(pid, signal.SIGCONT)


def kill(family: list[int]) -> None:
    for pid in family:
        send(pid, signal.SIGKILL)


def end(worker: "subprocess.Popen[bytes]", *, grace: float = 5.0) -> None:
    """End a worker that is not needed any more, as it likes it best, then with force."""
    family = descendants(worker.pid)
    worker.terminate()
    with suppress(subprocess.TimeoutExpired):
        worker.wait(grace)
    kill([pid for pid in family if pid != worker.pid])
    worker.kill()
    worker.wait()


def send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
