"""Turns the results of all rounds into the table that is read and the JSON document that is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine
from benchmarks.killed import servers
from benchmarks.killed.contestants import Contestant
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


def document(results: Mapping[Contestant, Sequence[Result]], *, jobs: int, scratch: Path) -> dict[str, object]:
    kinds = {contestant.server for contestant in results} - {""}
    return {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        **machine.commit(),
        "machine": machine.describe(scratch),
        "servers": {kind: servers.version(kind) for kind in sorted(kinds)},
        "jobs": jobs,
        "job_seconds": SECONDS,
        "watched_seconds": LIMIT,
        "contestants": {
            contestant.name: {
                "version": found[0].version,
                "settings": found[0].settings,
                "rounds": [rounded(each) for each in found],
            }
            for contestant, found in results.items()
        },
    }


def rounded(each: Result) -> dict[str, object]:
    return {name: value for name, value in asdict(each).items() if name not in {"version", "settings", "jobs"}}
