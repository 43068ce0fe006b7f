"""The pages for those who come from elsewhere leave no feature out, and the table of killed workers nobody."""

import json
import re
from functools import cache

import pytest

from benchmarks.killed.contestants import CONTESTANTS
from tests.docs.pages import ROOT

VERDICTS = {"met", "differs", "planned", "left out"}


@pytest.mark.parametrize(
    ("page", "letter", "features"),
    [
        ("from-gofastr.md", "G", 24),
        ("from-core-queue.md", "C", 14),
        ("from-streamfleet.md", "S", 14),
        ("from-infini.md", "I", 35),
    ],
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


@pytest.mark.parametrize(
    ("page", "letter", "faults"),
    [
        ("from-infini.md", "I", range(1, 31)),
        ("from-gofastr.md", "G", range(9, 12)),
        ("from-streamfleet.md", "S", range(1, 16)),
        ("from-core-queue.md", "C", range(1, 16)),
    ],
)
def test_every_fault_is_answered_by_a_test_that_exists(page: str, letter: str, faults: range) -> None:
    text = (ROOT / "docs/explanation" / page).read_text(encoding="utf-8")
    rows = re.findall(rf"^\| {letter}-W(\d+) \| [^|]+ \| \*\*([a-z ]+)\*\* \| (.*) \|$", text, re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(faults)
    assert {verdict for _, verdict, _ in rows} <= {"not here", "bounded", "planned", "left out"}
    for number, verdict, said in rows:
        named = set(re.findall(r"`(test_\w+)`", said))
        assert named or verdict in {"planned", "left out"}, f"{letter}-W{number} names no test"
        assert named <= _tests(), f"{letter}-W{number}: {sorted(named - _tests())}"


@cache
def _tests() -> set[str]:
    """Return the names of all tests, the cases of the conformance suite among them."""
    files = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "src/holdfast/testing/conformance").rglob("*.py")]
    return {name for file in files for name in re.findall(r"def (test_\w+)\(", file.read_text(encoding="utf-8"))}


def test_everybody_who_takes_part_was_killed_at_least_three_times() -> None:
    kept = json.loads((ROOT / "benchmarks/results/killed.json").read_text(encoding="utf-8"))
    assert list(kept) == [each.name for each in CONTESTANTS]
    assert all(len(each["rounds"]) >= 3 for each in kept.values())
    assert {(each["jobs"], each["watched_seconds"]) for each in kept.values()} == {(1000, 120.0)}
