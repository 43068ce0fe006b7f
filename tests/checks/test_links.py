from pathlib import Path

import pytest

from checks.links import anchors, findings, readme_finding


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "other.md").write_text("# The other page\n\n## Two words\n")
    return tmp_path / "page.md"


def problems(page: Path, text: str) -> list[str]:
    page.write_text(text)
    return [finding.text for finding in findings(page)]


def test_links_to_files_headings_and_other_sites_pass(page: Path) -> None:
    text = "# Here\n[a](other.md) [b](other.md#two-words) [c](#here) [d](https://example.org/x)\n"
    assert problems(page, text) == []


def test_a_link_to_a_missing_file_is_named_with_its_line(page: Path) -> None:
    page.write_text("\n\n[a](gone.md)\n")
    [found] = findings(page)
    assert found.line == 3
    assert "gone.md does not exist" in found.text


def test_a_link_to_a_missing_heading_is_named(page: Path) -> None:
    assert "no heading" in problems(page, "[a](other.md#three-words)\n")[0]


def test_a_reference_definition_is_a_link(page: Path) -> None:
    assert len(problems(page, "see [a]\n\n[a]: gone.md\n")) == 1


def test_an_absolute_link_is_refused(page: Path) -> None:
    assert "is absolute" in problems(page, "[a](/other.md)\n")[0]


def test_links_inside_code_are_not_links(page: Path) -> None:
    assert problems(page, "`[a](gone.md)`\n\n```python\nx = [a](gone)\n```\n") == []


def test_anchors_drop_punctuation_and_number_repeats() -> None:
    assert anchors("# `make test`, *now*!\n## Same\n## Same\n") == {"make-test-now", "same", "same-1"}


def test_a_readme_of_150_lines_is_too_long() -> None:
    assert readme_finding("line\n" * 149) is None
    assert readme_finding("line\n" * 150) is not None
