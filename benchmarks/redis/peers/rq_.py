"""RQ. Its page on performance says that SimpleWorker, which does not fork for each job, is several times as fast; no
result is kept, job descriptions are not logged, and jobs have no description made of their arguments. Two processes are
its worker pool.
"""

import rq as library
from redis import Redis

from benchmarks.job import ARGUMENTS, noop
from benchmarks.redis.asked import asked
from benchmarks.redis.job import note
from benchmarks.redis.library import Library, lengths
from benchmarks.redis.phases import main
from benchmarks.redis.senders import Called

TTL = asked().keep or 0
OPTIONS = {"result_ttl": TTL, "description": "noop"}
FLAGS = ["--worker-class", "rq.SimpleWorker", "--quiet", "--serializer", "json", "--url", asked().url]

queue = library.Queue(connection=Redis.from_url(asked().url), serializer="json")


def send(**arguments: object) -> None:
    queue.enqueue(noop, kwargs=arguments, **OPTIONS)


def send_noted(sent: int) -> None:
    queue.enqueue(note, sent, **OPTIONS)


def send_many(jobs: int) -> None:
    queue.enqueue_many([queue.prepare_data(noop, kwargs=ARGUMENTS, **OPTIONS) for _ in range(jobs)])


def commands(processes: int) -> list[list[str]]:
    if processes == 1:
        return [["rq", "worker", *FLAGS, "--disable-job-desc-logging"]]
    return [["rq", "worker-pool", *FLAGS, "--num-workers", str(processes)]]


if __name__ == "__main__":
    main(
        Library(
            version=f"rq {library.__version__}",
            settings=OPTIONS | {"serializer": "json", "worker_class": "SimpleWorker"},
            sender=Called(send, send_noted, send_many),
            commands=commands,
            left=lengths(("LLEN", "rq:queue:default"), ("ZCARD", "rq:wip:default")),
        )
    )
