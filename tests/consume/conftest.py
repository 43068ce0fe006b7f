"""An App with a log, on each store that holds logs, and workers that end with the test."""

import threading
import time

import pytest

from holdfast import App, Retry, State
from holdfast.capabilities import JobFilter
from holdfast.config import LogSettings
from tests.worker.conftest import PATIENCE, Barrier, Ear

STORES = ("memory", pytest.param("sqlite", marks=pytest.mark.slow), pytest.param("disk", marks=pytest.mark.slow))
AT_ONCE = Retry(attempts=3, base=0, jitter="none")


@pytest.fixture(params=STORES)
def url(request, tmp_path):
    """The URL of a store, and that of its logs, if they lie elsewhere."""
    file = f"sqlite:///{tmp_path}/jobs.db"
    urls = {"memory": ("memory:", None), "sqlite": (file, None), "disk": (file, f"disk:{tmp_path}/data?sync=os")}
    return urls[request.param]


@pytest.fixture
def make_app(url):
    """Make an App on the store; in memory there is one alone."""
    made = []

    def make(**options):
        app = App(url[0], logs=url[1], **options)
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(make_app):
    return make_app()


class Orders:
    """The log ``orders`` of an App, and its group ``billing``."""

    def __init__(self, app):
        self.app = app
        self.log = app.log("orders")
        self.log.declare(LogSettings())

    def append(self, *bodies, partition=0, **fields):
        for body in bodies:
            self.log.append(body, partition=partition, **fields)

    def lag(self):
        return self.app.log_backend.lag("orders", "billing")

    def seek(self, offsets):
        self.app.log_backend.seek("orders", "billing", offsets)

    def wait_for_lag(self, messages):
        """Wait until the group has so many messages to go."""
        wait_until(lambda: sum(lag.messages for lag in self.lag()) == messages)


@pytest.fixture
def orders(app):
    return Orders(app)


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


def wait_until(true):
    """Wait until this is true: the store is asked, so there is nothing to be told by."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not become true"
        threading.Event().wait(0.01)


def dead(app, queue="orders.billing"):
    """Return the dead letters of the group, oldest first."""
    return list(reversed(app.queue(queue).browse(JobFilter(states=(State.DEAD,))).jobs))
