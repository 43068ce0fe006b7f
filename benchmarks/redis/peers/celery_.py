"""Celery. Its page on optimizing advises a high prefetch multiplier for many short tasks; results are ignored, rates
are not limited, and workers neither gossip nor mingle nor send heartbeats, which they would do by way of the server.

A worker process is the pool `solo` (the task runs in the main process), one child of `prefork`, or `threads`; whichever
is fastest. Two processes are two workers for `solo` and `threads`.
"""

import celery as library

from benchmarks.job import noop
from benchmarks.redis.asked import asked
from benchmarks.redis.job import note
from benchmarks.redis.library import Library, lengths
from benchmarks.redis.phases import main
from benchmarks.redis.senders import Called

SETTINGS: dict[str, object] = {
    "worker_prefetch_multiplier": 128,
    "worker_disable_rate_limits": True,
    "worker_enable_remote_control": False,
    "task_ignore_result": asked().keep is None,
    "result_expires": asked().keep,
}
FLAGS = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]

app = library.Celery("bench", broker=asked().url, backend=asked().url if asked().keep else None)
app.conf.update(SETTINGS)
work = app.task(name="noop")(noop)
work_noted = app.task(name="note")(note)


def commands(processes: int) -> list[list[str]]:
    pool = asked().way or "solo"
    start = ["celery", "-A", "benchmarks.redis.peers.celery_", "worker", *FLAGS, "--pool", pool]
    if pool == "prefork":
        return [[*start, "--concurrency", str(processes)]]
    at_once = str(asked().at_once) if pool == "threads" else "1"
    return [[*start, "--concurrency", at_once, "--hostname", f"{number}@bench"] for number in range(processes)]


if __name__ == "__main__":
    main(
        Library(
            version=f"celery {library.__version__}",
            settings=SETTINGS | {"flags": " ".join(FLAGS)},
            sender=Called(work.delay, work_noted.delay),
            commands=commands,
            left=lengths(("LLEN", "celery"), ("HLEN", "unacked")),
        )
    )
