"""The pages for those who come from elsewhere leave no feature out."""

import re

import pytest

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
