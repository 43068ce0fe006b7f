"""What follows the end of a supervised process, decided without any process."""

import pytest

from holdfast.worker.options import Stopped
from holdfast.worker.restarts import End, Pauses, Verdict, after, quota, shares
from holdfast.worker.tether import Ended, Failed

BY_ITSELF = Ended(Stopped(done=5), told=False)
TOLD = Ended(Stopped(done=5), told=True)


@pytest.mark.parametrize(
    ("end", "verdict"),
    [
        (End(last=BY_ITSELF), Verdict.EMPTY),  # drained, or stopped by a command
        (End(last=BY_ITSELF, quota=5), Verdict.REPLACE),  # recycled
        (End(last=BY_ITSELF, quota=6), Verdict.EMPTY),  # drained before
        (End(last=BY_ITSELF, quota=5, left=0), Verdict.EMPTY),  # all its jobs are done
        (End(last=BY_ITSELF, quota=5, left=3), Verdict.REPLACE),
        (End(last=TOLD), Verdict.RETRY),
        (End(last=TOLD, quota=5, left=0), Verdict.EMPTY),  # it had done all its jobs before it ended
        (End(last=None), Verdict.RETRY),
        (End(last=Failed("it broke")), Verdict.RETRY),
    ],
)
def test_what_follows_an_end(end, verdict):
    assert after(end, proven=True) is verdict


@pytest.mark.parametrize("last", [BY_ITSELF, TOLD, None, Failed("it broke")])
def test_nobody_is_replaced_while_all_stop(last):
    assert after(End(last=last, stopping=True), proven=True) is Verdict.EMPTY


@pytest.mark.parametrize("last", [None, Failed("no module")])
def test_a_process_that_cannot_even_start_ends_all_unless_another_could(last):
    assert after(End(last=last), proven=False) is Verdict.FAIL
    assert after(End(last=last), proven=True) is Verdict.RETRY


def test_what_cannot_be_opened_ends_all_and_what_dies_of_its_first_job_does_not():
    assert after(End(last=Failed("no database"), begun=True), proven=False) is Verdict.FAIL
    assert after(End(begun=True), proven=False) is Verdict.RETRY


def test_the_first_restart_is_at_once_and_further_ones_wait_longer_and_longer():
    pauses = Pauses(draw=lambda: 1.0)

    assert [pauses.after(0.2) for _ in range(9)] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_life_that_was_long_enough_counts_as_a_new_beginning():
    pauses = Pauses(draw=lambda: 1.0)
    for _ in range(5):
        pauses.after(0.2)

    assert [pauses.after(10.0), pauses.after(0.2)] == [0, 0.5]


def test_jobs_are_shared_out_and_nobody_is_there_for_none():
    assert shares(10, 4) == [3, 3, 2, 2]
    assert shares(2, 4) == [1, 1]
    assert shares(None, 3) == [None, None, None]


def test_a_process_ends_at_its_share_or_to_be_replaced_whatever_comes_first():
    assert [quota(None, None), quota(7, None), quota(None, 3), quota(7, 3), quota(2, 3)] == [None, 7, 3, 3, 2]
