"""An App with a log, on each store that holds logs, and workers that end with the test."""

import threading
import time

import pytest

from holdfast import App, Retry, State
from holdfast.capabilities import JobFilter
from holdfast.config import LogSettings
from holdfast.logged import Columns, written_headers, written_key
from tests.worker.conftest import PATIENCE, Barrier, Ear

STORES = ("memory",)
AT_ONCE = Retry(attempts=3, base=0, jitter="none")


@pytest.fixture(params=STORES)
def url(request, tmp_path):
    """The URL of a store, and that of its logs."""
    return {"memory": ("memory:", None), "sqlite": (f"sqlite:///{tmp_path}/jobs.db", None)}[request.param]


@pytest.fixture
def make_app(url):
    """Make an App on the store; in memory there is one alone."""
    made = []

    def make(**options):
        app = App(url[0], **options)
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(make_app):
    return make_app()


@pytest.fixture
def logs(app):
    """The logs, with one called ``orders`` that has a partition."""
    logs = app._open_logs()
    logs.declare("orders", LogSettings())
    return logs


@pytest.fixture
def append(logs):
    """Append messages to a partition."""

    def append(*bodies, key=None, partition=0, headers=None):
        keys = None if key is None else [written_key(key)] * len(bodies)
        packed = None if headers is None else [written_headers(headers)] * len(bodies)
        return logs.append("orders", partition, Columns(bodies, keys, packed)).offset

    return append


@pytest.fixture
def worker(app):
    """Start a worker; it ends with the test."""
    made = []

    def start(app=app, **options):
        worker = app.worker(**options)
        made.append(worker)
        worker.start()
        return worker

    yield start
    for worker in made:
        worker.stop()
    for worker in made:
        worker.join(PATIENCE * 3)


@pytest.fixture
def work(worker):
    """Work until the groups have no lag, and return the report."""

    def work(*queues, **options):
        made = worker(queues=queues or None, drain=True, **options)
        report = made.join(PATIENCE * 3)
        assert report is not None, "the worker has not drained"
        return report

    return work


@pytest.fixture
def ear(app):
    return Ear(app.events)


@pytest.fixture
def barrier():
    barrier = Barrier()
    yield barrier
    barrier.let_go()


class Heard(list):
    """What handlers got, in the order they got it."""

    def __init__(self):
        super().__init__()
        self._changed = threading.Condition()

    def note(self, thing):
        with self._changed:
            self.append(thing)
            self._changed.notify_all()

    def wait_for(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self) >= count, PATIENCE), f"{count} expected, got {list(self)}"


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def wait_for_lag(logs):
    """Wait until a group has so many messages to go."""

    def wait(messages=0, group="billing"):
        wait_until(lambda: sum(lag.messages for lag in logs.lag("orders", group)) == messages)

    return wait


def wait_until(true):
    """Wait until this is true: the store is asked, so there is nothing to be told by."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not become true"
        threading.Event().wait(0.01)


def dead(app, queue="orders.billing"):
    """Return the dead letters of the group, oldest first."""
    return list(reversed(app.queue(queue).browse(JobFilter(states=(State.DEAD,))).jobs))
