"""Writes the parts of the pages that come from the code: ``python -m checks.docs --write``; without it, checks them.

A generated part stands between ``<!-- generated: name -->`` and ``<!-- end -->``; what is typed in there is lost.
"""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from checks.docs_api import api
from checks.docs_cli import cli
from checks.docs_killed import killed
from checks.docs_metrics import metrics
from checks.docs_settings import (
    consumer_options,
    limits,
    log_settings,
    queue_settings,
    retry_settings,
    send_options,
    subscriber_options,
    task_options,
    worker_options,
)
from checks.docs_tables import capabilities, errors, events, moves, promises, states, url_options

PARTS: Mapping[str, Callable[[], str]] = {
    "api": api,
    "capabilities": capabilities,
    "cli": cli,
    "errors": errors,
    "events": events,
    "killed": killed,
    "limits": limits,
    "metrics": metrics,
    "moves": moves,
    "promises": promises,
    "queue settings": queue_settings,
    "log settings": log_settings,
    "retry settings": retry_settings,
    "send options": send_options,
    "subscriber options": subscriber_options,
    "consumer options": consumer_options,
    "states": states,
    "task options": task_options,
    "url options": url_options,
    "worker options": worker_options,
}

_PART = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def generated(text: str) -> str:
    """Return a page's text with its generated parts as the code has them; ``KeyError`` names an unknown part."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]().strip()}\n\n{found[3]}", text)


def pages(root: Path) -> list[Path]:
    """Return the pages that may have generated parts."""
    return [root / "README.md", root / "benchmarks" / "README.md", *sorted((root / "docs").rglob("*.md"))]


def main(root: Path, *, write: bool) -> int:
    """Check, or write, every page; the number returned is the exit code."""
    stale = [page for page in pages(root) if generated(page.read_text(encoding="utf-8")) != page.read_text("utf-8")]
    for page in stale:
        if write:
            page.write_text(generated(page.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"{page.relative_to(root)}: {'written' if write else 'is stale: python -m checks.docs --write'}")
    return int(bool(stale) and not write)


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent, write="--write" in sys.argv))
