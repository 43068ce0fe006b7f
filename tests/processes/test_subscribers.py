"""Events under kills at every step: each subscriber's job is acknowledged exactly once, whatever died."""

import json
import random
import signal
import subprocess
import sys
from collections import Counter

import pytest

from holdfast import App
from holdfast.capabilities import JobFilter
from holdfast.delivery import State
from holdfast.events import Done
from tests.processes.subscribers import KIND, NAMES, QUEUE, STEPS, subscribe, wire

ROUNDS = [pytest.param(1, id="1 round"), pytest.param(10, id="10 rounds", marks=pytest.mark.long)]


def work(url, step):
    """Run a worker until drained, or killed at the step; return its exit code and what it said."""
    command = [sys.executable, "-m", "tests.processes.subscribers", url, step]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    lines = [line for line in done.stdout.splitlines(keepends=True) if line.endswith("\n")]
    return done.returncode, [json.loads(line) for line in lines], done.stderr


def all_jobs(app):
    jobs, cursor = [], None
    while True:
        page = app.queue(QUEUE).browse(JobFilter(), limit=1000, cursor=cursor)
        jobs += page.jobs
        cursor = page.cursor
        if cursor is None:
            return jobs


def assert_all_are_done_once(app, events, said):
    """Every event and each of its four jobs is done, no acknowledgement was counted twice, no run repeats a token."""
    jobs = all_jobs(app)
    acked = Counter(one["acked"] for one in said if "acked" in one)
    runs = [(one["started"], one["token"]) for one in said if "started" in one]
    assert Counter(job.kind for job in jobs) == {KIND: events, **{f"{KIND}/{name}": events for name in NAMES}}
    assert {job.state for job in jobs} == {State.DONE}
    assert set(acked.values()) <= {1}, "a job was acknowledged twice"
    assert len(runs) == len(set(runs)), "a run was repeated without a higher token"
    assert {job_id for job_id, _ in runs} == {job.id for job in jobs if job.kind != KIND}
    for job in jobs:
        assert [run.outcome for run in app.queue(QUEUE).get(job.id).runs].count("done") == 1
        assert all(token <= job.token for job_id, token in runs if job_id == job.id)
    return runs


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_worker_killed_at_any_step_loses_and_doubles_nothing(tmp_path, rounds, record_property):
    url, said, events = f"sqlite:///{tmp_path}/jobs.db", [], 0
    draw = random.Random(0)
    with App(url) as app:
        for step in STEPS * rounds:
            for _ in range(draw.randrange(2, 5)):
                app.publish(KIND, events)
                events += 1
            code, its, errors = work(url, step)
            said += its
            assert code == -signal.SIGKILL, f"no worker came to {step!r}: {errors}"
        code, its, errors = work(url, "no step")
        said += its

        record_property("events", events)
        assert its[-1] == {"drained": True}, errors
        runs = assert_all_are_done_once(app, events, said)
        record_property("runs", len(runs))


@pytest.mark.slow
def test_without_kills_each_runs_once_and_the_failing_one_three_times(tmp_path):
    url = f"sqlite:///{tmp_path}/jobs.db"
    with App(url) as app:
        for number in range(5):
            app.publish(KIND, number)
        code, said, errors = work(url, "no step")

        assert code == 0, errors
        runs = assert_all_are_done_once(app, 5, said)
    names = Counter(job_id.rpartition("/")[2] for job_id, _ in runs)
    assert names == {"bill": 5, "ship": 5, "thank": 5, "flaky": 15}


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_stopped_at_any_step_loses_and_doubles_nothing(step):
    said, tripped = [], []
    app = App("memory:")

    def trip(name):
        if name == step and not tripped:
            tripped.append(name)
            first.stop(now=True)

    subscribe(app, lambda **facts: said.append(facts), trip)
    app.listen(Done, lambda event: said.append({"acked": event.job.id}))
    with app:
        wire(app.backend, trip)
        for number in range(3):
            app.publish(KIND, number)
        first = app.worker(drain=True)
        first.start()
        first.join(10)
        last = app.worker(drain=True)
        last.start()
        last.join(10)

        assert tripped == [step]
        assert_all_are_done_once(app, 3, said)
