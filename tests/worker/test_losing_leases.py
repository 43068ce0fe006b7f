"""A worker whose heartbeat has ended: what runs is told, what waits is dropped, and a new incarnation goes on."""

import asyncio
import threading

from holdfast.delivery import State
from holdfast.events import Cancelled, Done, HolderLost, Leased, Lost
from tests.worker.conftest import handler
from tests.worker.faulty import Faulty


def expel(store, clock, worker):
    """End the worker's holder, as another worker does that thinks it dead, and let it notice."""
    holder = worker.holder
    store.retire(holder, "thought dead", None)
    clock.move(1)
    return holder


def test_the_running_job_is_told_and_its_result_counts_for_nothing(*, worker, send, store, clock, ear, barrier):
    (job,) = send(b"", max_attempts=1)
    started = worker(barrier, concurrency=1)
    barrier.wait_for_entries()
    (context,) = barrier.contexts

    holder = expel(store, clock, started)

    assert ear.wait_for(HolderLost)[0].holder == holder
    assert context.lease_lost
    barrier.let_go()
    (lost,) = ear.wait_for(Lost)
    assert lost.job.id == job
    assert store.get("q", job).state is State.DEAD  # as whoever expelled it decided
    started.stop()
    report = started.join(10)
    assert (report.done, report.lost) == (0, 1)


def test_a_new_incarnation_goes_on(*, worker, send, store, clock, ear, barrier):
    send(b"first")
    started = worker(lambda delivery, context: barrier(delivery, context) if delivery.body else None)
    barrier.wait_for_entries()

    old = expel(store, clock, started)
    ear.wait_for(HolderLost)
    (job,) = send(b"")

    ear.wait_for(Done)
    assert store.get("q", job).holder == started.holder != old
    assert started.holder.partition("#")[0] == old.partition("#")[0]


def test_jobs_leased_ahead_are_not_started_any_more(*, worker, send, store, clock, ear, barrier):
    started_jobs = []

    def run(delivery, context):
        started_jobs.append(context.token)
        if delivery.body != b"quick":
            barrier(delivery, context)

    send(b"quick", b"slow", b"waiting")
    started = worker(run, concurrency=1)
    barrier.wait_for_entries()
    ear.wait_for(Leased, 3)

    expel(store, clock, started)
    ear.wait_for(HolderLost)
    barrier.let_go()

    ear.wait_for(Done, 3)
    assert started_jobs == [1, 1, 2, 2]  # quick, slow in vain, then both others under a new lease


def test_an_async_job_that_asked_for_it_is_stopped(worker, send, store, clock, ear):
    entered, stopped = threading.Event(), threading.Event()

    async def run(delivery, context):
        if context.token > 1:
            return
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.set()
            raise

    send(b"")
    started = worker(handler(run, is_async=True, stop_when_lost=True))
    assert entered.wait(10)

    expel(store, clock, started)

    assert stopped.wait(10)
    ear.wait_for(Done)
    assert not ear.heard(Cancelled)


def test_a_holder_whose_beats_fail_for_its_whole_ttl_gives_itself_up(*, worker, send, store, clock, ear, barrier):
    faulty = Faulty(store)
    (job,) = send(b"")
    started = worker(barrier, backend=faulty, ttl=30)
    barrier.wait_for_entries()
    faulty.fail("beat", 1000)
    faulty.fail("tidy", 1000)

    clock.move(31)

    assert ear.wait_for(HolderLost)
    assert barrier.contexts[0].lease_lost
    faulty.mend()
    barrier.let_go()
    ear.wait_for(Done)  # nobody had taken the job meanwhile, so the late settle counts
    assert store.get("q", job).state is State.DONE
    started.stop()
    assert started.join(10).done == 1


def test_a_machine_that_slept_keeps_its_leases_if_nobody_took_them(*, worker, send, store, clock, ear, barrier):
    send(b"")
    started = worker(barrier, ttl=30)
    barrier.wait_for_entries()
    holder = started.holder

    clock.move(3600)
    barrier.let_go()

    ear.wait_for(Done)
    assert started.holder == holder
    assert not ear.heard(HolderLost)
