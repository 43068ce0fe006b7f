"""Huey on Redis. Its storage waits with BRPOP as it is; results are not stored, nothing periodic is looked for, worker
health is not checked. A task is taken out of the queue before it runs, so one that runs is in no count. Two processes
are `-k process -w 2`, which documentation advises for work that takes the CPU; one process is so many threads, or one
child.
"""

import huey as library

from benchmarks.job import noop
from benchmarks.redis.asked import asked
from benchmarks.redis.job import note
from benchmarks.redis.library import Library, lengths
from benchmarks.redis.phases import main
from benchmarks.redis.senders import Called

FLAGS = ["--no-periodic", "--disable-health-check", "--quiet"]

if asked().keep:
    app = library.RedisExpireHuey("bench", url=asked().url, expire_time=asked().keep, store_none=True)
else:
    app = library.RedisHuey("bench", url=asked().url, results=False)
work = app.task(name="noop")(noop)
work_noted = app.task(name="note")(note)


def commands(processes: int) -> list[list[str]]:
    kind = asked().way or "thread"
    start = ["huey_consumer", "benchmarks.redis.peers.huey_.app", *FLAGS]
    if kind == "process" or processes > 1:
        return [[*start, "-k", "process", "-w", str(processes)]]
    return [[*start, "-k", "thread", "-w", str(asked().at_once)]]


if __name__ == "__main__":
    main(
        Library(
            version=f"huey {library.__version__}",
            settings={"storage": type(app.storage).__name__, "flags": " ".join(FLAGS)},
            sender=Called(work, work_noted),
            commands=commands,
            left=lengths(("LLEN", "huey.redis.bench")),
        )
    )
