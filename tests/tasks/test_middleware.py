"""What surrounds runs and sends: order, errors, signals, selection, and what is refused."""

import asyncio
import logging
from contextlib import suppress

import pytest

from holdfast import Bury, Cancel, Message, RetryLater, State, UsageError, current_job
from holdfast.errors import JobTimedOut, QueueFull
from holdfast.middleware import Middleware


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("holdfast").disabled = True
    yield
    logging.getLogger("holdfast").disabled = False


@pytest.fixture(params=["plain", "async"])
def declare(app, request):
    """Declare a function as a task, and run it on either runner."""

    def declare(function, **options):
        if request.param == "plain":
            return app.task(name="t", **options)(function)

        async def handler():
            return function()

        return app.task(name="t", **options)(handler)

    return declare


def outcome(job):
    view = job.refresh().view
    return view.state, view.reason


# -- runs --------------------------------------------------------------------------------------------------------


def test_middleware_surrounds_a_run_the_first_registered_outermost(app, work, declare):
    seen = []

    @app.middleware.run
    def outer(ctx):
        seen.append(f"outer before {ctx.kind}")
        yield
        seen.append("outer after")

    @app.middleware.run
    def inner(ctx):
        seen.append("inner before")
        yield
        seen.append("inner after")

    job = declare(lambda: seen.append("run"), result=60).enqueue()
    work()

    assert seen == ["outer before t", "inner before", "run", "inner after", "outer after"]
    assert job.result(0) is None


def test_what_the_handler_returns_comes_through(app, work, declare):
    @app.middleware.run
    def nothing(ctx):
        yield

    def seven() -> int:
        return 7

    job = declare(seven, result=60).enqueue()
    work()

    assert job.result(0) == 7


def test_async_middleware_surrounds_async_handlers(app, work):
    seen = []

    @app.middleware.run
    async def around(ctx):
        await asyncio.sleep(0)
        seen.append("before")
        try:
            yield
        except ValueError:
            await asyncio.sleep(0)
            raise Bury("caught") from None
        seen.append("after")

    @app.task
    async def fine(error: bool) -> None:
        if error:
            raise ValueError

    good, bad = fine.enqueue(False), fine.enqueue(True)
    work()

    assert seen == ["before", "after", "before"]
    assert outcome(good)[0] is State.DONE
    assert outcome(bad) == (State.DEAD, "caught")


@pytest.mark.parametrize(
    ("signal", "state", "reason"),
    [
        (Bury("no"), State.DEAD, "no"),
        (Cancel("no"), State.CANCELLED, "no"),
        (RetryLater(60, count=False), State.SCHEDULED, None),
    ],
)
def test_middleware_may_raise_a_signal_in_place_of_the_handlers_error(*, app, work, declare, signal, state, reason):
    @app.middleware.run
    def translate(ctx):
        try:
            yield
        except ZeroDivisionError as error:
            raise signal from error

    job = declare(lambda: 1 / 0).enqueue()
    work()

    assert outcome(job) == (state, reason)


def test_after_an_error_that_was_caught_the_run_counts_as_returned(app, work, declare):
    @app.middleware.run
    def lenient(ctx):
        with suppress(ZeroDivisionError):
            yield

    job = declare(lambda: 1 / 0, result=60).enqueue()
    work()

    assert job.result(0) is None


def test_a_signal_before_the_yield_means_that_the_handler_does_not_run(app, work, declare):
    ran = []

    @app.middleware.run
    def guard(ctx):
        if ctx.attempt == 1:
            raise Cancel("not today")
        yield

    job = declare(lambda: ran.append(1)).enqueue()
    work()

    assert outcome(job) == (State.CANCELLED, "not today")
    assert not ran


def test_the_job_is_the_current_one_and_its_handler_sees_what_middleware_sets(app, work, declare):
    from contextvars import ContextVar

    user, seen = ContextVar("user"), []

    @app.middleware.run
    def login(ctx):
        assert current_job() is ctx
        reset = user.set("ann")
        yield
        user.reset(reset)

    declare(lambda: seen.append(user.get())).enqueue()
    work()

    assert seen == ["ann"]


def never(ctx):
    if ctx is None:
        yield


def twice(ctx):
    yield
    yield


def twice_after_an_error(ctx):
    try:
        yield
    except ZeroDivisionError:
        yield


async def anever(ctx):
    if ctx is None:
        yield


async def atwice(ctx):
    yield
    yield


@pytest.mark.parametrize(
    ("function", "fails", "text"),
    [
        (never, False, "middleware never ended before its yield"),
        (twice, False, "middleware twice yields a second time"),
        (twice_after_an_error, True, "middleware twice_after_an_error yields a second time"),
        (anever, False, "middleware anever ended before its yield"),
        (atwice, False, "middleware atwice yields a second time"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_middleware_that_does_not_yield_exactly_once_fails_the_run_by_name(*, app, work, function, fails, text):
    app.middleware.run(function)

    @app.task(retry=1)
    async def handler() -> None:
        if fails:
            raise ZeroDivisionError

    job = handler.enqueue()
    work()

    view = job.refresh().view
    assert view.state is State.DEAD
    assert text in view.runs[-1].error.message


def test_middleware_is_within_the_timeout(app, work):
    @app.middleware.run
    async def slow(ctx):
        await asyncio.Event().wait()
        yield

    @app.task(timeout=0.01, retry=1)
    async def handler() -> None: ...

    job = handler.enqueue()
    work()

    with pytest.raises(JobTimedOut):
        job.result(0)


def test_a_cancellation_cannot_be_caught_for_good(app, work):
    @app.middleware.run
    def greedy(ctx):
        with suppress(BaseException):
            yield

    @app.task(timeout=0.01, retry=1)
    async def handler() -> None:
        await asyncio.Event().wait()

    job = handler.enqueue()
    work()

    with pytest.raises(JobTimedOut):
        job.result(0)


def test_a_stop_iteration_of_the_handler_stays_what_it_is(app, work):
    @app.middleware.run
    def around(ctx):
        yield

    @app.task(retry=1)
    def handler():
        raise StopIteration

    job = handler.enqueue()
    work()

    assert outcome(job) == (State.DEAD, "StopIteration")


def test_middleware_can_be_for_some_kinds_and_queues(app, work):
    seen = []

    @app.middleware.run(kinds=["a"])
    def for_a(ctx):
        seen.append(("kind", ctx.kind, ctx.queue))
        yield

    @app.middleware.run(queues=["slow"])
    def for_slow(ctx):
        seen.append(("queue", ctx.kind, ctx.queue))
        yield

    a = app.task(name="a")(lambda: None)
    b = app.task(name="b", queue="slow")(lambda: None)
    a.enqueue()
    b.enqueue()
    b.using(queue="default").enqueue()
    work()

    assert sorted(seen) == [("kind", "a", "default"), ("queue", "b", "slow")]


def test_async_middleware_over_plain_handlers_is_refused_when_the_worker_is_built(app, work):
    seen = []

    async def around(ctx):
        seen.append(ctx.kind)
        yield

    app.task(name="plain")(lambda: None)

    @app.task(name="later", queue="slow")
    async def later() -> None: ...

    app.middleware.run(kinds=["later"])(around)
    app.middleware.run(queues=["slow"])(around)
    later.enqueue()
    work()
    assert seen == ["later", "later"]

    app.middleware.run(around)
    with pytest.raises(UsageError, match=r"around is async and cannot surround 'plain'.*queues=…, kinds=…"):
        app.worker()


@pytest.mark.parametrize("function", [len, lambda ctx: None, 7, "text"])
def test_what_is_no_generator_function_is_refused_when_it_is_registered(function):
    with pytest.raises(UsageError, match="is no run middleware: write it as a def or async def with one yield"):
        Middleware().run(function)
    with pytest.raises(UsageError, match="is no send middleware: write it as a def with one yield"):
        Middleware().send(function)


def test_one_text_in_place_of_several_is_refused():
    with pytest.raises(UsageError, match=r"the queues of a middleware are several texts: queues=\['slow'\]"):
        Middleware().run(queues="slow")


def test_without_middleware_a_run_is_what_it_was(app):
    def run(delivery, context): ...

    assert app.middleware.around(run, kind="k", queue="q", is_async=False) is run


def test_an_object_that_is_called_as_a_generator_will_do(app, work, declare):
    class Counting:
        def __init__(self):
            self.count = 0

        def __call__(self, ctx):
            self.count += 1
            yield

    counting = Counting()
    app.middleware.run(counting)
    declare(lambda: None).enqueue()
    work()

    assert counting.count == 1


# -- sends -------------------------------------------------------------------------------------------------------


def stamped(sending):
    sending.add_headers({"trace": "42", "user": "ann"})
    yield


@pytest.fixture
def task(app):
    @app.task(name="t")
    def task(x: int) -> None: ...

    return task


async def _aenqueue(app, task):
    return (await task.aenqueue(1)).id


async def _aenqueue_many(app, task):
    return (await app.aio.enqueue_many([task.call(1)]))[0].id


async def _asend(app):
    return (await app.aio.queue("default").send(b"")).id


WAYS = {
    "enqueue": lambda app, task: task.enqueue(1).id,
    "enqueue_many": lambda app, task: app.enqueue_many([task.call(1)])[0].id,
    "aenqueue": lambda app, task: asyncio.run(_aenqueue(app, task)),
    "aenqueue_many": lambda app, task: asyncio.run(_aenqueue_many(app, task)),
    "publish": lambda app, task: app.publish("k", 1, queue="default", headers={"user": "bob"}).id,
    "queue.send (awaited)": lambda app, task: asyncio.run(_asend(app)),
    "queue.send": lambda app, task: app.queue("default").send(b"").id,
    "queue.send_many": lambda app, task: app.queue("default").send_many([Message(body=b"")])[0].id,
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_sending_is_surrounded(app, task, way):
    app.middleware.send(stamped)

    job_id = WAYS[way](app, task.using(headers={"user": "bob"}))

    headers = app.backend.get("default", job_id).headers
    assert headers["trace"] == "42"
    assert headers["user"] == ("ann" if way.startswith("queue") else "bob")  # the message's own wins


def test_what_was_stored_is_known_after_the_yield_and_the_first_registered_is_outermost(app, task):
    seen = []

    def note(name):
        def middleware(sending):
            seen.append((name, sending.queue, [message.kind for message in sending.messages]))
            yield
            seen.append((name, [stored.id for stored in sending.stored]))

        return middleware

    app.middleware.send(note("outer"))
    app.middleware.send(note("inner"))
    job = task.enqueue(1)

    assert seen == [
        ("outer", "default", ["t"]),
        ("inner", "default", ["t"]),
        ("inner", [job.id]),
        ("outer", [job.id]),
    ]


def test_awaited_sends_are_surrounded_in_the_context_of_their_own_sender(app, task):
    from contextvars import ContextVar

    user = ContextVar("user")

    @app.middleware.send
    def stamp(sending):
        sending.add_headers({"user": user.get()})
        yield

    async def send(name):
        user.set(name)
        return (await task.aenqueue(1)).id

    async def both():
        return await asyncio.gather(*(asyncio.create_task(send(name)) for name in ("ann", "bob")))

    ids = asyncio.run(both())
    assert [app.backend.get("default", job_id).headers["user"] for job_id in ids] == ["ann", "bob"]


@pytest.mark.parametrize("way", ["enqueue_many", "aenqueue_many"])
def test_the_number_of_messages_may_not_change(app, task, way):
    @app.middleware.send
    def fewer(sending):
        sending.messages = []
        yield

    with pytest.raises(UsageError, match=r"made 0 messages of 1 to queue 'default'.*not their number"):
        WAYS[way](app, task)
    assert app.queue("default").depth() == 0


def test_a_message_that_no_store_can_take_is_refused(app, task):
    import msgspec

    @app.middleware.send
    def urgent(sending):
        sending.messages = [msgspec.structs.replace(message, priority=1000) for message in sending.messages]
        yield

    with pytest.raises(UsageError, match="priority must be a whole number"):
        task.enqueue(1)


def test_an_error_before_the_yield_sends_nothing(app, task):
    @app.middleware.send
    def closed(sending):
        raise QueueFull("closed on Sundays")
        yield

    with pytest.raises(QueueFull, match="Sundays"):
        task.enqueue(1)
    assert app.queue("default").depth() == 0


@pytest.mark.parametrize("way", ["enqueue", "aenqueue"])
def test_an_error_of_the_store_is_raised_at_the_yield_and_cannot_be_lost(app, task, way):
    seen = []

    @app.middleware.send
    def lenient(sending):
        try:
            yield
        except Exception as error:
            seen.append(error)

    app.close()
    with pytest.raises(Exception, match="closed"):
        WAYS[way](app, task)
    assert len(seen) == 1


def test_a_middleware_that_keeps_the_messages_elsewhere_gives_receipts_for_them(app, task):
    from holdfast.message import Level, Stored

    spool = []

    @app.middleware.send
    def spooled(sending):
        try:
            yield
        except Exception:
            spool.extend(sending.messages)
            sending.stored = [Stored(sending.queue, message.id, Level.MEMORY) for message in sending.messages]

    app.close()

    assert task.enqueue(1).id == spool[0].id


def test_receipts_cannot_get_lost(app, task):
    @app.middleware.send
    def loser(sending):
        yield
        sending.stored = []

    with pytest.raises(UsageError, match="0 receipts"):
        task.enqueue(1)


# -- what is stored later ----------------------------------------------------------------------------------------


@pytest.fixture
def sendings(app):
    seen = []

    @app.middleware.send
    def trace(sending):
        job = current_job()
        sending.add_headers({"trace": "root" if job is None else job.headers["trace"]})
        yield
        seen.append((sending.queue, len(sending.messages), sending.later, len(sending.stored)))

    return seen


def headers_by_kind(app, queue="default"):
    return {job.kind: dict(job.headers) for job in app.queue(queue).jobs()}


@pytest.mark.parametrize("is_async", [False, True])
def test_what_follows_a_run_is_surrounded_where_it_is_handed_over(app, work, sendings, is_async):
    @app.task(name="child")
    def child() -> None: ...

    if is_async:

        @app.task(name="parent")
        async def parent() -> None:
            current_job().then(child.call(), child.call())
    else:

        @app.task(name="parent")
        def parent() -> None:
            current_job().then(child.call(), child.call())

    parent.using(headers={"trace": "42"}).enqueue()
    work()

    assert headers_by_kind(app) == {"parent": {"trace": "42"}, "child": {"trace": "42"}}
    assert sendings == [("default", 1, False, 1), ("default", 2, True, 0)]


def test_jobs_of_subscribers_are_surrounded(app, work, sendings):
    for name in ("a", "b"):

        @app.on("k", name=name)
        def subscriber(event: int) -> None: ...

    app.publish("k", 1, headers={"user": "ann"})
    work()

    both = {"trace": "root", "user": "ann"}
    assert headers_by_kind(app, "events") == {"k": both, "k/a": both, "k/b": both}
    assert sendings == [("events", 1, False, 1), ("events", 2, True, 0)]


def test_what_follows_an_ack_of_a_raw_delivery_is_surrounded(app, sendings):
    queue = app.queue("raw")
    queue.send(b"first")
    with queue.lease() as deliveries:
        next(iter(deliveries)).ack(then=[b"next", b"last"])

    assert [dict(job.headers) for job in queue.jobs()] == [{"trace": "root"}] * 3
    assert sendings[1:] == [("raw", 2, True, 0)]


def test_an_error_at_the_handing_over_is_the_handlers_and_nothing_follows(app, work):
    @app.middleware.send
    def outer(sending):
        with suppress(ValueError):  # caught, and raised all the same
            yield

    @app.middleware.send
    def refusing(sending):
        if sending.later:
            raise ValueError("no tenant")
        yield

    @app.task(name="child")
    def child() -> None: ...

    @app.task(name="parent", retry=1)
    def parent() -> None:
        current_job().then(child.call())

    job = parent.enqueue()
    work()

    assert outcome(job)[0] is State.DEAD
    assert job.refresh().view.runs[-1].error.message == "no tenant"
    assert list(headers_by_kind(app)) == ["parent"]


def test_a_run_that_has_ended_hands_nothing_over(app, work):
    kept = []

    @app.task(name="child")
    def child() -> None: ...

    @app.task(name="parent")
    def parent() -> None:
        kept.append(current_job())

    parent.enqueue()
    work()

    with pytest.raises(UsageError, match="has ended"):
        kept[0].then(child.call())
