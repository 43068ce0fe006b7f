"""Following how far a job is."""

import asyncio
import threading

import pytest

from holdfast import CONTEXT, Context, JobError, State


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def convert(app, gate):
    """A task that says "half", waits to be let go, and says "done"."""

    @app.task(retry=2)
    def convert(fails: bool = False, *, ctx: Context = CONTEXT) -> None:
        ctx.progress(0.5, "half")
        assert gate.wait(20)
        if fails and ctx.attempt == 1:
            raise ValueError("the first time")
        ctx.progress(1, "done")

    return convert


def test_reports_are_seen_as_they_come_and_the_last_one_always(app, convert, gate):
    seen = []
    job = convert.enqueue()
    with app.worker():
        for reported in job.progress(every=0.05):
            seen.append((reported.fraction, reported.note))
            gate.set()

    assert seen == [(0.5, "half"), (1.0, "done")]
    assert job.refresh().view.progress.note == "done"


def test_they_can_be_followed_without_blocking_a_loop(app, convert, gate):
    async def main():
        seen = []
        job = await convert.aenqueue()
        async for reported in job.aprogress(every=0.05):
            seen.append(reported.note)
            gate.set()
        return seen

    with app.worker():
        assert asyncio.run(main()) == ["half", "done"]


def test_of_a_job_that_has_ended_the_last_word_is_seen(app, convert, gate, work):
    gate.set()
    job = convert.enqueue()
    work()

    assert [reported.note for reported in job.progress()] == ["done"]


def test_of_a_job_that_says_nothing_nothing_is_seen(app, work):
    @app.task
    def silent() -> None: ...

    job = silent.enqueue()
    work()

    assert list(job.progress()) == []


def test_a_job_that_fails_shows_how_far_it_came(app, convert, gate, work):
    gate.set()
    job = convert.using(max_attempts=1).enqueue(fails=True)
    work()

    assert job.refresh().state is State.DEAD
    assert job.refresh().view.progress.note == "half"


def test_a_job_that_nobody_knows_cannot_be_followed(convert):
    with pytest.raises(JobError, match="no job nothing"):
        next(convert.job("nothing").progress())


def test_a_task_that_is_called_as_a_function_reports_to_nobody(convert, gate):
    gate.set()
    convert()
