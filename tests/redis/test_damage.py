"""What others did to the keys of a queue, or an eviction policy: what is left goes on."""

import pytest

from holdfast.capabilities import JobFilter
from holdfast.config import QueueSettings
from holdfast.delivery import Ack, HolderInfo, State
from holdfast.errors import BackendError
from holdfast.message import Message

QUEUE, WORKER = "work", "worker#1"


@pytest.fixture
def store(harness):
    store = harness.open()
    store.beat(HolderInfo(id=WORKER, ttl=30, queues=(QUEUE,), kinds=("",)))
    return store


@pytest.fixture
def delete(harness):
    """Deletes one of the keys of the queue."""

    def delete(what):
        assert harness.place.ask("DEL", f"{harness.place.prefix}queue:{{{QUEUE}}}:{what}") == 1

    return delete


@pytest.fixture
def lose(harness):
    """Deletes what the queue knows of a job, but for its places and its body."""

    def lose(job_id):
        at = f"{harness.place.prefix}queue:{{{QUEUE}}}"
        assert harness.place.ask("DEL", f"{at}:job:{job_id}") + harness.place.ask("HDEL", f"{at}:plain", job_id) == 1

    return lose


def send(store, *ids, **options):
    store.send(QUEUE, [Message(id=one, body=b"x", **options) for one in ids])


def lease(store, limit=10):
    return store.lease(QUEUE, WORKER, "lease", limit=limit, kinds=("",), max_format=1)


@pytest.mark.parametrize("options", [{}, {"headers": {"h": "1"}, "expires_in": 50}])
def test_a_waiting_job_that_is_gone_is_passed_over(store, lose, options):
    send(store, "a", "b", **options)
    lose("a")

    assert [one.id for one in lease(store)] == ["b"]
    assert (store.stats(QUEUE).ready, store.stats(QUEUE).running) == (0, 1)


@pytest.mark.parametrize("options", [{"delay": 5}, {"expires_in": 5}])
def test_time_passes_over_a_job_that_is_gone(harness, store, lose, options):
    send(store, "a", "b", **options)
    lose("a")
    harness.elapse(5)

    store.tidy()

    assert [job.id for job in store.browse(QUEUE, JobFilter()).jobs] == ["b"]
    assert store.stats(QUEUE).scheduled == 0


@pytest.mark.parametrize("options", [{}, {"key": "k"}])
def test_a_running_job_that_is_gone_is_lost_and_leaves_no_trace(store, lose, options):
    send(store, "a", **options)
    [delivery] = lease(store)
    lose("a")

    assert store.settle([Ack(delivery.receipt)]) == [delivery.receipt]
    store.retire(WORKER, "died")
    assert store.stats(QUEUE).running == 0


def test_a_key_goes_on_whose_head_is_gone(store, lose):
    send(store, "a", "b", key="k")
    lose("a")
    lease(store)

    send(store, "c", key="k")

    [b] = lease(store)
    assert b.id == "b"
    assert store.settle([Ack(b.receipt)]) == []
    assert [one.id for one in lease(store)] == ["c"]


def test_an_ended_job_that_is_gone_is_dropped(harness, store, lose):
    store.declare(QUEUE, QueueSettings(done_for=0))
    send(store, "a", "b")
    store.settle([Ack(one.receipt, b"r", keep) for one, keep in zip(lease(store), (10.0, 0.0), strict=True)])
    lose("a")
    lose("b")
    harness.elapse(11)

    store.tidy()

    assert store.stats(QUEUE).done == 0


def test_a_job_without_its_body_is_buried(store, delete):
    send(store, "a", "b")
    delete("body:a")

    assert [one.id for one in lease(store)] == ["b"]
    job = store.get(QUEUE, "a")
    assert (job.state, job.reason, job.body) == (State.DEAD, "its body is gone from the server", b"")


def test_a_queue_with_jobs_that_are_gone_can_be_destroyed(harness, store, lose):
    send(store, "a", "b", "c", key="k")
    lose("b")

    store.destroy(QUEUE)

    left = harness.place.ask("KEYS", f"{harness.place.prefix}queue*")
    assert left == [f"{harness.place.prefix}queue:{{{QUEUE}}}:token"]


@pytest.mark.parametrize("what", ["job", "body"])
def test_a_listing_tells_of_the_jobs_that_are_left(store, delete, lose, what):
    send(store, "a", "b", "c")
    lose("a") if what == "job" else delete("body:a")

    first = store.browse(QUEUE, JobFilter(), limit=2)

    rest = store.browse(QUEUE, JobFilter(text=None), cursor=first.cursor).jobs
    assert [job.id for job in (*first.jobs, *rest) if job.body] == ["c", "b"]


def test_a_lease_that_could_not_bury_a_job_without_its_body_is_in_doubt(monkeypatch, store, delete):
    send(store, "a", "b")
    delete("body:a")

    def away(_):
        raise BackendError("away", retryable=True)

    monkeypatch.setattr(store, "settle", away)
    with pytest.raises(BackendError) as raised:
        lease(store)

    assert raised.value.outcome_unknown


@pytest.mark.parametrize("stage", ["ready", "due"])
def test_nothing_is_left_of_a_job_that_is_gone(harness, store, lose, stage):
    send(store, "a", delay=5 if stage == "due" else 0)
    lose("a")
    harness.elapse(5)

    lease(store)

    assert harness.place.ask("KEYS", f"{harness.place.prefix}queue*a") == []
