"""`python -m benchmarks log`: measures the lines, prints the table and writes the results as JSON."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks import machine, report
from benchmarks.envs import ROOT, ProgramFailed
from benchmarks.log.targets import LINES, Line
from benchmarks.measure import Measured, Summary, measure, summary

RESULTS = ROOT / "benchmarks" / "results" / "log.json"
HEADINGS = ("", "figure", "", "spread", "target", "", "on the disk")

Say = Callable[[str], None]


def main(arguments: Sequence[str], say: Say) -> int:
    given = parser().parse_args(arguments)
    lines = [line for line in LINES if wanted(line, given.only)]
    programs = list({line.program.name: line.program for line in lines}.values())
    scratch = machine.scratch()
    try:
        measured = measure(programs, rounds=given.rounds, scale=given.scale, scratch=scratch, say=say)
    except ProgramFailed as error:
        say(str(error))
        return 1
    print(text(lines, measured))
    report.write(given.out, document(lines, measured, scratch, given.note))
    say(f"written to {given.out}")
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks log", description=__doc__)
    made.add_argument("--only", nargs="+", default=[], metavar="PROGRAM", help="such as 'log *', SQLite, LMDB")
    made.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    made.add_argument("--scale", type=float, default=1.0, help="of every program's number of messages")
    made.add_argument("--note", default="", help="kept with the results: what else ran on the machine")
    made.add_argument("--out", type=Path, default=RESULTS, help="default %(default)s")
    return made


def wanted(line: Line, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(line.program.name, pattern) for pattern in patterns)


def figure(line: Line, measured: Measured) -> Summary:
    return summary(measured.series[line.program.name].values(line.figure))


def met(line: Line, found: Summary) -> bool | None:
    if line.least is None and line.most is None:
        return None
    return (line.least is None or found.median >= line.least) and (line.most is None or found.median <= line.most)


def text(lines: Sequence[Line], measured: Measured) -> str:
    """The table; figures are medians, the spread is the least and greatest of a round."""
    return "\n\n".join(
        [report.columns([HEADINGS, *(cells(line, measured) for line in lines)]), report.footer(measured)]
    )


def cells(line: Line, measured: Measured) -> tuple[str, ...]:
    found = figure(line, measured)
    bounds = [f"≥ {number(line.least)}"] * (line.least is not None) + [f"≤ {number(line.most)}"] * (
        line.most is not None
    )
    return (
        line.name,
        number(found.median),
        line.unit,
        f"{number(found.low)}–{number(found.high)}",
        " ".join(bounds) or "–",
        report.MET[met(line, found)],
        line.sync,
    )


def number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 100 else f"{value:.3g}"


def document(lines: Sequence[Line], measured: Measured, scratch: Path, note: str) -> dict[str, object]:
    """What is kept: the machine, the versions, and every round of every line."""
    return {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        **machine.commit(),
        "note": note,
        "machine": machine.describe(scratch),
        "raw_per_second": {name: asdict(found) for name, found in measured.raw.items()},
        "programs": {
            name: {
                "version": series.outcomes[-1].version,
                "messages": series.jobs,
                "settings": series.outcomes[-1].settings,
            }
            for name, series in measured.series.items()
        },
        "lines": [
            {
                "name": line.name,
                "program": line.program.name,
                "figure": line.figure,
                "unit": line.unit,
                "sync": line.sync,
                "least": line.least,
                "most": line.most,
                "met": met(line, found),
                **asdict(found),
            }
            for line in lines
            for found in [figure(line, measured)]
        ],
    }
