"""The bare loop on Redis: the store's scripts by way of its link, one round trip a batch to lease and one to settle.

What is made of the replies is what a job needs: its body, its id and the token that proves the lease.
"""

from importlib.metadata import version

import msgspec

from benchmarks.bare import BATCH
from benchmarks.job import BODY, Stopwatch, emit, noop, request
from holdfast.config import QueueSettings, parse_url
from holdfast.message import FORMAT, Message
from holdfast.stores.redis.backend import RedisBackend
from holdfast.stores.redis.keys import Keys, lanes
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.options import Options
from holdfast.stores.redis.scripts import Script

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
        _, granted, bodies = link.run(LEASE, key, "", HOLDER, str(done), BATCH, "1", *wanted)
        if not granted:
            break
        proofs: list[bytes | int] = []
        for (member, _, token, *_), body in zip(granted, bodies, strict=True):
            noop(**decode(body.partition(b"\n")[2]))
            proofs += member[16:], token
        lost = link.run(SETTLE, key, "", "acks", len(granted), *proofs)
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
