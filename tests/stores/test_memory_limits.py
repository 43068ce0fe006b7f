"""The memory store is bounded, and says so before it stores anything."""

import pytest

from holdfast.config import QueueSettings
from holdfast.delivery import Ack, HolderInfo, State
from holdfast.errors import QueueFull
from holdfast.message import Message
from holdfast.stores.memory import MemoryBackend


def messages(*ids, size=1):
    return [Message(id=id_, body=b"x" * size) for id_ in ids]


def test_more_jobs_than_it_may_hold_are_refused_whole():
    store = MemoryBackend(max_jobs=3)
    store.send("q", messages("a", "b"))

    with pytest.raises(QueueFull, match="3 jobs"):
        store.send("q", messages("c", "d"))

    assert store.stats("q").ready == 2


def test_jobs_of_all_queues_count():
    store = MemoryBackend(max_jobs=2)
    store.send("one", messages("a"))
    store.send("two", messages("a"))

    with pytest.raises(QueueFull):
        store.send("three", messages("a"))


def test_more_bytes_than_it_may_hold_are_refused():
    store = MemoryBackend(max_bytes=100)
    store.send("q", messages("a", size=60))

    with pytest.raises(QueueFull):
        store.send("q", messages("b", size=60))


def test_a_full_store_still_recognises_what_it_has():
    store = MemoryBackend(max_jobs=2)
    store.send("q", messages("a", "b"))

    again = store.send("q", messages("a", "b"))

    assert [one.duplicate for one in again] == [True, True]


def test_what_retention_does_not_keep_makes_room_without_a_tidy():
    store = MemoryBackend(max_jobs=1)
    store.declare("q", QueueSettings(done_for=0))
    store.beat(HolderInfo(id="w#1", ttl=60))
    store.send("q", messages("a"))
    [delivery] = store.lease("q", "w#1", "1", limit=1, kinds=("",), max_format=1)
    store.settle([Ack(delivery.receipt)])

    store.send("q", messages("b"))

    assert store.stats("q").ready == 1


@pytest.mark.parametrize("remove", [lambda store: store.flush("q", State.READY), lambda store: store.destroy("q")])
def test_removed_jobs_make_room(remove):
    store = MemoryBackend(max_jobs=1, max_bytes=100)
    store.send("q", messages("a", size=100))

    remove(store)

    store.send("q", messages("b", size=100))
    assert store.stats("q").ready == 1
