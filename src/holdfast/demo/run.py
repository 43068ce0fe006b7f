"""The demo's course: send a job per file, work, wait for every result, repair what failed, and replay it. A schedule
ticks meanwhile, and a group reads the log of how runs end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from holdfast.app import App
from holdfast.capabilities import JobFilter
from holdfast.delivery import State
from holdfast.demo import progress, runs
from holdfast.demo.plan import Planned, bring
from holdfast.demo.progress import PROGRESS, Progress
from holdfast.demo.runs import Audit
from holdfast.demo.survey import QUEUE, Survey, add_up, declare
from holdfast.errors import JobError, JobFailed
from holdfast.queues import Place
from holdfast.tasks.job import Job

CONCURRENCY = 8
PATIENCE = 300.0
"""Seconds to wait for one result: far more than all of them take."""

Tell = Callable[[int], object]
"""Hears of so many more finished jobs."""


class Course(msgspec.Struct, frozen=True):
    """What happened: the jobs in the order of the plan, their results by id, what was replayed, what ticked, and what
    the log's group has read.
    """

    jobs: Sequence[Job[Survey]]
    results: dict[str, Survey]
    dead: Sequence[str]
    replayed: Sequence[str]
    progress: Progress
    audit: Audit
    seconds: float

    @property
    def total(self) -> Survey:
        """The sum of all results."""
        return add_up(self.results.values())


def run(app: App, plan: Sequence[Planned], tell: Tell = lambda more: None, period: float = progress.PERIOD) -> Course:
    """Survey every planned file with a worker in this process, recording progress every ``period`` seconds.

    ``JobError`` if a job never ends.
    """
    started = time.monotonic()
    task = declare(app)
    progress.declare(app, period)
    audit = runs.declare(app)
    app.schedules.register()  # a worker would do it in its own time, and a short demo be over before
    jobs = task.enqueue_many(task.call(str(one.path), fail=one.fail) for one in plan)
    with app.worker([QUEUE, PROGRESS, f"{runs.LOG}.{runs.GROUP}"], concurrency=CONCURRENCY, embedded=False):
        results = _wait_for(jobs, tell)
        dead = [job for job in jobs if job.id not in results]
        bring(plan)
        replayed = replay_dead(app)
        results |= _wait_for([job for job in dead if job.id in replayed], tell)
        seconds = time.monotonic() - started
        ticked = progress.finish(app, PATIENCE)
        audit.wait_for(app.log(runs.LOG).depth(), PATIENCE)  # a run is appended before its result is known
    return Course(jobs, results, [job.id for job in dead], replayed, ticked, audit, seconds)


def _wait_for(jobs: Sequence[Job[Survey]], tell: Tell) -> dict[str, Survey]:
    """Wait for each job; return the results of those that have one. All waits share one connection."""
    results: dict[str, Survey] = {}
    for job in jobs:
        try:
            results[job.id] = job.result(timeout=PATIENCE)
        except JobFailed:
            continue  # a dead letter: it stays in the store until somebody replays it
        except TimeoutError:
            raise JobError(f"job {job.id} has not ended after {PATIENCE:g} s", job_id=job.id) from None
        finally:
            tell(1)
    return results


def replay_dead(app: App) -> Sequence[str]:
    """Make the dead letters ready again, with all attempts; return their ids."""
    return Place(QUEUE, lambda: app.backend).replay(JobFilter(states=(State.DEAD,))).moved
