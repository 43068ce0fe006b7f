"""Does lease and settle cost the same however much is waiting? A short queue against three long ones.

Long are: as many waiting jobs as `--jobs` says; a short queue behind so many of a kind that nobody here handles; a
short queue with so many scheduled jobs of the highest priority in front. Each queue has a store and a process of its
own, the short one and one of the long ones at a time, measured in turns. What is leased is settled and sent again, so
the lengths stay; sending is not timed.
"""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from benchmarks.job import BODY, Request, emit, request
from benchmarks.ours.places import VERSION, app_in
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, HolderInfo
from holdfast.message import FORMAT, HIGHEST_PRIORITY, Message
from holdfast.stores.memory import MemoryBackend

QUEUE, KIND, HOLDER = "default", "noop", "flat#1"
SHORT = 1000
LEASE = 500
LEASES = 40
BULK = 5000
TO_COME = 86_400.0
LONG = ("waiting", "unhandled", "scheduled")


def messages(number: int, kind: str = KIND, *, priority: int = 0, delay: float = 0.0) -> list[Message]:
    body = BODY.encode()
    return [Message(body=body, kind=kind, priority=priority, delay=delay) for _ in range(number)]


def fill(backend: QueueBackend, scene: str, jobs: int) -> None:
    for _ in range(0, jobs, BULK):
        match scene:
            case "waiting":
                backend.send(QUEUE, messages(BULK))
            case "unhandled":
                backend.send(QUEUE, messages(BULK, "of-another-program"))
            case "scheduled":
                backend.send(QUEUE, messages(BULK, priority=HIGHEST_PRIORITY, delay=TO_COME))
    if scene != "waiting":
        backend.send(QUEUE, messages(SHORT))


def lease_and_settle(backend: QueueBackend) -> float:
    """Jobs per second."""
    seconds, kinds = 0.0, frozenset({KIND})
    for number in range(LEASES):
        begun = time.perf_counter()
        granted = backend.lease(QUEUE, HOLDER, str(number), limit=LEASE, kinds=kinds, max_format=FORMAT)
        lost = backend.settle([Ack(delivery.receipt) for delivery in granted])
        seconds += time.perf_counter() - begun
        assert len(granted) == LEASE
        assert not lost
        backend.send(QUEUE, messages(LEASE))
    return LEASE * LEASES / seconds


def serve(asked: Request, scene: str, orders: Connection) -> None:
    """The life of a child: fill, then measure as often as the parent asks."""
    app = app_in(asked, scene)
    backend = MemoryBackend(max_jobs=2 * asked.jobs) if asked.store == "memory" else app.backend
    backend.beat(HolderInfo(id=HOLDER, ttl=3600.0, queues=(QUEUE,), kinds=(KIND,)))
    fill(backend, scene, asked.jobs)
    lease_and_settle(backend)
    orders.send(0.0)
    while orders.recv():
        orders.send(lease_and_settle(backend))
        while backend.tidy().more:
            pass
    app.close()


@contextmanager
def child(asked: Request, scene: str) -> Iterator[Connection]:
    """A process that serves a scene, ready to be asked."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(asked, scene, there))
    process.start()
    there.close()
    here.recv()
    yield here
    here.send(False)
    process.join()


def rates(asked: Request, scene: str) -> list[dict[str, float]]:
    """For each round what the short queue and this long one do."""
    found: list[dict[str, float]] = []
    with child(asked, "short") as short, child(asked, scene) as long:
        for number in range(asked.rounds):
            pair = {f"{scene}_short": short, scene: long}
            figures: dict[str, float] = {}
            for name, orders in pair.items() if number % 2 else reversed(pair.items()):
                orders.send(True)
                figures[name] = orders.recv()
            found.append(figures)
    return found


def main() -> None:
    asked = request()
    scenes = [rates(asked, scene) for scene in LONG]
    settings = {"store": asked.store, "short": SHORT, "long": asked.jobs, "lease": LEASE}
    for figures in zip(*scenes, strict=True):
        emit(VERSION, settings, {name: rate for part in figures for name, rate in part.items()})


if __name__ == "__main__":  # the children import this module too
    main()
