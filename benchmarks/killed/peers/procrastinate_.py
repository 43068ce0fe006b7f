"""Procrastinate. At its defaults a stalled job stays `doing`. Tuned: the periodic task that its documentation offers
for this, run every SOON seconds, and heartbeats every second instead of ten.
"""

import asyncio
from collections.abc import Mapping
from importlib.metadata import version

import psycopg
from procrastinate import App, PsycopgConnector

from benchmarks.killed import job

SETTINGS = {"update_heartbeat_interval": 1, "stalled_worker_timeout": job.SOON}

app = App(connector=PsycopgConnector(conninfo=job.URL), worker_defaults=SETTINGS if job.TUNED else {})
work = app.task(name="work")(job.awaited_work)

if job.TUNED:

    @app.periodic(cron=f"* * * * * */{job.SOON}")
    @app.task(queueing_lock="retry_stalled_jobs", pass_context=True)
    async def retry_stalled_jobs(context, timestamp: int) -> None:  # type: ignore[no-untyped-def]
        for stalled in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=job.SOON):
            await app.job_manager.retry_job(stalled)


async def enqueue(jobs: int) -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for number in range(jobs):
            await work.defer_async(number=number)


def left() -> Mapping[str, float]:
    with psycopg.connect(job.URL) as connection:
        rows = connection.execute(
            "select status::text, count(*) from procrastinate_jobs where task_name = 'work' group by 1"
        ).fetchall()
    counts = dict(rows)
    return {"unfinished": counts.get("todo", 0) + counts.get("doing", 0), "failed": counts.get("failed", 0)}


if __name__ == "__main__":
    job.main(
        version=f"procrastinate {version('procrastinate')}",
        settings=SETTINGS | {"periodic": "retry_stalled_jobs"} if job.TUNED else {},
        enqueue=lambda jobs: asyncio.run(enqueue(jobs)),
        command=["procrastinate", "--app=benchmarks.killed.peers.procrastinate_.app", "worker"],
        left=left,
    )
