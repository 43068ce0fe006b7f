"""taskiq. The best of its two brokers: streams, which acknowledge, or a list, which loses what a dead worker held.
Arguments are not parsed again by pydantic, messages are orjson's, workers log warnings alone and run on uvloop, which
taskiq takes where it is installed. Without a result backend no result is kept. The lock of who looks for what the dead
left is given a limit, since a worker that ends while it holds it would stop the next. There is nothing to send several
jobs at once.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from taskiq import AsyncBroker
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.job import awaited_noop
from benchmarks.redis.asked import asked
from benchmarks.redis.job import awaited_note
from benchmarks.redis.library import Library
from benchmarks.redis.phases import main
from benchmarks.redis.senders import Awaited
from benchmarks.redis.wire import Wire

WAY = asked().way or "stream"
FLAGS = ["--no-parse", "--log-level", "WARNING", "--max-async-tasks", str(asked().at_once)]

broker: AsyncBroker = (
    ListQueueBroker(url=asked().url)
    if WAY == "list"
    else RedisStreamBroker(url=asked().url, xread_count=asked().at_once, unacknowledged_lock_timeout=1)
)
broker = broker.with_serializer(ORJSONSerializer())
if asked().keep:
    broker = broker.with_result_backend(RedisAsyncResultBackend(asked().url, result_ex_time=asked().keep))
work = broker.task(task_name="noop")(awaited_noop)
work_noted = broker.task(task_name="note")(awaited_note)


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    await broker.startup()
    yield
    await broker.shutdown()


def left(wire: Wire) -> int:
    if WAY == "list":
        return wire.ask("LLEN", "taskiq")
    (group,) = wire.ask("XINFO", "GROUPS", "taskiq")
    found = dict(zip(group[::2], group[1::2], strict=True))
    return found["pending"] + (found["lag"] or 0)


if __name__ == "__main__":
    main(
        Library(
            version=f"taskiq {version('taskiq')}, taskiq-redis {version('taskiq-redis')}",
            settings={"broker": type(broker).__name__, "serializer": "orjson", "flags": " ".join(FLAGS)},
            sender=Awaited(opened, work.kiq, work_noted.kiq),
            commands=lambda processes: [
                ["taskiq", "worker", "benchmarks.redis.peers.taskiq_:broker", "--workers", str(processes), *FLAGS]
            ],
            left=left,
        )
    )
