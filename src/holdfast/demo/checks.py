"""What must be true when the demo is over, asked of the store itself and of the files, not of who did the work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from holdfast.app import App
from holdfast.capabilities import JobFilter, TickOutcome
from holdfast.delivery import JobView, State
from holdfast.demo import runs
from holdfast.demo.plan import Planned
from holdfast.demo.progress import PROGRESS, Progress
from holdfast.demo.run import Course
from holdfast.demo.survey import QUEUE, Survey, add_up, survey
from holdfast.queues import Place

PAGE = 500


class Check(msgspec.Struct, frozen=True):
    """One promise, and what speaks against it: nothing if it was kept."""

    promise: str
    against: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.against


def check(app: App, plan: Sequence[Planned], course: Course, tell: Callable[[int], object] = id) -> list[Check]:
    """Check everything the demo promises. ``tell`` hears of each file that was counted again."""
    place = Place(QUEUE, lambda: app.backend)
    jobs = list(_all_jobs(place))
    promises: list[tuple[str, Iterator[str]]] = [
        ("every file has exactly one job", _one_job_each(plan, jobs)),
        ("every job is done, once, after the attempts that were planned", _planned_attempts(plan, jobs, place)),
        ("nothing is left waiting, running or dead", _left_over(place)),
        ("the store counts as many done jobs as there are files", _counts(plan, place)),
        ("the dead letters were those planned, and all were replayed", _dead(plan, course)),
        ("each tick of the schedule has made exactly one job, and it is done", _ticks(course.progress, app)),
        ("the log has how each run of each job ended, in order", _appended(plan, course, app)),
        ("the log's group has read all of it, each message once", _read(plan, course, app)),
        ("the results add up to what counting without a queue finds", _recount(plan, course, tell)),
    ]
    return [Check(promise, tuple(against)) for promise, against in promises]


def attempts_used(app: App, course: Course) -> dict[int, int]:
    """Return in which attempt how many jobs were done, as the store says; without those that were replayed."""
    jobs = _all_jobs(Place(QUEUE, lambda: app.backend))
    used = Counter(job.attempts for job in jobs if job.state is State.DONE and job.id not in course.dead)
    return dict(sorted(used.items()))


def _all_jobs(place: Place) -> Iterator[JobView]:
    page = place.browse(JobFilter(), limit=PAGE)
    yield from page.jobs
    while page.cursor is not None:
        page = place.browse(JobFilter(), limit=PAGE, cursor=page.cursor)
        yield from page.jobs


def _path(job: JobView) -> Path:
    path: str = msgspec.json.decode(job.body)["path"]
    return Path(path)


def _one_job_each(plan: Sequence[Planned], jobs: Sequence[JobView]) -> Iterator[str]:
    found = Counter(_path(job) for job in jobs)
    for one in plan:
        if found[one.path] != 1:
            yield f"{one.path} has {found[one.path]} jobs"
    for path in found.keys() - {one.path for one in plan}:
        yield f"{path} has a job and is not in the plan"


def _planned_attempts(plan: Sequence[Planned], jobs: Sequence[JobView], place: Place) -> Iterator[str]:
    planned = {one.path: one for one in plan}
    for seen in jobs:
        job, one = place.get(seen.id), planned.get(_path(seen))
        if job is None or one is None:
            continue  # said elsewhere
        done = sum(run.outcome == "done" for run in job.runs)
        failed = len(job.runs) - done
        if job.state is not State.DONE or done != 1:
            yield f"{one.path} is {job.state} and was done {done} times"
        elif failed != one.failures or job.attempts != (1 if one.missing else 1 + one.failures):
            yield f"{one.path} was done in attempt {job.attempts}, after {failed} failures, not {one.failures}"


def _left_over(place: Place) -> Iterator[str]:
    stats = place.stats()
    for state in (State.SCHEDULED, State.READY, State.RUNNING, State.DEAD, State.CANCELLED, State.EXPIRED):
        if number := getattr(stats, state.value):
            yield f"{number} jobs are {state}"


def _counts(plan: Sequence[Planned], place: Place) -> Iterator[str]:
    if (done := place.stats().done) != len(plan):
        yield f"{done} jobs are done, of {len(plan)} files"


def _dead(plan: Sequence[Planned], course: Course) -> Iterator[str]:
    missing = {job.id for job, one in zip(course.jobs, plan, strict=True) if one.missing}
    if set(course.dead) != missing:
        yield f"{len(course.dead)} jobs were dead, {len(missing)} were meant to be"
    if sorted(course.replayed) != sorted(course.dead):
        yield f"{len(course.replayed)} of {len(course.dead)} dead letters were replayed"


def _ticks(progress: Progress, app: App) -> Iterator[str]:
    jobs = {job.id: job.state for job in _all_jobs(Place(PROGRESS, lambda: app.backend))}
    for tick in progress.ticks:
        if tick.outcome is not TickOutcome.SENT or jobs.get(tick.job or "") is not State.DONE:
            yield f"the tick at {tick.tick} was {tick.outcome}; its job is {jobs.get(tick.job or '', 'not there')}"
    of_ticks = Counter(tick.job for tick in progress.ticks)
    yield from (f"{number} ticks have the job {job}" for job, number in of_ticks.items() if number > 1)
    yield from (f"job {job} is no tick's" for job in jobs.keys() - of_ticks.keys())
    if len({later.tick - earlier.tick for earlier, later in pairwise(progress.ticks)}) > 1:
        yield "a tick was left out"


def _appended(plan: Sequence[Planned], course: Course, app: App) -> Iterator[str]:
    yield from _differ(runs.expected(plan, [job.id for job in course.jobs]), runs.appended(app), "the log")


def _read(plan: Sequence[Planned], course: Course, app: App) -> Iterator[str]:
    audit = course.audit
    yield from (f"message {message} was read {times} times" for message, times in audit.reads.items() if times > 1)
    yield from _differ(runs.expected(plan, [job.id for job in course.jobs]), audit.story, f"group {runs.GROUP}")
    if lag := app.log(runs.LOG).group(runs.GROUP).lag().messages:
        yield f"group {runs.GROUP} has {lag} messages to read"


def _differ(meant: Mapping[str, Sequence[str]], found: Mapping[str, Sequence[str]], who: str) -> Iterator[str]:
    for job in dict.fromkeys([*meant, *found]):
        has, should = (", ".join(story.get(job, [])) or "nothing" for story in (found, meant))
        if has != should:
            yield f"job {job}: {who} has {has}, not {should}"


def _recount(plan: Sequence[Planned], course: Course, tell: Callable[[int], object]) -> Iterator[str]:
    counted: list[Survey] = []
    for one in plan:
        counted.append(survey(one.source.read_bytes()))
        tell(1)
    expected, total = add_up(counted), course.total
    for what in ("lines", "names"):
        if getattr(total, what) != getattr(expected, what):
            yield f"{getattr(total, what)} {what} in the results, {getattr(expected, what)} in the files"
    if total.imports != expected.imports:
        yield "the imports in the results are not those in the files"
