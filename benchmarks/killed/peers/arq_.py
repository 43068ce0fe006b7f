"""arq. A job in progress is marked for its timeout and ten seconds more, at its defaults 310 seconds; until then nobody
else takes it. Tuned: a timeout of SOON seconds.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from arq import VERSION, create_pool
from arq.connections import RedisSettings

from benchmarks.killed import job

SETTINGS = {"job_timeout": job.SOON}


async def work(_: dict[str, Any], number: int) -> None:
    await job.awaited_work(number)


class WorkerSettings:
    functions = (work,)
    redis_settings = RedisSettings.from_dsn(job.URL)
    if job.TUNED:
        job_timeout = SETTINGS["job_timeout"]


async def enqueue(jobs: int) -> None:
    pool = await create_pool(WorkerSettings.redis_settings)
    for number in range(jobs):
        await pool.enqueue_job("work", number)


async def left() -> Mapping[str, float]:
    pool = await create_pool(WorkerSettings.redis_settings)
    return {"unfinished": await pool.zcard("arq:queue")}


if __name__ == "__main__":
    job.main(
        version=f"arq {VERSION}",
        settings=SETTINGS if job.TUNED else {},
        enqueue=lambda jobs: asyncio.run(enqueue(jobs)),
        command=["arq", "benchmarks.killed.peers.arq_.WorkerSettings"],
        left=lambda: asyncio.run(left()),
    )
