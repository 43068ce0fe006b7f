"""Jobs that run longer than their timeout: stopped on the loop, told of and settled late in a thread."""

import asyncio
import threading

import pytest

from holdfast.delivery import State
from holdfast.errors import HoldfastError
from holdfast.events import BeforeBury, BeforeRetry, Done, LoopBlocked, Stuck
from holdfast.retry import Retry
from tests.worker.conftest import handler
from tests.worker.faulty import Faulty


async def for_ever(delivery, context):
    await asyncio.Event().wait()


def test_an_async_job_is_stopped_at_its_timeout(worker, send, store, ear):
    (job,) = send(b"", max_attempts=2, timeout=0.01)

    worker(for_ever, is_async=True, drain=True).join(10)

    view = store.get("q", job)
    assert (view.state, view.reason) == (State.DEAD, "timeout")
    assert [run.outcome for run in view.runs] == ["timeout", "timeout"]
    assert len(ear.heard(BeforeRetry)) == len(ear.heard(BeforeBury)) == 1


def test_a_handler_has_a_timeout_for_messages_that_bring_none(worker, send, store):
    (job,) = send(b"", max_attempts=1)

    worker(handler(for_ever, is_async=True, timeout=0.01), drain=True).join(10)

    assert store.get("q", job).reason == "timeout"


def test_a_timeout_error_of_the_handler_itself_is_an_error_like_any_other(worker, send, store):
    async def run(delivery, context):
        raise TimeoutError("the other side")

    (job,) = send(b"", max_attempts=1, timeout=60)

    worker(run, is_async=True, drain=True).join(10)

    assert store.get("q", job).reason == "TimeoutError"


def test_a_timeout_can_be_excluded_from_retries(worker, send, store):
    (job,) = send(b"", timeout=0.01)

    worker(handler(for_ever, is_async=True, retry=Retry(never=(TimeoutError,))), drain=True).join(10)

    view = store.get("q", job)
    assert (view.state, view.reason, view.attempts) == (State.DEAD, "timeout", 1)


def test_a_plain_job_over_its_timeout_is_settled_so_when_its_thread_ends(*, worker, send, store, clock, barrier, ear):
    (job,) = send(b"", max_attempts=1, timeout=30)
    started = worker(barrier)
    barrier.wait_for_entries()
    assert barrier.contexts[0].remaining() > 29

    clock.move(31)

    assert barrier.contexts[0].remaining() == 0
    assert store.get("q", job).state is State.RUNNING
    barrier.let_go()
    ear.wait_for(BeforeBury)
    started.stop()
    started.join(10)
    assert store.get("q", job).reason == "timeout"


def test_a_thread_over_its_timeout_is_reported_with_its_stack_and_replaced(worker, send, clock, ear, barrier):
    send(b"slow", timeout=30)
    worker(lambda delivery, context: barrier(delivery, context) if delivery.body else None, concurrency=1)
    barrier.wait_for_entries()

    clock.move(31)

    (stuck,) = ear.wait_for(Stuck)
    assert stuck.seconds >= 31
    assert "in __call__" in stuck.stack
    send(b"")
    ear.wait_for(Done)  # in the thread that took its place


def test_a_process_with_three_stuck_threads_ends_itself(worker, send, clock, ear, barrier):
    send(b"", b"", b"", timeout=30)
    started = worker(barrier, concurrency=3, grace=0)
    barrier.wait_for_entries(3)

    clock.move(31)

    with pytest.raises(HoldfastError, match="3 threads are over their timeout"):
        started.join(10)


def test_an_embedded_worker_with_three_stuck_threads_only_reports_them(worker, send, clock, ear, barrier):
    send(b"", b"", b"", timeout=30)
    started = worker(barrier, concurrency=3, embedded=True)
    barrier.wait_for_entries(3)

    clock.move(31)

    ear.wait_for(Stuck, 3)
    clock.move(1)
    assert started.join(0) is None


def test_an_embedded_worker_replaces_no_more_than_three_threads(*, worker, store, send, clock, ear, barrier):
    send(*[b""] * 4, timeout=30)
    worker(barrier, concurrency=4, embedded=True)
    barrier.wait_for_entries(4)
    clock.move(31)
    ear.wait_for(Stuck, 4)

    send(*[b""] * 4)

    barrier.wait_for_entries(3)
    assert (store.stats("q").running, store.stats("q").ready) == (7, 1)


def test_a_job_may_run_for_many_ttls_while_its_holder_beats(*, worker, store, send, clock, barrier):
    faulty = Faulty(store)
    (job,) = send(b"")
    worker(barrier, backend=faulty)
    barrier.wait_for_entries()

    for _ in range(12):
        beats = faulty.calls["beat"]
        clock.move(20)
        faulty.wait_for_calls("beat", beats + 1)
        assert store.tidy().rescued == 0

    view = store.get("q", job)
    assert (view.state, view.token, view.attempts) == (State.RUNNING, 1, 1)


def test_a_job_over_its_timeout_in_a_thread_never_runs_twice_at_once(*, worker, store, send, clock, ear, barrier):
    """Neither in its own worker, whose slot was replaced, nor in another that is idle."""
    faulty = Faulty(store)
    (job,) = send(b"", timeout=30)
    worker(handler(barrier, timeout=30), backend=faulty, concurrency=2)
    barrier.wait_for_entries()
    worker(handler(barrier, timeout=30), concurrency=2)

    for _ in range(6):
        beats = faulty.calls["beat"]
        clock.move(20)
        faulty.wait_for_calls("beat", beats + 1)
    ear.wait_for(Stuck)
    assert store.get("q", job).token == 1
    barrier.let_go()
    ear.wait_for(Done)  # of its second run, which began when the first had been settled

    first, second = store.get("q", job).runs
    assert (first.outcome, second.outcome) == ("timeout", "done")
    assert second.started >= first.ended


def test_the_context_tells_the_deadline(worker, send, clock):
    seen = []
    send(b"", timeout=30)
    send(b"")

    worker(lambda delivery, context: seen.append((context.deadline, context.remaining())), drain=True).join(10)

    (deadline, remaining), without = seen
    assert abs(deadline.timestamp() - clock.wall() / 1000 - 30) < 5
    assert 29 < remaining <= 30
    assert without == (None, None)


def test_an_async_job_that_refuses_to_end_at_its_timeout_is_reported_once_with_its_stack(worker, send, clock, ear):
    refused, let_go = threading.Event(), []

    async def stubborn():
        forever, loop = asyncio.Event(), asyncio.get_running_loop()
        let_go.append(lambda: loop.call_soon_threadsafe(forever.set))
        while not forever.is_set():
            try:
                await forever.wait()
            except asyncio.CancelledError:
                refused.set()

    async def run(delivery, context):
        if delivery.attempt == 1:  # its retry may be due at once
            await stubborn()

    send(b"", timeout=0.01)
    started = worker(run, is_async=True)
    assert refused.wait(10)
    clock.move(3)
    clock.move(1)

    stuck = ear.wait_for(Stuck)[0]

    clock.move(1)
    clock.move(1)
    assert stuck.seconds >= 1
    assert "in stubborn" in stuck.stack
    let_go[0]()
    ear.wait_for(BeforeRetry)
    started.stop(now=True)
    assert started.join(10).abandoned == 0
    assert len(ear.heard(Stuck)) == 1


def test_a_handler_that_blocks_the_loop_is_reported_with_its_stack(worker, send, clock, ear, barrier):
    async def block(delivery, context):
        barrier(delivery, context)  # as a call without await does

    send(b"")
    worker(block, is_async=True)
    barrier.wait_for_entries()

    for _ in range(3):
        clock.move(1)

    (blocked,) = ear.wait_for(LoopBlocked)
    assert blocked.seconds >= 1
    assert "in block\n    barrier(delivery, context)  # as a call without await does\n" in blocked.stack
