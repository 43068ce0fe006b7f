"""A store that is away, or that fails when it has already done what it was asked: nothing is lost, nobody ends."""

import threading

import pytest

from holdfast.delivery import Ack, Burial, GiveBack, State
from holdfast.errors import BackendError
from holdfast.events import BeforeBury, Done, Lost, Recovered, Stalled
from tests.worker.faulty import Faulty


def ok(delivery, context):
    return None


@pytest.fixture
def faulty(store):
    return Faulty(store)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after the effect"])
@pytest.mark.parametrize("verb", ["beat", "lease", "wait", "settle", "tidy", "holders"])
def test_a_verb_that_fails_twice_is_repeated_until_it_works(*, worker, send, faulty, ear, store, verb, after):
    faulty.fail(verb, 2, after=after)
    started = worker(ok, backend=faulty)

    send(*[b""] * 20)

    ear.wait_for(Done, 20)
    faulty.mend()
    started.stop()
    started.join(10)
    assert store.stats("q").done == 20
    assert not ear.heard(Lost)


def test_a_lease_of_unknown_outcome_is_given_back_before_the_next(worker, send, faulty, ear, store):
    (job,) = send(b"")
    faulty.fail("lease", 1, after=True)

    worker(ok, backend=faulty)

    ear.wait_for(Done)
    view = store.get("q", job)
    assert (view.token, view.attempts) == (2, 1)  # granted twice, but only one attempt burned


def test_while_that_cannot_be_done_nothing_more_is_leased(worker, send, faulty, ear):
    send(b"")
    faulty.fail("lease", 1, after=True)
    faulty.fail("settle", 3)

    worker(ok, backend=faulty)

    ear.wait_for(Done)
    assert faulty.calls["settle"] >= 5  # three in vain, one for the lease in doubt, one for the result


def test_results_are_kept_until_the_store_is_back(worker, send, faulty, ear, store):
    ids = send(*[b""] * 5)
    faulty.fail("settle", 10**6)
    worker(ok, backend=faulty)
    faulty.wait_for_calls("settle", 3)
    assert {store.get("q", job).state for job in ids} == {State.RUNNING}

    faulty.mend()

    ear.wait_for(Done, 5)


def test_a_settle_that_worked_but_seemed_to_fail_is_not_reported_lost(worker, send, faulty, ear, store):
    send(*[b""] * 5)
    faulty.fail("settle", 1, after=True)

    report = worker(ok, backend=faulty, drain=True).join(10)

    assert store.stats("q").done == 5
    assert (report.done, report.lost) == (5, 0)
    assert not ear.heard(Lost)


def test_a_worker_that_cannot_lease_says_so_and_says_when_it_can_again(worker, faulty, clock, ear):
    faulty.fail("lease", 10**6)
    started = worker(ok, backend=faulty)
    faulty.wait_for_calls("lease", 2)

    clock.move(31)
    clock.move(1)

    (stalled,) = ear.wait_for(Stalled)
    assert stalled.seconds >= 30
    assert str(stalled.error) == "lease failed on demand"
    faulty.mend()
    clock.move(1)
    (recovered,) = ear.wait_for(Recovered)
    assert recovered.seconds >= 30
    assert recovered.holder == started.holder


def test_a_worker_that_starts_while_the_store_is_away_begins_when_it_is_back(worker, send, faulty, ear):
    for verb in ("beat", "lease", "wait", "settle", "tidy", "holders"):
        faulty.fail(verb, 10**6)
    send(b"")
    worker(ok, backend=faulty)
    faulty.wait_for_calls("beat", 3)

    faulty.mend()

    ear.wait_for(Done)


def test_an_error_that_no_repetition_mends_ends_the_worker_with_it(worker, send, faulty):
    send(b"")
    faulty.fail("lease", 1, retryable=False)
    started = worker(ok, backend=faulty)

    with pytest.raises(BackendError, match="lease failed on demand"):
        started.join(10)


@pytest.mark.slow
def test_a_stop_while_the_store_is_away_ends_and_counts_what_is_unsettled(worker, send, faulty, store):
    ids = send(*[b""] * 3)
    faulty.fail("settle", 10**6)
    faulty.fail("retire", 10**6)
    started = worker(ok, backend=faulty)
    faulty.wait_for_calls("settle", 2)

    started.stop()
    report = started.join(10)

    assert report.unsettled == 3
    assert {store.get("q", job).state for job in ids} == {State.RUNNING}  # until its ttl is over


# -- a queue whose server is away, while others are there -----------------------------------------------------------


class Partly:
    """A store of which some queues are ``away``, as where each queue has a server of its own."""

    def __init__(self, store, monkeypatch):
        self.away, self.refused = set(), threading.Semaphore(0)
        self._lease, self._settle, self._wait = store.lease, store.settle, store.wait
        for verb in ("lease", "settle", "wait"):
            monkeypatch.setattr(store, verb, getattr(self, verb))

    def lease(self, queue, *args, **options):
        self._check([queue])
        return self._lease(queue, *args, **options)

    def wait(self, queues, *args):
        self._check(queues)
        return self._wait(queues, *args)

    def settle(self, settlements):
        queues = [one.queue if one.receipt is None else one.receipt.queue for one in settlements]
        there = zip(settlements, queues, strict=True)
        lost = self._settle([one for one, queue in there if queue not in self.away])
        self._check(queues)
        return lost

    def _check(self, queues):
        if self.away & set(queues):
            self.refused.release()
            raise BackendError("its server is away", retryable=True, outcome_unknown=True)


@pytest.fixture
def partly(store, monkeypatch):
    return Partly(store, monkeypatch)


def test_a_queue_that_is_away_keeps_no_other_from_being_worked(*, worker, send, partly, ear, store):
    partly.away.add("away")
    started = worker(ok, queues=("away", "there"))
    send(b"", queue="away")

    for number in range(1, 30):
        send(*[b""] * 5, queue="there")
        ear.wait_for(Done, 5 * number)

    assert started.health().ready
    partly.away.clear()
    ear.wait_for(Done, 5 * 29 + 1)
    assert store.stats("away").done == 1


def test_results_of_a_queue_that_is_away_keep_no_others_from_being_settled(
    *, worker, send, partly, ear, barrier, store
):
    def run(delivery, context):
        if delivery.queue == "away":
            barrier(delivery, context)

    worker(run, queues=("away", "there"))
    (late,) = send(b"", queue="away")
    barrier.wait_for_entries()
    partly.away.add("away")
    barrier.let_go()
    for number in range(1, 30):
        send(*[b""] * 5, queue="there")
        ear.wait_for(Done, 5 * number)
    assert store.get("away", late).state is State.RUNNING

    partly.away.clear()

    ear.wait_for(Done, 5 * 29 + 1)
    assert store.get("away", late).state is State.DONE
    assert not ear.heard(Lost)


def test_a_worker_of_several_queues_that_are_all_away_says_so(worker, partly, clock, ear):
    partly.away.update(("one", "two"))
    worker(ok, queues=("one", "two"))
    for _ in range(4):
        assert partly.refused.acquire(timeout=10)

    clock.move(31)
    clock.move(1)

    ear.wait_for(Stalled)
    partly.away.clear()
    ear.wait_for(Recovered)


# -- a settlement that the store cannot write down at all -----------------------------------------------------


class Picky:
    """A store whose own code breaks at these kinds of settlements of one job, together with all others of a batch."""

    def __init__(self, store, job, *kinds):
        self._store, self._job, self._kinds = store, job, kinds
        self.refused, self.times = [], 100

    def __getattr__(self, name):
        return getattr(self._store, name)

    def settle(self, settlements):
        for settlement in settlements:
            wrong = isinstance(settlement, self._kinds) and settlement.receipt.id == self._job
            if wrong and len(self.refused) < self.times:
                self.refused.append(type(settlement))
                raise ValueError("it cannot be bound")
        return self._store.settle(settlements)


def test_a_result_that_breaks_the_store_spoils_no_other_and_its_job_is_buried(worker, send, store, ear):
    (poison,) = send(b"")
    send(*[b""] * 20)

    report = worker(ok, backend=Picky(store, poison, Ack), drain=True).join(10)

    assert (report.done, report.buried, report.unsettled) == (20, 1, 0)
    view = store.get("q", poison)
    assert (view.state, view.reason) == (State.DEAD, "its outcome cannot be stored: ValueError")
    assert [event.job.id for event in ear.heard(BeforeBury)] == [poison]


def test_one_mishap_in_the_stores_code_buries_nothing(worker, send, store):
    (job,) = send(b"")
    picky = Picky(store, job, Ack)
    picky.times = 1

    assert worker(ok, backend=picky, drain=True).join(10).done == 1
    assert picky.refused == [Ack]


def test_a_job_that_cannot_even_be_buried_goes_back(worker, send, store):
    (poison,) = send(b"")

    report = worker(ok, backend=Picky(store, poison, Ack, Burial), max_jobs=1).join(10)

    assert report.given_back == 1
    view = store.get("q", poison)
    assert (view.state, view.attempts) == (State.READY, 0)


@pytest.mark.slow
def test_a_store_whose_code_breaks_at_everything_is_asked_until_it_is_mended(worker, send, store, ear):
    (job,) = send(b"")
    picky = Picky(store, job, Ack, Burial, GiveBack)
    started = worker(ok, backend=picky, concurrency=1)
    while picky.refused.count(GiveBack) < 2:
        store.wait(["other"], ["k"], 0.01)

    picky.times = 0

    ear.wait_for(Done)
    started.stop()
    assert started.join(10).done == 1
