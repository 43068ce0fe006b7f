"""The judge finds each fault that is planted, and nothing where there is none."""

import pytest

from tests.disk.history import Acked, Committed, Dropping, Flushed, Found, Offered, Refused, body, judge, told

ONE, TWO, THREE, FOUR = (body("p", number) for number in range(4))
FACTS = [
    Offered((ONE, TWO)),
    Acked(0, (ONE, TWO)),
    Offered((THREE,)),
    Acked(2, (THREE,), synced=False),
    Committed("g", 1, durable=True),
    Committed("g", 2),
    Offered((FOUR,)),
]
LATER = [*FACTS, Acked(4, (FOUR,))]


def found(*messages, first=0, next_=None, **more):
    return Found(list(enumerate(messages, first)), first, first + len(messages) if next_ is None else next_, **more)


def rules(found, facts=FACTS, **options):
    return {finding.rule for finding in judge(told(facts), found, **options)}


@pytest.mark.parametrize(
    "fine",
    [
        pytest.param(found(ONE, TWO), id="what was not synced is gone"),
        pytest.param(found(ONE, TWO, THREE), id="what was not synced is there"),
        pytest.param(found(ONE, TWO, THREE, FOUR), id="what was offered and not acknowledged is there"),
        pytest.param(found(ONE, TWO, groups={"g": 1}), id="a commit that was not synced is gone"),
    ],
)
def test_what_may_be_is_no_finding(fine):
    assert judge(told(FACTS), fine) == []


@pytest.mark.parametrize(
    ("rule", "planted"),
    [
        ("lost", found(ONE)),
        ("lost", found(ONE, TWO, THREE, first=1)),
        ("changed", found(TWO, ONE)),
        ("phantom", found(ONE, TWO, body("q", 0))),
        ("phantom", found(ONE, TWO, THREE[:-1] + b"?")),
        ("twice", found(ONE, TWO, TWO)),
        ("reordered", found(ONE, TWO, FOUR, THREE)),
        ("reordered", Found([(1, TWO), (0, ONE)], 0, 2)),
        ("stuck", found(ONE, TWO, next_=3, stuck=2)),
        ("torn", Found([(0, ONE), (1, TWO), (4, FOUR)], 0, 5)),
        ("ahead", found(ONE, TWO, THREE, next_=2)),
        ("lost", found(TWO, first=1)),
        ("ahead", found(ONE, TWO, groups={"g": 3})),
        ("ahead", found(ONE, TWO, groups={"g": 0})),
        ("false corruption", found(ONE, corrupt=[(1, 2)], next_=2)),
    ],
)
def test_a_planted_fault_is_found(rule, planted):
    assert rule in rules(planted, LATER if rule == "torn" else FACTS)


def test_after_a_flush_all_that_was_acknowledged_must_be_there():
    assert rules(found(ONE, TWO), [*FACTS, Flushed()]) == {"lost"}


def test_after_the_death_of_a_process_all_that_was_acknowledged_must_be_there():
    assert {finding.rule for finding in judge(told(FACTS, power=False), found(ONE, TWO))} == {"lost"}


def test_what_was_refused_must_not_be_there():
    assert rules(found(ONE, TWO, THREE, FOUR), [*FACTS, Refused((FOUR,))]) == {"phantom"}


def test_what_was_being_dropped_may_be_gone():
    facts = [*FACTS, Dropping(1)]

    assert rules(found(TWO, first=1), facts) == set()
    assert rules(found(ONE, TWO), facts) == set()
    assert rules(found(THREE, first=2), facts) == {"lost"}


def test_after_rot_a_range_may_be_refused_but_what_is_returned_must_be_right():
    assert rules(found(ONE, corrupt=[(1, 2)], next_=2), rot=True) == set()
    assert rules(Found([(0, ONE), (1, THREE)], 0, 2), rot=True) == {"changed"}
