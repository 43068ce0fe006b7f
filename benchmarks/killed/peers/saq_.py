"""SAQ on Redis. At its defaults a job is tried once, so that one whose worker died is aborted, once a sweep finds it
past its timeout of ten seconds. Tuned: three tries, a timeout of SOON seconds, a sweep every SOON seconds.
"""

import asyncio
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from saq import Queue

from benchmarks.killed import job

OPTIONS = {"retries": 3, "timeout": job.SOON} if job.TUNED else {}
TIMERS = {"sweep": job.SOON} if job.TUNED else {}

queue = Queue.from_url(job.URL)


async def work(_: dict[str, Any], *, number: int) -> None:
    await job.awaited_work(number)


settings = {"queue": queue, "functions": [work], "timers": TIMERS}


async def enqueue(jobs: int) -> None:
    for number in range(jobs):
        await queue.enqueue("work", number=number, **OPTIONS)
    await queue.disconnect()


async def left() -> Mapping[str, float]:
    unfinished = await queue.count("incomplete")
    await queue.disconnect()
    return {"unfinished": unfinished}


if __name__ == "__main__":
    job.main(
        version=f"saq {version('saq')}",
        settings=OPTIONS | {"timers": TIMERS} if job.TUNED else {},
        enqueue=lambda jobs: asyncio.run(enqueue(jobs)),
        command=["saq", "benchmarks.killed.peers.saq_.settings"],
        left=lambda: asyncio.run(left()),
    )
