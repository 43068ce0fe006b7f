"""Which ticks a schedule owes now, and what each is to do: pure functions."""

from __future__ import annotations

from hashlib import sha256

from holdfast.capabilities import Firing, Planned, Schedule
from holdfast.schedule.cron import next_tick, ticks

MOST = 1000
"""Of more ticks that nobody fired in time, only the newest are written down and sent."""
LATE = 60_000
"""A tick that comes later than this many ms counts as missed where a schedule skips those."""


def plan(schedule: Schedule, now: int) -> Firing:
    """Return what fires the schedule, whose next tick has come; ``UsageError`` when its rule cannot be read here."""
    rule, expected = schedule.definition.rule, schedule.next
    assert expected is not None
    due = ticks(rule, expected - 1, now, MOST)
    return Firing(
        queue=schedule.queue,
        name=schedule.name,
        version=schedule.version,
        expected=expected,
        ticks=tuple(Planned(tick, _run_at(schedule, tick), send) for tick, send in _chosen(schedule, due, now)),
        next=next_tick(rule, now),
    )


def _chosen(schedule: Schedule, due: list[int], now: int) -> list[tuple[int, bool]]:
    """Say of each tick whether it sends."""
    missed = schedule.definition.missed
    newest = due[-1] if due else 0
    return [(tick, missed == "all" or (tick == newest and (missed == "latest" or now - tick <= LATE))) for tick in due]


def _run_at(schedule: Schedule, tick: int) -> int:
    """Return when the job of a tick runs: every process draws the same jitter."""
    spread = int(schedule.definition.jitter * 1000)
    drawn = sha256(f"{schedule.queue}\0{schedule.name}\0{tick}".encode()).digest()[:8]
    return tick + int.from_bytes(drawn) * spread // 2**64
