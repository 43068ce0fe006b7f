"""The pages for those who come from elsewhere leave no feature out, and the table of killed workers nobody."""

import json
import re

import pytest

from benchmarks.killed.contestants import CONTESTANTS
from tests.docs.pages import ROOT

VERDICTS = {"met", "differs", "planned", "left out"}


@pytest.mark.parametrize(
    ("page", "letter", "features"),
    [("from-gofastr.md", "G", 24), ("from-core-queue.md", "C", 14), ("from-streamfleet.md", "S", 14)],
)
def test_every_feature_has_its_row(page: str, letter: str, features: int) -> None:
    text = (ROOT / "docs/explanation" / page).read_text(encoding="utf-8")
    rows = re.findall(rf"^\| ({letter}\d+) \| [^|]+ \| \*\*([a-z ]+)\*\* \|", text, re.MULTILINE)
    assert [name for name, _ in rows] == [f"{letter}{number}" for number in range(1, features + 1)]
    assert {verdict for _, verdict in rows} <= VERDICTS


def test_what_the_tests_of_gofastrs_scheduler_pin_is_answered() -> None:
    text = (ROOT / "docs/explanation/from-gofastr.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| G-T(\d+) \| [^|]+ \| \*\*([a-z ]+)\*\* \|", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(49, 62))
    assert {verdict for _, verdict in rows} <= VERDICTS


def test_everybody_who_takes_part_was_killed_at_least_three_times() -> None:
    kept = json.loads((ROOT / "benchmarks/results/killed.json").read_text(encoding="utf-8"))
    assert list(kept) == [each.name for each in CONTESTANTS]
    assert all(len(each["rounds"]) >= 3 for each in kept.values())
    assert {(each["jobs"], each["watched_seconds"]) for each in kept.values()} == {(1000, 120.0)}
