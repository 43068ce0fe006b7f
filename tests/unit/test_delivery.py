"""Deliveries and errors as values: whatever a handler brings about, a store can keep it."""

from datetime import timedelta

import pytest

from holdfast import Bury, Cancel
from holdfast.delivery import Ack, Burial, Delivery, Nack
from holdfast.errors import UsageError
from holdfast.failures import ErrorInfo

UNSTORABLE = "a\ud800b\0c"


@pytest.fixture
def delivery():
    return Delivery("q", "id", 1, 1, b"body")


class Mute(Exception):
    """An error that has no text."""

    def __str__(self):
        raise RuntimeError("no text")


def raised(source, **variables):
    """Return what running this source raises."""
    try:
        exec(source, variables)  # a function whose module is odd is made no other way
    except Exception as error:
        return error


# -- errors ---------------------------------------------------------------------------------------------------


def test_an_error_becomes_text_that_every_store_can_keep():
    kind = type("Odd", (Exception,), {"__module__": UNSTORABLE})

    info = ErrorInfo.of(raised("raise kind(text)", kind=kind, text=UNSTORABLE))

    assert info.type == "a?b?c.Odd"
    assert info.message == "a?b?c"
    assert "a?b?c" in info.traceback
    info.traceback.encode()


def test_an_error_whose_text_cannot_be_had_is_stored_all_the_same():
    assert ErrorInfo.of(Mute()).message == "<its text cannot be had: RuntimeError>"


@pytest.mark.parametrize("name", [None, 42, b"bytes"])
def test_an_error_from_a_module_without_a_text_for_a_name_is_stored_with_its_traceback(name):
    error = raised("1 / 0", __name__=name)

    assert "ZeroDivisionError" in ErrorInfo.of(error).traceback


@pytest.mark.parametrize("signal", [Bury, Cancel])
def test_the_reason_of_a_signal_is_a_text_whatever_it_was_made_from(signal):
    assert signal(ValueError("no such image")).reason == "no such image"


# -- settlements ----------------------------------------------------------------------------------------------


def test_a_delay_may_be_a_timedelta(delivery):
    delivery.nack(timedelta(minutes=5))
    assert delivery.settlement == Nack(delivery.receipt, 300.0)

    delivery.ack(b"x", keep_result=timedelta(hours=1))
    assert delivery.settlement == Ack(delivery.receipt, b"x", 3600.0)


@pytest.mark.parametrize("reason", [ValueError(UNSTORABLE), UNSTORABLE])
def test_the_reason_of_a_burial_is_a_text_that_every_store_can_keep(delivery, reason):
    delivery.bury(reason)

    assert delivery.settlement == Burial(delivery.receipt, "a?b?c")


@pytest.mark.parametrize(
    ("settle", "text"),
    [
        (lambda delivery: delivery.ack("text"), "a result is bytes or None, not str; encode it first"),
        (lambda delivery: delivery.ack(b"", keep_result=float("inf")), "keep_result must be seconds"),
        (lambda delivery: delivery.nack(-5), "delay must be seconds"),
        (lambda delivery: delivery.nack(float("nan")), "delay must be seconds"),
        (lambda delivery: delivery.nack(float("inf")), "delay must be seconds"),
        (lambda delivery: delivery.nack("5"), "delay must be seconds"),
    ],
)
def test_what_no_store_could_settle_is_refused_where_it_is_said(delivery, settle, text):
    with pytest.raises(UsageError, match=text):
        settle(delivery)

    assert delivery.settlement is None
