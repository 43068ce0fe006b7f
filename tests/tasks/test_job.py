"""Jobs as their senders hold them: results, states, cancelling, and how they can end."""

import asyncio
import threading
from datetime import datetime, timedelta

import pytest

from holdfast import (
    CONTEXT,
    App,
    Bury,
    Cancel,
    Context,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobTimedOut,
    State,
    Undecodable,
    UsageError,
)
from holdfast.delivery import HolderInfo
from holdfast.failures import ErrorInfo
from holdfast.message import Message


@pytest.fixture
def parse(app):
    @app.task(result=60)
    def parse(day: str) -> datetime:
        return datetime.fromisoformat(day)

    return parse


def test_a_result_is_decoded_by_the_return_annotation(parse, work):
    job = parse.enqueue("2024-01-01")

    work()

    assert job.result(0) == datetime(2024, 1, 1)  # noqa: DTZ001


def test_an_async_handler_gives_its_awaited_value(app, work):
    @app.task(result=60)
    async def double(x: int) -> int:
        return 2 * x

    job = double.enqueue(4)

    work()

    assert job.result(0) == 8
    assert asyncio.run(job.aresult(0.1)) == 8


def test_a_handler_gets_its_context_where_it_asks_for_it(app, work):
    @app.task(result=60)
    def who(*, ctx: Context = CONTEXT) -> list[str]:
        return [ctx.id, ctx.queue, str(ctx.attempt)]

    job = who.enqueue()

    work()

    assert job.result(0) == [job.id, "default", "1"]
    assert who() == ["", "", "1"]


def test_a_task_that_keeps_no_value_returns_none_once_it_has_ended(app, work):
    @app.task
    def add(a: int) -> int:
        return a + 1

    job = add.enqueue(1)
    with pytest.raises(TimeoutError):
        job.result(0)

    work()

    assert job.result(0) is None


def test_the_waiters_own_time_running_out_is_the_built_in_timeout_error(parse):
    job = parse.enqueue("2024-01-01")

    with pytest.raises(TimeoutError, match=f"job {job.id} of queue 'default' had not ended after 0.001 s"):
        job.result(timedelta(milliseconds=1))
    with pytest.raises(TimeoutError, match=f"job {job.id} of queue 'default' had not ended after 0.001 s"):
        asyncio.run(job.aresult(0.001))
    with pytest.raises(TimeoutError, match="has not ended; does a worker serve its queue"):
        job.result(timeout=0)


def test_a_result_wakes_a_thread_and_a_loop_that_wait_for_it(app, parse):
    job, values = parse.enqueue("2024-01-01"), []
    waiters = [
        threading.Thread(target=lambda: values.append(job.result(30))),
        threading.Thread(target=lambda: values.append(asyncio.run(job.aresult(30)))),
    ]
    for waiter in waiters:
        waiter.start()

    with app.worker():
        for waiter in waiters:
            waiter.join()

    assert values == [datetime(2024, 1, 1)] * 2  # noqa: DTZ001


# -- how jobs end without a value ------------------------------------------------------------------------------


def failing(error):
    def fail() -> None:
        raise error

    return fail


def test_a_failed_job_tells_its_last_error(app, work):
    job = app.task(retry=1, name="fail")(failing(LookupError("no such user"))).enqueue()

    work()

    with pytest.raises(JobFailed, match=f"job {job.id} of queue 'default' failed: LookupError: no such user") as failed:
        job.result(0)
    assert (failed.value.job_id, failed.value.error_type) == (job.id, "LookupError")
    assert "in fail" in failed.value.traceback


def test_a_buried_job_tells_its_reason(app, work):
    job = app.task(name="fail")(failing(Bury("never again"))).enqueue()

    work()

    with pytest.raises(JobFailed, match="never again"):
        job.result(0)


def test_a_job_that_cancels_itself_was_cancelled(app, work):
    job = app.task(name="stop")(failing(Cancel("not needed"))).enqueue()

    work()

    with pytest.raises(JobCancelled, match="was cancelled: not needed") as cancelled:
        job.result(0)
    assert cancelled.value.job_id == job.id


def test_a_job_over_its_own_timeout_timed_out(app, parse):
    job = parse.enqueue("2024-01-01")
    app.backend.beat(HolderInfo(id="w#1", ttl=10))
    (delivery,) = app.backend.lease("default", "w#1", "l", limit=1, kinds=[parse.name], max_format=1)
    delivery.bury("timeout", error=ErrorInfo("TimeoutError", "it ran longer than 1 s"))
    app.backend.settle([delivery.settlement])

    with pytest.raises(JobTimedOut, match="TimeoutError: it ran longer than 1 s"):
        job.result(0)


def test_a_job_past_its_expiry_expired(parse, clock):
    job = parse.using(expires_in=5).enqueue("2024-01-01")

    clock.move(6)

    with pytest.raises(JobExpired, match="expired before a worker leased it"):
        job.result(0)


def test_a_waiting_job_is_cancelled_at_once(parse):
    job = parse.using(delay=60).enqueue("2024-01-01")

    assert job.cancel("changed my mind") is State.CANCELLED
    assert job.refresh().state is State.CANCELLED
    with pytest.raises(JobCancelled, match="changed my mind"):
        job.result(0)


def test_a_cancelled_job_wakes_who_waits_for_it(parse):
    async def main():
        job = await parse.aenqueue("2024-01-01")
        waiting = asyncio.create_task(job.aresult(30))
        await asyncio.sleep(0)
        await asyncio.to_thread(job.cancel)
        with pytest.raises(JobCancelled):
            await waiting

    asyncio.run(main())


def test_a_payload_that_cannot_be_decoded_becomes_a_dead_letter_with_the_place(app, parse, work):
    app.backend.send("default", [Message(body=b'{"day": 7}', kind=parse.name, id="bad")])

    work()

    view = app.backend.get("default", "bad")
    assert view.state is State.DEAD
    assert view.reason == "undecodable: Expected `str`, got `int` - at `$.day`"
    with pytest.raises(JobFailed, match=r"Expected `str`, got `int` - at `\$.day`"):
        parse.job("bad").result(0)


@pytest.mark.parametrize(
    "strange",
    [
        (b"{}", {}, "Object missing required field `day`"),
        (b'{"day": "x", "zone": "y"}', {}, "Object contains unknown field `zone`"),
        (b"not json", {}, "malformed"),
        (b"\x80", {"codec": "pickle"}, "allow_pickle=True"),
        (b"\x80", {"codec": "protobuf"}, "unknown codec 'protobuf'"),
    ],
)
def test_a_strange_payload_is_never_dropped_but_buried_with_the_reason(app, parse, work, strange):
    body, headers, reason = strange
    app.backend.send("default", [Message(body=body, kind=parse.name, id="bad", headers=headers)])

    assert work().buried == 1
    assert reason in app.backend.get("default", "bad").reason


def test_a_worker_reads_what_a_sender_with_another_codec_wrote(app, parse, work):
    sender = App("memory:", codec="msgpack")
    call = sender.task(name=parse.name)(parse.function).call("2024-01-01")
    app.backend.send("default", [call.message])

    work()

    assert parse.job(call.message.id).result(0) == datetime(2024, 1, 1)  # noqa: DTZ001


def test_a_result_that_does_not_fit_its_annotation_is_said_to_who_waits(app, work):
    @app.task(result=60)
    def liar() -> int:
        return "seven"

    job = liar.enqueue()

    work()

    with pytest.raises(Undecodable, match=f"the result of job {job.id} of queue 'default': Expected `int`, got `str`"):
        job.result(0)


def test_a_kind_that_no_worker_handles_stays_ready_and_is_shown_as_unhandled(app, parse, work):
    app.backend.send("default", [Message(body=b"{}", kind="mail.other")])

    assert work().done == 0

    stats = app.backend.stats("default")
    assert (stats.ready, stats.unhandled) == (1, {"mail.other": 1})


def test_a_coroutine_hidden_by_a_decorator_is_an_error_and_not_a_job_that_did_nothing(app, work):
    async def hidden() -> None: ...

    def decorated():
        return hidden()

    job = app.task(retry=1, name="hidden")(decorated).enqueue()

    work()

    with pytest.raises(JobFailed, match="returned a coroutine, which nobody would await"):
        job.result(0)


# -- looking ---------------------------------------------------------------------------------------------------


def test_refresh_shows_the_job_as_it_stands(parse, work):
    job = parse.enqueue("2024-01-01")
    with pytest.raises(UsageError, match=f"nobody has looked at job {job.id} yet: job.refresh\\(\\).state"):
        _ = job.state

    before = job.refresh()
    work()
    after = job.refresh()

    assert (before.state, after.state, after.view.attempts) == (State.READY, State.DONE, 1)
    assert repr(after) == f"<Job {job.id} of queue 'default' done>"
    assert after.stored == job.stored


def test_a_job_can_be_looked_up_by_queue_and_id(app, parse, work):
    job_id = parse.enqueue("2024-01-01").id

    work()

    job = app.job("default", job_id)
    assert job.state is State.DONE
    assert job.result(0) == datetime(2024, 1, 1)  # noqa: DTZ001
    with pytest.raises(UsageError, match="it has no send receipt"):
        _ = job.stored


def test_the_result_of_a_job_of_an_unknown_task_is_plain_json(app, parse, work):
    job_id = parse.enqueue("2024-01-01").id
    work()
    app.tasks._tasks.clear()

    assert app.job("default", job_id).result(0) == "2024-01-01T00:00:00"


def test_an_unknown_job_is_an_error_everywhere(app, parse):
    with pytest.raises(JobError, match="queue 'default' has no job nope: it was removed, or never sent"):
        app.job("default", "nope")
    for ask in (parse.job("nope").refresh, parse.job("nope").cancel, lambda: parse.job("nope").result(30)):
        with pytest.raises(JobError, match="queue 'default' has no job nope"):
            ask()


def test_a_job_whose_queue_is_destroyed_leaves_nobody_waiting(app, parse):
    async def main():
        job = await parse.aenqueue("2024-01-01")
        waiting = asyncio.create_task(job.aresult(30))
        while app._link.waiters._watch is None:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.001)
        await asyncio.to_thread(app.backend.destroy, "default")
        with pytest.raises(JobError, match="was removed"):
            await waiting

    asyncio.run(main())
