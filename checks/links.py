"""Checks the pages: every relative link leads to a file, and to a heading where it names one; README stays short."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

README_LINES = 150
ROOT_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")

_FENCE = re.compile(r"^\s*(```|~~~)")
_CODE = re.compile(r"`[^`]*`")
_INLINE = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_REFERENCE = re.compile(r"^\s*\[[^\]]+\]:\s+<?([^\s>]+)>?")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
_ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


class Finding(NamedTuple):
    """One thing to mend in a page."""

    line: int
    text: str


def findings(page: Path) -> list[Finding]:
    """Return every broken link of one page, in the order of lines."""
    found = []
    for number, line in _prose(page.read_text(encoding="utf-8")):
        plain = _CODE.sub("", line)
        for target in [*_INLINE.findall(plain), *_REFERENCE.findall(plain)]:
            if not _SCHEME.match(target) and (problem := _problem(page, target)):
                found.append(Finding(number, problem))
    return found


def _problem(page: Path, target: str) -> str | None:
    name, _, anchor = target.partition("#")
    if name.startswith("/"):
        return f"{target} is absolute: write it relative to this page"
    there = page.parent / name if name else page
    if not there.exists():
        return f"{target} leads nowhere: {name} does not exist"
    if anchor and there.suffix == ".md" and anchor not in anchors(there.read_text(encoding="utf-8")):
        return f"{target} leads nowhere: no heading of that page makes #{anchor}"
    return None


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as Git hosts make them: a second heading of one name gets ``-1``."""
    made: set[str] = set()
    seen: dict[str, int] = {}
    for _, line in _prose(text):
        made.update(_ANCHOR.findall(line))
        if not (heading := _HEADING.match(line)):
            continue
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        made.add(f"{slug}-{count}" if count else slug)
    return made


def _prose(text: str) -> Iterator[tuple[int, str]]:
    """Return the numbered lines outside code fences."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1] == fence:
            fence = ""
        elif not fence:
            yield number, line


def readme_finding(text: str) -> Finding | None:
    """Return a finding when the README is not under its limit of lines."""
    lines = len(text.splitlines())
    if lines < README_LINES:
        return None
    return Finding(README_LINES, f"the README has {lines} lines, it stays under {README_LINES}: move a part to docs/")


def main(root: Path) -> int:
    """Check every page; the number returned is the exit code."""
    pages = [root / name for name in ROOT_PAGES] + sorted((root / "docs").rglob("*.md"))
    found = [(page, finding) for page in pages for finding in findings(page)]
    readme = root / "README.md"
    if too_long := readme_finding(readme.read_text(encoding="utf-8")):
        found.append((readme, too_long))
    for page, (line, text) in found:
        print(f"{page.relative_to(root)}:{line}: {text}")
    if not found:
        print(f"Links: {len(pages)} pages, every relative link leads somewhere.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
