"""litequeue: put one by one, then pop, call, done by one thread, each step committed alone.

The library opens its database with `synchronous = NORMAL`, which loses the newest commits when the power fails; its
connection is public, so FULL is set there for equal durability. Done rows slow its `pop`, therefore they are pruned as
it offers, every PRUNE_EVERY jobs.
"""

import json
from importlib.metadata import version

from litequeue import LiteQueue

from benchmarks.job import BODY, Stopwatch, emit, noop, request

PRUNE_EVERY = 500


def enqueue(queue: LiteQueue, jobs: int) -> float:
    watch = Stopwatch()
    for _ in range(jobs):
        queue.put(BODY)
    return watch.rate(jobs)


def process(queue: LiteQueue, jobs: int) -> float:
    watch = Stopwatch()
    for done in range(1, jobs + 1):
        message = queue.pop()
        noop(**json.loads(message.data))
        queue.done(message.message_id)
        if done % PRUNE_EVERY == 0:
            queue.prune()
    return watch.rate(jobs)


def main() -> None:
    asked = request()
    queue = LiteQueue(asked.directory / "queue.db")
    queue.conn.execute("pragma synchronous = full")
    enqueued = enqueue(queue, asked.jobs)
    processed = process(queue, asked.jobs)
    names = ("journal_mode", "synchronous")
    pragmas: dict[str, object] = {name: queue.conn.execute(f"pragma {name}").fetchone()[0] for name in names}
    emit(
        f"litequeue {version('litequeue')}",
        {"threads": 1, "pruned every": PRUNE_EVERY} | pragmas,
        {"processed": processed, "enqueued": enqueued},
    )


main()
