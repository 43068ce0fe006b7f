"""One SQLite file, many processes, some of them killed: nothing is lost, nothing is doubled, no lock is seen."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from holdfast import App
from holdfast.capabilities import JobFilter
from holdfast.config import parse_url
from holdfast.delivery import MAX_CRASHES, State
from holdfast.heartbeat import EMBEDDED_TTL
from holdfast.message import Message
from holdfast.stores import open_store
from holdfast.worker.deaths import GONE
from tests.processes.programs import QUEUE, body_of

pytestmark = pytest.mark.slow
FEW_OR_MANY = [pytest.param(10, id="10 rounds"), pytest.param(100, id="100 rounds", marks=pytest.mark.long)]


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/jobs.db"


def start(program, *arguments):
    command = [sys.executable, "-m", "tests.processes.programs", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def facts(output):
    """What a program said; a line that the kill cut short was not said."""
    return [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith("\n")]


def kill_after(child, lines):
    """Kill a program once it has said ``lines`` facts; return all it said."""
    with child:  # communicate() would not see what readline() has read ahead
        said = "".join(child.stdout.readline() for _ in range(lines))
        child.send_signal(signal.SIGKILL)
        return facts(said + child.stdout.read())


def every_job(store):
    jobs, cursor = [], None
    while True:
        page = store.browse(QUEUE, JobFilter(), limit=1000, cursor=cursor)
        jobs += page.jobs
        if page.cursor is None:
            return jobs
        cursor = page.cursor


def assert_counts_are_true(store):
    counted = Counter(job.state for job in every_job(store))
    stats = store.stats(QUEUE)
    assert {state: getattr(stats, state.value) for state in State} == {state: counted[state] for state in State}


@pytest.mark.parametrize(
    "seconds",
    [pytest.param(10, id="10 s"), pytest.param(60, id="60 s", marks=[pytest.mark.long, pytest.mark.timeout(300)])],
)
def test_eight_processes_send_and_lease_without_loss_or_double(url, seconds, record_property):
    children = [start("trade", url, seconds) for _ in range(8)]
    said = []
    for child in children:
        output, errors = child.communicate()
        assert child.returncode == 0, errors
        said += facts(output)

    sent = [job_id for one in said for job_id in one["sent"]]
    acked = Counter(job_id for one in said for job_id in one["acked"])
    store = open_store(parse_url(url))
    waiting = store.stats(QUEUE).ready
    store.close()

    record_property("jobs", len(sent))
    assert len(sent) == len(set(sent)) > 0
    assert set(acked) <= set(sent)
    assert set(acked.values()) == {1}, "a job was acked twice"
    assert len(acked) + waiting == len(sent), "a job was lost"
    assert sum(one["lost"] for one in said) == 0


@pytest.mark.parametrize("rounds", FEW_OR_MANY)
def test_a_killed_sender_leaves_each_job_whole_or_absent(url, rounds, record_property):
    said = set()
    for round_ in range(rounds):
        lines = random.Random(round_).randrange(1, 40)
        said |= {job_id for one in kill_after(start("pour", url), lines) for job_id in one["stored"]}

    store = open_store(parse_url(url))
    jobs = {job.id: job for job in every_job(store)}

    record_property("jobs", len(jobs))
    assert said <= set(jobs), "a job that was said to be stored is absent"
    assert all(job.body == body_of(job_id) for job_id, job in jobs.items()), "a job is not whole"
    assert sum(not job.held for job in jobs.values() if job.key) == len({job.key for job in jobs.values() if job.key})
    assert_counts_are_true(store)
    store.close()


@pytest.mark.parametrize("rounds", FEW_OR_MANY)
@pytest.mark.timeout(600)
def test_a_killed_worker_loses_nothing(url, rounds, record_property):
    app, jobs, said = App(url), 30 * rounds, []

    @app.task(queue=QUEUE, name="step")
    def step(number: int) -> None: ...

    with app:
        app.enqueue_many([step.using(max_attempts=None).call(number) for number in range(jobs)])
        for round_ in range(rounds):
            child = start("labour", url)
            said += kill_after(child, random.Random(round_).randrange(1, 40))
        last, errors = start("labour", url).communicate()
        said += facts(last)
        stats = app.backend.stats(QUEUE)
        runs = [(one["started"], one["token"]) for one in said if "started" in one]

        record_property("jobs", jobs)
        record_property("runs", len(runs))
        assert '"drained"' in last, errors
        dead = [job for job in every_job(app.backend) if job.state is State.DEAD]
        assert stats.done + len(dead) == jobs, stats
        assert all(job.crashes == MAX_CRASHES for job in dead), "buried though it was not killed so often"
        assert {number for number, _ in runs} == set(range(jobs)), "a job was done without having run"
        assert len(runs) == len(set(runs)), "a run was repeated without a higher token"
        assert_counts_are_true(app.backend)


def wait_for_holders(store, number):
    while len(store.holders()) < number:  # the test's own timeout ends it
        store.wait([QUEUE], ["nothing"], 0.05)


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore:.driver=sqlite3. SQLite .* has the WAL-reset race:RuntimeWarning")
@pytest.mark.parametrize("driver", ["apsw", "sqlite3"])
@pytest.mark.parametrize("together", [True, False], ids=["started together", "started one by one"])
def test_the_job_of_a_killed_worker_is_run_by_an_idle_one_long_before_its_ttl_ends(
    url, driver, together, record_property
):
    """An idle worker asks the store for next to nothing, and must see all the same that another process has gone."""
    url = f"{url}?driver={driver}"
    with App(url) as app, open_pipe() as (heard, said):
        command = [sys.executable, "-m", "tests.processes.programs", "cling", url]
        children = {}
        for number in (1, 2):
            child = subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL)
            children[child.pid] = child
            if not together or number == 2:
                wait_for_holders(app.backend, number)
        try:
            app.backend.send(QUEUE, [Message(body=b'{"number": 1}', kind="step")])
            first = json.loads(heard.readline())
            killed = time.monotonic()
            children[first["started"]].kill()
            children[first["started"]].wait()
            second = json.loads(heard.readline())
        finally:
            for child in children.values():
                child.kill()
                child.wait()

    record_property("seconds", round(second["at"] - killed, 2))
    assert second["started"] != first["started"]
    assert second["at"] - killed < EMBEDDED_TTL / 2, "it was found by its ttl, not by its process"


@pytest.mark.parametrize("is_async", [False, True], ids=["in threads", "on a loop"])
def test_only_the_jobs_that_had_started_are_charged_when_their_process_is_killed(url, is_async):
    quick = [Message(body=b'{"number": 1000}', kind="step") for _ in range(50)]
    long = [Message(id=str(number), body=f'{{"number": {number}}}'.encode(), kind="step") for number in range(8)]
    with App(url) as app, open_pipe() as (heard, said):
        app.task(queue=QUEUE, name="other")(a_number)
        app.backend.send(QUEUE, [*quick, *long])
        command = [sys.executable, "-m", "tests.processes.programs", "hoard", url, str(int(is_async))]
        with subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL) as child:
            started = {str(json.loads(heard.readline())["started"]) for _ in range(2)}
            while app.backend.stats(QUEUE).running < 3:
                app.backend.wait([QUEUE], ["nothing"], 0.05)
            child.kill()
        [holder] = app.backend.holders()
        with app.worker([QUEUE]):
            while app.backend.stats(QUEUE).running:
                app.backend.wait([QUEUE], ["nothing"], 0.05)
        jobs = {job.id: app.backend.get(QUEUE, job.id) for job in long}

    assert not Path(holder.published).exists()
    assert {job.id for job in jobs.values() if job.state is State.READY} == set(jobs)
    assert {job.id for job in jobs.values() if (job.attempts, job.crashes) == (1, 1)} == started
    assert {job.id for job in jobs.values() if (job.attempts, job.crashes) == (0, 0)} == set(jobs) - started
    assert [run.error.message for job in jobs.values() for run in job.runs] == [GONE] * 2


@contextmanager
def open_pipe():
    ends = os.pipe()
    with os.fdopen(ends[0]) as heard, os.fdopen(ends[1], "w") as said:
        yield heard, said


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:.driver=sqlite3. SQLite .* has the WAL-reset race:RuntimeWarning")
@pytest.mark.parametrize("driver", ["apsw", "sqlite3"])
def test_a_worker_killed_around_its_own_commits_does_each_job_exactly_once(url, tmp_path, driver):
    """Its row, its ack and the job it sends are one transaction, wherever the kill comes."""
    url, library, draw = f"{url}?driver={driver}", sqlite3 if driver == "sqlite3" else apsw, random.Random(7)
    with App(url) as app:
        count = app.task(queue=QUEUE, name="count")(a_number).using(max_attempts=None)
        app.enqueue_many([count.call(number) for number in range(40)])
        connection = library.Connection(f"{tmp_path}/jobs.db")
        connection.execute("CREATE TABLE done (number INTEGER)")
        for _ in range(6):
            kill_after(start("transact", url, driver), draw.randrange(1, 30))
        while app.queue(QUEUE).stats().running or app.queue(QUEUE).stats().ready:  # the dead hold theirs for 2 s
            said, complaints = start("transact", url, driver).communicate(timeout=200)
            assert {"drained": True} in facts(said), complaints
        rows = sorted(number for (number,) in connection.execute("SELECT number FROM done").fetchall())
        connection.close()

        assert rows == sorted([*range(40), *range(1000, 1040)])
        assert app.queue(QUEUE).stats().done == 80
        assert_counts_are_true(app.backend)


def a_number(number: int) -> None: ...
