"""A slot of a Cluster is moved to another node, key by key, while its queue is in use."""

import pytest

from holdfast.config import parse_url
from holdfast.delivery import Ack, HolderInfo
from holdfast.errors import BackendError
from holdfast.message import Message
from holdfast.stores import open_store

QUEUE = "work"
KEY = f"queue:{{{QUEUE}}}"
HOLDER = HolderInfo(id="worker#1", ttl=1_000_000.0, kinds=("",), queues=(QUEUE,))


@pytest.fixture
def cluster(redis_servers):
    return redis_servers.cluster()


@pytest.fixture
def store(cluster):
    store = open_store(parse_url(cluster.url))
    yield store
    store.close()


def lease(store, lease_id, limit=100):
    return store.lease(QUEUE, HOLDER.id, lease_id, limit=limit, kinds=("",), max_format=1)


def message(number):
    return Message(id=f"job {number}", body=b"")


@pytest.mark.slow
def test_a_queue_is_away_while_it_is_moved_and_whole_afterwards(cluster, store):
    store.beat(HOLDER)
    store.send(QUEUE, [message(number) for number in range(20)])
    [delivery] = lease(store, "before", limit=1)
    owner = cluster.owner(KEY)
    slot = owner.ask("CLUSTER", "KEYSLOT", KEY)
    target = next(master for master in cluster.masters if master is not owner)
    verbs = [
        lambda: store.send(QUEUE, [message(20)]),
        lambda: lease(store, "while"),
        lambda: store.settle([Ack(delivery.receipt)]),
        lambda: store.stats(QUEUE),
        lambda: store.wait([QUEUE], [""], 0.01),
        store.tidy,
    ]

    cluster.begin_move(slot, target)
    for _ in range(3):
        for verb in verbs:
            with pytest.raises(BackendError) as away:
                verb()
            assert away.value.retryable
        cluster.move_keys(slot, target, 15)
    cluster.end_move(slot, target)

    store.send(QUEUE, [message(20)])
    assert store.settle([Ack(delivery.receipt)]) == []
    assert [one.id for one in lease(store, "after")] == [f"job {number}" for number in range(1, 21)]


@pytest.mark.slow
def test_a_watch_follows_a_queue_that_is_moved(cluster, store):
    store.beat(HOLDER)
    store.send(QUEUE, [message(1)])
    watch = store.watch()
    watch.add(QUEUE, ["job 1"])
    watch.wait(0)
    owner = cluster.owner(KEY)
    slot = owner.ask("CLUSTER", "KEYSLOT", KEY)
    target = next(master for master in cluster.masters if master is not owner)

    cluster.begin_move(slot, target)
    cluster.move_keys(slot, target, 5)
    with pytest.raises(BackendError) as away:
        watch.wait(10)
    cluster.end_move(slot, target)
    store.settle([Ack(delivery.receipt) for delivery in lease(store, "after")])

    assert away.value.retryable
    assert watch.wait(10) == [(QUEUE, "job 1")]
