"""Messages that no handler can take: each ends with a reason or waits for one that can, and harms no other."""

import signal

import pytest

from holdfast.delivery import State
from holdfast.message import Message
from tests.faults.checker import Promises
from tests.faults.history import QUEUE, Offered, Sent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def send_raw(stage, *messages):
    stage.history.notes.note(*(Offered(id=one.id) for one in messages))
    stage.backend.send(QUEUE, list(messages))
    stage.history.notes.note(Sent(ids=tuple(one.id for one in messages)))


def test_a_message_that_cannot_be_decoded_is_buried_at_once_and_says_why(stage):
    spoiled = [Message(body=body, kind="step") for body in (b"", b"\xff\xfe", b"{", b'{"seconds": "long"}', b"[1, 2]")]
    send_raw(stage, *spoiled)
    good = stage.send("step", 0, count=5)
    stage.worker("--concurrency", 2)

    stage.wait_for_acks(good)
    stage.wait_until_idle()

    dead = {final.id: final for final in stage.ended(State.DEAD)}
    assert set(dead) == {one.id for one in spoiled}
    assert all(final.attempts == 1 and final.reason.startswith("undecodable: ") for final in dead.values()), dead
    assert not {start.id for start in stage.wait_for_starts(5)} & set(dead)


def test_a_message_of_an_unknown_kind_waits_untouched_for_who_knows_it(stage):
    stranger = Message(body=b"{}", kind="nobody knows this")
    newer = Message(body=b'{"seconds": 0}', kind="step", format=99)
    send_raw(stage, stranger, newer)
    good = stage.send("step", 0, count=5)
    worker = stage.worker("--concurrency", 2)

    stage.wait_for_acks(good)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.said

    waiting = {final.id: final for final in stage.ended(State.READY)}
    assert set(waiting) == {stranger.id, newer.id}
    assert all((final.attempts, final.token) == (0, 0) for final in waiting.values())
    assert set(stage.backend.stats(QUEUE).unhandled) == {"nobody knows this", "step (format 99)"}


MANY = [pytest.param(2_000, id="2 000"), pytest.param(100_000, id="100 000", marks=pytest.mark.long)]


@pytest.mark.parametrize("count", MANY)
def test_fuzzed_messages_end_done_or_dead_with_a_reason(stage, count, record_property):
    sender = stage.start("-m", "tests.faults.fuzz", "7", str(count))
    worker = stage.worker("--concurrency", 10)
    assert sender.wait(count) == 0, sender.said
    stage.wait_until_idle(count)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.said

    dead = stage.ended(State.DEAD)
    record_property("messages", stage.acknowledged())
    record_property("dead", len(dead))
    assert stage.acknowledged() == count
    assert count * 0.1 < len(dead) < count * 0.9, "the messages are all alike"
    assert all(final.reason for final in dead)
    assert stage.findings(Promises(ends=frozenset({State.DONE, State.DEAD}), crashes=0)) == []
