"""What every measured program shares: the no-op job, its arguments, the command line and the outcome it prints.

A program is a module run as `python -m benchmarks.peers.NAME --jobs N --directory DIR`. It measures in that empty
directory and prints one JSON line: its version, the settings that matter, and its figures in jobs per second. This
page needs the standard library alone, since it is imported in the environments of the peers.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ARGUMENTS: dict[str, object] = {
    "user_id": 123456,
    "template": "welcome-back",
    "address": "someone@example.org",
    "attempt": 1,
}
BODY = json.dumps(ARGUMENTS)


def noop(user_id: int, template: str, address: str, attempt: int) -> None:
    """The job: takes its arguments and does nothing."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the harness asks of a program."""

    jobs: int
    directory: Path
    workers: int


def request() -> Request:
    """The command line of a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1, help="threads that run jobs")
    given = parser.parse_args()
    return Request(given.jobs, given.directory, given.workers)


class Stopwatch:
    """Started when made; `rate(jobs)` is jobs per second since then."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def rate(self, jobs: int) -> float:
        return jobs / (time.perf_counter() - self._start)


def emit(version: str, settings: Mapping[str, object], figures: Mapping[str, float]) -> None:
    """Print the outcome as the one JSON line that the harness reads."""
    json.dump({"version": version, "settings": dict(settings), "figures": dict(figures)}, sys.stdout)
    print(flush=True)
