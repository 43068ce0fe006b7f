"""Unique jobs as tasks send them: the options, the job that is returned, and the error that may be raised."""

import asyncio
from datetime import timedelta

import pytest

from holdfast import CONTEXT, Context, Duplicate, Message, QueueFull, State, Unique, UsageError
from holdfast.config import ConfigError, QueueSettings
from holdfast.events import Sent
from holdfast.message import checked

ONE = Unique("one")
STRICT = Unique("one", on_conflict="error")


@pytest.fixture
def add(app):
    @app.task(queue="sums", result=60)
    def add(a: int, b: int = 2) -> int:
        return a + b

    return add


@pytest.fixture
def other(app):
    @app.task(queue="others")
    def other(a: int) -> int:
        return a

    return other


# -- options --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unique", "text"),
    [
        ("one", r"unique must be a Unique, such as Unique\('one'\)"),
        (Unique(""), r"the key of unique must be a text of 1 to 255 characters"),
        (Unique("x" * 256), r"the key of unique"),
        (Unique(7), r"the key of unique"),
        (Unique("one", until="never"), r"until of unique must be one of done, started"),
        (Unique("one", on_conflict="drop"), r"on_conflict of unique must be one of skip, replace, debounce, error"),
        (Unique("one", within=-1), r"within of unique must be seconds"),
        (Unique("one", within="1 h"), r"within of unique must be seconds"),
    ],
)
def test_what_is_no_unique_is_named(app, add, unique, text):
    with pytest.raises(UsageError, match=text):
        add.using(unique=unique)
    with pytest.raises(UsageError, match=text):
        app.queue("raw").send(b"", unique=unique)
    with pytest.raises(UsageError, match=text):
        checked(Message(body=b"", unique=unique))


def test_its_options_are_given_by_name():
    with pytest.raises(TypeError):
        Unique("one", "started")


def test_a_copy_inherits_it_and_may_lose_it(app, add):
    unique = add.using(unique=ONE)

    jobs = [unique.using(priority=1).enqueue(1), unique.enqueue(2), unique.using(unique=None).enqueue(3)]

    assert [job.stored.duplicate for job in jobs] == [False, True, False]


@pytest.mark.parametrize("limit", [-1, 1.5, True, "10"])
def test_a_limit_is_a_whole_number(limit):
    with pytest.raises(ConfigError, match="limit"):
        QueueSettings(limit=limit)


# -- the job that is there ------------------------------------------------------------------------------------


def test_a_second_call_returns_the_first_job(app, add, work):
    once = add.using(unique=ONE)

    first, second = once.enqueue(1), once.enqueue(10)

    assert (second.id, first.stored.duplicate, second.stored.duplicate) == (first.id, False, True)
    work()
    assert second.result(0) == 3


def test_the_first_job_is_returned_for_calls_too(app, add):
    once = add.using(unique=ONE)
    calls = [once.call(1), add.call(2), once.call(3)]

    jobs = add.enqueue_many(calls)

    assert [job.stored.duplicate for job in jobs] == [False, False, True]
    assert jobs[2].id == jobs[0].id


def test_raw_messages_may_be_unique(app):
    queue = app.queue("raw")

    first = queue.send(b"1", unique=ONE)
    second, third = queue.send_many([b"2", Message(body=b"3")], unique=ONE)

    assert (second.id, second.duplicate, third.duplicate) == (first.id, True, False)


def test_listeners_hear_of_duplicates(app):
    heard = []
    app.listen(Sent, lambda event: heard.append((event.message.body, event.stored.duplicate)))

    app.queue("raw").send_many([b"1", b"2"], unique=ONE)

    assert heard == [(b"1", False), (b"2", True)]


def test_once_in_a_while(app, clock, add, work):
    hourly = add.using(unique=Unique("one", within=timedelta(hours=1)))
    first = hourly.enqueue(1)
    work()

    again = hourly.enqueue(1)
    clock.move(3600)

    assert again.id == first.id
    assert again.refresh().state is State.DONE
    assert hourly.enqueue(1).id != first.id


# -- errors ---------------------------------------------------------------------------------------------------


def test_the_error_leads_to_the_job_that_is_there(app, add):
    strict = add.using(unique=STRICT)
    first = strict.enqueue(1)

    with pytest.raises(Duplicate, match=f"job {first.id} of queue 'sums' has the slot of unique key 'one'") as caught:
        strict.enqueue(2)

    assert (caught.value.queue, caught.value.existing) == ("sums", first.id)
    assert add.job(caught.value.existing).refresh().view.body == b'{"a":1}'


def test_the_others_of_a_batch_are_stored(app):
    queue = app.queue("raw")

    with pytest.raises(Duplicate) as caught:
        queue.send_many([Message(body=b"1", unique=STRICT), Message(body=b"2", unique=STRICT), Message(body=b"3")])

    assert [one.duplicate for one in caught.value.stored] == [False, True, False]
    assert [job.body for job in queue.browse().jobs] == [b"3", b"1"]


def test_sending_the_same_again_is_no_error(app, add):
    call = add.using(unique=STRICT).call(1)

    [first] = add.enqueue_many([call])
    [again] = add.enqueue_many([call])

    assert (again.id, again.stored.duplicate) == (first.id, True)


def test_calls_for_other_queues_are_sent_all_the_same(app, add, other):
    add.using(unique=STRICT).enqueue(1)
    calls = [add.using(unique=STRICT).call(2), other.call(3), add.call(4)]

    with pytest.raises(Duplicate) as caught:
        app.enqueue_many(calls)

    assert [(one.queue, one.duplicate) for one in caught.value.stored] == [
        ("sums", True),
        ("others", False),
        ("sums", False),
    ]
    assert app.queue("others").depth() == 1
    assert app.queue("sums").depth() == 2


def test_of_awaiting_senders_each_hears_its_own(app, add):
    strict, plain = add.using(unique=STRICT), add.using(unique=ONE)

    async def send_all():
        calls = [*(strict.aenqueue(number) for number in range(5)), plain.aenqueue(5), add.aenqueue(6)]
        return await asyncio.gather(*calls, return_exceptions=True)

    first, *refused, skipped, another = asyncio.run(send_all())

    assert [type(error) for error in refused] == [Duplicate] * 4
    assert {error.existing for error in refused} == {first.id}
    assert (skipped.id, skipped.stored.duplicate) == (first.id, True)
    assert (another.id != first.id, another.stored.duplicate) == (True, False)


def test_awaited_calls_are_sent_all_the_same(app, add, other):
    strict = add.using(unique=STRICT)
    first = strict.enqueue(1)

    with pytest.raises(Duplicate) as caught:
        asyncio.run(app.aio.enqueue_many([strict.call(2), other.call(3)]))

    assert caught.value.existing == first.id
    assert app.queue("others").depth() == 1


def test_of_awaiting_senders_as_many_are_stored_as_there_is_room_for(app, add):
    app.queue("sums").declare(QueueSettings(limit=3))

    async def send_all():
        return await asyncio.gather(*(add.aenqueue(number) for number in range(10)), return_exceptions=True)

    answers = asyncio.run(send_all())

    assert sum(isinstance(answer, QueueFull) for answer in answers) == 7
    assert app.queue("sums").depth() == 3


# -- replay ---------------------------------------------------------------------------------------------------


def test_a_replay_tells_what_another_job_stands_for(app):
    queue = app.queue("raw")
    for number in range(3):
        queue.send(b"%d" % number, id=f"job {number}", unique=Unique(f"key {number % 2}"))
        queue.cancel(f"job {number}")

    replayed = queue.replay([f"job {number}" for number in range(3)])

    assert (replayed.moved, replayed.duplicates) == (("job 0", "job 1"), ("job 2",))


# -- beside other features ------------------------------------------------------------------------------------


def test_a_send_middleware_sees_the_receipts_and_no_error(app, add):
    seen = []

    @app.middleware.send
    def look(sending):
        yield
        seen.append([one.duplicate for one in sending.stored])

    add.using(unique=STRICT).enqueue(1)
    with pytest.raises(Duplicate):
        add.using(unique=STRICT).enqueue(2)
    with pytest.raises(Duplicate):
        asyncio.run(add.using(unique=STRICT).aenqueue(3))

    assert seen == [[False], [True], [True]]


def test_of_unique_follow_ups_one_is_stored(app, work):
    @app.task(queue="sums")
    def tidy_up(number: int) -> None: ...

    @app.task(queue="sums")
    def step(number: int, *, ctx: Context = CONTEXT) -> None:
        ctx.then(tidy_up.using(unique=STRICT, delay=60).call(number))

    step.enqueue_many([step.call(number) for number in range(3)])
    work()

    stats = app.queue("sums").stats()
    assert (stats.done, stats.scheduled) == (3, 1)
