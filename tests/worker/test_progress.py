"""What a run says of its progress: written soon, by few writes, and never in its way."""

import threading

import pytest

from holdfast.delivery import State
from holdfast.errors import BackendError, NotSupported, UsageError
from holdfast.stores.memory import MemoryBackend
from holdfast.worker import CONTEXT
from tests.worker.conftest import PATIENCE


class Reporting(MemoryBackend):
    """Keeps what was reported, call by call, once it is written; fails, or waits, when told to."""

    def __init__(self, clock):
        super().__init__(clock)
        self.calls = []
        self.failures = 0
        self.settled_before = []
        self.gate = threading.Event()
        self.gate.set()
        self._changed = threading.Condition()

    def report(self, reports):
        assert self.gate.wait(PATIENCE)
        try:
            if self.failures:
                self.failures -= 1
                raise BackendError("away", retryable=True)
            return super().report(reports)
        finally:
            with self._changed:
                self.calls.append([(one.fraction, one.note) for one in reports])
                self._changed.notify_all()

    def wait_for_calls(self, number):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.calls) >= number, PATIENCE), self.calls

    def wait_for_reports(self, number):
        with self._changed:
            assert self._changed.wait_for(lambda: sum(map(len, self.calls)) >= number, PATIENCE), self.calls


@pytest.fixture
def store(clock):
    store = Reporting(clock)
    yield store
    store.gate.set()
    store.close()


def shown(store, job):
    return store.get("q", job).progress


@pytest.mark.parametrize("is_async", [False, True], ids=["thread", "loop"])
def test_what_a_run_said_last_is_there_when_it_has_ended(worker, send, store, is_async):
    def run(delivery, context):
        context.progress(0.25, "quarter")
        context.progress(0.75, "three quarters")

    async def run_async(delivery, context):
        run(delivery, context)

    (job,) = send(b"")
    worker(run_async if is_async else run, is_async=is_async, drain=True).join(10)

    assert store.get("q", job).state is State.DONE
    assert (shown(store, job).fraction, shown(store, job).note) == (0.75, "three quarters")


def test_progress_is_seen_while_the_job_runs(worker, send, store, barrier):
    def run(delivery, context):
        context.progress(0.5, "half")
        barrier(delivery, context)

    (job,) = send(b"")
    worker(run)
    barrier.wait_for_entries()

    store.wait_for_calls(1)

    assert (store.get("q", job).state, shown(store, job).note) == (State.RUNNING, "half")


def test_a_tight_loop_costs_few_writes(worker, send, store):
    def run(delivery, context):
        for number in range(20_000):
            context.progress(number / 20_000)

    (job,) = send(b"")
    worker(run, drain=True).join(30)

    assert shown(store, job).fraction == 19_999 / 20_000
    assert len(store.calls) < 200  # two a second


def test_a_handler_does_not_wait_for_a_store_that_hangs(worker, send, store, barrier):
    said = threading.Event()

    def run(delivery, context):
        for number in range(100):
            context.progress(number / 100)
        said.set()

    store.gate.clear()
    send(b"")
    worker(run)

    assert said.wait(PATIENCE)
    store.gate.set()


def test_what_the_store_could_not_take_is_written_later(worker, send, store, barrier):
    def run(delivery, context):
        context.progress(0.5, "half")
        barrier(delivery, context)

    store.failures = 1
    send(b"")
    worker(run)

    store.wait_for_calls(2)
    barrier.let_go()

    assert store.calls[1] == [(0.5, "half")]


def test_a_store_that_fails_does_not_keep_a_job_from_being_settled(worker, send, store):
    store.failures = 1000
    (job,) = send(b"")

    report = worker(lambda delivery, context: context.progress(1), drain=True).join(10)

    assert (report.done, report.unsettled) == (1, 0)
    assert store.get("q", job).state is State.DONE


def test_the_progress_of_many_jobs_is_written_together(worker, send, store, barrier):
    def run(delivery, context):
        context.progress(0.5)
        barrier(delivery, context)

    ids = send(*[b""] * 8)
    store.gate.clear()
    worker(run, concurrency=8)
    barrier.wait_for_entries(8)
    store.gate.set()

    store.wait_for_reports(8)

    assert len(store.calls) <= 2  # what came while the first was being written went together
    assert all(shown(store, job).fraction == 0.5 for job in ids)


def test_a_note_is_cut_and_cleaned(worker, send, store):
    (job,) = send(b"")

    worker(lambda delivery, context: context.progress(1, "a\0" + "b" * 1000), drain=True).join(10)

    assert shown(store, job).note == "a?" + "b" * 498


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), True, "half", None])
def test_a_fraction_that_does_not_fit_is_refused(fraction):
    with pytest.raises(UsageError, match="from 0 to 1"):
        CONTEXT.progress(fraction)


def test_progress_does_nothing_where_no_job_runs():
    CONTEXT.progress(0.5, "alone")


class Plain:
    """A store that has not the power."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        if name == "report":
            raise AttributeError(name)
        return getattr(self._store, name)


def test_a_store_that_keeps_no_progress_says_so(worker, send, store):
    said = []

    def run(delivery, context):
        with pytest.raises(NotSupported) as caught:
            context.progress(0.5)
        said.append(str(caught.value))

    send(b"")
    worker(run, backend=Plain(store), drain=True).join(10)

    assert said == ["Plain keeps no progress of its jobs"]
