"""What the pages take from the code is as the code has it."""

from pathlib import Path

import pytest

from checks.docs import generated, pages
from tests.docs.pages import ROOT


@pytest.mark.parametrize("page", pages(ROOT), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_generated_parts_of_the_page_are_those_of_the_code(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert generated(text) == text, "write them again: python -m checks.docs --write"


def test_what_is_typed_into_a_generated_part_is_noticed() -> None:
    part = generated("<!-- generated: limits -->\n<!-- end -->\n")
    assert generated(part) == part
    assert generated(part.replace("priority", "importance")) == part
