"""Turns the results of all rounds into the table that is read and the JSON document that is kept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine, servers
from benchmarks.killed.contestants import CONTESTANTS, Contestant
from benchmarks.killed.job import SECONDS
from benchmarks.killed.trial import LIMIT, Result

HEADINGS = (
    "library",
    "interrupted",
    "not done",
    "library: unfinished",
    "failed",
    "done twice",
    "interrupted done after",
    "all done after",
)


def text(results: Mapping[Contestant, Sequence[Result]]) -> str:
    """The table in Markdown; several rounds stand beside each other."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(cells(*each) for each in results.items())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cells(contestant: Contestant, results: Sequence[Result]) -> tuple[str, ...]:
    return (
        contestant.name,
        counts([each.interrupted for each in results]),
        counts([each.not_done for each in results]),
        counts([each.unfinished for each in results]),
        counts([each.failed for each in results]),
        counts([each.twice for each in results]),
        seconds([each.interrupted_done for each in results]),
        seconds([each.all_done for each in results]),
    )


def counts(values: Sequence[int | None]) -> str:
    return ", ".join("–" if value is None else str(value) for value in values)


def seconds(values: Sequence[float | None]) -> str:
    return ", ".join("never" if value is None else f"{value:.1f} s" for value in values)


def document(
    results: Mapping[Contestant, Sequence[Result]], *, commit: Mapping[str, object], scratch: Path
) -> dict[str, dict[str, object]]:
    """What is kept of each contestant, complete in itself, since not all need to be measured at once."""
    shared = {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        **commit,
        "machine": machine.describe(scratch),
        "job_seconds": SECONDS,
        "watched_seconds": LIMIT,
    }
    return {
        contestant.name: {
            "version": found[0].version,
            "server": servers.version(contestant.server),
            "settings": found[0].settings,
            "jobs": found[0].jobs,
            **shared,
            "rounds": [rounded(each) for each in found],
        }
        for contestant, found in results.items()
    }


def kept(file: Path, fresh: Mapping[str, dict[str, object]]) -> dict[str, object]:
    """The results in `file`, those of today's contestants alone, with the fresh ones in their places."""
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    everything = before | fresh
    return {each.name: everything[each.name] for each in CONTESTANTS if each.name in everything}


def rounded(each: Result) -> dict[str, object]:
    return {name: value for name, value in asdict(each).items() if name not in {"version", "settings", "jobs"}}
