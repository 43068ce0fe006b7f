"""What only a Cluster can do to a call: one of the servers that it goes to is away, and the others are not."""

import time
from contextlib import closing

import pytest

from holdfast import App
from holdfast.config import parse_url
from holdfast.delivery import Ack, HolderInfo, State
from holdfast.errors import BackendError
from holdfast.events import Done, Events
from holdfast.message import FORMAT, Message
from holdfast.stores import open_store
from holdfast.testing.conformance.cases import PATIENCE, beside
from tests.redis.programs import until
from tests.worker.conftest import Ear

pytestmark = pytest.mark.slow

HOLDER = "worker#1"


@pytest.fixture
def cluster(redis_servers):
    return redis_servers.cluster(node_timeout=60)  # nobody is promoted


@pytest.fixture
def store(cluster):
    store = open_store(parse_url(cluster.url))
    yield store
    store.close()


def queues_apart(cluster):
    """Return two queues of different servers, neither of which has what is of the whole store."""
    owners = {}
    for number in range(100):
        owner = cluster.owner(f"{{q{number}}}")
        if owner is not cluster.owner("{store}"):
            owners.setdefault(owner, f"q{number}")
    return sorted(owners.values())[:2]


def test_settlements_of_which_some_could_not_be_made_are_in_doubt(cluster, store):
    """Else who repeats them would take for lost what was settled the first time."""
    there, away = queues_apart(cluster)
    store.beat(HolderInfo(id=HOLDER, ttl=60.0, queues=(there, away), kinds=("",)))
    leased = []
    for queue in (there, away):
        store.send(queue, [Message(body=b"")])
        leased += store.lease(queue, HOLDER, queue, limit=1, kinds=("",), max_format=FORMAT)
    cluster.kill_owner(f"{{{away}}}")

    with pytest.raises(BackendError) as raised:
        store.settle([Ack(one.receipt) for one in leased])

    assert raised.value.retryable
    assert raised.value.outcome_unknown
    assert store.get(there, leased[0].id).state is State.DONE


def test_a_worker_goes_on_with_the_queues_whose_servers_are_there(cluster):
    there, away = queues_apart(cluster)
    with App(cluster.url, events=Events(logger=None)) as app:
        ear = Ear(app.events)

        @app.task(queue=there)
        def work():
            pass

        @app.task(queue=away)
        def wait():
            pass

        with app.worker():
            app.enqueue_many([work.call(), wait.call()])
            ear.wait_for(Done, 2)
            killed = cluster.kill_owner(f"{{{away}}}")
            for number in range(3, 203):
                work.enqueue()
                ear.wait_for(Done, number)

            killed.start()
            until(lambda: sent(wait), "the server is back")
            ear.wait_for(Done, 203)


def sent(task):
    try:
        return task.enqueue()
    except BackendError:
        return None


def test_a_holder_lives_while_the_server_of_one_of_its_queues_is_away(cluster, store):
    """Its heartbeat is in the slot of the whole store, and the other queues have something to say."""
    there, away = queues_apart(cluster)
    holder = HolderInfo(id=HOLDER, ttl=60.0, queues=(away, there), kinds=("",))
    store.pause(there)
    store.beat(holder)
    cluster.kill_owner(f"{{{away}}}")

    beat = store.beat(holder)

    assert (beat.alive, beat.paused) == (True, {there})


def test_waits_for_other_queues_are_not_held_up_by_a_server_that_says_nothing(cluster):
    """What had been waited for there is owed to it; each try to put that back takes all the time that an answer has."""
    there, away = queues_apart(cluster)
    silent = cluster.owner(f"{{{away}}}")
    with closing(open_store(parse_url(f"{cluster.url}?timeout=1"))) as store:
        waiting = beside(lambda: store.wait((there, away), ("",), 10 * PATIENCE))
        until(lambda: "blocked_clients:1\r" in silent.ask("INFO", "clients") + "\r", "it waits")
        with silent.paused():
            with pytest.raises(BackendError):
                store.stats(away)
            with pytest.raises(BackendError):
                waiting.result(PATIENCE)

            began = time.monotonic()
            for _ in range(8):
                store.wait((there,), ("",), 0)

            assert time.monotonic() - began < 4
