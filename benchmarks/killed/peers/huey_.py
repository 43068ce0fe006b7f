"""Huey, on Redis or on SQLite (where there is no server). A task is taken out of the queue before it runs; there is no
setting that would keep it.
"""

from collections.abc import Mapping

import huey as library

from benchmarks.killed import job

app = library.RedisHuey("killed", url=job.URL) if job.URL else library.SqliteHuey("killed", str(job.DIRECTORY / "db"))
work = app.task()(job.work)


def enqueue(jobs: int) -> None:
    for number in range(jobs):
        work(number)


def left() -> Mapping[str, float]:
    return {"unfinished": app.pending_count() + app.scheduled_count()}


if __name__ == "__main__":
    job.main(
        version=f"huey {library.__version__}",
        settings={"storage": type(app.storage).__name__},
        enqueue=enqueue,
        command=["huey_consumer", "benchmarks.killed.peers.huey_.app"],
        left=left,
    )
