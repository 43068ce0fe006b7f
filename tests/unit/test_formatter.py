"""JSON log lines: what is in them, and that nothing keeps one from being written."""

import json
import logging
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from holdfast.formatter import JsonFormatter


class Mute:
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


def record(message="hello", *args, exc_info=None, **extra):
    made = logging.getLogger("shop").makeRecord(
        "shop", logging.WARNING, "file.py", 1, message, args, exc_info, extra=extra
    )
    made.created = datetime(2026, 1, 31, 9, 0, 0, 250_000, UTC).timestamp()
    return made


def written(made):
    line = JsonFormatter().format(made)
    assert "\n" not in line
    return json.loads(line)


def test_a_line_says_when_how_bad_who_and_what():
    assert written(record("sent %d to %s", 3, "mail")) == {
        "time": "2026-01-31T09:00:00.250+00:00",
        "level": "WARNING",
        "logger": "shop",
        "message": "sent 3 to mail",
    }


def test_extra_fields_keep_their_types():
    line = written(record(queue="mail", attempt=2, delay=1.5, last=False, key=None, tags=["a", {"b": 1}]))

    assert (line["queue"], line["attempt"], line["delay"], line["last"]) == ("mail", 2, 1.5, False)
    assert (line["key"], line["tags"]) == (None, ["a", {"b": 1}])


def test_an_error_comes_with_its_traceback():
    try:
        raise ValueError("deep")
    except ValueError:
        line = written(record(exc_info=sys.exc_info()))

    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: deep")


def test_an_extra_field_hides_none_of_the_lines_own():
    line = written(record(level="high", time="noon"))

    assert (line["level"], line["level_"], line["time_"]) == ("WARNING", "high", "noon")


_ENDLESS: list[object] = []
_ENDLESS.append(_ENDLESS)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Decimal("1.50"), "1.50"),
        (Path("/tmp/x"), "/tmp/x"),
        (float("nan"), None),
        (b"\xff", "/w=="),
        ("half \ud800", "half ?"),
        (10**30, 10**30),
        ({(1, 2): "a"}, {"(1, 2)": "a"}),
        (Mute(), "<its text cannot be had: RuntimeError>"),
        ([Mute()], ["<its text cannot be had: RuntimeError>"]),
        (_ENDLESS, "[[...]]"),
        (object, "<class 'object'>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_value_keeps_a_line_from_being_written(value, told):
    assert written(record(odd=value))["odd"] == told


@pytest.mark.parametrize("args", [("one", "too many"), (Mute(),)], ids=["number", "text"])
def test_a_message_whose_arguments_do_not_fit_is_written_all_the_same(args):
    assert written(record("for %s", *args))["message"].startswith("for %s ")


def test_an_error_that_cannot_be_told_is_written_all_the_same():
    class Worst(Exception):
        __str__ = Mute.__str__

    line = written(record(exc_info=(Worst, Worst(), None)))

    assert "Worst" in line["exception"] or "cannot be written" in line["exception"]
