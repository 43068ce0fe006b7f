"""Messages of a log in their handlers: decoded, in order, retried in place, buried, replayed."""

import asyncio
import threading
from dataclasses import dataclass

import pytest

from holdfast import CONTEXT, App, Bury, Cancel, Context, Depends, Retry, RetryLater, UsageError
from holdfast.capabilities import JobFilter
from holdfast.config import LogSettings
from holdfast.errors import NotSupported
from holdfast.events import BeforeBury, BeforeRetry, Cancelled, Done, Leased, Lost, PartitionStopped, Started
from holdfast.logged import LogMessage
from tests.consume.conftest import AT_ONCE, dead, wait_until


@dataclass
class Order:
    number: int


# -- what a consumer gets ---------------------------------------------------------------------------------------


def test_a_message_is_decoded_by_its_annotation(app, orders, work, heard):
    @app.consume(log="orders", group="billing")
    def bill(order: Order) -> None:
        heard.note(order)

    orders.append(b'{"number": 1}', b'{"number": 2}')
    work()

    assert heard == [Order(1), Order(2)]


def test_bytes_are_the_body_as_it_is(app, orders, work, heard):
    @app.consume(log="orders", group="billing")
    def bill(body: bytes) -> None:
        heard.note(body)

    orders.append(b"\x00 no json")
    work()

    assert heard == [b"\x00 no json"]


def test_a_log_message_has_its_place_key_and_headers(app, orders, work, heard):
    @app.consume(log="orders", group="billing")
    def bill(message: LogMessage) -> None:
        heard.note(message)

    orders.append(b"a", b"b", key="42", headers={"trace": "1"})
    work()

    assert [(one.partition, one.offset, one.body, one.key, one.headers) for one in heard] == [
        (0, 0, b"a", "42", {"trace": "1"}),
        (0, 1, b"b", "42", {"trace": "1"}),
    ]


def test_the_function_stays_a_plain_function(app):
    @app.consume(log="orders", group="billing")
    def bill(order: Order) -> int:
        return order.number

    assert bill(Order(3)) == 3


def test_the_group_is_by_default_called_like_the_function(app, orders, work):
    @app.consume(log="orders")
    def bill(order: Order) -> None: ...

    orders.append(b'{"number": 1}')
    work()

    assert [group.name for group in orders.log.groups()] == ["bill"]


def test_an_async_consumer_is_awaited(app, orders, work, heard):
    @app.consume(log="orders", group="billing")
    async def bill(order: Order) -> None:
        heard.note(order.number)

    orders.append(b'{"number": 1}')
    work()

    assert heard == [1]


def test_a_consumer_has_a_context_dependencies_and_middleware(app, orders, work, heard):
    def shop():
        return "shop"

    @app.middleware.run
    def around(ctx):
        heard.note("around")
        yield

    @app.consume(log="orders", group="billing")
    def bill(order: Order, *, ctx: Context = CONTEXT, place: str = Depends(shop)) -> None:
        heard.note((ctx.queue, ctx.id, ctx.kind, place))

    orders.append(b'{"number": 1}')
    work()

    assert heard == ["around", ("orders.billing", "orders/billing/0/0", "orders.billing", "shop")]


def test_every_message_is_handled_once_and_committed(app, orders, work, heard):
    @app.consume(log="orders", group="billing")
    def bill(body: bytes) -> None:
        heard.note(int(body))

    orders.append(*(b"%d" % number for number in range(500)))
    report = work(concurrency=4)
    again = work()

    orders.wait_for_lag(0)
    assert sorted(heard) == list(range(500))
    assert (report.done, again.done) == (500, 0)


def test_a_new_group_may_begin_at_the_end(app, orders, work, heard):
    @app.consume(log="orders", group="billing", start="latest")
    def bill(body: bytes) -> None:
        heard.note(body)

    orders.append(b"before")
    work()
    orders.append(b"after")
    work()

    assert heard == [b"after"]


def test_new_messages_wake_the_worker(app, orders, worker, heard):
    @app.consume(log="orders", group="billing")
    def bill(body: bytes) -> None:
        heard.note(body)

    worker()
    for number in range(5):
        orders.append(b"%d" % number)
        heard.wait_for(number + 1)


# -- order ------------------------------------------------------------------------------------------------------


def test_messages_of_one_key_run_in_order_and_others_beside_them(app, orders, worker, heard, barrier):
    @app.consume(log="orders", group="billing", retry=AT_ONCE)
    def bill(message: LogMessage, *, ctx: Context = CONTEXT) -> None:
        if message.body == b"slow":
            barrier(None, ctx)
        heard.note((message.key, message.body))

    orders.append(b"slow", b"behind", key="a")
    orders.append(b"other", key="b")
    worker(concurrency=4)
    barrier.wait_for_entries()
    heard.wait_for(1)

    assert heard == [("b", b"other")]

    barrier.let_go()
    heard.wait_for(3)
    assert heard[1:] == [("a", b"slow"), ("a", b"behind")]


def test_many_keys_keep_their_order_under_concurrency(app, orders, work, heard):
    @app.consume(log="orders", group="billing", retry=AT_ONCE)
    def bill(message: LogMessage, *, ctx: Context = CONTEXT) -> None:
        if message.offset % 7 == 0 and ctx.delivery.attempt == 1:
            raise ValueError("once")
        heard.note((message.key, message.offset))

    for number in range(300):
        orders.append(b"", key=f"k{number % 5}")
    work(concurrency=8)

    assert len(heard) == 300
    for key in {key for key, _ in heard}:
        its = [offset for other, offset in heard if other == key]
        assert its == sorted(its)


def test_a_whole_partition_can_be_kept_in_order(app, orders, work, heard):
    @app.consume(log="orders", group="billing", order="partition", retry=AT_ONCE)
    def bill(message: LogMessage, *, ctx: Context = CONTEXT) -> None:
        if message.offset == 3 and ctx.delivery.attempt < 3:
            raise ValueError("not yet")
        heard.note(message.offset)

    orders.append(*[b""] * 20)
    work(concurrency=8)

    assert heard == list(range(20))


def test_without_an_order_a_key_holds_nobody(app, orders, worker, heard, barrier):
    @app.consume(log="orders", group="billing", order="none")
    def bill(message: LogMessage, *, ctx: Context = CONTEXT) -> None:
        if message.offset == 0:
            barrier(None, ctx)
        heard.note(message.offset)

    orders.append(b"", b"", b"", key="a")
    worker(concurrency=4)
    barrier.wait_for_entries()
    heard.wait_for(2)

    assert sorted(heard) == [1, 2]


# -- failures ---------------------------------------------------------------------------------------------------


def test_a_failed_message_is_tried_again_in_its_place(app, orders, work, heard, ear):
    @app.consume(log="orders", group="billing", retry=AT_ONCE)
    def bill(message: LogMessage, *, ctx: Context = CONTEXT) -> None:
        heard.note((message.offset, ctx.delivery.attempt))
        if message.offset == 0 and ctx.delivery.attempt < 3:
            raise ValueError("not yet")

    orders.append(b"", b"", key="a")
    report = work()

    assert heard == [(0, 1), (0, 2), (0, 3), (1, 1)]
    assert (report.done, report.retried) == (2, 2)
    assert len(ear.heard(BeforeRetry)) == 2


def test_a_worker_that_drains_waits_for_a_retry(app, orders, work, heard):
    @app.consume(log="orders", group="billing", retry=Retry(attempts=2, base=0.3, jitter="none"))
    def bill(message: LogMessage, *, ctx: Context = CONTEXT) -> None:
        heard.note(ctx.delivery.attempt)
        if ctx.delivery.attempt == 1:
            raise ValueError("not yet")

    orders.append(b"")
    work()

    assert heard == [1, 2]


def test_what_fails_for_good_is_a_dead_letter_and_the_group_goes_on(app, orders, work, heard, ear):
    @app.consume(log="orders", group="billing", retry=Retry(attempts=2, base=0, jitter="none"))
    def bill(body: bytes) -> None:
        if body == b"bad":
            raise ValueError("no such order")
        heard.note(body)

    orders.append(b"bad", b"good", key="a", headers={"trace": "1"})
    report = work()

    (letter,) = dead(app)
    assert heard == [b"good"]
    assert (letter.id, letter.kind, letter.reason, letter.attempts) == (
        "orders/billing/0/0",
        "orders.billing",
        "ValueError",
        2,
    )
    assert (letter.body, letter.key, letter.headers["trace"]) == (b"bad", "a", "1")
    assert app.job("orders.billing", letter.id).view.runs[-1].error.message == "no such order"
    assert (report.done, report.buried, len(ear.heard(BeforeBury))) == (1, 1, 1)
    orders.wait_for_lag(0)


def test_what_cannot_be_decoded_is_a_dead_letter_with_the_reason(app, orders, work):
    @app.consume(log="orders", group="billing")
    def bill(order: Order) -> None: ...

    orders.append(b'{"number": "one"}')
    work()

    (letter,) = dead(app)
    assert letter.reason.startswith("undecodable:")
    assert "number" in letter.reason


def test_a_replayed_dead_letter_runs_in_the_same_handler_with_its_place(app, orders, work, heard):
    broken = threading.Event()
    broken.set()

    @app.consume(log="orders", group="billing", retry=1)
    def bill(message: LogMessage) -> None:
        if broken.is_set():
            raise ValueError("no")
        heard.note(message)

    orders.append(b"0")
    orders.append(b"1", key="a", headers={"trace": "1"})
    work()
    broken.clear()
    app.queue("orders.billing").replay(JobFilter(reason="ValueError"))
    report = work()

    assert report.done == 2
    assert sorted((one.offset, one.body, one.key, dict(one.headers)) for one in heard) == [
        (0, b"0", None, {}),
        (1, b"1", "a", {"trace": "1"}),
    ]
    assert app.queue("orders.billing").stats().done == 2


@pytest.mark.parametrize("end", ["replayed", "removed"])
def test_what_fails_again_after_a_seek_is_a_dead_letter_again(app, orders, work, heard, end):
    broken = threading.Event()
    broken.set()

    @app.consume(log="orders", group="billing", retry=1)
    def bill(message: LogMessage) -> None:
        if broken.is_set():
            raise ValueError("no")
        heard.note(message.offset)

    orders.append(b"a")
    work()
    if end == "replayed":
        broken.clear()
        app.queue("orders.billing").replay(JobFilter(reason="ValueError"))
        work()
        broken.set()
    else:
        app.backend.remove("orders.billing", ["orders/billing/0/0"])
    orders.seek({0: 0})
    work()
    orders.wait_for_lag(0)

    (letter,) = dead(app)
    assert (letter.body, letter.reason) == (b"a", "ValueError")

    broken.clear()
    before = list(heard)
    app.queue("orders.billing").replay(JobFilter(reason="ValueError"))
    work()
    assert heard == [*before, 0]


def test_a_message_of_a_log_that_was_made_again_has_a_dead_letter_of_its_own(app, orders, work):
    @app.consume(log="orders", group="billing", retry=1)
    def bill(message: LogMessage) -> None:
        raise ValueError("no")

    orders.append(b"old")
    work()
    app.log_backend.destroy("orders")
    app.log_backend.declare("orders", LogSettings())
    orders.append(b"new")
    work()
    orders.wait_for_lag(0)

    assert [letter.body for letter in dead(app)] == [b"old", b"new"]


def test_what_fails_again_after_a_seek_has_one_dead_letter_while_the_first_is_there(app, orders, work):
    @app.consume(log="orders", group="billing", retry=1)
    def bill(message: LogMessage) -> None:
        raise ValueError("no")

    orders.append(b"a")
    work()
    orders.seek({0: 0})
    work()
    orders.wait_for_lag(0)

    assert [letter.id for letter in dead(app)] == ["orders/billing/0/0"]


def test_a_partition_stops_where_that_was_asked_for(app, orders, work, heard, ear):
    @app.consume(log="orders", group="billing", retry=1, dead_letters="stop")
    def bill(body: bytes) -> None:
        if body == b"bad":
            raise ValueError("no")
        heard.note(body)

    orders.append(b"good", b"bad", b"behind", key="a")
    work()

    (stopped,) = ear.heard(PartitionStopped)
    assert (stopped.log, stopped.group, stopped.partition, stopped.offset) == ("orders", "billing", 0, 1)
    assert (heard, dead(app)) == ([b"good"], [])
    orders.wait_for_lag(2)

    orders.seek({0: 2})
    work()
    assert heard == [b"good", b"behind"]


def test_signals_decide_the_fate_of_a_message(app, orders, work, heard, ear):
    @app.consume(log="orders", group="billing")
    def bill(body: bytes, *, ctx: Context = CONTEXT) -> None:
        heard.note((body, ctx.delivery.attempt))
        if body == b"bury":
            raise Bury("spoilt")
        if body == b"cancel":
            raise Cancel("not wanted")
        if body == b"later" and len(heard) < 4:
            raise RetryLater(count=False)

    orders.append(b"bury", b"cancel", b"later", key="a")
    report = work()

    assert [letter.reason for letter in dead(app)] == ["spoilt"]
    assert (report.buried, report.cancelled, report.done) == (1, 1, 1)
    assert heard[2:] == [(b"later", 1), (b"later", 1)]
    assert len(ear.heard(Cancelled)) == 1


def test_a_message_over_its_timeout_is_tried_again(app, orders, work, heard):
    @app.consume(log="orders", group="billing", timeout=0.05, retry=Retry(attempts=2, base=0, jitter="none"))
    async def bill(body: bytes, *, ctx: Context = CONTEXT) -> None:
        heard.note(ctx.delivery.attempt)
        if ctx.delivery.attempt == 1:
            await asyncio.Event().wait()

    orders.append(b"")
    report = work()

    assert (heard, report.retried, report.done) == ([1, 2], 1, 1)


def test_what_follows_a_message_is_stored_with_its_end(app, orders, work, heard):
    @app.task(queue="orders.billing")
    def remind(number: int) -> None:
        heard.note(number)

    @app.consume(log="orders", group="billing")
    def bill(order: Order, *, ctx: Context = CONTEXT) -> None:
        ctx.then(remind.call(order.number))

    orders.append(b'{"number": 7}')
    work()

    assert heard == [7]


def test_a_message_keeps_no_progress_and_takes_no_transaction(app, orders, work, heard):
    @app.consume(log="orders", group="billing", retry=1)
    def bill(order: Order, *, ctx: Context = CONTEXT) -> None:
        for refused in (lambda: ctx.progress(0.5), lambda: ctx.ack_in(object())):
            try:
                refused()
            except NotSupported as error:
                heard.note(str(error))

    orders.append(b'{"number": 7}')
    work()

    assert len(heard) == 2


def test_the_life_of_a_message_is_told(app, orders, work, ear):
    @app.consume(log="orders", group="billing")
    def bill(body: bytes) -> None: ...

    orders.append(b"")
    work()

    told = [event for kind in (Leased, Started, Done) for event in ear.heard(kind)]
    assert [event.job.id for event in told] == ["orders/billing/0/0"] * 3


# -- pauses, gates, places --------------------------------------------------------------------------------------


def test_a_paused_group_is_not_handled_until_it_is_resumed(app, orders, worker, heard):
    @app.consume(log="orders", group="billing")
    def bill(body: bytes) -> None:
        heard.note(body)

    app.queue("orders.billing").pause()
    orders.append(b"a")
    worker()
    wait_until(lambda: orders.lag()[0].member is not None if orders.log.groups() else False)

    assert heard == []

    app.queue("orders.billing").resume()
    heard.wait_for(1)


def test_a_gate_holds_a_consumer_back(app, orders, worker, heard):
    @app.consume(log="orders", group="billing")
    def bill(body: bytes) -> None:
        heard.note(body)

    @app.task
    def other() -> None:
        heard.note("other")

    opened = threading.Event()
    app.gate("orders.billing", opened.is_set)
    orders.append(b"a")
    worker()
    other.enqueue()
    heard.wait_for(1)
    assert heard == ["other"]

    opened.set()
    heard.wait_for(2)


def test_a_seek_makes_what_runs_count_for_nothing(orders, worker, heard, barrier, ear):
    @orders.app.consume(log="orders", group="billing")
    def bill(message: LogMessage, *, ctx: Context = CONTEXT) -> None:
        heard.note(message.offset)
        if message.offset == 2 and len(heard) == 3:
            barrier(None, ctx)

    orders.append(b"", b"", b"", b"", key="a")
    worker()
    barrier.wait_for_entries()
    orders.seek({0: 1})
    heard.wait_for(5)
    barrier.let_go()
    ear.wait_for(Lost)
    orders.wait_for_lag(0)

    assert heard == [0, 1, 2, 1, 2, 3]


def test_a_later_run_of_a_message_has_a_higher_token(app, orders, work, heard):
    @app.consume(log="orders", group="billing", retry=AT_ONCE)
    def bill(body: bytes, *, ctx: Context = CONTEXT) -> None:
        heard.note(ctx.token)
        if ctx.delivery.attempt == 1:
            raise ValueError("once")

    orders.append(b"")
    work()
    orders.seek({0: 0})
    work()

    assert heard == sorted(set(heard))
    assert len(heard) == 4


def test_a_log_that_is_made_later_is_read_then(app, worker, heard):
    @app.consume(log="later", group="billing")
    def bill(body: bytes) -> None:
        heard.note(body)

    worker()
    app.log("later").append(b"a")
    heard.wait_for(1)


# -- declaring --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"grop": "billing"}, "unknown option 'grop' (did you mean 'group'?)"),
        ({"order": "random"}, "order is one of key, partition, none"),
        ({"dead_letters": "drop"}, "dead_letters is one of queue, stop"),
        ({"when_gone": "skip"}, "when_gone is one of error, earliest, latest"),
        ({"start": -1}, "start, if it is not 'earliest', 'latest' or a time"),
        ({"group": "g" * 250}, "too long"),
        ({"retry": "often"}, "retry must be"),
    ],
)
def test_an_option_that_does_not_fit_is_named(options, text):
    with pytest.raises(UsageError) as refused:
        App("memory:").consume(log="orders", **options)(lambda order: None)
    assert text in str(refused.value)


def test_a_group_has_one_consumer_in_an_app():
    app = App("memory:")

    @app.consume(log="orders", group="billing")
    def bill(body: bytes) -> None: ...

    with pytest.raises(UsageError, match="a group has one consumer"):

        @app.consume(log="orders", group="billing", name="other")
        def other(body: bytes) -> None: ...


def test_a_consumer_takes_one_argument():
    with pytest.raises(UsageError, match="takes one argument"):

        @App("memory:").consume(log="orders", group="billing")
        def bill(one: bytes, two: bytes) -> None: ...


def test_a_consumer_needs_no_declared_queue_in_a_strict_app(make_app):
    app = make_app(strict_queues=True)

    @app.consume(log="orders", group="billing")
    def bill(body: bytes) -> None: ...

    assert app.queue("orders.billing").name == "orders.billing"


def test_a_worker_drains_though_there_is_no_such_log(app, work):
    @app.consume(log="nowhere", group="billing")
    def bill(body: bytes) -> None: ...

    assert work().done == 0


def test_a_stream_beside_a_store_that_has_none_is_refused_before_the_worker_starts(app):
    @app.consume(stream="orders", group="billing")
    def bill(entry: dict[str, str]) -> None: ...

    with pytest.raises(NotSupported, match=r"'orders\.billing' reads stream 'orders'.* open the App on redis://"):
        app.worker()
