"""Consumers of logs in the kit: what is appended is handled by the next drain."""

import pytest

from holdfast import App, Retry
from holdfast.config import LogSettings
from holdfast.events import Events
from holdfast.logged import LogMessage
from holdfast.testing import harness


@pytest.fixture
def app():
    return App("sqlite:///never.db", events=Events(logger=None))


def test_messages_are_handled_in_order_and_told_apart_by_their_place(app):
    seen = []

    @app.consume("orders", group="billing")
    def bill(message: LogMessage) -> None:
        seen.append((message.partition, message.offset, message.key, message.body, dict(message.headers)))

    with harness(app) as kit:
        orders = app.log("orders", partitions=2)
        orders.append(b"a", key="ada", partition=1, headers={"by": "web"})
        orders.append(b"b", partition=1)
        report = kit.drain()
        lag = orders.group("billing").lag().messages

    assert seen == [(1, 0, "ada", b"a", {"by": "web"}), (1, 1, None, b"b", {})]
    assert (report.done, lag) == (2, 0)


def test_a_failure_is_tried_again_when_its_time_has_come_and_holds_its_key(app):
    seen = []

    @app.consume("orders", group="billing", retry=Retry(attempts=2, base=60))
    def bill(body: bytes) -> None:
        seen.append(body)
        if body == b"bad":
            raise ValueError("never")

    with harness(app) as kit:
        app.log("orders").append_many([(b"bad", "ada"), (b"behind", "ada")])
        assert (kit.drain().retried, seen) == (1, [b"bad"])
        report = kit.advance(60)
        assert seen == [b"bad", b"bad", b"behind"]
        assert (report.buried, report.done) == (1, 1)
        [letter] = kit.dead("orders.billing")
        assert letter.id == "orders/billing/0/0"


def test_what_a_task_appends_is_handled_in_the_same_drain(app):
    seen = []

    @app.task
    def place(order: int) -> None:
        app.log("orders").append(b"%d" % order)

    @app.consume("orders", group="billing")
    def bill(order: int) -> None:
        seen.append(order)

    @app.consume("orders", group="audit")
    def audit(order: int) -> None:
        seen.append(-order)

    with harness(app) as kit:
        app.log("orders").declare(LogSettings())
        place.enqueue(7)
        assert kit.drain().done == 3

    assert sorted(seen) == [-7, 7]


def test_a_log_that_nobody_declared_is_nothing_to_wait_for(app):
    @app.consume("orders", group="billing")
    def bill(order: int) -> None: ...

    with harness(app) as kit:
        assert kit.drain().runs == 0


def test_an_entry_of_a_stream_is_handled_by_every_group_of_consumers():
    app, heard = App("memory:"), []

    @app.consume(stream="orders", group="billing", field="data")
    def bill(amount: int) -> None:
        heard.append(("billing", amount))

    @app.consume(stream="orders", group="shipping")
    def ship(entry: dict[str, str]) -> None:
        heard.append(("shipping", entry))

    with harness(app) as kit:
        entry = kit.add("orders", data="7", by="a program")
        report = kit.drain()
        again = kit.drain()
        (job, _) = kit.jobs()

    assert (report.done, again.done) == (2, 0)
    assert sorted(heard) == [("billing", 7), ("shipping", {"data": "7", "by": "a program"})]
    assert job.id == f"orders/billing/{entry}"


def test_an_entry_of_a_stream_that_cannot_be_decoded_is_a_dead_letter():
    app = App("memory:")

    @app.consume(stream="orders", group="billing", field="data")
    def bill(amount: int) -> None: ...

    with harness(app) as kit:
        kit.add("orders", other="7")
        kit.drain()
        (letter,) = kit.dead()

    assert letter.reason.endswith("the entry has no field 'data', which is to be the message")
