"""Small programs that the suite runs in a process of their own and kills: ``python -m … program url clock ticking``.

Each is a member of the group under test, and writes a line for each message: when it has it, or when it is committed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from holdfast.clock import SYSTEM
from holdfast.config import parse_url
from holdfast.contract import LogMember
from holdfast.heartbeat import this_process
from holdfast.logged import Offset, Start
from holdfast.stores import open_logs
from holdfast.testing.clock import SharedClock

LOG, GROUP = "events", "readers"
TTL = 1_000_000.0
"""Only its death ends this holder, not its silence."""


def hold(member: LogMember) -> None:
    """Poll what there is, tell of it, and hold on; then wait to be killed."""
    for chunk in member.poll(limit=1000, wait=60):
        for body in chunk.bodies:
            _say(body.decode())
    time.sleep(3600)


def consume(member: LogMember) -> None:
    """Poll and commit message by message, each durable before it is told."""
    while True:
        for chunk in member.poll(limit=1, wait=60):
            member.commit([Offset(chunk.partition, chunk.next, chunk.version)], durable=True)
            _say(chunk.bodies[0].decode())


PROGRAMS: dict[str, Callable[[LogMember], None]] = {"hold": hold, "consume": consume}


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(program: str, url: str, clock: str, ticking: str) -> None:
    """Open the logs, join the group and run the program."""
    time_source = SharedClock(Path(clock), ticking=ticking == "ticking") if clock else SYSTEM
    logs = open_logs(parse_url(url), clock=time_source)
    PROGRAMS[program](logs.join(LOG, GROUP, this_process("child#1", TTL), start=Start()))


if __name__ == "__main__":
    main(*sys.argv[1:])
