"""The bare loop on the memory store."""

import platform

import msgspec

from benchmarks.bare import BATCH
from benchmarks.job import BODY, Stopwatch, emit, noop, request
from holdfast.delivery import Ack, HolderInfo, Receipt
from holdfast.message import FORMAT, Message
from holdfast.stores.memory import MemoryBackend

QUEUE, KIND, HOLDER = "default", "noop", "bare#1"


def fill(backend: MemoryBackend, jobs: int) -> float:
    body = BODY.encode()
    messages = [Message(body=body, kind=KIND) for _ in range(jobs)]
    watch = Stopwatch()
    for start in range(0, jobs, BATCH):
        backend.send(QUEUE, messages[start : start + BATCH])
    return watch.rate(jobs)


def process(backend: MemoryBackend, jobs: int) -> float:
    decode, kinds = msgspec.json.decode, frozenset({KIND})
    backend.beat(HolderInfo(id=HOLDER, ttl=3600.0, queues=(QUEUE,), kinds=(KIND,)))
    watch, done = Stopwatch(), 0
    while granted := backend.lease(QUEUE, HOLDER, str(done), limit=BATCH, kinds=kinds, max_format=FORMAT):
        acks = []
        for delivery in granted:
            noop(**decode(delivery.body))
            acks.append(Ack(Receipt(QUEUE, delivery.id, delivery.token)))
        done += len(acks) - len(backend.settle(acks))
    rate = watch.rate(jobs)
    assert done == backend.stats(QUEUE).done == jobs
    return rate


def main() -> None:
    asked = request()
    backend = MemoryBackend(max_jobs=asked.jobs)
    enqueued = fill(backend, asked.jobs)
    processed = process(backend, asked.jobs)
    settings = {"batch": BATCH, "durability": "none"}
    emit(f"Python {platform.python_version()}", settings, {"processed": processed, "enqueued": enqueued})


main()
