"""The demo's schedule: every second a job records how many files are done."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from holdfast.app import App
from holdfast.capabilities import Tick
from holdfast.demo.survey import QUEUE
from holdfast.tasks.task import Task

PROGRESS = "progress"
NAME = "holdfast.demo.progress"
PERIOD = 1.0
KEPT = 3600.0


class Progress(msgspec.Struct, frozen=True):
    """What the schedule did: its ticks, oldest first, and how many files were done when its jobs looked."""

    ticks: Sequence[Tick]
    done: Sequence[int]


def declare(app: App, period: float = PERIOD) -> Task[[], int]:
    """Declare the schedule and its task. No tick is left out: not a late one, nor one whose predecessor still runs."""

    @app.schedule(every=period, missed="all", overlap="allow")
    @app.task(name=NAME, queue=PROGRESS, result=KEPT)
    def record() -> int:
        return app.backend.stats(QUEUE).done

    return record


def finish(app: App, patience: float) -> Progress:
    """Let it tick no more, and wait for the jobs of its ticks, ``patience`` seconds for each, while a worker lives."""
    app.schedules.pause(NAME)
    ticks = app.schedules.ticks(NAME, limit=100_000)[::-1]
    jobs = [app.job(PROGRESS, tick.job) for tick in ticks if tick.job is not None]
    return Progress(ticks, [job.result(timeout=patience) for job in jobs])
