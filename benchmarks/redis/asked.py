"""What the harness asks of a library's program. Needs the standard library alone: the peers' environments import it.

A worker is another process with a command line of its own, so it finds the same in its environment.
"""

import argparse
import json
import os
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

NAME = "BENCHMARKS_REDIS"
PHASES = ("enqueue", "process", "two", "both", "memory")


@dataclass(frozen=True, slots=True)
class Asked:
    """`jobs` is how many a phase sends one by one, and `times` as many in the phases that go faster.

    `at_once` and `way` are settings of the worker, of which the harness seeks the best. `keep` is for how many seconds
    results are kept; None for not at all, where the library leaves the choice.
    """

    url: str
    directory: str
    jobs: int
    times: int = 1
    at_once: int = 10
    way: str = ""
    phases: tuple[str, ...] = PHASES[:-1]
    keep: int | None = None

    @property
    def many(self) -> int:
        return self.jobs * self.times

    @property
    def began(self) -> Path:
        """Where jobs note when they began."""
        return Path(self.directory) / "began"


@cache
def asked() -> Asked:
    """What is asked of this process, or of the one that started it."""
    if told := os.environ.get(NAME):
        return Asked(**json.loads(told))
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=10)
    parser.add_argument("--way", default="")
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=PHASES[:-1])
    parser.add_argument("--keep", type=int)
    found = Asked(**vars(parser.parse_args()))
    os.environ[NAME] = json.dumps(asdict(found))
    return found
