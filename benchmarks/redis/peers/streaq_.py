"""streaQ. Its settings are the tasks at once and how many are fetched ahead, a ttl of results of 0, tasks that are not
logged (silent), and uvloop by way of anyio. Jobs are sent in bulk by `enqueue_many`.
"""

from importlib.metadata import version

from streaq import Worker

from benchmarks.job import ARGUMENTS
from benchmarks.redis.asked import asked
from benchmarks.redis.job import awaited_note
from benchmarks.redis.library import Library, lengths
from benchmarks.redis.phases import main
from benchmarks.redis.senders import Awaited

SETTINGS = {"concurrency": asked().at_once, "prefetch": asked().at_once, "anyio_kwargs": {"use_uvloop": True}}
TTL = asked().keep or 0


def new_worker() -> Worker:
    return Worker(redis_url=asked().url, **SETTINGS)


worker = new_worker()


@worker.task(name="noop", ttl=TTL, silent=True)
async def noop(user_id: int, template: str, address: str, attempt: int) -> None:
    """The job."""


@worker.task(name="note", ttl=TTL, silent=True)
async def note(sent: int) -> None:
    await awaited_note(sent)


async def send(**arguments: object) -> None:
    await noop.enqueue(**arguments)


async def send_noted(sent: int) -> None:
    await note.enqueue(sent)


async def send_many(jobs: int) -> None:
    await worker.enqueue_many([noop.enqueue(**ARGUMENTS) for _ in range(jobs)])


if __name__ == "__main__":
    main(
        Library(
            version=f"streaq {version('streaq')}",
            settings=SETTINGS | {"ttl": TTL},
            sender=Awaited(lambda: worker, send, send_noted, send_many),
            commands=lambda processes: [
                ["streaq", "run", "benchmarks.redis.peers.streaq_:worker", "--workers", str(processes)]
            ],
            left=lengths(("XLEN", "streaq:default:queues:normal"), ("ZCARD", "streaq:default:queues:delayed:normal")),
        )
    )
