"""A client that waits for jobs until it is killed: ``python -m tests.redis.waits url clock id …``."""

import sys
from pathlib import Path

from holdfast.config import parse_url
from holdfast.stores import open_store
from holdfast.testing.clock import SharedClock
from holdfast.testing.conformance.cases import QUEUE


def main(url: str, clock: str, *job_ids: str) -> None:
    """Write a line once it waits."""
    watch = open_store(parse_url(url), clock=SharedClock(Path(clock), ticking=False)).watch()
    watch.add(QUEUE, job_ids)
    watch.wait(0)
    sys.stdout.write("waits\n")
    sys.stdout.flush()
    watch.wait(3600)


if __name__ == "__main__":
    main(*sys.argv[1:])
