"""Queues that a server has lost come back as those who use them knew them; queues that were destroyed do not."""

import pytest

from holdfast import App
from holdfast.config import QueueSettings
from holdfast.delivery import HolderInfo
from holdfast.errors import QueueFull
from holdfast.message import Message

QUEUE, WORKER = "work", "worker#1"
SETTINGS = QueueSettings(limit=1, labels={"team": "mail"})


@pytest.fixture
def store(harness):
    store = harness.open()
    store.declare(QUEUE, SETTINGS)
    beat(store)
    return store


def beat(store):
    store.beat(HolderInfo(id=WORKER, ttl=30, queues=(QUEUE,), kinds=("",)))


def lose(harness):
    """Let the server lose all that it has."""
    harness.place.ask("FLUSHDB")


def send(store, number=1):
    store.send(QUEUE, [Message(body=b"") for _ in range(number)])


def lease(store):
    return store.lease(QUEUE, WORKER, "lease", limit=5, kinds=("",), max_format=1)


def test_a_send_makes_a_lost_queue_again_as_it_was(harness, store):
    lose(harness)

    with pytest.raises(QueueFull):
        send(store, 2)

    assert store.queues() == {QUEUE: SETTINGS}


def test_a_worker_makes_its_lost_queue_again_before_others_send(harness, store):
    sender = harness.open()
    lose(harness)
    beat(store)

    assert lease(store) == []

    with pytest.raises(QueueFull):
        send(sender, 2)
    assert sender.queues() == {QUEUE: SETTINGS}


def test_who_saw_the_settings_of_a_queue_knows_them(harness, store):
    other = harness.open()
    other.queues()
    lose(harness)

    other.pause(QUEUE)

    assert store.queues() == {QUEUE: SETTINGS}


def test_an_app_whose_queues_were_there_when_it_opened_makes_them_again(harness):
    url, _ = harness.address()
    for _ in range(2):
        with App(url, queues={QUEUE: SETTINGS}) as app:
            app.backend.send(QUEUE, [])
            lose(harness)
            send(app.backend)
            assert app.backend.queues() == {QUEUE: SETTINGS}


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_destroyed_queue_does_not_come_back_by_itself(harness, store, jobs):
    send(store, jobs)
    harness.open().destroy(QUEUE)

    assert lease(store) == []
    assert store.queues() == {}


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_destroyed_queue_is_made_again_with_the_defaults(harness, store, jobs):
    send(store, jobs)
    harness.open().destroy(QUEUE)

    send(store)

    assert store.queues() == {QUEUE: QueueSettings()}


def test_a_queue_that_was_never_there_leaves_nothing_when_it_is_destroyed(harness, store):
    store.destroy("nowhere")

    assert harness.place.ask("KEYS", f"{harness.place.prefix}*nowhere*") == []
