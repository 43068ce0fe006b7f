"""How a layer of the proof counts: by seeds, few in every run, many in ``make long``, which goes on where it stopped.

A case is made from its seed alone, so a finding is repeated with ``HOLDFAST_SEED=<seed>``: the layer then begins there.
A long run writes down now and then how far it is, and on which commit; started again on that commit it goes on there.
"""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PROGRESS = ROOT / "benchmarks" / ".cache" / "long"
NOTE_EVERY = 5.0
"""Seconds between two notes of how far a long run is."""


class Cases(NamedTuple):
    """So many cases, each of a seed of its own."""

    first: int
    count: int
    long: bool = False


def share(few, many=0, parts=1):
    """Return the parameters of a layer's test: ``few`` cases, in ``parts`` that run side by side; ``many`` if long."""
    size = few // parts
    params = [
        pytest.param(Cases(part * size, size), id=f"{size} cases" + (f" from {part * size}" if parts > 1 else ""))
        for part in range(parts)
    ]
    if many:
        params.append(pytest.param(Cases(few, many, long=True), id=f"{many} cases", marks=pytest.mark.long))
    return pytest.mark.parametrize("cases", params)


def seeds(cases, record_property):
    """Yield the seed of each case, and let the run say which they were."""
    for first, count in chunks(cases, record_property, 1):
        yield from range(first, first + count)


def chunks(cases, record_property, size):
    """Yield the first seed and the number of cases, up to ``size`` at a time."""
    first = int(os.environ.get("HOLDFAST_SEED", cases.first))
    end = first + cases.count
    record_property("cases", cases.count)
    record_property("seeds", f"{first} to {end - 1}")
    print(f"seeds {first} to {end - 1}")  # noqa: T201 - shown with a failure
    starts = range(first, end, size)
    for start in _remembered(starts) if cases.long else starts:
        yield start, min(size, end - start)


def cannot(what, why, record_property):
    """Leave a layer out on a machine that cannot do it; the last lines of the run say so."""
    record_property("not run here", f"{what}: {why}")
    pytest.skip(f"{what}: {why}")


def _remembered(wanted):
    file = PROGRESS / f"{_test()}.json"
    commit = _git("rev-parse", "HEAD") + _git("status", "--porcelain", "--", "src", "tests")
    known = json.loads(file.read_text()) if file.exists() else {}
    begin = known["next"] if known.get("commit") == commit and known["next"] in wanted else wanted.start
    noted = time.monotonic()
    for seed in range(begin, wanted.stop, wanted.step):
        if time.monotonic() > noted + NOTE_EVERY:
            PROGRESS.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"commit": commit, "next": seed}))
            noted = time.monotonic()
        yield seed
    file.unlink(missing_ok=True)


def _test():
    name = os.environ["PYTEST_CURRENT_TEST"].partition(" (")[0]
    return "".join(char if char.isalnum() or char in "-_." else "-" for char in name.rpartition("/")[2])


def _git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False).stdout.strip()
