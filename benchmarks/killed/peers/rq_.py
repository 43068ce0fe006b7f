"""RQ. At its defaults a job whose worker died is marked failed, once a worker tidies. Tuned: jobs have retries, workers
look every SOON seconds (the worker ttl less 15); the 60 seconds that RQ adds to a job's heartbeat cannot be set.
"""

from collections.abc import Mapping

import rq as library
from redis import Redis

from benchmarks.killed import job

RETRIES = 3
FLAGS = ["--worker-ttl", "20", "--maintenance-interval", str(job.SOON), "--job-monitoring-interval", str(job.SOON)]


def queue() -> library.Queue:
    return library.Queue(connection=Redis.from_url(job.URL))


def enqueue(jobs: int) -> None:
    target = queue()
    for number in range(jobs):
        target.enqueue(job.work, number, retry=library.Retry(max=RETRIES) if job.TUNED else None)


def left() -> Mapping[str, float]:
    target = queue()
    running = target.started_job_registry.get_job_count(cleanup=False)
    waiting = target.scheduled_job_registry.get_job_count(cleanup=False)
    return {
        "unfinished": target.count + running + waiting,
        "failed": target.failed_job_registry.get_job_count(cleanup=False),
    }


if __name__ == "__main__":
    job.main(
        version=f"rq {library.__version__}",
        settings={"retry": RETRIES, "flags": " ".join(FLAGS)} if job.TUNED else {},
        enqueue=enqueue,
        command=["rq", "worker", "--url", job.URL, *(FLAGS if job.TUNED else [])],
        left=left,
    )
