"""What the pages show is what happens."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Run, blocks

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = [page for page in PAGES if any(block.language in ("python", "console") for block in blocks(page))]


@pytest.mark.slow
@pytest.mark.parametrize("page", SHOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_the_page_shows_is_what_happens(page: Path, tmp_path: Path) -> None:
    Run(page, tmp_path).all()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_says_what_it_is(page: Path) -> None:
    known = {"python", "output", "console", "ini", "mermaid", "sql", "toml", "sh", "text", "yaml", ""}
    assert {block.language for block in blocks(page)} <= known


@pytest.mark.parametrize("shelf", ["how-to", "reference", "explanation", "design"])
def test_a_shelf_lists_each_of_its_pages_once(shelf: str) -> None:
    folder = ROOT / "docs" / shelf
    listed = re.findall(
        r"^\| \[[^]]+\]\(([^)/]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(listed) == sorted({page.name for page in folder.glob("*.md")} - {"README.md"})
