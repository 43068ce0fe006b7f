"""Requests to cancel jobs that run, or that are about to."""

import asyncio
import threading

from holdfast.delivery import State
from holdfast.errors import Cancel
from holdfast.events import Cancelled, Done, Leased


async def for_ever(delivery, context):
    await asyncio.Event().wait()


def test_an_async_job_is_stopped_and_becomes_cancelled(worker, send, store, clock, ear):
    entered = threading.Event()

    async def run(delivery, context):
        entered.set()
        await for_ever(delivery, context)

    (job,) = send(b"")
    worker(run, is_async=True)
    assert entered.wait(10)

    assert store.cancel("q", [job]) == {job: State.RUNNING}
    clock.move(1)

    ear.wait_for(Cancelled)
    assert store.get("q", job).state is State.CANCELLED


def test_a_plain_job_reads_the_request_in_its_context(worker, send, store, clock, ear):
    entered, asked = threading.Event(), threading.Event()

    def run(delivery, context):
        entered.set()
        for _ in range(10_000):
            if context.cancel_requested:
                raise Cancel("as you wish")
            asked.wait(0.001)

    (job,) = send(b"")
    worker(run)
    assert entered.wait(10)

    store.cancel("q", [job])
    clock.move(1)

    ear.wait_for(Cancelled)
    view = store.get("q", job)
    assert (view.state, view.reason) == (State.CANCELLED, "as you wish")


def test_a_job_that_ends_normally_in_spite_of_the_request_is_done(worker, send, store, barrier, ear):
    (job,) = send(b"")
    worker(barrier)
    barrier.wait_for_entries()

    store.cancel("q", [job])
    barrier.let_go()

    ear.wait_for(Done)
    assert store.get("q", job).state is State.DONE


def test_a_job_leased_ahead_never_starts_when_it_is_cancelled(*, worker, send, store, barrier, clock, ear):
    ran = []

    def run(delivery, context):
        ran.append(delivery.body)
        if delivery.body == b"slow":
            barrier(delivery, context)

    send(b"quick", b"slow")
    (waiting,) = send(b"waiting")
    worker(run, concurrency=1)
    barrier.wait_for_entries()
    ear.wait_for(Leased, 3)

    store.cancel("q", [waiting])
    clock.move(1)

    ear.wait_for(Cancelled)
    assert store.get("q", waiting).state is State.CANCELLED
    barrier.let_go()
    ear.wait_for(Done, 2)
    assert ran == [b"quick", b"slow"]


def test_an_async_job_that_refuses_to_stop_decides_for_itself(worker, send, store, clock, ear):
    entered = threading.Event()

    async def run(delivery, context):
        entered.set()
        try:
            await for_ever(delivery, context)
        except asyncio.CancelledError:
            return "finished all the same"

    (job,) = send(b"")
    worker(run, is_async=True)
    assert entered.wait(10)

    store.cancel("q", [job])
    clock.move(1)

    ear.wait_for(Done)
    assert store.get("q", job).state is State.DONE
