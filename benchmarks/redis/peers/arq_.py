"""arq. More jobs at once than its 10, results not kept, jobs not logged, and a poll every 10 ms instead of every 500:
its workers poll, and what they find at once depends on it; yet shorter delays let an idle worker load the server. Its
loop is uvloop. Several processes are several workers. There is nothing to send several jobs at once.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from arq import VERSION, ArqRedis, create_pool
from arq.connections import RedisSettings

from benchmarks.redis.asked import asked
from benchmarks.redis.job import awaited_note
from benchmarks.redis.library import Library, lengths
from benchmarks.redis.phases import main
from benchmarks.redis.senders import Awaited

POLL_DELAY = 0.01
LOGGING = {"version": 1, "loggers": {"arq": {"level": "WARNING"}}}
COMMAND = [
    "arq",
    "benchmarks.redis.peers.arq_.WorkerSettings",
    "--custom-log-dict",
    "benchmarks.redis.peers.arq_.LOGGING",
]

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


async def noop(_: dict[str, Any], user_id: int, template: str, address: str, attempt: int) -> None:
    """The job."""


async def note(_: dict[str, Any], sent: int) -> None:
    await awaited_note(sent)


class WorkerSettings:
    functions = (noop, note)
    redis_settings = RedisSettings.from_dsn(asked().url)
    max_jobs = asked().at_once
    poll_delay = POLL_DELAY
    keep_result = asked().keep or 0
    log_results = False


class Pool:
    """Open while jobs are sent."""

    redis: ArqRedis

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        self.redis = await create_pool(WorkerSettings.redis_settings)
        yield
        await self.redis.aclose()

    async def send(self, **arguments: object) -> None:
        await self.redis.enqueue_job("noop", **arguments)

    async def note(self, sent: int) -> None:
        await self.redis.enqueue_job("note", sent)


if __name__ == "__main__":
    pool = Pool()
    main(
        Library(
            version=f"arq {VERSION}",
            settings={"max_jobs": asked().at_once, "poll_delay": POLL_DELAY, "keep_result": WorkerSettings.keep_result},
            sender=Awaited(pool.opened, pool.send, pool.note),
            commands=lambda processes: [COMMAND] * processes,
            left=lengths(("ZCARD", "arq:queue")),
        )
    )
