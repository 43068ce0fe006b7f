"""The table of killed workers, from the results that are kept: what no run measured is not said."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from checks.docs_text import table

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "killed.json"

_HEAD = ("", "interrupted", "not done", "done twice", "interrupted jobs done after", "all done after")


def killed() -> str:
    """Return what was measured, when and where, and a row for each contestant."""
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    return f"{_said(found)}\n\n{table(_HEAD, [_row(*each) for each in found.items()])}"


def _said(results: Mapping[str, Mapping[str, Any]]) -> str:
    found = list(results.values())
    ours = found[-1]
    commits = dict.fromkeys(f"`{each['commit'][:10]}`" for name, each in results.items() if name.startswith("holdfast"))
    machine, jobs, taken = ours["machine"], ours["jobs"], datetime.fromisoformat(ours["taken"])
    servers, rounds = sorted({each["server"] for each in found} - {""}), min(len(each["rounds"]) for each in found)
    return (
        f"Measured on {taken:%d %B %Y}, ours at commit {' and '.join(commits)}, on {machine['cores']} cores, "
        f"{machine['system']}, Python {machine['python']}, {', '.join(servers)}: at least {rounds} rounds of "
        f"{jobs} jobs of {ours['job_seconds'] * 1000:.0f} ms, each watched for {ours['watched_seconds']:.0f} s "
        "after the kill. Where rounds differ, the least and the most."
    )


def _row(name: str, found: Mapping[str, Any]) -> list[str]:
    def column(figure: str) -> list[Any]:
        return [each[figure] for each in found["rounds"]]

    return [
        f"{name} ({found['version'].partition(' ')[2]})",
        _counts(column("interrupted")),
        _counts(column("not_done")),
        _counts(column("twice")),
        _seconds(column("interrupted_done")),
        _seconds(column("all_done")),
    ]


def _counts(values: Sequence[int]) -> str:
    least, most = min(values), max(values)
    return str(least) if least == most else f"{least}–{most}"


def _seconds(values: Sequence[float | None]) -> str:
    known = [each for each in values if each is not None]
    if not known:
        return "never"
    least, most = f"{min(known):.1f}", f"{max(known):.1f}"
    shown = f"{least} s" if least == most else f"{least}–{most} s"
    return shown if len(known) == len(values) else f"{shown}, or never"
