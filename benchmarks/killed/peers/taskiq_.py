"""taskiq on Redis streams, its broker that acknowledges. At its defaults what a dead worker held comes back after ten
minutes. Tuned: after SOON seconds, and the lock of who looks is freed when its owner dies.
"""

import asyncio
from collections.abc import Mapping
from importlib.metadata import version

from redis.asyncio import Redis
from taskiq_redis import RedisStreamBroker

from benchmarks.killed import job

SETTINGS = {"idle_timeout": job.SOON * 1000, "unacknowledged_lock_timeout": job.SOON}

broker = RedisStreamBroker(url=job.URL, **(SETTINGS if job.TUNED else {}))
work = broker.task(task_name="work")(job.awaited_work)


async def enqueue(jobs: int) -> None:
    await broker.startup()
    for number in range(jobs):
        await work.kiq(number)
    await broker.shutdown()


async def left() -> Mapping[str, float]:
    async with Redis.from_url(job.URL) as redis:
        (group,) = await redis.xinfo_groups("taskiq")
    return {"unfinished": group["pending"] + group["lag"]}


if __name__ == "__main__":
    job.main(
        version=f"taskiq {version('taskiq')}, taskiq-redis {version('taskiq-redis')}",
        settings=SETTINGS if job.TUNED else {},
        enqueue=lambda jobs: asyncio.run(enqueue(jobs)),
        command=["taskiq", "worker", "benchmarks.killed.peers.taskiq_:broker"],
        left=lambda: asyncio.run(left()),
    )
