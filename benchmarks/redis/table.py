"""Turns what was measured into what is printed and the document that is kept."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine, report
from benchmarks.measure import Measured, Series, summary
from benchmarks.redis.contestants import BARE, CALIBRATION, MEMORIES, OURS, PEERS, WORK
from benchmarks.redis.targets import Found

COLUMNS = {
    "one by one": "one_by_one",
    "100 at once": "concurrent",
    "bulk": "bulk",
    "1 process": "processed",
    "2": "processed_by_2",
    "while sent": "both",
    "start p50 ms": "start_p50_ms",
    "p99 ms": "start_p99_ms",
}
MEMORY = {"B waiting": "bytes_waiting", "B done": "bytes_finished", "B after": "bytes_expired"}
TARGETS = ("target", "ours", "other", "", "ratio", "spread", "wanted", "")


def text(found: Sequence[Found], measured: Measured) -> str:
    """All that is printed; the targets last."""
    tables = [libraries(measured), limits(measured), report.footer(measured), targets(found)]
    return "\n\n".join(table for table in tables if table)


def libraries(measured: Measured) -> str:
    """Jobs per second, milliseconds and bytes of each library: medians."""
    rows = []
    for program, memory in zip((OURS, *PEERS), MEMORIES, strict=True):
        if {program.name, memory.name} & set(measured.series):
            speed = [median(measured.series.get(program.name), figure) for figure in COLUMNS.values()]
            sizes = [median(measured.series.get(memory.name), figure) for figure in MEMORY.values()]
            rows.append((program.name, *speed, *sizes))
    return report.columns([("jobs /s", *COLUMNS, *MEMORY), *rows]) if rows else ""


def limits(measured: Measured) -> str:
    """What the store's scripts, the server and Python can do at best."""
    rows = [
        (f"{program.name}: {figure}", median(measured.series[program.name], figure))
        for program in (WORK, BARE, CALIBRATION)
        if program.name in measured.series and measured.series[program.name].outcomes
        for figure in measured.series[program.name].outcomes[-1].figures
    ]
    return report.columns([("raw", "/s"), *rows]) if rows else ""


def targets(found: Sequence[Found]) -> str:
    return report.columns([TARGETS, *map(cells, found)]) if found else ""


def cells(each: Found) -> tuple[str, ...]:
    target, ratio = each.target, each.ratio
    wanted = f"≤ {target.most:g}" if target.least is None else f"≥ {target.least:g}"
    return (
        target.name,
        report.figure(each.ours.median),
        report.figure(each.other.median) if each.other else "",
        each.against,
        f"{ratio.median:.2f}",
        f"{ratio.low:.2f}–{ratio.high:.2f}",
        f"{wanted} {target.unit}",
        report.MET[each.met],
    )


def median(series: Series | None, figure: str) -> str:
    if series is None or not series.outcomes or figure not in series.outcomes[0].figures:
        return "–"
    return report.figure(summary(series.values(figure)).median)


def document(
    found: Sequence[Found], measured: Measured, *, server: str, rounds: int, scratch: Path, note: str
) -> dict[str, object]:
    """What is kept: machine, versions, settings, every round of every figure, and the targets."""
    return {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        **machine.commit(),
        "note": note,
        "machine": machine.describe(scratch),
        "server": server,
        "rounds": rounds,
        "raw_per_second": {name: asdict(each) for name, each in measured.raw.items()},
        "programs": {name: program(series) for name, series in measured.series.items()},
        "targets": [target(each) for each in found],
    }


def program(series: Series) -> dict[str, object]:
    return report.program(series) if series.outcomes else {"failed": series.failed}


def target(each: Found) -> dict[str, object]:
    return {
        "name": each.target.name,
        "least": each.target.least,
        "most": each.target.most,
        "unit": each.target.unit,
        "met": each.met,
        "against": each.against,
        "ours": asdict(each.ours),
        "other": asdict(each.other) if each.other else None,
        "ratio": asdict(each.ratio),
    }
