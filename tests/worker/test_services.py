"""What runs beside a worker's jobs: it starts with the worker, and stops when the worker begins to stop."""

import threading

import pytest

from holdfast.events import Done
from holdfast.worker import Worker
from tests.worker.conftest import handler


class Recorded:
    """A service that notes what it is told; ``broken`` verbs raise."""

    def __init__(self, *broken, name="one", notes=None):
        self.notes = [] if notes is None else notes
        self.started = threading.Event()
        self.stopped = threading.Event()
        self._name, self._broken = name, broken

    def start(self):
        self._note("start")
        self.started.set()

    def stop(self):
        self._note("stop")
        self.stopped.set()

    def join(self, timeout=None):
        self._note("join")
        return True

    def _note(self, verb):
        self.notes.append((self._name, verb))
        if verb in self._broken:
            raise RuntimeError(f"no {verb}")


@pytest.fixture
def serving(store, events, clock):
    made = []

    def make(run, *services):
        worker = Worker(store, ["q"], [handler(run)], events=events, clock=clock, services=services)
        made.append(worker)
        worker.start()
        return worker

    yield make
    for worker in made:
        worker.stop(now=True)
        worker._ended.wait(10)


def ok(delivery, context):
    return None


def test_services_start_with_the_worker_and_end_with_it(serving):
    notes = []
    services = [Recorded(name="one", notes=notes), Recorded(name="two", notes=notes)]
    worker = serving(ok, *services)
    assert services[1].started.wait(10)
    assert notes == [("one", "start"), ("two", "start")]

    worker.stop()
    worker.join(10)

    assert notes[2:] == [("two", "stop"), ("one", "stop"), ("two", "join"), ("one", "join")]


def test_a_service_is_stopped_before_running_jobs_have_ended(serving, send, barrier):
    send(b"")
    service = Recorded()
    worker = serving(barrier, service)
    barrier.wait_for_entries()
    assert service.started.wait(10)  # jobs begin before services do

    worker.stop()

    assert service.stopped.wait(10)
    barrier.let_go()
    assert worker.join(10).done == 1


def test_a_service_that_cannot_start_ends_the_worker_with_its_error(serving):
    before, after = Recorded(), Recorded()
    worker = serving(ok, before, Recorded("start"), after)

    with pytest.raises(RuntimeError, match="no start"):
        worker.join(10)

    assert [verb for _, verb in before.notes] == ["start", "stop", "join"]
    assert after.notes == []


def test_a_service_that_cannot_stop_keeps_nothing_from_ending(serving, send, ear, caplog):
    send(b"")
    others = Recorded()
    broken = Recorded("stop", "join")
    worker = serving(ok, others, broken)
    ear.wait_for(Done)
    assert broken.started.wait(10)  # jobs begin before services do

    worker.stop()

    assert worker.join(10).done == 1
    assert [verb for _, verb in others.notes] == ["start", "stop", "join"]
    assert "could not be stopped" in caplog.text


class Hearing(Recorded):
    """A service that cannot bear what the heartbeat tells it."""

    def introduce(self, holder):
        return holder

    def heard(self, beat):
        self._note("heard")


def test_a_service_that_fails_at_a_heartbeat_keeps_it_from_nothing(serving, send, ear, caplog):
    send(b"")

    worker = serving(ok, Hearing("heard"))

    ear.wait_for(Done)
    worker.stop()
    assert worker.join(10).done == 1
    assert "failed at the answer to a heartbeat" in caplog.text


class Endless(Recorded):
    """A service that does not end."""

    def join(self, timeout=None):
        return super().join() and threading.Event().wait(timeout)


@pytest.mark.slow
def test_a_service_that_does_not_end_leaves_time_to_retire_the_holder(serving, send, store, ear, caplog):
    send(b"")
    endless = Endless()
    worker = serving(ok, endless)
    ear.wait_for(Done)
    assert endless.started.wait(10)

    worker.stop()

    assert worker.join(10).done == 1
    assert "goes on after its worker has ended" in caplog.text
    assert store.holders() == []
