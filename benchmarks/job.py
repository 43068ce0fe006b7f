"""What every measured program shares: the no-op job, its arguments, the command line and the outcome it prints.

A program is a module run as `python -m benchmarks.peers.NAME --jobs N --directory DIR`. It measures in that empty
directory and prints one JSON line: its version, the settings that matter, and its figures, which are jobs per second
unless their names say otherwise. A program that is told how many `--rounds` to make prints a line for each. This page
needs the standard library alone, since it is imported in the environments of the peers.
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


async def awaited_noop(user_id: int, template: str, address: str, attempt: int) -> None:
    """The same, as an async function."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the harness asks of a program."""

    jobs: int
    directory: Path
    workers: int
    store: str
    awaited: bool
    rounds: int
    url: str


def request() -> Request:
    """The command line of a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1, help="jobs that run at once")
    parser.add_argument(
        "--store", choices=("memory", "sqlite", "redis"), default="sqlite", help="ours, where there is a choice"
    )
    parser.add_argument("--awaited", action="store_true", help="the job is an async function")
    parser.add_argument("--rounds", type=int, default=1, help="of a program that makes its own")
    parser.add_argument("--url", default="", help="of the server, where the store is one")
    return Request(**vars(parser.parse_args()))


class Stopwatch:
    """Started when made; `seconds` is how long ago that is, `rate(jobs)` jobs per second since then."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start

    def rate(self, jobs: int) -> float:
        return jobs / self.seconds


def emit(version: str, settings: Mapping[str, object], figures: Mapping[str, float]) -> None:
    """Print the outcome as the one JSON line that the harness reads."""
    json.dump({"version": version, "settings": dict(settings), "figures": dict(figures)}, sys.stdout)
    print(flush=True)
