"""SAQ on Redis. Its documentation offers serializers of one's own, here orjson, and a number of jobs at once; results
are not kept (a ttl of -1), and no more than a hundred sends wait for each other (twenty by default). Its loop is
uvloop. There is nothing to send several jobs at once.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import orjson
import uvloop
from saq import Queue

from benchmarks.redis.asked import asked
from benchmarks.redis.job import awaited_note
from benchmarks.redis.library import Library, lengths
from benchmarks.redis.phases import main
from benchmarks.redis.senders import SENDERS, Awaited

TTL = asked().keep or -1

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def new_queue() -> Queue:
    return Queue.from_url(asked().url, dump=orjson.dumps, load=orjson.loads, max_concurrent_ops=SENDERS)


async def noop(_: dict[str, Any], *, user_id: int, template: str, address: str, attempt: int) -> None:
    """The job."""


async def note(_: dict[str, Any], *, sent: int) -> None:
    await awaited_note(sent)


settings = {"queue": new_queue(), "functions": [noop, note], "concurrency": asked().at_once}


class Sending:
    """A queue of its own for each loop that sends."""

    queue: Queue

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        self.queue = new_queue()
        yield
        await self.queue.disconnect()

    async def send(self, **arguments: object) -> None:
        await self.queue.enqueue("noop", ttl=TTL, **arguments)

    async def note(self, sent: int) -> None:
        await self.queue.enqueue("note", ttl=TTL, sent=sent)


if __name__ == "__main__":
    sending = Sending()
    main(
        Library(
            version=f"saq {version('saq')}",
            settings={"concurrency": asked().at_once, "ttl": TTL, "serializer": "orjson"},
            sender=Awaited(sending.opened, sending.send, sending.note),
            commands=lambda processes: [["saq", "benchmarks.redis.peers.saq_.settings", "--workers", str(processes)]],
            left=lengths(("ZCARD", "saq:default:incomplete")),
        )
    )
