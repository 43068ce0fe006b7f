"""An App in memory, and a way to work on everything it has."""

import pytest

from holdfast import App
from holdfast.testing.clock import MovableClock


@pytest.fixture
def clock():
    return MovableClock()


@pytest.fixture
def app(clock):
    app = App("memory:", clock=clock)
    yield app
    app.close()


@pytest.fixture
def work(app):
    """Run a worker until nothing is left to do, and return its report."""

    def work(*queues):
        worker = app.worker(queues or None, drain=True)
        worker.start()
        return worker.join(30)

    return work
