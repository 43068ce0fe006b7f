"""Whatever call of a store fails, before it was carried out or after: nothing is lost, nothing runs twice at once.

A real App sends and its worker works, while the first calls of one verb fail. Who sends again uses the same ids.
"""

import random
import threading
from collections import Counter
from contextlib import suppress
from datetime import timedelta

import pytest

from holdfast import CONTEXT, App, Context, Retry
from holdfast.config import parse_url
from holdfast.delivery import State
from holdfast.errors import BackendError
from holdfast.stores import open_store
from holdfast.testing import Faults

pytestmark = pytest.mark.slow
PATIENCE = 10
JOBS = [f"job {number}" for number in range(24)]
FAILING = JOBS[::4]
"""These fail in their first attempt."""
FOLLOWERS = [f"follows {job}" for job in JOBS]
KEYS = 3
TIMES = 2
STORES = ["memory:", "sqlite:///{folder}/place/jobs.db?sync=normal"]
WORKING = ["send", "beat", "lease", "wait", "settle", "tidy", "holders", "report", "due_schedules", "fire"]


class History:
    """What handlers saw: the runs of each job, and the marks (its id, its key) of those that ran beside another."""

    def __init__(self):
        self._changed = threading.Condition()
        self._going_on = Counter()
        self.runs, self.beside = Counter(), []

    def enter(self, *marks):
        with self._changed:
            self.beside += [mark for mark in marks if self._going_on[mark]]
            self._going_on.update(marks)

    def leave(self, *marks):
        with self._changed:
            self._going_on.subtract(marks)
            self.runs[marks[0]] += 1
            self._changed.notify_all()

    def wait_for(self, job_ids, patience=PATIENCE):
        """Block until each of these jobs has run."""
        with self._changed:
            assert self._changed.wait_for(lambda: set(job_ids) <= self.runs.keys(), patience), self.runs


@pytest.fixture(params=STORES, ids=["memory", "sqlite"])
def store(request, tmp_path):
    return open_store(parse_url(request.param.format(folder=tmp_path)))


@pytest.fixture
def faults():
    return Faults()


@pytest.fixture
def history():
    return History()


@pytest.fixture
def app(store, faults, history):
    """An App whose tasks fail at times, have keys and followers, report progress and tick."""
    app = App("memory:", logger=None)

    @app.task(name="work", queue="q", retry=Retry(base=0, jitter="none"))
    def work(number: int, *, ctx: Context = CONTEXT) -> None:
        marks = ctx.id, f"key {number % KEYS}"
        history.enter(*marks)
        ctx.progress(0.5, "half")
        ctx.then(follow.using(id=f"follows {ctx.id}").call())
        history.leave(*marks)
        if ctx.id in FAILING and ctx.attempt == 1:
            raise ValueError("on purpose")

    @app.task(name="follow", queue="q")
    def follow(*, ctx: Context = CONTEXT) -> None:
        history.enter(ctx.id)
        history.leave(ctx.id)

    @app.schedule(every=timedelta(milliseconds=200))
    @app.task(name="tick", queue="ticks")
    def tick(*, ctx: Context = CONTEXT) -> None:
        history.enter(ctx.id)
        history.leave(ctx.id)

    with app._life.lend(faults.wrap(store), app._clock):
        app.schedules.register()
        yield app


def insist(call):
    """Return what the store answers when it has said yes."""
    while True:
        with suppress(BackendError):
            return call()


def send_all(app):
    for number, job in enumerate(JOBS):
        using = app.tasks["work"].using(id=job, key=f"key {number % KEYS}")
        insist(lambda using=using, number=number: using.enqueue(number))


@pytest.mark.parametrize("after", [False, True], ids=["not carried out", "carried out"])
@pytest.mark.parametrize("verb", WORKING)
def test_a_verb_that_fails_while_a_worker_works_loses_nothing_and_doubles_nothing(
    *, app, store, faults, history, verb, after
):
    faults.fail(verb, TIMES, after=after)

    with app.worker(concurrency=4, busy_poll=0.05, idle_poll=0.05):
        send_all(app)
        history.wait_for([*JOBS, *FOLLOWERS])
        faults.wait_for_calls(verb, TIMES + 1, PATIENCE)

    check(store, history)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "rounds", [pytest.param(2, id="2 rounds"), pytest.param(40, id="40 rounds", marks=pytest.mark.long)]
)
def test_verbs_that_fail_by_chance_lose_nothing_and_double_nothing(*, app, store, faults, history, rounds):
    for seed in range(rounds):
        draw = random.Random(seed)
        for verb in WORKING * 4:
            faults.fail(verb, nth=draw.randrange(1, 6), after=draw.random() < 0.5)

        with app.worker(concurrency=4, busy_poll=0.05, idle_poll=0.05):
            send_all(app)
            history.wait_for([*JOBS, *FOLLOWERS], 6 * PATIENCE)  # many failures in a row make for long pauses
            faults.mend()

        check(store, history)
        store.destroy("q")
        history.runs.clear()


def check(store, history):
    """Each job is done, ran as often as it had to and as it was charged for, and never beside itself or its key."""
    assert history.beside == []
    for job in [*JOBS, *FOLLOWERS]:
        view, runs = store.get("q", job), 2 if job in FAILING else 1
        assert (view.state, view.attempts, history.runs[job]) == (State.DONE, runs, runs)
    assert store.stats("ticks").running == 0
    assert store.holders() == []


@pytest.mark.parametrize("store", STORES[1:], ids=["sqlite"], indirect=True)
def test_jobs_come_back_whose_file_was_lost_between_grant_and_reply(
    *, app, store, faults, history, tmp_path, monkeypatch
):
    """Nobody knows what was granted, and for a while there is no place to ask."""
    folder, away, lost = tmp_path / "place", tmp_path / "away", []
    grant = store.lease

    def lease(*arguments, **options):
        granted = grant(*arguments, **options)
        if granted and not lost:
            lost.extend(one.id for one in granted)
            folder.rename(away)
            folder.touch()  # so that no new file can be made there
            raise BackendError("the reply got lost", retryable=True, outcome_unknown=True)
        return granted

    monkeypatch.setattr(store, "lease", lease)
    send_all(app)
    with app.worker(concurrency=4, busy_poll=0.05, idle_poll=0.05):
        faults.wait_for_calls("settle", 3, PATIENCE)
        assert away.exists()
        folder.unlink()
        away.rename(folder)
        history.wait_for([*JOBS, *FOLLOWERS])

    assert lost
    check(store, history)
