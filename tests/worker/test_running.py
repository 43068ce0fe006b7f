"""What a worker does with jobs that go well, and with those that do not."""

import asyncio
import logging
import os
import sys
import threading
from collections import Counter
from contextvars import ContextVar

import msgspec
import pytest

from holdfast.delivery import State
from holdfast.errors import Bury, Cancel, RetryLater, Undecodable, UsageError
from holdfast.events import BeforeBury, BeforeRetry, Cancelled, Done, Leased, Started, log_to
from holdfast.retry import Retry
from holdfast.worker import Worker, WorkerOptions, current_job
from holdfast.worker.handler import Misfit
from tests.worker.conftest import handler


def ok(delivery, context):
    return None


def test_a_handler_runs_with_its_job(worker, send):  # G-T1
    seen = []
    send(b"hello", headers={"a": "b"}, key="42")

    worker(lambda delivery, context: seen.append((delivery.body, context.headers, context.key)), drain=True).join(10)

    assert seen == [(b"hello", {"a": "b"}, "42")]


def test_whoever_starts_it_is_told_that_it_is_ready_before_it_leases(store, send, events, clock):
    notes = []
    send(b"")
    run = handler(lambda delivery, context: notes.append("run"))
    worker = Worker(store, ["q"], [run], events=events, options=WorkerOptions(drain=True), clock=clock)

    worker.start(ready=lambda: notes.append(store.holders()))
    worker.join(10)

    assert notes == [[], "run"]


def test_a_hundred_jobs_over_four_threads_all_run_once(worker, send):  # G-T2
    runs = Counter()
    ids = send(*[b""] * 100)

    report = worker(lambda delivery, context: runs.update([delivery.id]), concurrency=4, drain=True).join(10)

    assert runs == Counter(ids)
    assert report.done == 100


def test_jobs_that_wait_for_each_other_run_at_the_same_time(worker, send):
    meeting = threading.Barrier(4, timeout=10)
    send(*[b""] * 4)

    report = worker(lambda delivery, context: meeting.wait() and None, concurrency=4, drain=True).join(10)

    assert report.done == 4


def test_no_more_jobs_run_at_once_than_there_are_slots(worker, send, barrier, ear):
    send(*[b""] * 10)
    worker(barrier, concurrency=3)

    barrier.wait_for_entries(3)

    assert len(barrier.contexts) == 3
    barrier.let_go()
    ear.wait_for(Done, 10)


def test_a_job_that_fails_twice_is_done_on_its_third_attempt(worker, send, store):  # G-T3
    attempts = []

    def flaky(delivery, context):
        attempts.append(context.attempt)
        if context.attempt < 3:
            raise ValueError("not yet")

    (job,) = send(b"")
    worker(flaky, drain=True).join(10)

    assert attempts == [1, 2, 3]
    view = store.get("q", job)
    assert view.state is State.DONE
    assert [run.outcome for run in view.runs] == ["error", "error", "done"]


def test_a_job_is_tried_exactly_as_often_as_its_limit_says(worker, send, store):  # G-T4
    attempts = []

    def broken(delivery, context):
        attempts.append(context.attempt)
        raise ValueError("never")

    (job,) = send(b"", max_attempts=4)
    worker(broken, drain=True).join(10)

    assert attempts == [1, 2, 3, 4]
    view = store.get("q", job)
    assert (view.state, view.reason) == (State.DEAD, "ValueError")
    assert view.runs[-1].error.message == "never"
    assert "test_running.py" in view.runs[-1].error.traceback
    assert "holdfast/worker" not in view.runs[-1].error.traceback


def test_a_failure_is_logged_from_the_handler_on(worker, send, events, caplog):
    log_to(logging.getLogger("holdfast"), events)

    def broken(delivery, context):
        raise ValueError("never")

    send(b"", max_attempts=1)
    with caplog.at_level(logging.ERROR, "holdfast"):
        worker(broken, drain=True).join(10)

    assert "test_running.py" in caplog.text
    assert "holdfast/worker" not in caplog.text


def test_higher_priority_runs_first(worker, send):  # G-T7, G-T8
    order = []
    for priority in (1, 10, 5, 10):
        send(b"%d" % priority, priority=priority)

    worker(lambda delivery, context: order.append(delivery.body), concurrency=1, drain=True).join(10)

    assert order == [b"10", b"10", b"5", b"1"]


def test_kinds_without_a_handler_stay_where_they_are(worker, send, store):  # G-T9
    send(b"", b"", kind="other")
    send(b"", b"", b"")

    report = worker(ok, drain=True).join(10)

    assert report.done == 3
    assert store.stats("q").ready == 2


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("is_async", [False, True])
def test_no_error_of_a_handler_ends_the_worker(worker, send, error, is_async):  # G-T14
    def plain(delivery, context):
        if delivery.body == b"bad" and context.attempt == 1:
            raise error

    async def awaited(delivery, context):
        plain(delivery, context)

    send(b"bad", *[b"good"] * 20)
    report = worker(awaited if is_async else plain, is_async=is_async, concurrency=2, drain=True).join(10)

    assert (report.done, report.retried) == (21, 1)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_run_that_cannot_be_settled_has_failed_and_waits_as_any_other(worker, send, store, ear, is_async):
    def encode(value):
        raise SystemExit(1)

    async def awaited(delivery, context): ...

    (job,) = send(b"", max_attempts=2)
    run = handler(awaited if is_async else ok, is_async=is_async, encode=encode)
    report = worker(run, drain=True).join(10)

    assert report.retried == 1
    view = store.get("q", job)
    assert (view.state, view.attempts) == (State.SCHEDULED, 1)
    assert view.runs[0].error.type == "SystemExit"


@pytest.mark.parametrize("event", [Leased, Started, BeforeRetry, Done])
def test_a_listener_that_exits_harms_nothing(*, worker, send, store, events, event):
    def listener(event):
        raise SystemExit(1)

    events.listen(event, listener)
    send(b"", b"")

    assert worker(raising(ValueError("once")), drain=True).join(10).done == 2


def test_async_handlers_run_together_on_one_loop(worker, send):
    threads, waiting, together = set(), [], asyncio.Event()

    async def meet(delivery, context):
        threads.add(threading.current_thread().name)
        waiting.append(delivery.id)
        if len(waiting) == 5:
            together.set()
        await asyncio.wait_for(together.wait(), 10)

    send(*[b""] * 5)
    report = worker(meet, is_async=True, concurrency=5, drain=True).join(10)

    assert report.done == 5
    assert threads == {"holdfast-loop"}


def test_plain_and_async_handlers_share_a_worker(worker, send):
    async def awaited(delivery, context):
        await asyncio.sleep(0)

    send(b"", b"", kind="a")
    send(b"", b"", kind="b")

    report = worker(handler(ok, "a"), handler(awaited, "b", is_async=True), drain=True).join(10)

    assert report.done == 4


# -- signals and payloads -------------------------------------------------------------------------------------


def raising(*errors):
    """Return a handler that raises these, one a run, and then returns."""
    left = list(errors)

    def run(delivery, context):
        if left:
            raise left.pop(0)

    return run


def test_retry_later_overrides_the_delay_and_can_give_the_attempt_back(worker, send, store, clock, ear):
    (job,) = send(b"", max_attempts=1)

    worker(raising(RetryLater(after=60, count=False)), drain=True).join(10)
    assert ear.heard(BeforeRetry)[0].delay == 60
    clock.move(59)
    assert worker(ok, drain=True).join(10).done == 0
    clock.move(1)
    assert worker(ok, drain=True).join(10).done == 1

    assert store.get("q", job).attempts == 1


@pytest.mark.parametrize("delay", [float("inf"), float("nan"), -1, 10**400], ids=["inf", "nan", "negative", "huge"])
def test_a_delay_that_makes_no_sense_spoils_nothing(worker, send, store, delay):
    error = ValueError()
    error.delay = delay
    send(b"", max_attempts=2)

    report = worker(raising(error), drain=True).join(10)

    assert report.retried == 1


def test_bury_gives_up_at_once(worker, send, store):
    (job,) = send(b"")
    worker(raising(Bury("of no use")), drain=True).join(10)

    view = store.get("q", job)
    assert (view.state, view.reason, view.attempts) == (State.DEAD, "of no use", 1)


def test_a_handler_can_cancel_its_own_job(worker, send, store, ear):
    (job,) = send(b"")
    worker(raising(Cancel("not needed any more")), drain=True).join(10)

    view = store.get("q", job)
    assert (view.state, view.reason) == (State.CANCELLED, "not needed any more")
    assert [event.reason for event in ear.heard(Cancelled)] == ["not needed any more"]


def test_a_payload_that_does_not_fit_is_buried_with_the_reason(worker, send, store):
    (job,) = send(b"{")
    worker(raising(Misfit("expected `int`, got `str` - at `$.id`")), drain=True).join(10)

    view = store.get("q", job)
    assert (view.state, view.attempts) == (State.DEAD, 1)
    assert view.reason == "undecodable: expected `int`, got `str` - at `$.id`"


def test_undecodable_from_inside_a_handler_is_an_error_like_any_other(worker, send):
    """It read something else than its own body: a result, a dead letter, another queue."""
    send(b"")

    report = worker(raising(Undecodable("of another job")), drain=True).join(10)

    assert (report.retried, report.done) == (1, 1)


def test_an_error_that_is_never_retried_is_buried(worker, send, store):
    (job,) = send(b"")
    worker(handler(raising(KeyError("x")), retry=Retry(never=(LookupError,))), drain=True).join(10)

    view = store.get("q", job)
    assert (view.state, view.reason) == (State.DEAD, "KeyError")


def test_a_result_is_kept_and_one_that_cannot_be_encoded_is_buried(worker, send, store):
    bad, good = send(b"bad", b"good")

    def run(delivery, context):
        return object() if delivery.body == b"bad" else {"a": 1}

    worker(handler(run, encode=msgspec.json.encode, keep_result=60), drain=True).join(10)

    outcomes = store.outcomes("q", [bad, good])
    assert outcomes[good].value == b'{"a":1}'
    assert outcomes[bad].reason.startswith("its result cannot be encoded")


@pytest.mark.parametrize("signal", [Bury, Cancel])
def test_a_reason_that_no_store_can_keep_is_made_one_that_it_can(worker, send, store, signal):
    (job,) = send(b"")
    worker(raising(signal("caf\udce9\0")), drain=True).join(10)

    assert store.get("q", job).reason == "caf??"


# -- what is seen of it ---------------------------------------------------------------------------------------


def test_a_job_leaves_a_trace_of_events(worker, send, ear):
    send(b"")
    worker(ok, drain=True).join(10)

    assert [len(ear.heard(event)) for event in (Leased, Started, Done)] == [1, 1, 1]


def test_a_failure_with_attempts_left_is_one_retry_and_no_burial(worker, send, ear):  # C-T2
    send(b"", max_attempts=2)
    worker(raising(ValueError("x")), drain=True).join(10)

    (event,) = ear.heard(BeforeRetry)
    assert (event.job.attempt, str(event.error), event.delay) == (1, "x", 0)
    assert not ear.heard(BeforeBury)


def test_the_last_failure_is_one_burial_and_no_retry(worker, send, ear):  # C-T3
    send(b"", max_attempts=1)
    worker(raising(ValueError("x")), drain=True).join(10)

    (event,) = ear.heard(BeforeBury)
    assert (event.job.attempt, str(event.error), event.reason) == (1, "x", "ValueError")
    assert not ear.heard(BeforeRetry)


def test_a_retry_that_succeeds_leaves_no_dead_letter(worker, send, store):  # C-T7
    send(b"", max_attempts=3)
    worker(raising(ValueError("x")), drain=True).join(10)

    assert (store.stats("q").dead, store.stats("q").done) == (0, 1)


def test_current_job_is_the_context_of_the_job_that_runs_here(worker, send):
    seen = []

    def plain(delivery, context):
        seen.append(current_job() is context)

    async def awaited(delivery, context):
        await asyncio.sleep(0)
        seen.append(current_job() is context)

    send(b"", kind="a")
    send(b"", b"", kind="b")
    worker(handler(plain, "a"), handler(awaited, "b", is_async=True), drain=True).join(10)

    assert seen == [True] * 3
    assert current_job() is None


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_handler_sets_in_a_context_variable_the_next_does_not_see(worker, send, is_async):
    variable, seen = ContextVar("variable", default="clean"), []

    def plain(delivery, context):
        seen.append(variable.get())
        variable.set("dirty")

    async def awaited(delivery, context):
        plain(delivery, context)

    send(b"", b"", b"")
    worker(awaited if is_async else plain, is_async=is_async, concurrency=1, drain=True).join(10)

    assert seen == ["clean"] * 3


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("end", "code"), [(sys.exit, 3), (lambda code: None, 0), (Bury, 1)])
def test_the_child_of_a_fork_in_a_handler_ends_there_and_runs_no_other_job(worker, send, is_async, end, code):
    codes = []

    def plain(delivery, context):
        if not (child := os.fork()):
            if error := end(3):
                raise error
        else:
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    async def awaited(delivery, context):
        plain(delivery, context)

    send(b"", b"", b"")
    report = worker(awaited if is_async else plain, is_async=is_async, concurrency=1, drain=True).join(20)

    assert codes == [code] * 3
    assert report.done == 3


def test_a_worker_is_used_once(worker):
    started = worker(ok)

    with pytest.raises(UsageError, match="make a new one"):
        started.start()


def test_a_worker_without_queues_or_handlers_is_refused(store):
    with pytest.raises(UsageError):
        Worker(store, ["q"], [])
    with pytest.raises(UsageError):
        Worker(store, [], [handler(ok)])
