"""Leases whose answers were lost: given back whole, whatever else runs, and also when they come to the server late."""

import pytest

from holdfast.delivery import Ack, GiveBack, HolderInfo
from holdfast.errors import BackendError
from holdfast.message import Message

QUEUE, WORKER, OTHER = "work", "worker#1", "other#1"
MANY = 300


@pytest.fixture
def store(harness):
    """Two holders, the other of whom has many jobs; and five more."""
    store = harness.open()
    for holder in (WORKER, OTHER):
        store.beat(HolderInfo(id=holder, ttl=10_000, queues=(QUEUE,), kinds=("",)))
    store.send(QUEUE, [Message(id=f"job {number}", body=b"") for number in range(MANY + 5)])
    assert len(lease(store, "of the other", MANY, OTHER)) == MANY
    return store


def lease(store, lease_id, limit=5, holder=WORKER):
    return store.lease(QUEUE, holder, lease_id, limit=limit, kinds=("",), max_format=1)


def lease_unheard(store, monkeypatch, lease_id):
    """Lease, and lose the answer."""
    run = store._run

    def cut(*args):
        run(*args)
        raise BackendError("cut", retryable=True, outcome_unknown=True)

    with monkeypatch.context() as patch:
        patch.setattr(store, "_run", cut)
        with pytest.raises(BackendError):
            lease(store, lease_id)


def give_back(store, lease_id):
    return store.settle([GiveBack(queue=QUEUE, lease_id=lease_id)])


def test_what_a_lease_without_an_answer_granted_goes_back(store, monkeypatch):
    lease(store, "before", 1)
    lease_unheard(store, monkeypatch, "unheard")
    assert store.stats(QUEUE).ready == 0

    assert give_back(store, "unheard") == []

    assert store.stats(QUEUE).ready == 4
    assert [one.attempt for one in lease(store, "after")] == [1] * 4


def test_giving_it_back_looks_at_no_job_of_another_holder(harness, store, monkeypatch):
    lease_unheard(store, monkeypatch, "unheard")
    harness.place.ask("CONFIG", "RESETSTAT")

    give_back(store, "unheard")

    stats = harness.place.ask("INFO", "commandstats")
    [hgets] = [line for line in stats.splitlines() if line.startswith("cmdstat_hget:")]
    assert int(hgets.partition("calls=")[2].partition(",")[0]) < 20


def test_another_handle_can_give_it_back(harness, store, monkeypatch):
    lease_unheard(store, monkeypatch, "unheard")

    give_back(harness.open(), "unheard")

    assert store.stats(QUEUE).ready == 5


def test_a_lease_that_comes_after_it_was_given_back_grants_nothing(store):
    give_back(store, "late")

    assert lease(store, "late") == []

    assert len(lease(store, "next")) == 5


def test_that_a_lease_was_given_back_is_forgotten_in_an_hour(harness, store):
    give_back(store, "late")
    harness.elapse(3601)

    store.tidy()

    assert harness.place.ask("KEYS", f"{harness.place.prefix}*returned*") == []


def test_a_settlement_after_the_give_back_is_lost(store):
    [delivery] = lease(store, "unheard", 1)
    give_back(store, "unheard")

    assert store.settle([Ack(delivery.receipt)]) == [delivery.receipt]
