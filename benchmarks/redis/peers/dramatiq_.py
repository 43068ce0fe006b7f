"""Dramatiq. Its settings are the threads of a process and how many messages it fetches ahead, for which the environment
alone has a variable (twice the threads by default); an idle consumer looks with growing pauses up to the worker
timeout, for which there is another (a second by default). Results are a middleware that is not there by default.
"""

import dramatiq as library
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.job import noop
from benchmarks.redis.asked import asked
from benchmarks.redis.job import note
from benchmarks.redis.library import Library, lengths
from benchmarks.redis.phases import main
from benchmarks.redis.senders import Called

PREFETCH, TIMEOUT = "256", "10"

broker = RedisBroker(url=asked().url)
if asked().keep:
    broker.add_middleware(
        Results(backend=RedisBackend(url=asked().url), store_results=True, result_ttl=asked().keep * 1000)
    )
library.set_broker(broker)
work = library.actor(noop)
work_noted = library.actor(note)


def commands(processes: int) -> list[list[str]]:
    flags = ["--processes", str(processes), "--threads", str(asked().at_once)]
    return [["dramatiq", "benchmarks.redis.peers.dramatiq_", *flags]]


if __name__ == "__main__":
    main(
        Library(
            version=f"dramatiq {library.__version__}",
            settings={"threads": asked().at_once, "queue_prefetch": PREFETCH, "worker_timeout_ms": TIMEOUT},
            sender=Called(work.send, work_noted.send),
            commands=commands,
            left=lengths(("HLEN", "dramatiq:default.msgs")),
            environment={"dramatiq_queue_prefetch": PREFETCH, "dramatiq_worker_timeout": TIMEOUT},
        )
    )
