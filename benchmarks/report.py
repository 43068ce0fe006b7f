"""Turns what was measured into the table that is read and the JSON document that is kept."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine
from benchmarks.measure import Measured, Series, Summary, summary
from benchmarks.rows import Limit, Row

HEADINGS = ("row", "ours /s", "peer /s", "ratio", "spread", "target", "")
LIMIT_HEADINGS = ("row", "ours", "", "spread", "at most", "")
MET = {True: "met", False: "missed", None: "–"}


@dataclass(frozen=True, slots=True)
class Line:
    """A row with its figures; `ratio` is our figure over the peer's within each round, `met` None without a target."""

    row: str
    against: str
    ours: Summary | None
    peer: Summary
    ratio: Summary | None
    target: float | None
    met: bool | None


def line(row: Row, measured: Measured) -> Line:
    peer = measured.series[row.peer.program.name].values(row.peer.figure)
    against = f"{row.peer.program.name} {row.peer.figure}"
    if row.ours is None:
        return Line(row.name, against, None, summary(peer), None, row.target, None)
    ours = measured.series[row.ours.program.name].values(row.ours.figure)
    ratio = summary([mine / theirs for mine, theirs in zip(ours, peer, strict=True)])
    met = None if row.target is None else ratio.median >= row.target
    return Line(row.name, against, summary(ours), summary(peer), ratio, row.target, met)


@dataclass(frozen=True, slots=True)
class LimitLine:
    """A limit with its figure; `met` None without one."""

    row: str
    ours: Summary
    unit: str
    most: float | None
    met: bool | None


def limit_line(limit: Limit, measured: Measured) -> LimitLine:
    ours = summary(measured.series[limit.source.program.name].values(limit.source.figure))
    met = None if limit.most is None else ours.median <= limit.most
    return LimitLine(limit.name, ours, limit.unit, limit.most, met)


def text(lines: Sequence[Line], limits: Sequence[LimitLine], measured: Measured) -> str:
    """All that is printed."""
    tables = [table(lines)] * bool(lines) + [limit_table(limits)] * bool(limits)
    return "\n\n".join([*tables, footer(measured)])


def table(lines: Sequence[Line]) -> str:
    """The rows; figures are medians, the spread is the least and greatest ratio of a round."""
    return columns([HEADINGS, *(cells(each) for each in lines)])


def limit_table(lines: Sequence[LimitLine]) -> str:
    """The limits; figures are medians, the spread is the least and greatest of a round."""
    return columns([LIMIT_HEADINGS, *(limit_cells(each) for each in lines)])


def columns(texts: Sequence[Sequence[str]]) -> str:
    """The names to the left, everything else to the right."""
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = ([cell.rjust(width) for cell, width in zip(text, widths, strict=True)] for text in texts)
    return "\n".join("  ".join([name.strip().ljust(widths[0]), *others]).rstrip() for name, *others in lines)


def cells(each: Line) -> tuple[str, ...]:
    return (
        each.row,
        rate(each.ours.median) if each.ours else "–",
        rate(each.peer.median),
        f"{each.ratio.median:.2f}" if each.ratio else "–",
        f"{each.ratio.low:.2f}–{each.ratio.high:.2f}" if each.ratio else "–",
        f"{each.target:g} ×" if each.target is not None else "–",
        MET[each.met],
    )


def limit_cells(each: LimitLine) -> tuple[str, ...]:
    return (
        each.row,
        figure(each.ours.median),
        each.unit,
        f"{figure(each.ours.low)}–{figure(each.ours.high)}",
        f"{each.most:g}" if each.most is not None else "–",
        MET[each.met],
    )


def figure(value: float) -> str:
    return rate(value) if abs(value) >= 100 else f"{value:.2f}"


def rate(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def footer(measured: Measured) -> str:
    """What ran, and the raw figures of the same rounds."""
    programs = [
        f"{name}: {series.outcomes[-1].version} {' '.join(series.variant)}".rstrip()
        for name, series in measured.series.items()
    ]
    raw = [f"{name} {rate(each.median)}/s ({rate(each.low)}–{rate(each.high)})" for name, each in measured.raw.items()]
    return "\n".join([*programs, "raw: " + ", ".join(raw)])


def document(
    lines: Sequence[Line], limits: Sequence[LimitLine], measured: Measured, *, rounds: int, scratch: Path
) -> dict[str, object]:
    return {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        **machine.commit(),
        "machine": machine.describe(scratch),
        "rounds": rounds,
        "raw_per_second": {name: asdict(each) for name, each in measured.raw.items()},
        "programs": {name: program(series) for name, series in measured.series.items()},
        "rows": [asdict(each) for each in lines],
        "limits": [asdict(each) for each in limits],
    }


def program(series: Series) -> dict[str, object]:
    last = series.outcomes[-1]
    return {
        "version": last.version,
        "jobs": series.jobs,
        "variant": series.variant,
        "settings": dict(last.settings),
        "trials": [asdict(trial) for trial in series.trials] if len(series.trials) > 1 else [],
        "figures": {figure: asdict(summary(series.values(figure))) for figure in last.figures},
    }


def write(file: Path, content: dict[str, object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
