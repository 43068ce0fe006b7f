"""Celery on Redis. At its defaults a message is acknowledged as its task starts; what was fetched and not started comes
back after the visibility timeout of an hour. Tuned: acknowledged late, back after SOON seconds, looked for each second.
"""

from collections.abc import Mapping

import celery as library
from redis import Redis

from benchmarks.killed import job

SETTINGS: dict[str, object] = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
    "broker_transport_options": {
        "visibility_timeout": job.SOON,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
}

app = library.Celery("killed", broker=job.URL)
if job.TUNED:
    app.conf.update(SETTINGS)
work = app.task(name="work")(job.work)


def enqueue(jobs: int) -> None:
    for number in range(jobs):
        work.delay(number)


def left() -> Mapping[str, float]:
    redis = Redis.from_url(job.URL)
    return {"unfinished": redis.llen("celery") + redis.hlen("unacked")}


if __name__ == "__main__":
    job.main(
        version=f"celery {library.__version__}",
        settings=SETTINGS if job.TUNED else {},
        enqueue=enqueue,
        command=["celery", "-A", "benchmarks.killed.peers.celery_", "worker"],
        left=left,
    )
