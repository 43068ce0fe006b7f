"""Holdfast on SQLite, or on the server that is given, with its own settings but for the number of processes."""

from collections.abc import Mapping
from importlib.metadata import version

from benchmarks.killed import job
from holdfast.app import App

COMMAND = ["holdfast", "worker", "benchmarks.killed.ours:app", "--processes", "2"]

app = App(job.URL or f"sqlite:///{job.DIRECTORY}/holdfast.db")
work = app.task(name="work")(job.work)


def enqueue(jobs: int) -> None:
    with app:
        for number in range(jobs):
            work.enqueue(number)


def left() -> Mapping[str, float]:
    with app:
        stats = app.backend.stats(work.queue)
    return {"unfinished": stats.ready + stats.running + stats.scheduled, "failed": stats.dead}


if __name__ == "__main__":
    job.main(version=f"holdfast {version('holdfast')}", settings={}, enqueue=enqueue, command=COMMAND, left=left)
