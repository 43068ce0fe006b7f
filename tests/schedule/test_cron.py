"""When rules tick: by hand around the days on which clocks change, and against an oracle that walks the minutes."""

from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.capabilities import Cron, Every
from holdfast.schedule.cron import cron, every, next_tick, ticks

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def at(text, tz="UTC", fold=0):
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz), fold=fold)
    return round(moment.timestamp() * 1000)


def local(instants, tz="UTC"):
    """The instants as local times with their offsets."""
    zone = ZoneInfo(tz)
    moments = [datetime.fromtimestamp(instant / 1000, zone) for instant in instants]
    return [f"{moment:%m-%d %H:%M%z}" for moment in moments]


def between(expression, tz, after, until):
    rule = cron(expression, tz)
    return local(ticks(rule, at(after, tz), at(until, tz), 10_000), tz)


def forwards(rule, after, until):
    found = []
    while (after := next_tick(rule, after)) is not None and after <= until:
        found.append(after)
    return found


# -- plain days -----------------------------------------------------------------------------------------------


def test_a_rule_ticks_in_its_own_zone():
    assert between("0 9 * * MON-FRI", "Europe/Paris", "2026-01-02T00:00", "2026-01-06T00:00") == [
        "01-02 09:00+0100",
        "01-05 09:00+0100",
    ]


def test_the_next_tick_is_strictly_after():
    rule = cron("0 9 * * *")

    assert next_tick(rule, at("2026-01-01T09:00")) == at("2026-01-02T09:00")
    assert next_tick(rule, at("2026-01-01T09:00") - 1) == at("2026-01-01T09:00")


def test_the_ends_of_a_stretch_are_outside_and_inside():
    rule = cron("0 9 * * *")

    assert ticks(rule, at("2026-01-01T09:00"), at("2026-01-03T09:00"), 9) == [
        at("2026-01-02T09:00"),
        at("2026-01-03T09:00"),
    ]


def test_of_more_ticks_than_asked_for_the_newest_are_returned():
    rule = cron("*/5 * * * *")

    assert local(ticks(rule, at("1990-01-01"), at("2026-01-01T00:11"), 2)) == ["01-01 00:05+0000", "01-01 00:10+0000"]
    assert ticks(rule, at("1990-01-01"), at("2026-01-01"), 0) == []


def test_a_leap_day_is_found_also_across_1900_and_2100():
    rule = cron("0 0 29 2 *")

    assert next_tick(rule, at("1896-03-01")) == at("1904-02-29")
    assert next_tick(rule, at("2025-01-01")) == at("2028-02-29")
    assert next_tick(rule, at("2096-03-01")) == at("2104-02-29")
    assert ticks(rule, at("2090-01-01"), at("2105-01-01"), 9) == [at(f"{y}-02-29") for y in (2092, 2096, 2104)]


def test_the_end_of_the_month_and_its_last_weekday():
    assert between("0 0 L * *", "UTC", "2024-01-01T12:00", "2024-05-01") == [
        "01-31 00:00+0000",
        "02-29 00:00+0000",
        "03-31 00:00+0000",
        "04-30 00:00+0000",
    ]
    assert between("0 0 LW * *", "UTC", "2024-03-01", "2024-04-01") == ["03-29 00:00+0000"]
    assert between("0 0 31 * *", "UTC", "2024-03-01", "2024-06-01") == ["03-31 00:00+0000", "05-31 00:00+0000"]


def test_the_nth_and_the_last_weekday_of_a_month():
    assert between("0 0 * * MON#2", "UTC", "2024-03-01", "2024-04-01") == ["03-11 00:00+0000"]
    assert between("0 0 * * 5L", "UTC", "2024-03-01", "2024-04-01") == ["03-29 00:00+0000"]


def test_a_year_begins_where_the_zone_is():
    rule = cron("@yearly", "Pacific/Kiritimati")

    assert next_tick(rule, at("2025-06-01")) == at("2025-12-31T10:00")


def test_two_day_fields_join_as_in_cron():
    either = between("0 0 1 * MON", "UTC", "2024-03-01", "2024-04-02")
    both = between("0 0 */2 * MON", "UTC", "2024-03-01", "2024-04-02")

    assert [tick[:5] for tick in either] == ["03-04", "03-11", "03-18", "03-25", "04-01"]
    assert [tick[:5] for tick in both] == ["03-11", "03-25", "04-01"]


@pytest.mark.parametrize(
    ("shortcut", "expression"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@Annually", "0 0 1 1 *"),
    ],
)
def test_a_shortcut_stands_for_its_five_fields(shortcut, expression):
    since = at("2026-03-04T05:06")

    assert next_tick(cron(shortcut), since) == next_tick(cron(expression), since)


# -- days on which clocks change ------------------------------------------------------------------------------


def test_a_repeated_time_of_day_ticks_once_at_its_first_occurrence():
    assert between("30 2 * * *", "Europe/Paris", "2026-10-24T12:00", "2026-10-26T12:00") == [
        "10-25 02:30+0200",
        "10-26 02:30+0100",
    ]
    assert next_tick(cron("30 2 * * *", "Europe/Paris"), at("2026-10-25T02:10", "Europe/Paris", fold=1)) == at(
        "2026-10-26T02:30", "Europe/Paris"
    )


def test_a_repeated_hour_of_quarters_ticks_four_times():
    assert between("*/15 2 * * *", "Europe/Paris", "2026-10-25T00:00", "2026-10-25T12:00") == [
        "10-25 02:00+0200",
        "10-25 02:15+0200",
        "10-25 02:30+0200",
        "10-25 02:45+0200",
    ]


def test_a_skipped_time_of_day_ticks_at_the_transition():
    assert between("30 2 * * *", "Europe/Paris", "2026-03-28T12:00", "2026-03-30T12:00") == [
        "03-29 03:00+0200",
        "03-30 02:30+0200",
    ]


def test_many_skipped_times_and_one_at_the_transition_itself_tick_once():
    assert between("*/15 2,3 * * *", "Europe/Paris", "2026-03-29T00:00", "2026-03-29T12:00") == [
        "03-29 03:00+0200",
        "03-29 03:15+0200",
        "03-29 03:30+0200",
        "03-29 03:45+0200",
    ]


def test_a_rhythm_goes_on_through_a_repeated_hour():
    assert between("30 * * * *", "Europe/Paris", "2026-10-25T01:00", "2026-10-25T04:00") == [
        "10-25 01:30+0200",
        "10-25 02:30+0200",
        "10-25 02:30+0100",
        "10-25 03:30+0100",
    ]


@pytest.mark.parametrize("expression", ["*/15 * * * *", "0,15,30,45 0-23 * * *"])
@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_a_rhythm_keeps_its_distance_when_clocks_change(expression, day):
    rule = cron(expression, "Europe/Paris")
    found = ticks(rule, at(f"{day}T00:00", "Europe/Paris"), at(f"{day}T06:00", "Europe/Paris"), 10_000)

    assert {later - earlier for earlier, later in pairwise(found)} == {15 * MINUTE}
    assert found == forwards(rule, at(f"{day}T00:00", "Europe/Paris"), at(f"{day}T06:00", "Europe/Paris"))


def test_a_rhythm_makes_nothing_up_for_a_skipped_hour():
    assert between("30 * * * *", "Europe/Paris", "2026-03-29T01:00", "2026-03-29T04:00") == [
        "03-29 01:30+0100",
        "03-29 03:30+0200",
    ]


def test_a_shift_of_half_an_hour():
    zone = "Australia/Lord_Howe"  # 02:00 becomes 02:30 in October, and 01:30 in April

    assert between("15 2 * * *", zone, "2026-10-03T12:00", "2026-10-05T12:00") == [
        "10-04 02:30+1100",
        "10-05 02:15+1100",
    ]
    assert between("45 1 * * *", zone, "2026-04-04T12:00", "2026-04-06T12:00") == [
        "04-05 01:45+1100",
        "04-06 01:45+1030",
    ]
    assert between("*/20 * * * *", zone, "2026-04-05T01:00", "2026-04-05T02:10") == [
        "04-05 01:20+1100",
        "04-05 01:40+1100",
        "04-05 01:40+1030",
        "04-05 02:00+1030",
    ]


def test_a_midnight_that_is_skipped():
    assert between("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00", "2018-11-05T12:00") == [
        "11-04 01:00-0200",
        "11-05 00:00-0200",
    ]


def test_a_day_that_is_skipped():
    assert between("0 12 * * *", "Pacific/Apia", "2011-12-28T13:00", "2012-01-01T00:00") == [
        "12-29 12:00-1000",
        "12-31 00:00+1400",
        "12-31 12:00+1400",
    ]


def test_a_zone_that_gave_up_summer_time_for_good():
    rule = cron("0 9 * * *", "America/Sao_Paulo")  # the last in 2019

    assert next_tick(rule, at("2018-12-01")) == at("2018-12-01T11:00")
    assert next_tick(rule, at("2019-12-01")) == at("2019-12-01T12:00")


def test_a_zone_whose_summer_time_pauses_for_a_month():
    assert between("0 9 * * *", "Africa/Casablanca", "2024-03-09T10:00", "2024-03-11T10:00") == [
        "03-10 09:00+0000",
        "03-11 09:00+0000",
    ]
    assert between("30 2 * * *", "Africa/Casablanca", "2024-04-13T10:00", "2024-04-14T10:00") == ["04-14 03:00+0100"]


def test_an_offset_that_had_seconds():
    rule = cron("30 0 * * *", "Africa/Monrovia")  # 44 minutes and 30 seconds behind until 7 January 1972

    assert next_tick(rule, at("1972-01-05T12:00")) == at("1972-01-06T01:14:30")
    assert next_tick(rule, at("1972-01-06T12:00")) == at("1972-01-07T00:44:30")  # the transition itself
    assert next_tick(rule, at("1972-01-07T12:00")) == at("1972-01-08T00:30")
    assert len(ticks(rule, at("1972-01-05T12:00"), at("1972-01-08T12:00"), 9)) == 3


# -- intervals ------------------------------------------------------------------------------------------------


def test_an_interval_ticks_on_multiples_since_its_start():
    rule = every(timedelta(minutes=5), start=1_000)

    assert next_tick(rule, 0) == 1_000
    assert next_tick(rule, 1_000) == 301_000
    assert next_tick(rule, 300_999) == 301_000
    assert ticks(rule, 1_000, 901_000, 9) == [301_000, 601_000, 901_000]
    assert ticks(rule, -DAY, 1_000, 9) == [1_000]


def test_an_interval_is_never_walked():
    rule = every(0.001, start=0)

    assert next_tick(rule, 10**13) == 10**13 + 1
    assert ticks(rule, 0, 10**13, 3) == [10**13 - 2, 10**13 - 1, 10**13]


def test_an_interval_of_a_fraction_does_not_drift():
    rule = every(0.1, start=7)

    assert next_tick(rule, 7 + 10**9 * 100) == 7 + 10**9 * 100 + 100


@given(st.integers(1, 10**8), st.integers(-(10**12), 10**13), st.integers(0, 10**10), st.integers(-(10**12), 10**13))
def test_the_ticks_of_an_interval_are_its_multiples(period, start, length, after):
    rule = every(period / 1000, start)
    found = ticks(rule, after, after + length, 5)

    assert all((tick - start) % period == 0 and tick >= start for tick in found)
    assert all(later - earlier == period for earlier, later in pairwise(found))
    if found:
        assert after < found[0]
        assert after + length - period < found[-1] <= after + length
        assert len(found) == 5 or found[0] == next_tick(rule, after)
    else:
        assert next_tick(rule, after) > after + length


# -- any rule, against an oracle ------------------------------------------------------------------------------

CHANGES = [
    ("Europe/Paris", "2026-03-29T01:00"),
    ("Europe/Paris", "2026-10-25T01:00"),
    ("America/New_York", "2026-03-08T07:00"),
    ("America/New_York", "2026-11-01T06:00"),
    ("Australia/Lord_Howe", "2026-10-03T15:30"),
    ("Australia/Lord_Howe", "2026-04-04T15:00"),
    ("America/Sao_Paulo", "2018-02-18T02:00"),
    ("America/Sao_Paulo", "2018-11-04T03:00"),
    ("America/Havana", "2026-11-01T05:00"),
    ("Asia/Beirut", "2026-03-28T22:00"),
    ("Africa/Casablanca", "2024-03-10T02:00"),
    ("Africa/Casablanca", "2024-04-14T02:00"),
    ("Pacific/Apia", "2011-12-30T10:00"),
    ("Pacific/Kwajalein", "1993-08-21T12:00"),
    ("Asia/Pyongyang", "2015-08-14T15:00"),
    ("Asia/Pyongyang", "2018-05-04T15:00"),
    ("Asia/Kathmandu", "1985-12-31T18:30"),
    ("America/Caracas", "2016-05-01T07:00"),
    ("Europe/London", "1971-10-31T02:00"),
    ("UTC", "2024-02-29T00:00"),
]


def listed(low, high):
    """A field as a set of values, and as the text of that set."""
    some = st.sets(st.integers(low, high), min_size=1, max_size=6)
    return st.one_of(
        st.just((set(range(low, high + 1)), "*")),
        some.map(lambda values: (values, ",".join(map(str, sorted(values))))),
        st.tuples(st.integers(low, high), st.integers(low, high)).map(
            lambda ends: (set(range(min(ends), max(ends) + 1)), f"{min(ends)}-{max(ends)}")
        ),
        st.integers(2, high - low).map(lambda step: (set(range(low, high + 1, step)), f"*/{step}")),
    )


rules = st.tuples(listed(0, 59), listed(0, 23), st.one_of(st.just((set(range(7)), "*")), listed(0, 6)))


def oracle(fields, zone, after, until):
    """Walk every minute of the zone. ``after`` and ``until`` are whole minutes, and so are the zone's offsets."""

    minutes, hours, weekdays = fields

    def fits(moment):
        return moment.minute in minutes and moment.hour in hours and (moment.weekday() + 1) % 7 in weekdays

    rhythm, found = len(hours) == 24, []
    before = datetime.fromtimestamp(after / 1000, zone).replace(tzinfo=None)
    for instant in range(after + MINUTE, until + 1, MINUTE):
        moment = datetime.fromtimestamp(instant / 1000, zone)
        here = moment.replace(tzinfo=None, fold=0)
        gap = (here - before) // timedelta(minutes=1)
        skipped = not rhythm and any(fits(before + timedelta(minutes=number)) for number in range(1, gap))
        if skipped or (fits(here) and (rhythm or not moment.fold)):
            found.append(instant)
        before = here
    return found


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(rules, st.sampled_from(CHANGES), st.integers(-2 * 1440, 300), st.integers(1, 2 * 1440))
def test_a_rule_ticks_when_one_who_walks_the_minutes_says(rule, change, offset, length):
    (minutes, minute), (hours, hour), (weekdays, weekday) = rule
    tz, moment = change
    after = at(moment) + offset * MINUTE
    until = after + length * MINUTE
    expected = oracle((minutes, hours, weekdays), ZoneInfo(tz), after, until)
    rule = cron(f"{minute} {hour} * * {weekday}", tz)

    assert forwards(rule, after, until) == expected
    assert ticks(rule, after, until, 10_000) == expected
    assert ticks(rule, after, until, 3) == expected[-3:]
    assert next_tick(rule, after + 1) == next_tick(rule, after) or expected[:1] == [after + 1]


@settings(max_examples=200, deadline=None)
@given(rules, st.sampled_from(CHANGES), st.integers(-10 * DAY, 10 * DAY), st.integers(0, 3 * DAY))
def test_ticks_rise_and_never_meet_one_local_minute_twice(rule, change, offset, length):
    (_, minute), (hours, hour), (_, weekday) = rule
    tz, moment = change
    after = at(moment) + offset
    found = ticks(cron(f"{minute} {hour} * * {weekday}", tz), after, after + length, 10_000)
    seen = [datetime.fromtimestamp(tick / 1000, ZoneInfo(tz)) for tick in found]
    places = [(time.replace(tzinfo=None, fold=0), time.fold if len(hours) == 24 else 0) for time in seen]

    assert all(earlier < later for earlier, later in pairwise(found))
    assert len(set(places)) == len(places)
    assert all(after < tick <= after + length for tick in found)
    first = next_tick(cron(f"{minute} {hour} * * {weekday}", tz), after)
    assert found[:1] == ([first] if first <= after + length else [])


@pytest.mark.parametrize("expression", ["* * * * *", "* * * 1 *", "0 0 29 2 MON", "59 23 31 12 *"])
def test_years_of_missed_ticks_are_not_walked(expression):
    found = ticks(cron(expression, "Europe/Paris"), at("1971-01-01"), at("2026-06-01"), 3)

    assert len(found) == 3


def test_the_ends_of_time_are_no_error():
    rule = cron("0 0 * * *", "Europe/Paris")

    assert next_tick(rule, -(10**18)) is not None
    assert next_tick(rule, 10**18) is not None
    assert ticks(rule, -(10**18), 10**18, 1) != []


def test_a_rule_is_a_value():
    assert cron(" 0  9 * *   MON-FRI ", "Europe/Paris") == Cron("0 9 * * MON-FRI", "Europe/Paris")
    assert every(timedelta(minutes=5), 7) == Every(300.0, 7)
