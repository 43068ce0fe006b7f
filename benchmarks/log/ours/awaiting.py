"""64 tasks of one event loop, each of which awaits the append of one message and then appends the next."""

import asyncio
import time

from benchmarks.job import Request, Stopwatch, emit, request
from benchmarks.log.messages import BODY, quantile
from benchmarks.log.ours.places import LOG, VERSION
from holdfast import App
from holdfast.config import LogSettings

TASKS = 64


async def measure(app: App, asked: Request) -> dict[str, float]:
    log = app.aio.log(LOG)
    await log.declare(LogSettings(keep_for=None))
    taken: list[float] = []

    async def produce(messages: int) -> None:
        for _ in range(messages):
            begin = time.perf_counter()
            await log.append(BODY)
            taken.append(time.perf_counter() - begin)

    await asyncio.gather(*(produce(20) for _ in range(TASKS)))
    taken.clear()
    watch = Stopwatch()
    await asyncio.gather(*(produce(asked.jobs // TASKS) for _ in range(TASKS)))
    rate = watch.rate(len(taken))
    return {"rate": rate, "p50_ms": quantile(taken, 0.5) * 1e3, "p99_ms": quantile(taken, 0.99) * 1e3}


def main() -> None:
    asked = request()
    with App("memory:", logs=f"disk:{asked.directory}/data", logger=None) as app:
        figures = asyncio.run(measure(app, asked))
    emit(VERSION, {"tasks": TASKS}, figures)


main()
