"""Sending: one call, many calls, configured copies, and from event loops."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from holdfast import App, QueueFull, State, UsageError
from holdfast.contract import QueueBackend
from holdfast.errors import BodyTooLarge
from holdfast.events import Sent
from holdfast.message import Level


@pytest.fixture
def add(app):
    @app.task(queue="sums", priority=3, retry=2, timeout=9)
    def add(a: int, b: int = 2) -> int:
        return a + b

    return add


@pytest.fixture
def sends(app, monkeypatch):
    """The sends that reach the store, as (queue, number of messages)."""
    sends = []
    send = app.backend.send

    def counted(queue, messages):
        sends.append((queue, len(messages)))
        return send(queue, messages)

    monkeypatch.setattr(app.backend, "send", counted)
    return sends


def view(app, job):
    return app.backend.get(job.queue, job.id)


def test_enqueue_stores_the_call_as_the_task_was_declared(app, add):
    job = add.enqueue(1, b=3)

    stored = view(app, job)
    assert (stored.kind, stored.body, stored.priority, stored.max_attempts) == (add.name, b'{"a":1,"b":3}', 3, 2)
    assert (job.queue, job.stored.level, job.stored.duplicate) == ("sums", Level.MEMORY, False)


def test_the_timeout_of_the_declaration_stays_with_the_workers_code(app, add):
    assert view(app, add.enqueue(1)).timeout is None
    assert view(app, add.using(timeout=1.5).enqueue(1)).timeout == 1.5
    assert add.handler().timeout == 9


def test_using_changes_how_a_call_is_sent_and_leaves_the_task_as_it_is(app, add):
    urgent = add.using(priority=50, key="k", max_attempts=None, headers={"trace": "1"}, expires_in=60, queue="other")

    stored = view(app, urgent.enqueue(1))
    assert (stored.queue, stored.priority, stored.key, stored.max_attempts) == ("other", 50, "k", None)
    assert stored.headers == {"trace": "1"}
    assert stored.expires == stored.sent + 60_000
    assert view(app, add.enqueue(1)).priority == 3


def test_a_copy_inherits_the_options_it_was_made_from(app, add):
    copy = add.using(key="k", delay=60).using(priority=9)

    stored = view(app, copy.enqueue(1))
    assert (stored.key, stored.priority, stored.state) == ("k", 9, State.SCHEDULED)


def test_a_delay_counts_from_each_send_and_run_at_takes_its_place(app, add, clock):
    copy = add.using(delay=timedelta(hours=1))
    clock.move(7200)
    moment = datetime(2100, 1, 1, tzinfo=UTC)

    late, later = view(app, copy.enqueue(1)), view(app, copy.using(run_at=moment).enqueue(1))

    assert late.due == late.sent + 3_600_000
    assert later.due == int(moment.timestamp() * 1000)


def test_a_send_under_the_same_id_is_recognised(add):
    first, second = (add.using(id="sum-1").enqueue(1) for _ in range(2))

    assert (first.id, first.stored.duplicate, second.stored.duplicate) == ("sum-1", False, True)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dealy": 1}, r"unknown option 'dealy' \(did you mean 'delay'\?\); known: id, delay, run_at"),
        ({"priority": 101}, "priority must be a whole number from -100 to 100"),
        ({"delay": 1, "run_at": datetime.now(UTC)}, "give delay or run_at, not both"),
        ({"run_at": datetime(2024, 1, 1)}, "run_at must be a datetime with a time zone"),  # noqa: DTZ001
        ({"queue": 7}, "queue must be a text of 1 to 255 characters, not 7"),
        ({"headers": {"codec": "json"}}, "header 'codec' is Holdfast's own"),
    ],
)
def test_an_option_of_using_that_does_not_fit_is_refused_when_it_is_given(add, options, reason):
    with pytest.raises(UsageError, match=f"task '{add.name}': {reason}"):
        add.using(**options)


def test_many_calls_are_one_round_trip_a_queue_and_their_jobs_are_in_order(app, add, sends):
    @app.task(queue="other")
    def twice(x: int) -> int:
        return 2 * x

    jobs = app.enqueue_many([add.call(1), twice.call(2), add.using(priority=9).call(3), twice.call(4)])

    assert sends == [("sums", 2), ("other", 2)]
    assert [view(app, job).body for job in jobs] == [b'{"a":1}', b'{"x":2}', b'{"a":3}', b'{"x":4}']


def test_what_is_enqueued_together_are_calls_of_this_app(app, add):
    other = App("memory:", name="other")
    foreign = other.task(name=add.name)(add.function).call(1)

    for enqueue in (app.enqueue_many, add.enqueue_many):
        with pytest.raises(UsageError, match="belongs to another App"):
            enqueue([add.call(1), foreign])
    with pytest.raises(UsageError, match=r"calls, made by task.call\(…\), not <Task"):
        app.enqueue_many([add.call(1), add])
    with pytest.raises(UsageError, match="is not one of task"):
        add.enqueue_many([add])
    assert app.backend.queues() == {}


def test_enqueue_many_of_a_task_takes_its_own_calls_alone(app, add):
    other = app.task(name="other")(lambda: None)

    assert [job.queue for job in add.enqueue_many([add.call(1), add.using(queue="q").call(2)])] == ["sums", "q"]
    with pytest.raises(
        UsageError, match=r"of task 'other'> is not one of task .*; app.enqueue_many takes calls of any"
    ):
        add.enqueue_many([other.call()])


def test_a_call_that_is_sent_twice_is_one_job(add):
    call = add.call(1)

    first, second = add.enqueue_many([call]), add.enqueue_many([call])

    assert first[0].id == second[0].id
    assert second[0].stored.duplicate


def test_no_calls_are_no_round_trip(app, sends):
    assert app.enqueue_many([]) == []
    assert sends == []


def test_every_send_is_an_event(app, add):
    heard = []
    app.listen(Sent, heard.append)

    job = add.enqueue(1)

    assert [(event.message.id, event.stored) for event in heard] == [(job.id, job.stored)]


def test_a_body_above_the_limit_is_refused_and_nothing_is_stored(app):
    @app.task
    def store(data: str) -> None: ...

    with pytest.raises(BodyTooLarge, match="queue 'default': a body of 1048588 bytes is outside 0 … 1048576"):
        store.enqueue("x" * 2**20 + "x")

    assert app.backend.stats("default").ready == 0


# -- from event loops ------------------------------------------------------------------------------------------


def test_awaited_sends_of_many_tasks_share_round_trips(app, add, sends):
    busy, free = threading.Event(), threading.Event()
    send = app.backend.send
    app.backend.send = lambda queue, messages: (busy.set(), free.wait(10), send(queue, messages))[2]

    async def main():
        first = asyncio.create_task(add.aenqueue(0))
        await asyncio.to_thread(busy.wait, 10)
        rest = [asyncio.create_task(add.aenqueue(number)) for number in range(1, 300)]
        await asyncio.sleep(0)
        free.set()
        return await asyncio.gather(first, *rest)

    jobs = asyncio.run(main())

    assert sends == [("sums", 1), ("sums", 299)]
    assert [view(app, job).body for job in jobs] == [b'{"a":%d}' % number for number in range(300)]


def test_many_calls_can_be_awaited_too(app, add, sends):
    async def main():
        calls = [add.call(1), add.using(queue="other").call(2), add.call(3)]
        return [job.queue for job in [*await app.aio.enqueue_many(calls), *await add.aenqueue_many(calls)]]

    assert asyncio.run(main()) == ["sums", "other", "sums"] * 2
    assert [number for _, number in sends] == [2, 1, 2, 1]


def test_among_awaited_sends_only_the_one_that_is_too_large_is_refused(app):
    @app.task
    def store(data: str) -> None: ...

    async def main():
        sizes = [1, 2, 2**21, 4, 5, 6, 7]
        return await asyncio.gather(*(store.aenqueue("x" * size) for size in sizes), return_exceptions=True)

    answers = asyncio.run(main())

    assert [type(answer) for answer in answers if isinstance(answer, Exception)] == [BodyTooLarge]
    assert isinstance(answers[2], BodyTooLarge)
    assert app.backend.stats("default").ready == 6


def test_arguments_of_an_awaited_send_are_refused_in_the_senders_own_task(app, add):
    async def main():
        with pytest.raises(UsageError, match="parameter 'a'"):
            await add.aenqueue("1")

    asyncio.run(main())


@pytest.fixture
def app_of_two():
    from holdfast import App

    with App("memory:?max_jobs=2") as app:
        yield app


def test_of_awaited_sends_to_a_full_store_those_that_fit_are_stored(app_of_two):
    @app_of_two.task
    def task(x: int) -> None: ...

    async def main():
        return await asyncio.gather(*(task.aenqueue(x) for x in range(5)), return_exceptions=True)

    answers = asyncio.run(main())

    assert sum(isinstance(answer, QueueFull) for answer in answers) == 3
    assert isinstance(app_of_two.backend, QueueBackend)
    assert app_of_two.backend.stats("default").ready == 2
