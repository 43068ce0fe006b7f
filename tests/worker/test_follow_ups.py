"""What follows a run: stored with its acknowledgement, once, or not at all."""

import pytest

from holdfast.delivery import State
from holdfast.errors import Bury, Cancel, UsageError
from holdfast.events import Done, Sent
from holdfast.message import Level, Message
from holdfast.tasks.calls import Call
from holdfast.worker import CONTEXT
from tests.worker.conftest import handler
from tests.worker.faulty import Faulty


def call(queue="q", kind="next", job_id="next", origin=None):
    return Call(queue, Message(id=job_id, body=b"", kind=kind), lambda body: body, origin)


def then(*calls, error=None):
    def run(delivery, context):
        context.then(*calls)
        if error is not None:
            raise error

    return run


def test_calls_are_stored_when_the_run_is_acknowledged(worker, send, store):
    (job,) = send(b"")

    worker(then(call(job_id="a"), call(job_id="b")), drain=True).join(10)

    assert store.get("q", job).state is State.DONE
    assert [store.get("q", one).state for one in ("a", "b")] == [State.READY] * 2


def test_calls_of_an_async_run_are_stored_too(worker, send, store):
    async def run(delivery, context):
        context.then(call())

    send(b"")
    worker(run, is_async=True, drain=True).join(10)

    assert store.get("q", "next").state is State.READY


def test_then_may_be_called_again_and_keeps_the_order(worker, send, store, ear):
    def run(delivery, context):
        context.then(call(job_id="a"))
        context.then(call(job_id="b"), call(job_id="c"))

    send(b"")
    worker(run, drain=True).join(10)

    assert [event.message.id for event in ear.heard(Sent)] == ["a", "b", "c"]


@pytest.mark.parametrize("error", [ValueError("x"), Bury("x"), Cancel("x"), SystemExit()], ids=repr)
def test_calls_of_a_run_that_is_not_acknowledged_are_not_stored(worker, send, store, ear, error):
    send(b"", max_attempts=1)

    worker(then(call(), error=error), drain=True).join(10)

    assert store.get("q", "next") is None
    assert not ear.heard(Sent)


def test_a_failed_run_leaves_no_calls_to_the_next(worker, send, store):
    def run(delivery, context):
        context.then(call(job_id=f"of attempt {context.attempt}"))
        if context.attempt == 1:
            raise ValueError("the first time")

    send(b"")
    worker(run, drain=True).join(10)

    assert store.get("q", "of attempt 1") is None
    assert store.get("q", "of attempt 2").state is State.READY


def test_a_run_whose_result_cannot_be_encoded_is_followed_by_nothing(worker, send, store):
    def encode(value):
        raise ValueError("no")

    send(b"")
    worker(handler(then(call()), encode=encode, keep_result=60), drain=True).join(10)

    assert store.get("q", "next") is None


def test_a_run_whose_lease_was_lost_is_followed_by_nothing(worker, send, store, barrier, ear):
    def run(delivery, context):
        context.then(call())
        barrier(delivery, context)

    (job,) = send(b"", max_attempts=1)
    started = worker(run)
    barrier.wait_for_entries()
    store.retire(started.holder, "gone", None)
    barrier.let_go()
    started.stop()
    started.join(10)

    assert store.get("q", "next") is None
    assert store.get("q", job).state is State.DEAD


def test_an_ack_of_unknown_outcome_that_is_repeated_stores_follow_ups_once(worker, send, store, ear):
    faulty = Faulty(store)
    faulty.fail("settle", 2, after=True)
    send(b"")

    worker(then(call(job_id="a"), call(job_id="b")), backend=faulty)

    ear.wait_for(Sent, 2)
    assert faulty.calls["settle"] == 3
    assert (store.stats("q").ready, store.stats("q").done) == (2, 1)


def test_listeners_hear_of_follow_ups_once_they_are_stored(worker, send, ear, store, events):
    stored = []
    events.listen(Sent, lambda event: stored.append(store.get("q", event.message.id).state))
    send(b"")

    worker(then(call()), drain=True).join(10)

    [sent] = ear.heard(Sent)
    assert (sent.stored.queue, sent.stored.id, sent.stored.level) == ("q", "next", Level.MEMORY)
    assert stored == [State.READY]
    assert len(ear.heard(Done)) == 1


# -- what is refused -------------------------------------------------------------------------------------------


def refusal(worker, send, store, *calls, origin=None):
    said = []

    def run(delivery, context):
        with pytest.raises(UsageError) as caught:
            context.then(*calls)
        said.append(str(caught.value))

    send(b"")
    assert worker(handler(run, origin=origin), drain=True).join(10).done == 1
    return said[0]


def test_a_call_for_another_queue_is_refused_and_enqueue_suggested(worker, send, store):
    said = refusal(worker, send, store, call(), call(queue="mail"))

    assert "queue 'mail'" in said
    assert "enqueue" in said
    assert store.get("q", "next") is None  # all or none


def test_a_call_of_another_app_is_refused_and_enqueue_suggested(worker, send, store):
    said = refusal(worker, send, store, call(origin=object()), origin=object())

    assert "another App" in said
    assert "enqueue" in said


def test_a_call_with_a_connection_of_its_own_is_refused(worker, send, store):
    bound = Call("q", Message(id="next", body=b""), lambda body: body, None, object())

    assert "transaction" in refusal(worker, send, store, bound)


def test_what_is_no_call_is_refused(worker, send, store):
    assert "task.call(…)" in refusal(worker, send, store, "next")


def test_outside_a_job_nothing_can_follow():
    with pytest.raises(UsageError, match="no job runs here"):
        CONTEXT.then(call())
