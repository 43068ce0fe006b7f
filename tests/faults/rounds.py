"""How often a fault is repeated: a few rounds in every run, the full count in ``make long``; and what they took."""

import pytest

FEW = 3


def rounds(many):
    """Return the parameters of a test that repeats a fault: 3 rounds, and ``many`` in the long run."""
    return pytest.mark.parametrize(
        "rounds",
        [pytest.param(FEW, id=f"{FEW} rounds"), pytest.param(many, id=f"{many} rounds", marks=pytest.mark.long)],
    )


def summary(numbers):
    """Return the median and the largest of many seconds."""
    ordered = sorted(numbers)
    return {"median": round(ordered[len(ordered) // 2], 3), "worst": round(ordered[-1], 3)} if ordered else {}
