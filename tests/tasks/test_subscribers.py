"""Events: published once, handed to each subscriber as a job of its own, or run here and now."""

import asyncio
from dataclasses import dataclass
from datetime import date

import msgspec
import pydantic
import pytest

from holdfast import CONTEXT, App, Bury, Context, Delivery, Depends, Retry, State, UsageError
from holdfast.tasks.subscribers import joined
from holdfast.testing import harness

AT_ONCE = Retry(attempts=5, base=0, jitter="none")


@dataclass
class UserCreated:
    id: int
    born: date = date(2000, 2, 29)


class Ordered(msgspec.Struct):
    number: int


class Renamed(pydantic.BaseModel):
    name: str


EVENT = UserCreated(42)


@pytest.fixture
def heard():
    return []


@pytest.fixture
def two(app, heard):
    """Two subscribers to one kind."""

    @app.on("user.created")
    def add_to_crm(event: UserCreated) -> None:
        heard.append(("crm", event))

    @app.on("user.created")
    async def greet(event: UserCreated) -> None:
        heard.append(("greet", event))


def jobs(app, queue="events"):
    """The jobs of a queue by kind, oldest first."""
    return {job.kind: job for job in reversed(app.queue(queue).browse().jobs)}


# -- publishing ------------------------------------------------------------------------------------------------


def test_every_subscriber_gets_the_event(app, two, heard, work):
    job = app.publish("user.created", EVENT)

    report = work()

    assert sorted(heard) == [("crm", EVENT), ("greet", EVENT)]
    assert report.done == 3
    assert job.refresh().state is State.DONE


def test_publishing_stores_one_job_and_runs_nothing(app, two, heard):
    job = app.publish("user.created", EVENT)

    assert (job.queue, app.queue("events").stats().ready, heard) == ("events", 1, [])
    assert list(jobs(app)) == ["user.created"]


def test_each_subscriber_has_a_job_of_its_own(app, two, work):
    event = app.publish("user.created", EVENT)

    work()

    view = jobs(app)
    assert set(view) == {"user.created", "user.created/add_to_crm", "user.created/greet"}
    assert view["user.created/greet"].id == f"{event.id}/greet"
    assert view["user.created/greet"].body == view["user.created"].body


def test_the_decorated_function_stays_as_it_was(app):
    def listen(event):
        return event

    assert app.on("user.created")(listen) is listen


def test_one_function_may_subscribe_to_many_kinds(app, heard, work):
    @app.on("user.created")
    @app.on("user.removed")
    def note(event: int) -> None:
        heard.append(event)

    app.publish("user.created", 1)
    app.publish("user.removed", 2)
    work()

    assert sorted(heard) == [1, 2]


def test_a_subscriber_gets_its_context_and_may_be_followed(app, heard, work):
    @app.task(queue="events")
    def after(number: int) -> None:
        heard.append(number)

    @app.on("user.created")
    def note(event: UserCreated, *, ctx: Context = CONTEXT) -> None:
        heard.append((ctx.kind, ctx.id))
        ctx.then(after.call(event.id))

    event = app.publish("user.created", EVENT)
    work()

    assert heard == [("user.created/note", f"{event.id}/note"), 42]


@pytest.mark.parametrize(
    ("type_", "event"),
    [(UserCreated, EVENT), (Ordered, Ordered(1)), (Renamed, Renamed(name="x")), (dict, {"a": [1, 2]}), (int, 7)],
    ids=["dataclass", "struct", "model", "dict", "number"],
)
@pytest.mark.parametrize("codec", ["json", "msgpack", "pickle"])
def test_events_of_all_sorts_arrive_as_they_were(clock, type_, event, codec):
    heard = []
    with App("memory:", clock=clock, codec=codec, allow_pickle=True) as app:

        def take(it):
            heard.append(it)

        take.__annotations__ = {"it": type_}
        app.on("x")(take)
        app.publish("x", event)
        worker = app.worker(drain=True)
        worker.start()
        worker.join(10)

    assert heard == [event]


def test_a_subscriber_may_name_its_parameter_as_it_likes(app, heard, work):
    @app.on("x")
    def by_position(it, /):
        heard.append(it)

    @app.on("x")
    def by_keyword(*, it):
        heard.append(it)

    app.publish("x", 1)
    work()
    app.publish_now("x", 2)

    assert heard == [1, 1, 2, 2]


def test_an_event_that_does_not_fit_one_subscriber_reaches_the_others(app, two, heard, work):
    @app.on("user.created")
    def misled(event: Ordered) -> None:
        heard.append("misled")

    app.publish("user.created", EVENT)
    work()

    assert len(heard) == 2
    assert "undecodable" in jobs(app)["user.created/misled"].reason


def test_subscribers_fail_each_on_their_own(app, heard, work):
    @app.on("user.created", retry=AT_ONCE)
    def good(event: int) -> None:
        heard.append("good")

    @app.on("user.created", retry=AT_ONCE)
    def bad(event: int) -> None:
        heard.append("bad")
        raise ValueError("no")

    @app.on("user.created")
    def refusing(event: int) -> None:
        raise Bury("never")

    app.publish("user.created", 1)
    work()

    view = jobs(app)
    assert heard.count("good") == 1
    assert heard.count("bad") == 5
    states = {kind: job.state for kind, job in view.items()}
    assert states == {
        "user.created": State.DONE,
        "user.created/good": State.DONE,
        "user.created/bad": State.DEAD,
        "user.created/refusing": State.DEAD,
    }


def test_an_event_that_is_handed_out_again_adds_no_job(app, two, work):
    event = app.publish("user.created", EVENT)
    handler = next(one for one in app._subscribers.handlers() if one.kind == "user.created")
    work()

    body = app.queue("events").get(event.id).body
    for _ in range(2):
        context = Context(delivery_of(event, body))
        handler.run(context.delivery, context)
        app.backend.send("events", context.follow_ups)

    assert app.queue("events").stats().done == 3
    assert app.queue("events").stats().ready == 0


def delivery_of(event, body):
    return Delivery(queue="events", id=event.id, token=2, attempt=2, body=body, kind="user.created")


def test_publishing_the_same_id_twice_is_one_event(app, two, heard, work):
    first = app.publish("user.created", EVENT, id="once")
    second = app.publish("user.created", EVENT, id="once")
    work()

    assert (first.stored.duplicate, second.stored.duplicate, len(heard)) == (False, True, 2)


def test_ids_too_long_for_a_store_are_shortened_the_same_way_each_time():
    long = joined("e" * 255, "name")

    assert len(long) <= 255
    assert long == joined("e" * 255, "name") != joined("e" * 255, "other")


@pytest.mark.parametrize("is_async", [False, True], ids=["thread", "loop"])
def test_a_subscriber_gets_what_it_depends_on_here_and_in_a_worker(app, heard, work, is_async):
    def connect():
        heard.append("open")
        yield "connection"
        heard.append("closed")

    def note(event: int, *, connection: str = Depends(connect)) -> None:
        heard.append((event, connection))

    async def note_soon(event: int, *, connection: str = Depends(connect)) -> None:
        heard.append((event, connection))

    app.on("x", name="note")(note_soon if is_async else note)
    app.publish("x", 1)
    work()
    if is_async:
        asyncio.run(app.aio.publish_now("x", 2))
    else:
        app.publish_now("x", 2)

    assert heard == ["open", (1, "connection"), "closed", "open", (2, "connection"), "closed"]


# -- options ---------------------------------------------------------------------------------------------------


def test_what_the_publisher_chose_passes_on(app, two, work):
    options = {"priority": 5, "headers": {"trace": "1"}, "timeout": 9, "max_attempts": 3, "key": "ann"}
    app.publish("user.created", EVENT, **options)
    work()

    job = jobs(app)["user.created/greet"]
    assert (job.priority, job.headers, job.timeout, job.max_attempts) == (5, {"trace": "1"}, 9.0, 3)
    assert job.key == "ann/greet"


def test_what_the_publisher_left_open_is_the_subscribers_own(app, work):
    @app.on("x", priority=7, retry=9, timeout=30)
    def note(event: int) -> None: ...

    app.publish("x", 1)
    work()

    event, job = jobs(app).values()
    assert (job.priority, job.max_attempts, job.timeout, job.key) == (7, 9, None, None)
    assert (event.priority, event.max_attempts) == (0, None)


def test_a_delayed_event_is_handed_out_when_it_is_due(app, two, heard, work, clock):
    app.publish("user.created", EVENT, delay=60)
    work()
    before = list(heard)
    clock.move(60)
    work()

    assert (before, len(heard)) == ([], 2)


def test_events_of_one_key_are_in_order_for_each_subscriber(app, heard, clock):
    @app.on("x")
    def first(event: int) -> None:
        heard.append(event)

    @app.on("x", retry=Retry(base=60, jitter="none"))
    def broken(event: int) -> None:
        raise ValueError

    for number in range(20):
        app.publish("x", number, key="ann")
    with app.worker(concurrency=8, drain=True) as worker:
        worker.join(10)

    assert heard == list(range(20))  # and none of them waited for the broken one


def test_another_queue_serves_if_both_sides_name_it(app, heard, work):
    @app.on("x", queue="fast")
    def note(event: int) -> None:
        heard.append(event)

    app.publish("x", 1, queue="fast")
    work()

    assert heard == [1]
    assert app.queue("fast").stats().done == 2


def test_a_queue_that_no_worker_of_the_subscribers_serves_is_refused(app):
    @app.on("x", queue="fast")
    def note(event: int) -> None: ...

    with pytest.raises(UsageError, match=r"publish\(…, queue='fast'"):
        app.publish("x", 1)


# -- who knows whom --------------------------------------------------------------------------------------------


def test_an_event_that_no_worker_knows_stays_and_is_shown(app, two, work):
    app.publish("user.lost", EVENT)

    work()

    stats = app.queue("events").stats()
    assert (stats.ready, stats.unhandled) == (1, {"user.lost": 1})


def test_the_set_of_subscribers_is_that_of_the_worker(app, two, heard):
    worker = app.worker(drain=True)

    @app.on("user.created")
    def late(event: UserCreated) -> None:
        heard.append("late")

    app.publish("user.created", EVENT)
    worker.start()
    worker.join(10)

    assert len(heard) == 2
    assert "late" not in heard


def test_a_subscribers_job_can_be_looked_up_and_replayed(app, work, heard):
    @app.on("x", retry=1)
    def note(event: int) -> None:
        heard.append(event)
        if len(heard) == 1:
            raise ValueError("once")

    event = app.publish("x", 1)
    work()
    job = app.job("events", f"{event.id}/note")
    app.queue("events").replay(job.id)
    work()

    assert (job.state, job.refresh().state, heard) == (State.DEAD, State.DONE, [1, 1])


# -- now -------------------------------------------------------------------------------------------------------


def test_publish_now_calls_the_subscribers_in_order_without_a_store(heard):
    app = App("sqlite:////nowhere/at/all.db")
    event = UserCreated(1)

    @app.on("user.created")
    def first(it: UserCreated) -> None:
        heard.append(("first", it))

    @app.on("user.created")
    def second(it: UserCreated) -> None:
        heard.append(("second", it))

    app.publish_now("user.created", event)

    assert [name for name, _ in heard] == ["first", "second"]
    assert all(it is event for _, it in heard)


def test_publish_now_stops_at_the_first_error(app, heard):
    @app.on("x")
    def first(event: int) -> None:
        raise ValueError("stop")

    @app.on("x")
    def second(event: int) -> None:
        heard.append(event)

    with pytest.raises(ValueError, match="stop"):
        app.publish_now("x", 1)
    assert heard == []


def test_publish_now_of_a_kind_that_nobody_subscribed_to_does_nothing(app):
    app.publish_now("x", 1)


def test_publish_now_refuses_async_subscribers_before_it_calls_any(app, two, heard):
    with pytest.raises(UsageError, match=r"app\.aio\.publish_now"):
        app.publish_now("user.created", EVENT)
    assert heard == []


# -- what is refused -------------------------------------------------------------------------------------------


def test_two_subscribers_of_one_name_are_refused(app):
    def make():
        @app.on("x")
        def note(event: int) -> None: ...

    make()
    with pytest.raises(UsageError, match=r"another name: @app.on\(…, name=…\)"):
        make()


def test_two_of_one_name_may_subscribe_to_different_kinds_or_under_other_names(app):
    def note(event: int) -> None: ...

    app.on("x")(note)
    app.on("y")(note)
    app.on("x", name="again")(note)

    assert list(app.tasks) == ["x/note", "y/note", "x/again"]


def test_a_task_and_an_event_cannot_share_a_name(app):
    @app.task(name="x")
    def task() -> None: ...

    with pytest.raises(UsageError, match="name of a task"):
        app.on("x")(lambda event: None)

    @app.on("y")
    def note(event: int) -> None: ...

    with pytest.raises(UsageError, match="kind of an event"):
        app.task(name="y")(task.function)


@pytest.mark.parametrize(
    "function",
    [
        lambda: None,
        lambda event, other: None,
        lambda event, other=1: None,
        lambda *events: None,
        lambda **events: None,
    ],
    ids=["nothing", "two", "two, one with a default", "any number", "any names"],
)
def test_a_subscriber_takes_one_argument(app, function):
    with pytest.raises(UsageError, match="one argument, the event"):
        app.on("x", name="note")(function)


@pytest.mark.parametrize("kind", ["", None, 7, "x" * 256, print])
def test_a_kind_is_a_text(app, kind):
    with pytest.raises(UsageError, match="kind of an event"):
        app.on(kind)
    with pytest.raises(UsageError, match="kind of an event"):
        app.publish(kind, 1)


def test_unknown_options_are_refused(app):
    with pytest.raises(UsageError, match="unknown option 'result'"):
        app.on("x", result=60)(lambda event: None)
    with pytest.raises(UsageError, match="unknown send option 'dealy'"):
        app.publish("x", 1, dealy=1)


def test_an_event_that_cannot_be_encoded_is_refused_where_it_is_published(app):
    with pytest.raises(UsageError, match="event 'x'"):
        app.publish("x", object())


def test_a_type_that_cannot_be_decoded_is_refused_where_it_is_subscribed(app):
    class Odd: ...

    def note(event): ...

    note.__annotations__ = {"event": Odd}
    with pytest.raises(UsageError, match=r"parameter .event..*Odd"):
        app.on("x")(note)


def test_the_codecs_header_is_not_for_publishers(app):
    with pytest.raises(UsageError, match="'codec'"):
        app.publish("x", 1, headers={"codec": "pickle"})


# -- in tests --------------------------------------------------------------------------------------------------


def test_the_test_kit_hands_events_out_too(app, two, heard):
    with harness(app) as kit:
        app.publish("user.created", EVENT)
        report = kit.drain()

        assert report.done == 3
        assert kit.enqueued("user.created/greet")[0].arguments == {"event": EVENT}
    assert sorted(heard) == [("crm", EVENT), ("greet", EVENT)]
