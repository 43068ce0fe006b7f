"""Dramatiq on Redis. At its defaults a worker is dead after a minute, and one command in a thousand looks for the dead.
Tuned: dead after SOON seconds, every command looks.
"""

from collections.abc import Mapping

import dramatiq as library
from dramatiq.brokers.redis import RedisBroker

from benchmarks.killed import job

SETTINGS = {"heartbeat_timeout": job.SOON * 1000, "maintenance_chance": 1_000_000}

broker = RedisBroker(url=job.URL, **(SETTINGS if job.TUNED else {}))
library.set_broker(broker)
work = library.actor(job.work)


def enqueue(jobs: int) -> None:
    for number in range(jobs):
        work.send(number)


def left() -> Mapping[str, float]:
    count = broker.client.hlen
    waiting = count("dramatiq:default.msgs") + count("dramatiq:default.DQ.msgs")
    return {"unfinished": waiting, "failed": count("dramatiq:default.XQ.msgs")}


if __name__ == "__main__":
    job.main(
        version=f"dramatiq {library.__version__}",
        settings=SETTINGS if job.TUNED else {},
        enqueue=enqueue,
        command=["dramatiq", "benchmarks.killed.peers.dramatiq_"],
        left=left,
    )
