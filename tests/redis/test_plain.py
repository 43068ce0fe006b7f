"""Jobs to which nothing comes but a grant and an ack have no hash of their own, and are read as any other."""

import pytest

from holdfast.capabilities import JobFilter
from holdfast.config import QueueSettings
from holdfast.delivery import Ack, GiveBack, HolderInfo, Nack, Report, State
from holdfast.message import Message

QUEUE, WORKER = "work", "worker of\nmine#1"
ODD = {"kind": "two words", "priority": -7, "max_attempts": None, "timeout": 1.5, "headers": {"h": "1"}}


@pytest.fixture
def store(harness):
    store = harness.open()
    store.beat(HolderInfo(id=WORKER, ttl=30, queues=(QUEUE,), kinds=("",)))
    return store


@pytest.fixture
def keys(harness):
    """The keys of jobs that there are, each with the id of its job."""
    start = f"{harness.place.prefix}queue:{{{QUEUE}}}:"
    return lambda what: {one.removeprefix(f"{start}{what}:") for one in harness.place.ask("KEYS", f"{start}{what}:*")}


def lease(store, kind="", lease_id="a lease", limit=10):
    return store.lease(QUEUE, WORKER, lease_id, limit=limit, kinds=(kind,), max_format=1)


def test_a_job_that_is_only_run_never_has_a_hash(store, keys):
    store.send(QUEUE, [Message(id="one by itself", body=b"x")])
    store.send(QUEUE, [Message(id=one, body=b"x") for one in "ab"])
    assert store.settle([Ack(one.receipt) for one in lease(store)]) == []

    assert keys("job") == set()
    assert keys("body") == {"a", "b", "one by itself"}
    assert store.stats(QUEUE).done == 3


@pytest.mark.parametrize("together", [1, 2])
def test_it_is_delivered_with_all_that_was_sent(store, together):
    messages = [Message(id=f"job {number}", body=b"x", **ODD) for number in range(together)]
    store.send(QUEUE, messages)

    first = lease(store, "two words")[0]

    assert (first.id, first.body, first.headers, first.kind) == ("job 0", b"x", {"h": "1"}, "two words")
    assert (first.priority, first.max_attempts, first.timeout) == (-7, None, 1.5)
    assert (first.attempt, first.crashes, first.key) == (1, 0, None)
    assert first.sent == first.ready == store.get(QUEUE, "job 0").sent


@pytest.mark.parametrize("kind", ["two words", "two\nlines", "format 2:x"])
@pytest.mark.parametrize("stage", ["ready", "running", "done"])
def test_it_is_seen_as_a_job_with_a_hash_is(harness, store, kind, stage):
    options = ODD | {"kind": kind}
    store.send(QUEUE, [Message(id="plain", body=b"x", **options)])
    store.send(QUEUE, [Message(id="other", body=b"x", key="k", **options)])
    if stage != "ready":
        harness.elapse(1)
        leased = lease(store, kind)
        harness.elapse(1)
        assert stage == "running" or store.settle([Ack(one.receipt) for one in leased]) == []

    plain, other = (store.get(QUEUE, one) for one in ("plain", "other"))

    assert plain.state is State(stage)
    assert [getattr(plain, name) for name in plain.__struct_fields__ if name not in {"id", "key"}] == [
        getattr(other, name) for name in other.__struct_fields__ if name not in {"id", "key"}
    ]
    assert [job.state for job in store.browse(QUEUE, JobFilter()).jobs] == [State(stage)] * 2


@pytest.mark.parametrize("ending", [Nack, GiveBack, None])
def test_what_else_comes_to_it_gives_it_its_hash(store, keys, ending):
    store.send(QUEUE, [Message(id=one, body=b"x") for one in "ab"])
    a, b = lease(store)
    if ending is None:
        assert store.report([Report(a.receipt, 0.5, "half")]) == []
    else:
        assert store.settle([ending(a.receipt, 0.0) if ending is Nack else ending(a.receipt)]) == []

    assert keys("job") == {"a"}
    assert store.settle([Ack(b.receipt)]) == []
    assert store.stats(QUEUE).done == 1


def test_an_ack_counts_once_and_for_its_own_grant_alone(store):
    store.send(QUEUE, [Message(id=one, body=b"x") for one in "ab"])
    a, b = lease(store)
    store.settle([GiveBack(b.receipt)])
    [again] = lease(store)

    assert store.settle([Ack(a.receipt), Ack(b.receipt)]) == [b.receipt]
    assert store.settle([Ack(a.receipt), Ack(again.receipt)]) == [a.receipt]


@pytest.mark.parametrize("goes", ["by hand", "by age"])
def test_its_id_comes_back_with_higher_tokens(harness, store, keys, goes):
    store.declare(QUEUE, QueueSettings(done_for=5 if goes == "by age" else 50, dedupe_window=10))
    store.send(QUEUE, [Message(id="a", body=b"x")])
    [first] = lease(store)
    store.settle([Ack(first.receipt)])
    assert store.remove(QUEUE, ["a"] if goes == "by hand" else []) == (["a"] if goes == "by hand" else [])
    for _ in range(2):
        harness.elapse(12)
        store.tidy()
    assert keys("body") == set()

    assert not store.send(QUEUE, [Message(id="a", body=b"y")])[0].duplicate

    [second] = lease(store)
    assert (second.body, second.token) == (b"y", first.token + 1)
    assert store.settle([Ack(first.receipt)]) == [first.receipt]


def test_known_ids_are_known_in_every_form(store):
    store.send(QUEUE, [Message(id="plain", body=b"x"), Message(id="keyed", body=b"x", key="k")])
    batch = [Message(id=one, body=b"y") for one in ("plain", "keyed", "new")]

    assert [one.duplicate for one in store.send(QUEUE, batch)] == [True, True, False]
    assert store.send(QUEUE, batch[:1])[0].duplicate
    assert store.get(QUEUE, "plain").body == b"x"


def test_few_jobs_are_found_as_quickly_as_many(harness, store):
    store.send(QUEUE, [Message(id="a", body=b"x")])

    plain = f"{harness.place.prefix}queue:{{{QUEUE}}}:plain"
    assert harness.place.ask("OBJECT", "ENCODING", plain) == "hashtable"
