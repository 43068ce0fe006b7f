"""What follows a message: stored once, however often it is handled before its end is committed."""

import pytest

from holdfast import CONTEXT, Context
from holdfast.capabilities import JobFilter
from holdfast.config import QueueSettings
from holdfast.errors import BackendError
from holdfast.events import Sent
from tests.consume.conftest import dead


@pytest.fixture
def follow(app, heard):
    """Let a message be followed by the calls of a task that are made for its body."""

    @app.task(queue="orders.billing")
    def remind(text: str) -> None:
        heard.note(text)

    def follow(calls):
        @app.consume(log="orders", group="billing")
        def bill(body: bytes, *, ctx: Context = CONTEXT) -> None:
            ctx.then(*calls(remind, body.decode()))

    return follow


def lose_the_first_commit(orders, monkeypatch):
    """Let the first commit fail, and its member be retired then, as if its process had been killed before it."""
    store, lost = orders.app.log_backend, []
    join = store.join

    def join_frail(log, group, holder, **options):
        member = join(log, group, holder, **options)
        commit = member.commit

        def commit_frail(offsets, **options):
            if not lost and any(offset.next for offset in offsets):
                lost.append(store.retire(holder.id))
                raise BackendError("the process is dead", retryable=True)
            return commit(offsets, **options)

        monkeypatch.setattr(member, "commit", commit_frail)
        return member

    monkeypatch.setattr(store, "join", join_frail)
    return lost


def test_what_follows_a_message_that_is_handled_again_is_stored_once(orders, follow, work, heard, monkeypatch):
    lost, handled = lose_the_first_commit(orders, monkeypatch), []

    def calls(remind, text):
        handled.append(text)
        return remind.call(f"{text} 1"), remind.call(f"{text} 2")

    follow(calls)
    orders.append(b"a", b"b", key="k")
    work()

    assert (lost, handled[0], handled.count("a")) == ([1], "a", 2)
    assert sorted(heard) == ["a 1", "a 2", "b 1", "b 2"]


def test_what_follows_a_message_is_stored_again_after_a_seek(orders, follow, work, heard):
    follow(lambda remind, text: [remind.call(text)])
    orders.append(b"a")
    work()
    orders.seek({0: 0})
    work()

    assert heard == ["a", "a"]


def test_equal_calls_of_one_run_are_two_jobs_and_one_call_is_one(orders, follow, work, heard):
    def calls(remind, text):
        one = remind.call("same")
        return one, one, remind.call("same"), remind.call("other")

    follow(calls)
    orders.append(b"", b"")
    work()

    assert sorted(heard) == ["other"] * 2 + ["same"] * 4


def test_a_call_keeps_an_id_that_it_was_given(orders, follow, work, heard):
    follow(lambda remind, text: [remind.using(id="reminder").call(text)])
    orders.append(b"a", b"b", key="k")
    work()

    assert heard == ["a"]
    assert orders.app.job("orders.billing", "reminder").view.id == "reminder"


def test_listeners_hear_the_ids_that_are_stored(orders, follow, work, ear):
    follow(lambda remind, text: [remind.call(text)])
    orders.append(b"a")
    work()

    (sent,) = ear.heard(Sent)
    (job,) = orders.app.queue("orders.billing").browse(JobFilter()).jobs
    assert sent.message.id == job.id


def test_what_follows_a_message_is_not_held_to_the_limits_of_its_queue(orders, follow, work, heard):
    follow(lambda remind, text: [remind.call("a" * 100), remind.call("b")])
    orders.app.queue("orders.billing").declare(QueueSettings(limit=1, max_body=50))
    orders.append(b"")
    work()

    assert sorted(heard) == ["a" * 100, "b"]
    assert dead(orders.app) == []
