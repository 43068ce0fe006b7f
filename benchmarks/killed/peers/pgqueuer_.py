"""PgQueuer. At its defaults a job whose heartbeat is thirty seconds old is picked again. Tuned: after SOON seconds,
looked for every SOON seconds.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.killed import job

FLAGS = ["--heartbeat-timeout", str(job.SOON), "--dequeue-timeout", str(job.SOON)]


@asynccontextmanager
async def queuer() -> AsyncIterator[PgQueuer]:
    app = PgQueuer.from_asyncpg_connection(await asyncpg.connect(job.URL))

    @app.entrypoint("work")
    async def work(leased: Job) -> None:
        await job.awaited_work(int(leased.payload or b""))

    yield app


@asynccontextmanager
async def queries() -> AsyncIterator[Queries]:
    connection = await asyncpg.connect(job.URL)
    try:
        yield Queries.from_asyncpg_connection(connection)
    finally:
        await connection.close()


async def enqueue(jobs: int) -> None:
    async with queries() as store:
        await store.install()
        for number in range(jobs):
            await store.enqueue("work", str(number).encode())


async def left() -> Mapping[str, float]:
    async with queries() as store:
        return {"unfinished": sum(row.count for row in await store.queue_size())}


if __name__ == "__main__":
    job.main(
        version=f"pgqueuer {version('pgqueuer')}",
        settings={"flags": " ".join(FLAGS)} if job.TUNED else {},
        enqueue=lambda jobs: asyncio.run(enqueue(jobs)),
        command=["pgq", "run", "benchmarks.killed.peers.pgqueuer_:queuer", *(FLAGS if job.TUNED else [])],
        left=lambda: asyncio.run(left()),
    )
