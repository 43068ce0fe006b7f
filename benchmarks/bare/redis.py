"""The bare loop on Redis: the store's scripts by way of its link, one round trip a batch to lease and one to settle.

As in the other loops deliveries and acks are those of the store.
"""

from importlib.metadata import version

import msgspec

from benchmarks.bare import BATCH
from benchmarks.job import BODY, Stopwatch, emit, noop, request
from holdfast.config import QueueSettings, parse_url
from holdfast.delivery import Ack, Receipt
from holdfast.message import FORMAT, Message
from holdfast.stores.redis.backend import RedisBackend
from holdfast.stores.redis.keys import Keys, lanes
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.messages import deliveries
from holdfast.stores.redis.options import Options
from holdfast.stores.redis.scripts import Script
from holdfast.stores.redis.settles import Settling

VERSION = f"holdfast {version('holdfast')}"
QUEUE, KIND, HOLDER = "default", "noop", "bare#1"
LEASE, SETTLE = Script.load("lease"), Script.load("settle")


def fill(backend: RedisBackend, jobs: int) -> float:
    body = BODY.encode()
    messages = [Message(body=body, kind=KIND) for _ in range(jobs)]
    watch = Stopwatch()
    for start in range(0, jobs, BATCH):
        backend.send(QUEUE, messages[start : start + BATCH])
    return watch.rate(jobs)


def process(link: Link, key: str, jobs: int) -> float:
    decode, wanted = msgspec.json.decode, lanes([KIND], FORMAT)
    watch, done = Stopwatch(), 0
    while True:
        # "" is the server's own time; "1" introduces the holder
        reply = link.run(LEASE, key, "", HOLDER, str(done), BATCH, "1", *wanted)
        granted, _ = deliveries(QUEUE, wanted, reply)
        if not granted:
            break
        settling = Settling({})
        for number, delivery in enumerate(granted):
            noop(**decode(delivery.body))
            settling.add(number, Ack(Receipt(QUEUE, delivery.id, delivery.token)))
        lost = link.run(SETTLE, key, "", *settling.end())
        done += len(granted) - len(lost)
    rate = watch.rate(jobs)
    assert done == jobs
    return rate


def main() -> None:
    asked = request()
    options = Options.of(parse_url(asked.url))
    backend, link = RedisBackend(options), Link(options)
    backend.declare(QUEUE, QueueSettings())
    enqueued = fill(backend, asked.jobs)
    processed = process(link, Keys(options.prefix).queue(QUEUE), asked.jobs)
    emit(VERSION, {"batch": BATCH}, {"processed": processed, "enqueued": enqueued})


main()
