"""A memory store with a movable clock, workers that end with the test, and an ear for every event."""

import threading

import pytest

from holdfast.events import LOGGER, Event, Events
from holdfast.message import Message
from holdfast.retry import Retry
from holdfast.stores.memory import MemoryBackend
from holdfast.testing.clock import MovableClock
from holdfast.worker import Handler, Worker, WorkerOptions

PATIENCE = 10
AT_ONCE = Retry(base=0, jitter="none")


class Ear:
    """Keeps every event, and waits for those to come."""

    def __init__(self, events):
        self._changed = threading.Condition()
        self._heard = []
        events.listen(Event, self._note)

    def _note(self, event):
        with self._changed:
            self._heard.append(event)
            self._changed.notify_all()

    def heard(self, event_type):
        with self._changed:
            return [event for event in self._heard if isinstance(event, event_type)]

    def wait_for(self, event_type, count=1):
        """Return the events of this type once there are ``count``."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.heard(event_type)) >= count, PATIENCE)
            assert enough, f"{count} {event_type.__name__} expected, heard {self._heard}"
            return self.heard(event_type)


class Barrier:
    """A handler that waits to be let go; ``entered`` counts the runs that have begun."""

    def __init__(self):
        self._entered = threading.Semaphore(0)
        self._open = threading.Event()
        self.contexts = []

    def __call__(self, delivery, context):
        self.contexts.append(context)
        self._entered.release()
        assert self._open.wait(PATIENCE * 3)

    def wait_for_entries(self, count=1):
        for _ in range(count):
            assert self._entered.acquire(timeout=PATIENCE)

    def let_go(self):
        self._open.set()


@pytest.fixture
def clock():
    return MovableClock()


@pytest.fixture
def store(clock):
    store = MemoryBackend(clock)
    yield store
    store.close()


@pytest.fixture
def events():
    events = Events(logger=None)
    events.logger = LOGGER  # some tests read what workers write; what events write has tests of its own
    return events


@pytest.fixture
def ear(events):
    return Ear(events)


@pytest.fixture
def barrier():
    barrier = Barrier()
    yield barrier
    barrier.let_go()


@pytest.fixture
def send(store):
    """Send messages of kind ``k`` to queue ``q``; return their ids."""

    def send(*bodies, queue="q", **fields):
        messages = [Message(body=body, **{"kind": "k", **fields}) for body in bodies]
        return [stored.id for stored in store.send(queue, messages)]

    return send


def handler(run, kind="k", **options):
    return Handler(kind=kind, run=run, **{"retry": AT_ONCE, **options})


@pytest.fixture
def worker(store, events, clock, barrier):
    """Make a worker of queue ``q`` that has started; it ends with the test."""
    made = []

    def make(run, *more, backend=store, queues=("q",), kind="k", is_async=False, **options):
        handlers = [run if isinstance(run, Handler) else handler(run, kind, is_async=is_async), *more]
        worker = Worker(backend, queues, handlers, events=events, options=WorkerOptions(**options), clock=clock)
        made.append(worker)
        worker.start()
        return worker

    yield make
    barrier.let_go()
    for worker in made:
        worker.stop(now=True)
    for worker in made:
        worker._ended.wait(PATIENCE)


def wait_for_ready(store):
    """Wait until a job of queue ``q`` could be leased; workers that stop interrupt every wait of their store."""
    for _ in range(100):
        if store.wait(["q"], ["k"], PATIENCE):
            return
    raise AssertionError("nothing became ready")
