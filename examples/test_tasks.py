"""How tasks are tested: delay, retry, schedule and dead letter, in a time that the test moves. Run it with pytest."""

from datetime import timedelta

import pytest

from holdfast import App, Retry

app = App("sqlite:///shop.db")  # the tests never open it
delivered: list[int] = []


@app.task(retry=Retry(attempts=3, base=10))
def deliver(order: int) -> None:
    if order == 13:
        raise ConnectionError("the carrier does not answer")
    delivered.append(order)


@app.schedule(every=timedelta(hours=1))
@app.task
def restock() -> None:
    deliver.using(delay=60).enqueue(100)


@pytest.fixture
def holdfast_app() -> App:
    delivered.clear()
    return app


def test_a_delayed_order_is_delivered_when_it_is_due(holdfast):
    deliver.using(delay=3600, key="customer-7").enqueue(1)
    holdfast.advance(3599)
    assert delivered == []
    holdfast.advance(1)
    assert delivered == [1]


def test_an_order_is_tried_three_times_and_then_dead(holdfast):
    deliver.enqueue(13)
    assert holdfast.drain().retried == 1
    holdfast.advance(10 + 20)
    [letter] = holdfast.dead(deliver)
    assert (letter.reason, len(letter.runs)) == ("ConnectionError", 3)


def test_stock_is_ordered_every_hour(holdfast):
    assert holdfast.advance(timedelta(hours=3)).ticks == 3
    holdfast.assert_enqueued(deliver.using(delay=60), 100)
    assert delivered == [100, 100]
