"""How a worker ends: each phase, what it gives back, and what it says."""

import asyncio
import logging
import os
import signal
import threading

import pytest

from holdfast.capabilities import JobFilter
from holdfast.delivery import State
from holdfast.errors import BackendError, UsageError
from holdfast.events import Done, HolderLost, Leased
from holdfast.worker import Worker, WorkerOptions
from tests.worker.conftest import handler, wait_for_ready
from tests.worker.faulty import Faulty


class Asleep:
    """An async handler that waits for ever; ``entered`` is set when the first run has begun."""

    def __init__(self):
        self.entered = threading.Event()

    async def __call__(self, delivery, context):
        self.entered.set()
        await asyncio.Event().wait()


def wait_for_stopping(context):
    for _ in range(10_000):
        if context.stopping:
            return
        threading.Event().wait(0.001)
    raise AssertionError("never told of the stop")


def test_a_stop_waits_for_the_jobs_that_run(worker, send, barrier):  # G-T5
    send(*[b""] * 10)
    started = worker(barrier, concurrency=10)
    barrier.wait_for_entries(10)

    started.stop()
    barrier.let_go()

    assert started.join(10).done == 10


def test_jobs_leased_ahead_go_back_at_once_and_unburned(worker, send, store, barrier, ear):
    def run(delivery, context):
        if delivery.body != b"quick":  # after which many are leased ahead
            barrier(delivery, context)

    send(b"quick", *[b""] * 20)
    started = worker(run, concurrency=1)
    barrier.wait_for_entries()
    ear.wait_for(Leased, 3)

    started.stop()
    wait_for_ready(store)  # what was leased ahead is there for others, while one job still runs
    barrier.let_go()
    report = started.join(10)

    assert report.done == 2
    assert report.given_back >= 1
    waiting = store.browse("q", JobFilter(states=(State.READY,))).jobs
    assert [view.attempts for view in waiting] == [0] * 19


def test_nothing_is_leased_while_a_stop_waits(worker, send, store, barrier):
    send(b"")
    started = worker(barrier, concurrency=2)
    barrier.wait_for_entries()
    started.stop()
    send(b"late")

    barrier.let_go()

    assert started.join(10).done == 1
    assert store.stats("q").ready == 1


def test_running_handlers_are_told_of_the_stop(worker, send):
    entered = threading.Event()

    def patient(delivery, context):
        entered.set()
        wait_for_stopping(context)

    send(b"")
    started = worker(patient)
    assert entered.wait(10)

    started.stop()

    assert started.join(10).done == 1


def test_when_the_grace_is_over_async_jobs_are_cancelled_and_go_back_unburned(worker, send, store, clock):
    asleep = Asleep()
    (job,) = send(b"")
    started = worker(asleep, is_async=True, grace=25)
    assert asleep.entered.wait(10)

    started.stop()
    assert started.join(0.05) is None
    clock.move(25)
    report = started.join(10)

    assert (report.given_back, report.abandoned) == (1, 0)
    view = store.get("q", job)
    assert (view.state, view.attempts) == (State.READY, 0)


def test_a_second_stop_leaves_no_grace(worker, send, store):
    asleep = Asleep()
    send(b"")
    started = worker(asleep, is_async=True)
    assert asleep.entered.wait(10)

    started.stop()
    started.stop(now=True)

    assert started.join(10).given_back >= 1
    assert store.stats("q").ready == 1


def test_a_job_in_a_thread_that_cannot_be_stopped_stays_leased_until_it_ends(worker, send, store, barrier, clock):
    faulty = Faulty(store)
    (job,) = send(b"")
    started = worker(barrier, backend=faulty, embedded=True)
    barrier.wait_for_entries()
    started.stop(now=True)
    assert started.join(10).abandoned == 1

    for _ in range(3):  # its heartbeat goes on
        beats = faulty.calls["beat"]
        clock.move(20)
        faulty.wait_for_calls("beat", beats + 1)
    assert store.tidy().rescued == 0
    assert store.get("q", job).state is State.RUNNING

    barrier.let_go()
    started._thread.join(10)
    assert store.get("q", job).state is State.DONE
    assert store.holders() == []


def test_a_worker_that_was_ended_by_an_error_keeps_the_jobs_of_threads_that_live(
    *, worker, send, store, barrier, clock
):
    faulty = Faulty(store)
    (job,) = send(b"")
    started = worker(barrier, backend=faulty, embedded=True, grace=0)
    barrier.wait_for_entries()

    faulty.fail("lease", error=BackendError("damaged", retryable=False))
    send(b"", kind="other")
    clock.move(5)
    with pytest.raises(BackendError, match="damaged"):
        started.join(10)

    assert not started.linger(0)
    assert store.get("q", job).state is State.RUNNING
    barrier.let_go()
    assert started.linger(10)
    assert store.get("q", job).state is State.DONE


def test_a_worker_says_which_jobs_it_could_not_stop(worker, send, barrier, caplog):
    (job,) = send(b"")
    started = worker(barrier, embedded=True)
    barrier.wait_for_entries()

    with caplog.at_level(logging.WARNING, "holdfast"):
        started.stop(now=True)
        started.join(10)

    assert f"jobs still run, and stay leased until they or this process end: k {job}" in caplog.text


def test_the_holder_is_retired_at_the_end(worker, send, store, barrier):
    send(b"")
    started = worker(barrier)
    barrier.wait_for_entries()
    assert [holder.id for holder in store.holders()] == [started.holder]

    barrier.let_go()
    started.stop()
    started.join(10)

    assert store.holders() == []


def test_leaving_the_with_block_stops_the_worker(store, send, events, ear):
    send(b"")
    with Worker(store, ["q"], [handler(lambda delivery, context: None)], events=events) as worker:
        ear.wait_for(Done)

    assert worker.join(0).done == 1


def test_joining_a_worker_that_never_started_returns_at_once(store):
    assert Worker(store, ["q"], [handler(lambda delivery, context: None)]).join().done == 0


def test_a_closed_store_ends_the_worker(worker, store, ear):
    started = worker(lambda delivery, context: None)
    store.close()

    assert started.join(10) is not None
    assert not ear.heard(HolderLost)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_worker_that_runs_in_its_own_process(store, send, events, number):
    def run(delivery, context):
        os.kill(os.getpid(), number)

    send(b"")
    before = signal.getsignal(number)

    report = Worker(store, ["q"], [handler(run)], events=events).run()

    assert report.done == 1
    assert signal.getsignal(number) is before


def test_a_second_signal_leaves_no_grace(store, send, events):
    async def stubborn(delivery, context):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.to_thread(wait_for_stopping, context)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    send(b"")

    report = Worker(store, ["q"], [handler(stubborn, is_async=True)], events=events).run()

    assert (report.given_back, report.abandoned) == (1, 0)


# -- ending by itself -----------------------------------------------------------------------------------------


def test_a_draining_worker_ends_when_nothing_is_left_to_do_now(worker, send, store):
    send(*[b""] * 50)
    send(b"later", delay=60)

    assert worker(lambda delivery, context: None, drain=True).join(10).done == 50
    assert store.stats("q").scheduled == 1


def test_a_draining_worker_does_what_its_jobs_make_ready(worker, send, store):
    """The settle of a key's head frees the next, and nobody else may do that one."""
    send(*[b""] * 20, key="one")

    assert worker(lambda delivery, context: None, drain=True, concurrency=4).join(10).done == 20


def test_a_draining_worker_of_an_empty_queue_ends_at_once(worker):
    assert worker(lambda delivery, context: None, drain=True).join(10).done == 0


def test_a_worker_with_a_limit_of_jobs_ends_after_them(worker, send, store):
    send(*[b""] * 20)

    assert worker(lambda delivery, context: None, max_jobs=7).join(10).done == 7
    assert store.stats("q").ready == 13


def test_jobs_given_back_unstarted_do_not_count_for_the_limit(*, worker, send, store, barrier, clock, ear):
    def run(delivery, context):
        if delivery.body == b"slow":
            barrier(delivery, context)

    send(b"quick", b"slow", *[b""] * 20)
    started = worker(run, concurrency=1, max_jobs=5)
    barrier.wait_for_entries()
    ear.wait_for(Leased, 3)

    clock.move(3)  # what was leased ahead goes back
    while store.stats("q").running > 1:
        store.wait(["other"], ["k"], 0.01)
    barrier.let_go()

    assert started.join(10).done == 5


@pytest.mark.parametrize("name", ["concurrency", "max_jobs", "ttl", "grace", "prefetch", "busy_poll", "idle_poll"])
def test_an_option_that_makes_no_sense_is_refused_by_name_and_value(name):
    with pytest.raises(UsageError, match=rf"\b{name}\b.*, not -1"):
        WorkerOptions(**{name: -1})


def test_the_least_and_the_most_that_each_option_can_be():
    WorkerOptions(concurrency=1, max_jobs=1, grace=0, prefetch=0, name="\N{SNOWMAN}" * 255)
    for wrong in ({"concurrency": 0}, {"max_jobs": 0}, {"ttl": 0}, {"grace": float("nan")}, {"name": "x" * 256}):
        with pytest.raises(UsageError):
            WorkerOptions(**wrong)
