"""Holders live in one slot and lease in others: what one of them lost or did not hear comes right again."""

import pytest

from holdfast.app import App
from holdfast.capabilities import JobFilter
from holdfast.delivery import Ack, HolderInfo, State
from holdfast.errors import BackendError, LeaseLost
from holdfast.message import Message

QUEUE, WORKER = "work", "worker#1"


@pytest.fixture
def store(harness):
    store = harness.open()
    beat(store)
    store.send(QUEUE, [Message(id=f"job {number}", body=b"") for number in range(3)])
    return store


def beat(store, holder=WORKER, ttl=30):
    return store.beat(HolderInfo(id=holder, ttl=ttl, queues=(QUEUE,), kinds=("",)))


def lease(store, holder=WORKER, limit=2):
    return store.lease(QUEUE, holder, "lease", limit=limit, kinds=("",), max_format=1)


def forget_holders(harness):
    """Remove what the store knows of holders, as a failover to a replica that lagged can."""
    prefix = f"{harness.place.prefix}{{store}}:"
    for key in harness.place.ask("KEYS", f"{harness.place.prefix}*store*"):
        if not key.endswith("queues") and not key.endswith("notes"):
            assert key.startswith(prefix)
            harness.place.ask("DEL", key)


def test_a_holder_that_the_store_forgot_is_known_again_by_its_next_beat(harness, store):
    delivery, _ = lease(store)
    forget_holders(harness)

    assert store.tidy().rescued == 0
    assert beat(store).alive
    assert store.settle([Ack(delivery.receipt)]) == []


def test_the_jobs_of_a_holder_that_the_store_forgot_and_that_died_come_back(harness, store):
    lease(store)
    forget_holders(harness)
    store.tidy()
    harness.elapse(121)

    assert store.tidy().rescued == 2
    beat(store, "other#1")
    assert [one.id for one in lease(store, "other#1", 5)] == ["job 0", "job 1", "job 2"]


def test_a_forgotten_holder_that_beat_again_is_rescued_when_it_falls_silent(harness, store):
    lease(store)
    forget_holders(harness)
    beat(store)
    harness.elapse(31)

    assert store.tidy().rescued == 2
    assert not beat(store).alive


def test_an_end_that_was_begun_is_finished_by_who_asks_again(harness, store):
    lease(store)
    begin_to_end(harness, store)

    assert store.retire(WORKER, "died") == 2
    assert store.retire(WORKER, "died") == 0
    assert store.stats(QUEUE).ready == 3


def test_an_end_that_was_begun_is_finished_by_who_tidies(harness, store):
    lease(store)
    begin_to_end(harness, store)
    harness.elapse(11)

    assert store.tidy().rescued == 2
    assert store.stats(QUEUE).ready == 3


def begin_to_end(harness, store):
    """Let a holder end in the store's slot, by somebody who dies before he comes to those of its queues."""
    from holdfast.stores.redis.holding import _END, _encode_ending, _Ending  # what it stands for is a crash in between

    ending = _encode_ending(_Ending("died", ()))
    store._link.run(_END, store._keys.store, store._times(), WORKER, "end", ending)


def test_an_ended_holder_never_leases_again(store):
    lease(store)
    store.retire(WORKER, "died")

    with pytest.raises(LeaseLost):
        lease(store)
    with pytest.raises(LeaseLost):
        store.lease("elsewhere", WORKER, "lease", limit=1, kinds=("",), max_format=1)


def test_a_queue_whose_name_was_lost_with_its_holders_is_known_again_when_a_worker_of_it_beats(harness, store):
    forget_holders(harness)
    harness.place.ask("DEL", f"{harness.place.prefix}{{store}}:queues")

    beat(store)

    assert list(store.queues()) == [QUEUE]


def test_a_queue_that_is_away_keeps_no_other_from_being_tidied(harness, store):
    away = f"{harness.place.prefix}queue:{{away}}:holders"
    store.send("away", [Message(body=b"")])
    store.send(QUEUE, [Message(body=b"", delay=40)])
    store.lease("away", WORKER, "lease", limit=1, kinds=("",), max_format=1)
    lease(store, limit=1)
    beat(store, "younger#1", ttl=35)
    lease(store, "younger#1", limit=1)
    harness.place.ask("DEL", away)
    harness.place.ask("SET", away, "no hash")
    harness.elapse(31)
    for seconds in (15, 0):
        with pytest.raises(BackendError):
            store.tidy()
        harness.elapse(seconds)

    browsed = store.browse(QUEUE, JobFilter()).jobs

    assert [job.state for job in browsed] == [State.READY] * 4
    assert harness.place.ask("ZCARD", f"{harness.place.prefix}queue:{{{QUEUE}}}:scheduled") == 0


@pytest.mark.parametrize("charged", [(), None], ids=["stops", "falls silent"])
def test_a_completion_that_a_failover_lost_runs_again_once_its_worker_ends(redis_servers, charged):
    """What docs/how-to/redis-in-production.md says of failovers without ?wait."""
    master, replica = redis_servers.pair()
    with App(f"{master.url}?wait=1", logger=None) as careful:
        careful.backend.send(QUEUE, [Message(id="job", body=b"", key="key")])
        beat(careful.backend)
        (delivery,) = lease(careful.backend)
    replica.replicate(None)  # what comes now it does not get
    with App(master.url, logger=None) as hasty:
        assert hasty.backend.settle([Ack(delivery.receipt)]) == []

    with App(replica.url, logger=None) as app:
        store = app.backend
        lost = store.get(QUEUE, "job").state
        taken = store.retire(WORKER, "it stopped", charged)
        beat(store, "worker#2")
        (again,) = lease(store, "worker#2")

    assert (lost, taken) == (State.RUNNING, 1)
    assert (again.id, again.token) == ("job", delivery.receipt.token + 1)
