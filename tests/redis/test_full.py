"""A server that is full takes no more jobs, and lets all that it has be worked off."""

import pytest

from holdfast.delivery import Ack, Burial, Cancellation, Crash, GiveBack, HolderInfo, Nack, State
from holdfast.errors import QueueFull
from holdfast.failures import ErrorInfo
from holdfast.message import Message
from tests.redis.fixtures import Place
from tests.redis.harness import RedisHarness

QUEUE, WORKER, OTHER = "work", "worker#1", "other#1"


@pytest.fixture
def server(redis_servers):
    return redis_servers.single(maxmemory_policy="noeviction")


@pytest.fixture
def harness(tmp_path, server):
    with RedisHarness(Place(server.url, "full:", 0, server), tmp_path) as harness:
        yield harness


@pytest.fixture
def store(harness, server):
    """Jobs of each sort, and two holders that have some; then nothing more fits."""
    store = harness.open()
    beat(store, WORKER)
    beat(store, OTHER)
    store.send(QUEUE, [Message(id=f"job {number}", body=b"x" * 100, key=f"key {number % 3}") for number in range(30)])
    store.send(QUEUE, [Message(id=f"plain {number}", body=b"x" * 100) for number in range(40)])
    store.send(QUEUE, [Message(id="due", body=b"", delay=5), Message(id="over", body=b"", expires_in=5)])
    server.ask("CONFIG", "SET", "maxmemory", "1")
    return store


def beat(store, holder):
    return store.beat(HolderInfo(id=holder, ttl=30, queues=(QUEUE,), kinds=("",)))


def lease(store, limit, holder=WORKER, lease_id="lease"):
    return store.lease(QUEUE, holder, lease_id, limit=limit, kinds=("",), max_format=1)


def test_a_send_to_a_full_server_is_refused(store):
    before = store.stats(QUEUE).ready

    with pytest.raises(QueueFull):
        store.send(QUEUE, [Message(body=b"one more")])

    assert store.stats(QUEUE).ready == before


def test_a_full_server_can_be_worked_off(store):
    done = 0

    while batch := lease(store, 7):
        assert store.settle([Ack(one.receipt, b"result", 60.0) for one in batch]) == []
        done += len(batch)

    assert done == 71
    assert store.stats(QUEUE).done == 71


def test_every_settlement_is_taken_by_a_full_server(store):
    ack, nack, later, bury, stop, back, crash = (one.receipt for one in lease(store, 7))
    error = ErrorInfo("E", "e", "t" * 5000)
    settlements = [Ack(ack), Nack(nack, 0.0, error), Nack(later, 60.0, error), Burial(bury, "given up", error)]

    lost = store.settle([*settlements, Cancellation(stop), GiveBack(back), Crash(crash, "died")])

    assert lost == []
    stats = store.stats(QUEUE)
    assert (stats.done, stats.dead, stats.cancelled, stats.running) == (1, 1, 1, 0)


def test_a_holder_lives_on_a_full_server(harness, store):
    harness.elapse(20)

    assert beat(store, WORKER).alive

    harness.elapse(20)
    beat(store, WORKER)
    assert {holder.id for holder in store.holders()} == {WORKER, OTHER}
    store.tidy()
    assert [holder.id for holder in store.holders()] == [WORKER]


def test_the_jobs_of_a_dead_holder_come_back_on_a_full_server(harness, store):
    lease(store, 5, OTHER)
    harness.elapse(31)

    assert store.tidy().rescued == 5
    beat(store, "new#1")
    assert len(lease(store, 100, "new#1")) > 5


def test_time_goes_on_on_a_full_server(harness, store):
    harness.elapse(5)

    tidied = store.tidy()

    assert (tidied.promoted, tidied.expired) == (1, 1)


def test_jobs_are_cancelled_and_removed_on_a_full_server(store):
    assert store.cancel(QUEUE, ["plain 1", "job 1"]) == {"plain 1": State.CANCELLED, "job 1": State.CANCELLED}

    assert store.remove(QUEUE, ["plain 1", "plain 2"]) == ["plain 1", "plain 2"]
    assert store.flush(QUEUE, State.READY) > 0
    assert store.destroy(QUEUE) > 0
