"""What a worker leases and when: as much as will start soon, fairly, and nothing that it could not run."""

import asyncio
import threading

import pytest

from holdfast.delivery import HolderInfo, Receipt, State
from holdfast.events import Done, Leased
from tests.worker.conftest import handler
from tests.worker.faulty import Faulty


def ok(delivery, context):
    return None


def quick_then(barrier):
    """Return a handler that ends at once for the body ``quick``, after which jobs look short, and else waits."""

    def run(delivery, context):
        if delivery.body != b"quick":
            barrier(delivery, context)

    return run


def held(store):
    return store.stats("q").running


def test_nothing_is_leased_ahead_before_it_is_known_how_long_jobs_take(worker, send, store, barrier):
    send(*[b""] * 20)
    worker(barrier, concurrency=3)

    barrier.wait_for_entries(3)

    assert held(store) == 3


def test_short_jobs_are_leased_ahead_but_no_more_than_the_bound(worker, send, store, barrier, ear):
    send(b"quick", *[b""] * 5000)
    worker(quick_then(barrier), concurrency=1)
    barrier.wait_for_entries()

    ear.wait_for(Leased, 100)

    assert held(store) <= 2001


def test_an_embedded_worker_holds_nothing_beyond_its_slots(worker, send, store, barrier):
    send(*[b"quick"] * 5, *[b""] * 20)
    worker(quick_then(barrier), concurrency=2, embedded=True)

    barrier.wait_for_entries(2)

    assert held(store) == 2


def test_jobs_leased_ahead_go_back_when_no_slot_comes_free_for_them(*, worker, send, store, barrier, clock, ear):
    send(b"quick", *[b""] * 20)
    worker(quick_then(barrier), concurrency=1)
    barrier.wait_for_entries()
    ear.wait_for(Leased, 3)

    clock.move(3)

    while held(store) > 2:  # now jobs are known to be slow; they go back in batches
        store.wait(["other"], ["k"], 0.01)


def test_a_pause_gives_back_what_has_not_started(*, worker, send, store, barrier, clock, ear):
    send(b"quick", *[b""] * 5)
    worker(quick_then(barrier), concurrency=1)
    barrier.wait_for_entries()
    ear.wait_for(Leased, 6)

    store.pause("q")
    clock.move(1)
    while held(store) > 1:
        store.wait(["other"], ["k"], 0.01)

    view = store.browse("q", waiting()).jobs[0]
    assert (store.stats("q").ready, view.attempts) == (4, 0)
    barrier.let_go()
    ear.wait_for(Done, 2)
    store.resume("q")
    ear.wait_for(Done, 6)


def waiting():
    from holdfast.capabilities import JobFilter

    return JobFilter(states=(State.READY,))


def test_several_queues_are_served_in_turn(worker, send):
    order = []
    send(*[b"a"] * 50, queue="a")
    send(*[b"b"] * 50, queue="b")

    run = lambda delivery, context: order.append(delivery.queue)  # noqa: E731
    worker(run, queues=("a", "b"), concurrency=1, embedded=True, drain=True).join(10)

    assert {"a", "b"} == set(order[:4])
    assert abs(order[:50].count("a") - 25) <= 2


def test_a_second_runner_starves_no_queue(worker, send):
    order = []
    send(*[b""] * 50, queue="a")
    send(*[b""] * 50, queue="b")

    async def awaited(delivery, context): ...

    run = handler(lambda delivery, context: order.append(delivery.queue))
    beside = handler(awaited, "other", is_async=True)
    worker(run, beside, queues=("a", "b"), concurrency=1, embedded=True, drain=True).join(10)

    assert abs(order[:50].count("a") - 25) <= 2


def test_a_runner_with_free_slots_goes_on_while_the_other_is_full(worker, send, barrier, ear):
    async def awaited(delivery, context):
        await asyncio.sleep(0)

    send(*[b""] * 3, kind="plain")
    worker(handler(barrier, "plain"), handler(awaited, "awaited", is_async=True), concurrency=2)
    barrier.wait_for_entries(2)

    send(*[b""] * 5, kind="awaited")

    assert {event.job.kind for event in ear.wait_for(Done, 5)} == {"awaited"}
    barrier.let_go()
    ear.wait_for(Done, 8)  # the full runner is looked at again as soon as it has room


def test_of_one_key_only_one_job_runs_and_in_order(worker, send):
    order, running = [], threading.Semaphore(1)

    def run(delivery, context):
        assert running.acquire(blocking=False)
        order.append(delivery.body)
        running.release()

    send(*[b"%d" % number for number in range(30)], key="one")
    report = worker(run, concurrency=4, drain=True).join(10)

    assert order == [b"%d" % number for number in range(30)]
    assert report.done == 30


def test_a_job_with_a_crash_on_record_runs_alone(worker, send, store, barrier):
    (suspect,) = send(b"suspect", priority=1)
    crash(store, suspect)
    send(*[b"other"] * 10)
    running, beside = [], []

    def run(delivery, context):
        running.append(delivery.id)
        if delivery.body == b"suspect":
            beside.extend(set(running) - {delivery.id})
            threading.Event().wait(0.02)
            beside.extend(set(running) - {delivery.id})
        running.remove(delivery.id)

    report = worker(run, concurrency=4, drain=True).join(10)

    assert report.done == 11
    assert beside == []


def crash(store, job):
    """Let a holder die while it runs this job."""
    store.beat(HolderInfo(id="victim#1", ttl=30))
    (delivery,) = store.lease("q", "victim#1", "lease", limit=1, kinds=["k"], max_format=1)
    assert delivery.id == job
    store.retire("victim#1", "worker died: SIGKILL", [Receipt("q", job, delivery.token)])


@pytest.mark.slow
def test_an_idle_worker_asks_the_store_little(worker, store, clock, ear):
    faulty = Faulty(store)
    worker(ok, backend=faulty)
    faulty.wait_for_calls("wait", 2)

    assert faulty.calls["lease"] == 1
    assert faulty.calls["settle"] == 0


@pytest.mark.parametrize("is_async", [False, True])
def test_a_scheduled_job_starts_when_it_is_due(worker, send, clock, ear, is_async):
    async def awaited(delivery, context):
        return None

    worker(awaited if is_async else ok, is_async=is_async)
    send(b"", delay=60)

    clock.move(60)

    ear.wait_for(Done)


def test_a_worker_without_a_free_slot_still_looks_for_newcomers(worker, send, store, barrier, monkeypatch):
    monkeypatch.setattr("holdfast.worker.housekeeping.RETIRE_EVERY", 0.01)
    faulty = Faulty(store)
    send(b"")
    worker(barrier, backend=faulty, concurrency=1, embedded=True, busy_poll=0.01)
    barrier.wait_for_entries()

    faulty.wait_for_calls("holders", faulty.calls["holders"] + 10)
