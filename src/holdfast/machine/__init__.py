"""The job state machine: pure, deterministic, shared by every store as reference and judge."""

from holdfast.machine.moves import (
    MOVES,
    REVIVABLE,
    Head,
    Move,
    charged_runs,
    ended_run,
    failed_run,
    lost_run,
    millis,
    revived,
    seen_state,
    settled,
    taken_back,
)
from holdfast.machine.orders import ReadyOrder
from holdfast.machine.queue import STEP, Machine, next_change

__all__ = [
    "MOVES",
    "REVIVABLE",
    "STEP",
    "Head",
    "Machine",
    "Move",
    "ReadyOrder",
    "charged_runs",
    "ended_run",
    "failed_run",
    "lost_run",
    "millis",
    "next_change",
    "revived",
    "seen_state",
    "settled",
    "taken_back",
]
