"""Gates: while its predicate says no, jobs of a kind stay where they are, and cost nothing."""

import logging
import threading

import pytest

from holdfast.capabilities import JobFilter
from holdfast.delivery import State
from holdfast.errors import UsageError
from holdfast.events import Done, GateClosed, GateOpened, Leased
from holdfast.worker import Worker, WorkerOptions, gates
from holdfast.worker.gates import Gates
from tests.worker.conftest import PATIENCE, handler
from tests.worker.faulty import Faulty


class Switch:
    """A predicate that a test turns, and that tells when it has been asked."""

    def __init__(self, is_open=False):
        self.is_open = is_open
        self._asked = threading.Semaphore(0)

    def __call__(self):
        self._asked.release()
        return self.is_open

    def wait_until_asked(self, times=1):
        while self._asked.acquire(blocking=False):
            pass
        for _ in range(times):
            assert self._asked.acquire(timeout=PATIENCE)


@pytest.fixture(autouse=True)
def _asked_often(monkeypatch):
    monkeypatch.setattr(gates, "LOOK_EVERY", 0.01)


@pytest.fixture
def gated():
    return Gates()


@pytest.fixture
def guarded(store, events, clock, gated):
    """Make a worker of queue ``q`` that has started, behind the gates; it ends with the test."""
    made = []

    def make(*handlers, backend=store, **options):
        worker = Worker(backend, ["q"], handlers, events=events, options=WorkerOptions(**options), clock=clock)
        worker.heed(gated)
        made.append(worker)
        worker.start()
        return worker

    yield make
    for worker in made:
        worker.stop(now=True)
        worker._ended.wait(PATIENCE)


def ok(delivery, context):
    return None


def test_a_closed_gate_holds_back_its_kind_and_no_other(*, guarded, gated, send, store, ear):  # G-T28
    switch = Switch()
    gated("k", switch)
    (held,) = send(b"")
    guarded(handler(ok), handler(ok, "other"))

    send(b"", kind="other")

    assert ear.wait_for(Done)[0].job.kind == "other"
    view = store.get("q", held)
    assert (view.state, view.attempts, view.token) == (State.READY, 0, 0)


def test_jobs_run_again_once_the_gate_is_open(guarded, gated, send, ear):
    switch = Switch()
    gated("k", switch)
    send(b"", b"")
    guarded(handler(ok))
    ear.wait_for(GateClosed)
    assert not ear.heard(Leased)

    switch.is_open = True

    assert [event.job.attempt for event in ear.wait_for(Done, 2)] == [1, 1]
    assert [event.kind for event in ear.wait_for(GateOpened)] == ["k"]


def test_what_has_not_started_goes_back_unburned_when_the_gate_closes(*, guarded, gated, send, store, barrier, ear):
    def run(delivery, context):
        if delivery.body != b"quick":  # after which many are leased ahead
            barrier(delivery, context)

    send(b"quick", *[b""] * 10)
    started = guarded(handler(run), concurrency=1)
    barrier.wait_for_entries()
    ear.wait_for(Leased, 3)

    gated("k", Switch())
    ear.wait_for(GateClosed)
    while store.stats("q").running > 1:
        threading.Event().wait(0.001)

    waiting = store.browse("q", JobFilter(states=(State.READY,))).jobs
    assert {job.attempts for job in waiting} == {0}
    barrier.let_go()
    assert started.holder
    ear.wait_for(Done, 2)  # what ran goes on


def test_a_closed_gate_costs_the_store_nothing(*, guarded, gated, send, store, ear):
    switch = Switch()
    gated("k", switch)
    faulty = Faulty(store)
    send(*[b""] * 5)
    guarded(handler(ok), backend=faulty)
    ear.wait_for(GateClosed)
    switch.wait_until_asked(5)
    before = faulty.calls["lease"] + faulty.calls["wait"] + faulty.calls["settle"]

    switch.wait_until_asked(20)

    assert faulty.calls["lease"] + faulty.calls["wait"] + faulty.calls["settle"] == before
    assert len(ear.heard(GateClosed)) == 1


def test_a_gate_can_be_taken_away_while_the_worker_runs(guarded, gated, send, ear):
    gated("k", Switch())
    send(b"")
    guarded(handler(ok))
    ear.wait_for(GateClosed)

    gated("k", None)

    ear.wait_for(Done)
    ear.wait_for(GateOpened)


def test_gates_may_be_set_from_many_threads(guarded, gated, send, ear):  # G-T28
    send(*[b""] * 50)
    guarded(handler(ok), handler(ok, "other"))

    def turn(kind):
        for number in range(50):
            gated(kind, Switch(number % 2 == 0))

    threads = [threading.Thread(target=turn, args=(kind,)) for kind in ("k", "other") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gated("k", None)

    assert len(ear.wait_for(Done, 50)) == 50


def test_an_error_counts_as_open_and_is_logged_once(guarded, gated, send, ear, caplog):
    asked = threading.Semaphore(0)

    def broken():
        asked.release()
        raise RuntimeError("no answer")

    gated("k", broken)
    send(b"")
    with caplog.at_level(logging.ERROR):
        guarded(handler(ok))

        ear.wait_for(Done)
        for _ in range(5):
            assert asked.acquire(timeout=PATIENCE)

    assert caplog.text.count("the gate of k failed") == 1


@pytest.mark.slow
def test_a_gate_that_does_not_answer_holds_back_only_its_own_kind(*, guarded, gated, send, store, ear, barrier):
    hanging = threading.Event()
    gated("k", lambda: hanging.wait(PATIENCE * 3))
    (held,) = send(b"")
    send(b"", kind="other")
    started = guarded(handler(ok), handler(ok, "other"))

    assert ear.wait_for(Done)[0].job.kind == "other"
    assert store.get("q", held).state is State.READY
    started.stop()
    assert started.join(PATIENCE) is not None
    hanging.set()


def test_a_worker_that_drains_does_not_wait_for_a_gate(guarded, gated, send, store):
    gated("k", Switch())
    send(b"")
    send(b"", kind="other")

    report = guarded(handler(ok), handler(ok, "other"), drain=True).join(PATIENCE)

    assert report.done == 1
    assert store.stats("q").ready == 1


def test_an_open_gate_is_asked_before_the_first_job_of_a_worker_that_drains(guarded, gated, send):
    gated("k", Switch(is_open=True))
    send(b"")

    assert guarded(handler(ok), drain=True).join(PATIENCE).done == 1


def test_predicates_are_not_called_for_each_job(guarded, gated, send, monkeypatch):
    monkeypatch.setattr(gates, "LOOK_EVERY", 60)
    calls = []
    gated("k", lambda: calls.append(1) or True)
    send(*[b""] * 100)

    assert guarded(handler(ok), drain=True).join(PATIENCE).done == 100
    assert len(calls) == 1


@pytest.mark.parametrize("predicate", ["no", 0, lambda: None])
def test_what_cannot_be_asked_is_refused(gated, predicate):
    async def awaited():
        return True

    with pytest.raises(UsageError, match="plain function"):
        gated("k", awaited if callable(predicate) else predicate)


def test_a_first_answer_that_takes_long_is_heard_of_at_once(*, guarded, gated, send, store, ear):
    answer, faulty = threading.Event(), Faulty(store)
    gated("k", lambda: answer.wait(PATIENCE))
    guarded(handler(ok), handler(ok, "other"), backend=faulty, idle_poll=10 * PATIENCE)
    faulty.wait_for_calls("wait", 1)  # for the other kind alone
    send(b"")

    answer.set()

    assert ear.wait_for(Done)[0].job.kind == "k"


@pytest.mark.slow
def test_a_worker_whose_gates_do_not_answer_can_be_stopped(guarded, gated, monkeypatch):
    monkeypatch.setattr("holdfast.worker.worker.LOOK_EVERY", 10 * PATIENCE)
    asked, answer = threading.Event(), threading.Event()

    def hang():
        asked.set()
        return answer.wait(10 * PATIENCE)

    gated("k", hang)
    started = guarded(handler(ok))
    assert asked.wait(PATIENCE)

    started.stop()

    assert started.join(PATIENCE) is not None
    answer.set()


def test_a_predicate_that_would_end_its_thread_is_asked_again(guarded, gated, send, ear):
    asked = []

    def leave_at_first():
        asked.append(1)
        if len(asked) == 1:
            raise SystemExit
        return len(asked) > 3

    gated("k", leave_at_first)
    guarded(handler(ok))

    ear.wait_for(GateOpened)
    send(b"")
    ear.wait_for(Done)
