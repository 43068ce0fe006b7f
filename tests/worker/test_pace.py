"""How far ahead a runner leases."""

from holdfast.worker.pace import MOST_AHEAD, Pace
from holdfast.worker.runners.runner import Tally


def test_at_first_there_is_room_for_the_slots_alone():
    assert Pace(slots=10, prefetch=1.0).room == 10


def test_what_is_held_takes_room_until_it_has_ended():
    pace = Pace(slots=10, prefetch=0)
    pace.given(4)
    assert pace.room == 6
    pace.update(Tally(3, 1.0))
    assert pace.room == 9


def test_as_many_are_ahead_as_start_within_the_time_ahead():
    pace = Pace(slots=10, prefetch=1.0)
    pace.given(1)
    pace.update(Tally(1, 0.1))  # a tenth of a second each: a hundred a second on ten slots
    assert pace.room == 110


def test_long_jobs_are_not_leased_ahead():
    pace = Pace(slots=10, prefetch=1.0)
    pace.given(1)
    pace.update(Tally(1, 60.0))
    assert pace.room == 10


def test_there_is_a_bound_however_short_the_jobs():
    pace = Pace(slots=10, prefetch=1.0)
    pace.given(1)
    pace.update(Tally(1, 0.0))
    assert pace.room == 10 + MOST_AHEAD


def test_no_call_is_made_for_a_few():
    pace = Pace(slots=1, prefetch=1.0)
    pace.given(101)
    pace.update(Tally(1, 0.01))  # a hundred ahead, a hundred held
    assert pace.room == 0
    pace.update(Tally(60, 0.6))
    assert pace.room == 60


def test_one_long_job_among_short_ones_is_soon_forgotten():
    pace = Pace(slots=1, prefetch=1.0)
    pace.given(200)
    pace.update(Tally(1, 1.0))
    assert pace.ahead == 1
    pace.update(Tally(101, 1.1))
    assert pace.ahead > 500


def test_jobs_that_wait_for_a_slot_make_it_slower():
    pace = Pace(slots=2, prefetch=1.0)
    pace.given(1)
    pace.update(Tally(1, 0.001))
    pace.slower(4.0)
    assert pace.ahead == 0
