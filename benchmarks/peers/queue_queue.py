"""The standard library's `queue.Queue`: filled first, then drained by four threads that call the no-op job.

Two figures: `processed` hands over the arguments as they are, as a program with nothing but threads would;
`processed_json` hands over the JSON text and decodes it, as every store has to.
"""

import json
import platform
import threading
from collections.abc import Callable
from queue import Queue
from typing import TypeVar

from benchmarks.job import ARGUMENTS, BODY, Stopwatch, emit, noop, request

Item = TypeVar("Item")
THREADS = 4


def call_plain(item: dict[str, object]) -> None:
    noop(**item)  # type: ignore[arg-type]


def call_json(item: str) -> None:
    noop(**json.loads(item))


def consume(queue: "Queue[Item | None]", call: Callable[[Item], None]) -> None:
    """Take items until the sentinel; completion is recorded the only way this queue knows."""
    while (item := queue.get()) is not None:
        call(item)
        queue.task_done()


def drain(item: Item, call: Callable[[Item], None], jobs: int) -> tuple[float, float]:
    """Puts per second by one thread, then jobs per second by the consumers."""
    queue: Queue[Item | None] = Queue()
    putting = Stopwatch()
    for _ in range(jobs):
        queue.put(item)
    put = putting.rate(jobs)
    for _ in range(THREADS):
        queue.put(None)
    threads = [threading.Thread(target=consume, args=(queue, call)) for _ in range(THREADS)]
    processing = Stopwatch()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return put, processing.rate(jobs)


def main() -> None:
    jobs = request().jobs
    put, processed = drain(ARGUMENTS, call_plain, jobs)
    _, processed_json = drain(BODY, call_json, jobs)
    emit(
        f"Python {platform.python_version()}",
        {"threads": THREADS, "durability": "none"},
        {"processed": processed, "processed_json": processed_json, "enqueued": put},
    )


main()
