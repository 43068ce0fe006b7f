"""Requests to cancel jobs that run, or that are about to."""

import asyncio
import threading

import pytest

from holdfast.delivery import State
from holdfast.errors import Bury, Cancel, HoldfastError
from holdfast.events import BeforeBury, Cancelled, Done, Leased
from tests.worker.conftest import handler


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


# -- what an async handler makes of it ------------------------------------------------------------------------


class Ends:
    """An async handler that turns its cancellation into ``error``, as drivers do; ``entered`` when it waits for it."""

    def __init__(self, error):
        self.entered, self._error = threading.Event(), error

    async def __call__(self, delivery, context):
        self.entered.set()
        try:
            await for_ever(delivery, context)
        except asyncio.CancelledError as cancelled:
            raise self._error from cancelled


def test_an_async_job_that_ends_with_an_error_of_its_own_when_cancelled_is_cancelled(worker, send, store, clock, ear):
    run = Ends(RuntimeError("connection aborted"))
    (job,) = send(b"", max_attempts=1)
    worker(run, is_async=True)
    assert run.entered.wait(10)

    store.cancel("q", [job])
    clock.move(1)

    ear.wait_for(Cancelled)
    assert store.get("q", job).state is State.CANCELLED


def test_an_async_job_that_ends_with_an_error_of_its_own_when_stopped_goes_back_unburned(worker, send, store):
    run = Ends(RuntimeError("connection aborted"))
    (job,) = send(b"", max_attempts=1)
    started = worker(run, is_async=True)
    assert run.entered.wait(10)

    started.stop(now=True)
    started.join(10)

    view = store.get("q", job)
    assert (view.state, view.attempts) == (State.READY, 0)


def test_a_signal_decides_even_when_the_job_is_being_stopped(worker, send, store):
    run = Ends(Bury("half done, and not to be repeated"))
    (job,) = send(b"")
    started = worker(run, is_async=True)
    assert run.entered.wait(10)

    started.stop(now=True)
    started.join(10)

    assert store.get("q", job).state is State.DEAD


def test_a_job_that_cancels_itself_without_a_request_has_failed(worker, send, store):
    async def run(delivery, context):
        raise asyncio.CancelledError

    (job,) = send(b"", max_attempts=1)
    worker(run, is_async=True, drain=True).join(10)

    assert store.get("q", job).reason == "asyncio.exceptions.CancelledError"


def test_while_a_worker_stops_a_cancellation_of_its_own_is_a_failure(worker, send, store):
    """The flag alone says nothing: this run was not stopped."""
    entered, stopping = threading.Event(), threading.Event()

    async def run(delivery, context):
        entered.set()
        await asyncio.to_thread(stopping.wait, 10)
        raise asyncio.CancelledError

    (job,) = send(b"", max_attempts=1)
    started = worker(run, is_async=True)
    assert entered.wait(10)
    started.stop()
    started._crew.running()[0].stopping = True
    stopping.set()
    started.join(10)

    assert store.get("q", job).state is State.DEAD


def test_a_single_signal_out_of_a_task_group_is_that_signal(worker, send, store, ear):
    async def child():
        raise Bury("of no use")

    async def run(delivery, context):
        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    send(b"")
    worker(run, is_async=True, drain=True).join(10)

    (event,) = ear.heard(BeforeBury)
    assert event.reason == "of no use"


# -- what would end the loop, or the worker -------------------------------------------------------------------


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_a_task_of_a_handler_that_ends_the_loop_costs_no_other_job_anything(worker, send, store, error):
    guilty_came = asyncio.Event()

    async def child():
        raise error

    async def guilty(delivery, context):
        await asyncio.create_task(child())

    async def innocent(delivery, context):
        if delivery.body == b"sets":
            guilty_came.set()
        await guilty_came.wait()
        await asyncio.sleep(0)

    jobs = send(b"waits", b"waits", kind="innocent")
    (bad,) = send(b"", kind="guilty", max_attempts=1)
    jobs += send(b"sets", kind="innocent")

    both = handler(innocent, "innocent", is_async=True), handler(guilty, "guilty", is_async=True)
    report = worker(*both, concurrency=3, drain=True).join(10)

    assert (report.done, report.buried) == (3, 1)
    assert {store.get("q", job).attempts for job in jobs} == {1}
    assert store.get("q", bad).reason == type(error).__name__


def test_what_ends_a_worker_never_ends_who_joins_it(worker, store, monkeypatch):
    def lease(*args, **kwargs):
        raise SystemExit(3)

    monkeypatch.setattr(store, "lease", lease)

    with pytest.raises(HoldfastError, match=r"SystemExit\(3\)"):
        worker(for_ever, is_async=True).join(10)
