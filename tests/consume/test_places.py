"""How messages of logs are called where jobs are."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from holdfast.delivery import Receipt
from holdfast.errors import UsageError
from holdfast.worker.consuming.places import LONGEST, Place, id_of, is_of_log, place_of, queue_of, token_of

NAMES = st.text(alphabet="ab./", min_size=1, max_size=8)
LARGEST = 2**63 - 1
YEAR_2100 = 4_102_444_800_000


@given(NAMES, NAMES, st.integers(0, 4095), st.integers(0, LARGEST))
def test_queue_and_id_tell_the_place_whatever_the_names(log, group, partition, offset):
    place = Place(log, group, partition, offset)
    assert place_of(queue_of(log, group), id_of(place)) == place
    assert place_of(queue_of(log, group), id_of(place, offset)) == place


@pytest.mark.parametrize(
    ("queue", "job_id"),
    [
        ("orders.billing", "01a20079d88f03130c65b65e92a1b120"),
        ("orders.billing", "orders/billing/0"),
        ("orders.billing", "orders/billing/0/x"),
        ("orders.billing", "orders/billing/0/1/2/3"),
        ("orders.billing", "orders/other/0/1"),
        ("orders", "orders/billing/0/1"),
        ("orders/billing", "orders/billing/0/1"),
        ("", ""),
    ],
)
def test_an_id_of_any_other_job_has_no_place(queue, job_id):
    assert place_of(queue, job_id) is None


def test_names_whose_ids_would_be_too_long_are_refused():
    most = LONGEST - len(id_of(Place("", "", 4095, LARGEST), LARGEST))
    longest = Place("l" * (most - 1), "g", 4095, LARGEST)

    assert len(queue_of(longest.log, "g")) < len(id_of(longest, LARGEST)) <= LONGEST
    with pytest.raises(UsageError, match="characters together at most"):
        queue_of("l" * most, "g")


def test_tokens_rise_with_every_run_and_are_never_those_of_jobs():
    runs = [token_of(version, grant) for version in range(3) for grant in range(1, 4)]

    assert runs == sorted(set(runs))
    assert all(is_of_log(Receipt("q", "id", run)) for run in runs)
    assert not is_of_log(Receipt("q", "id", 2**32 - 1))
    assert token_of(YEAR_2100, 2**20 - 1) <= LARGEST
