"""Commands that reach workers in other processes."""

import json
import subprocess
import time

import pytest

from holdfast import App, JobCancelled
from holdfast.delivery import State
from holdfast.events import Events
from holdfast.message import Message
from tests.cli.conftest import PROGRAM
from tests.processes.programs import QUEUE
from tests.processes.test_sqlite_processes import start

pytestmark = pytest.mark.slow


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
def app(url):
    with App(url, events=Events(logger=None)) as app:
        yield app


@pytest.fixture
def enduring(app, url):
    """A worker in a process of its own, which runs a job in a thread and another on its loop; with their ids."""
    child = start("endure", url)
    body = b'{"number": 1}'
    jobs = [stored.id for stored in app.backend.send(QUEUE, [Message(body=body, kind=k) for k in ("thread", "loop")])]
    assert {heard(child)["started"] for _ in jobs} == {"thread", "loop"}
    yield child, jobs
    child.kill()
    child.communicate()


def heard(child):
    return json.loads(child.stdout.readline())


def holdfast(*words):
    return subprocess.run([*PROGRAM, *words], check=True, capture_output=True, text=True).stdout


def test_a_request_to_cancel_reaches_running_jobs_of_another_process_within_a_second(app, url, enduring):
    child, jobs = enduring

    holdfast("jobs", "cancel", *jobs, "--url", url)
    asked = time.monotonic()

    stopped = [heard(child) for _ in jobs]
    assert {one["stopped"] for one in stopped} == {"thread", "loop"}
    assert max(one["at"] for one in stopped) - asked < 3 * 1.0  # a second, with slack
    for job in jobs:
        with pytest.raises(JobCancelled):
            app.job(QUEUE, job).result(timeout=10)


def test_a_worker_that_is_told_to_stop_ends_as_after_a_signal(app, url, enduring):
    child, jobs = enduring
    [worker] = app.workers.list()
    assert (worker.pid, worker.slots) == (child.pid, 20)

    holdfast("workers", "stop", str(child.pid), "--url", url)
    holdfast("jobs", "cancel", *jobs, "--url", url)

    assert child.wait(timeout=30) == 0
    assert app.workers.list() == []


def test_a_worker_that_is_quiet_can_be_seen_and_goes_on_with_its_jobs(app, url, enduring):
    child, jobs = enduring

    holdfast("workers", "quiet", "--all", "--url", url)
    [later] = app.backend.send(QUEUE, [Message(body=b'{"number": 2}', kind="thread")])
    while "quiet" not in holdfast("workers", "--url", url):
        pass  # the test's own timeout ends it

    assert [app.job(QUEUE, job).view.state for job in jobs] == [State.RUNNING] * 2
    holdfast("workers", "work", "--all", "--url", url)
    assert heard(child) == {"started": "thread"}
    assert app.job(QUEUE, later.id).view.state is State.RUNNING
