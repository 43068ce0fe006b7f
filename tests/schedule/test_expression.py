"""What is wrong with a rule is said by field, with what is allowed."""

import sys
import zoneinfo
from datetime import UTC, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.capabilities import Cron
from holdfast.errors import UsageError
from holdfast.schedule.cron import cron, every, next_tick
from holdfast.schedule.expression import find_zone


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("60 * * * *", "minute '60' is not understood; allowed: 0-59"),
        ("* 24 * * *", "hour '24' is not understood; allowed: 0-23"),
        ("* * 0 * *", "day of month '0' is not understood; allowed: 1-31, L"),
        ("* * * JANUARY *", "month 'JANUARY' is not understood; allowed: 1-12 or JAN-DEC"),
        ("* * * * MOON", "day of week 'MOON' is not understood; allowed: 0-7"),
        ("*/0 * * * *", "minute '[*]/0' is not understood"),
        ("*/90 * * * *", "minute '[*]/90' has a step of 90, longer than the field; for longer intervals use every="),
        ("* * ? * MON", "day of month '[?]' has a [?]; for any day write [*]"),
        ("* * * * FRI-MON", "day of week 'FRI-MON' has a range that falls; write two, such as FRI-SAT,SUN-MON"),
        ("30-10 * * * *", "minute '30-10' has a range that falls; write two;"),
        ("0 0 9 * * *", "six fields: seconds are not among them; .* use every="),
        ("0 9 * *", "has 4 fields; it takes five: minute, hour, day of month, month, day of week"),
        ("", "has 0 fields"),
        ("1 2 3 4 5 6 7", "has 7 fields"),
        ("@reboot", "a schedule ticks by the clock"),
        ("@every 5m", "an interval is written every="),
        ("@dayly", "not known .did you mean '@daily'.*; known: @hourly, @daily, @midnight"),
        ("0 0 30 2 *", "never ticks"),
        ("0 0 31 4,6 *", "never ticks"),
        ("0 0 */30 2 MON#5", "never ticks"),
    ],
)
def test_a_wrong_expression_is_refused_with_the_field_and_what_it_allows(text, complaint):
    with pytest.raises(UsageError, match=complaint):
        cron(text)


@given(st.text("0123456789*/,-#LWMONJA? @", max_size=20))
@example("* * L/2 * 5L")
@example("* * * * MON#1,5L")
@example("* * 1-L * *")
@example("²  * * * ²L")
def test_any_text_is_a_rule_or_a_usage_error(text):
    try:
        rule = cron(text)
    except UsageError:
        return
    assert next_tick(rule, 0) is not None


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("Europe/Pariss", "Europe/Paris"),
        ("europe/paris", "Europe/Paris"),
        ("Paris", "Europe/Paris"),
        ("new york", "America/New_York"),
    ],
)
def test_an_unknown_zone_is_refused_with_the_nearest(name, suggestion):
    with pytest.raises(UsageError, match=f"there is no zone '{name}' .did you mean '{suggestion}'"):
        cron("0 9 * * *", name)


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../etc", "Europe", "Nowhere/At/All", "a\0b", "x" * 5000])
def test_what_is_no_zone_is_refused(name):
    with pytest.raises(UsageError, match="there is no zone"):
        cron("0 9 * * *", name)


def test_a_machine_without_zone_data_is_told_which_package_has_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tzdata", None)
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(())
    try:
        with pytest.raises(UsageError, match="no zone data; install the package tzdata"):
            cron("0 9 * * *", "Asia/Tashkent")
        assert find_zone("UTC") is UTC
    finally:
        zoneinfo.reset_tzpath(before)


def test_a_stored_rule_that_this_machine_cannot_read_is_a_usage_error():
    for rule in (Cron("0 0 * * *", "Mars/Olympus"), Cron("0 0 30 2 *"), Cron("what")):
        with pytest.raises(UsageError):
            next_tick(rule, 0)


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf"), timedelta(0), 1e-9, 1e12])
def test_an_interval_must_be_a_length_of_time(interval):
    with pytest.raises(UsageError, match=r"every= must be 0\.001 to"):
        every(interval, 0)


@pytest.mark.parametrize("interval", ["5m", None, True])
def test_an_interval_must_be_a_number_or_a_timedelta(interval):
    with pytest.raises(UsageError, match="every= takes seconds or a timedelta"):
        every(interval, 0)
