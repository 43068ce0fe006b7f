"""What a process costs that has nothing to do: besides heartbeats at most 0.2 statements a second.

A minute is shrunk to two seconds, by shrinking every period.
"""

import threading
import time

import pytest

from benchmarks.ours.statements import Statements
from holdfast import App
from holdfast.delivery import HolderInfo
from holdfast.events import Done, Events, Rescued
from holdfast.message import Message
from holdfast.stores import open_store
from holdfast.stores.sqlite import chances, watch
from holdfast.tasks import results
from holdfast.worker import housekeeping, tidying
from tests.worker.conftest import Ear

SHRUNK = 30
MINUTE = 60 / SHRUNK
BUDGET = 0.2 * 60
PERIODS = (
    (chances, "LOOK_AT_LEAST"),
    (chances, "SHORT"),
    (watch, "LOOK_AT_LEAST"),
    (housekeeping, "TIDY_AT_LEAST"),
    (housekeeping, "RETIRE_EVERY"),
    (tidying, "TIDY_EVERY"),
)


@pytest.fixture
def statements(monkeypatch):
    for module, name in PERIODS:
        monkeypatch.setattr(module, name, getattr(module, name) / SHRUNK)
    monkeypatch.setattr(results.Waiters.__init__, "__kwdefaults__", {"look_every": results.LOOK_EVERY / SHRUNK})
    return Statements(monkeypatch.setattr)


@pytest.fixture
def app(tmp_path):
    with App(f"sqlite:///{tmp_path}/jobs.db", events=Events(logger=None)) as app:
        yield app


def a_minute_of(statements):
    """Return how many statements are made in a minute, as counted over at least one."""
    statements.clear()
    begun = time.monotonic()
    threading.Event().wait(MINUTE)
    made = statements.count
    return made * MINUTE / (time.monotonic() - begun)


@pytest.mark.slow
def test_an_idle_worker(app, statements):
    @app.task
    def work():
        pass

    @app.task(queue="mail")
    async def mail():
        pass

    ear = Ear(app.events)
    with app.worker(ttl=30 / SHRUNK, idle_poll=5 / SHRUNK):
        app.enqueue_many([work.call(), mail.call()])
        ear.wait_for(Done, 2)
        threading.Event().wait(0.2)

        assert a_minute_of(statements) <= BUDGET, statements.made


@pytest.mark.slow
def test_an_app_that_only_sends(app, statements):
    app.queue("q").send(b"")

    assert a_minute_of(statements) <= BUDGET, statements.made


def wait_in_vain(job):
    with pytest.raises(TimeoutError):
        job.result(timeout=2 * MINUTE)


@pytest.mark.slow
def test_a_wait_for_a_result(app, statements):
    @app.task
    def work():
        pass

    job = work.enqueue()
    waiting = threading.Thread(target=wait_in_vain, args=(job,))
    waiting.start()
    threading.Event().wait(0.2)

    assert a_minute_of(statements) <= BUDGET, statements.made
    waiting.join()


@pytest.mark.slow
def test_jobs_of_a_silent_holder_come_back_soon_however_seldom_the_worker_beats(app):
    ear = Ear(app.events)

    @app.task
    def work():
        pass

    with app.worker():  # which beats every ten seconds
        work.enqueue()
        ear.wait_for(Done)
        other = open_store(app.url)
        other.send("default", [Message(body=b"", kind="other")])
        other.beat(HolderInfo(id="silent#1", ttl=2, queues=("default",)))
        assert other.lease("default", "silent#1", "lease", limit=1, kinds=["other"], max_format=1)
        silent = time.monotonic()
        other.close()

        ear.wait_for(Rescued)

        assert time.monotonic() - silent < 3 * (2 + 1)
