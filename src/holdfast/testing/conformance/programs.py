"""Small programs that the suite runs in a process of their own and kills: ``python -m … program url clock ticking``.

Each does one thing again and again, and writes a line when the store has said that it is done.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path

from holdfast.clock import SYSTEM
from holdfast.config import parse_url
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, HolderInfo
from holdfast.message import Message
from holdfast.stores import open_store
from holdfast.testing.clock import SharedClock

QUEUE = "work"
CHILD = "child#1"
CHILD_TTL = 10.0


def send(store: QueueBackend) -> None:
    """Send jobs one by one."""
    for number in itertools.count():
        store.send(QUEUE, [Message(id=f"job {number}", body=b"")])
        _say(f"job {number}")


def lease(store: QueueBackend) -> None:
    """Lease jobs one by one and hold them; then wait to be killed."""
    store.beat(HolderInfo(id=CHILD, ttl=CHILD_TTL))
    for number in itertools.count():
        for delivery in store.lease(QUEUE, CHILD, f"child {number}", limit=1, kinds=("",), max_format=1):
            _say(f"{delivery.id} {delivery.token}")
        if not store.stats(QUEUE).ready:
            time.sleep(3600)


def settle(store: QueueBackend) -> None:
    """Lease jobs ten by ten and ack them one by one; then wait to be killed."""
    store.beat(HolderInfo(id=CHILD, ttl=CHILD_TTL))
    for number in itertools.count():
        batch = store.lease(QUEUE, CHILD, f"child {number}", limit=10, kinds=("",), max_format=1)
        for delivery in batch:
            store.settle([Ack(delivery.receipt)])
            _say(delivery.id)
        if not batch:
            time.sleep(3600)


PROGRAMS: dict[str, Callable[[QueueBackend], None]] = {"send": send, "lease": lease, "settle": settle}


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(program: str, url: str, clock: str, ticking: str) -> None:
    """Open the store and run the program against it."""
    time_source = SharedClock(Path(clock), ticking=ticking == "ticking") if clock else SYSTEM
    PROGRAMS[program](open_store(parse_url(url), clock=time_source))


if __name__ == "__main__":
    main(*sys.argv[1:])
