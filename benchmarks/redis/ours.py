"""Holdfast, with the settings it has when nobody sets any, but for how many jobs run at once; every completion is
recorded. Calls send one by one and in bulk, a hundred tasks send by `aenqueue`. With `--keep` a queue is told to keep
its history, and the ids by which it knows jobs again, for so long.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from benchmarks.job import ARGUMENTS, noop
from benchmarks.redis.asked import asked
from benchmarks.redis.job import note
from benchmarks.redis.library import Library
from benchmarks.redis.phases import main
from benchmarks.redis.senders import Awaited, Called
from benchmarks.redis.wire import Wire
from holdfast.app import App
from holdfast.config import QueueSettings

app = App(asked().url)
work = app.task(name="noop")(noop)
work_noted = app.task(name="note")(note)


@asynccontextmanager
async def opened() -> AsyncIterator[None]:
    yield


def send_many(jobs: int) -> None:
    work.enqueue_many([work.call(**ARGUMENTS) for _ in range(jobs)])


class Sender(Called):
    """Called, but for a hundred at once, which are awaited."""

    def __init__(self) -> None:
        super().__init__(work.enqueue, work_noted.enqueue, send_many)
        self.concurrent = Awaited(opened, work.aenqueue, work_noted.aenqueue).concurrent


def commands(processes: int) -> list[list[str]]:
    flags = ["--processes", str(processes), "--concurrency", str(asked().at_once)]
    return [["holdfast", "worker", "benchmarks.redis.ours:app", *flags]]


def left(_: Wire) -> int:
    stats = app.backend.stats(work.queue)
    return stats.ready + stats.running + stats.scheduled


def tidy() -> None:
    while app.backend.tidy().more:
        pass


if __name__ == "__main__":
    keep = asked().keep
    if keep is not None:
        app.queue(work.queue).declare(QueueSettings(done_for=keep, dedupe_window=keep))
    with app:
        main(
            Library(
                version=f"holdfast {version('holdfast')}",
                settings={"concurrency": asked().at_once, "level": str(app.backend.features.level)},
                sender=Sender(),
                commands=commands,
                left=left,
                tidy=tidy,
            )
        )
