"""streaQ. At its defaults what a worker held comes back a minute after it was last seen. Tuned: after SOON seconds."""

import asyncio
from collections.abc import Mapping
from importlib.metadata import version

from streaq import Worker

from benchmarks.killed import job

SETTINGS = {"idle_timeout": job.SOON}

worker = Worker(redis_url=job.URL, **(SETTINGS if job.TUNED else {}))


@worker.task(name="work")
async def work(number: int) -> None:
    await job.awaited_work(number)


async def enqueue(jobs: int) -> None:
    async with worker:
        for number in range(jobs):
            await work.enqueue(number)


async def left() -> Mapping[str, float]:
    async with worker:
        return {"unfinished": await worker.queue_size()}


if __name__ == "__main__":
    job.main(
        version=f"streaq {version('streaq')}",
        settings=SETTINGS if job.TUNED else {},
        enqueue=lambda jobs: asyncio.run(enqueue(jobs)),
        command=["streaq", "run", "benchmarks.killed.peers.streaq_:worker"],
        left=lambda: asyncio.run(left()),
    )
