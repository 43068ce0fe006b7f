"""What a worker costs its server that has nothing to do: besides heartbeats at most 0.2 round trips a second.

A minute is shrunk to two seconds, by shrinking every period.
"""

import threading
import time

import pytest

from benchmarks.ours.round_trips import RoundTrips
from holdfast import App
from holdfast.events import Done, Events
from holdfast.worker import housekeeping, tidying
from holdfast.worker.options import WorkerOptions
from tests.worker.conftest import Ear

SHRUNK = 30
MINUTE = 60 / SHRUNK
BUDGET = 0.2 * 60
PERIODS = (housekeeping, "TIDY_AT_LEAST"), (housekeeping, "RETIRE_EVERY"), (tidying, "TIDY_EVERY")


@pytest.fixture
def trips(monkeypatch):
    for module, name in PERIODS:
        monkeypatch.setattr(module, name, getattr(module, name) / SHRUNK)
    return RoundTrips(monkeypatch.setattr)


@pytest.fixture
def app(redis_place, trips):
    with App(f"{redis_place.url}?prefix={redis_place.prefix}", events=Events(logger=None)) as app:
        yield app


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_idle_worker_of_two_queues(app, trips):
    @app.task
    def work():
        pass

    @app.task(queue="mail")
    async def mail():
        pass

    ear = Ear(app.events)
    with app.worker(ttl=30 / SHRUNK, idle_poll=WorkerOptions().idle_poll / SHRUNK):
        app.enqueue_many([work.call(), mail.call()])
        ear.wait_for(Done, 2)
        threading.Event().wait(2.5)  # until it tidies no longer as one does that has been busy
        trips.clear()
        begun = time.monotonic()
        threading.Event().wait(2 * MINUTE)
        made = trips.count

    assert made * MINUTE / (time.monotonic() - begun) <= BUDGET, trips.made
