"""The job state machine: pure, deterministic, shared by every store as reference and judge."""

from holdfast.machine.moves import MOVES, REVIVABLE, Head, Move
from holdfast.machine.orders import ReadyOrder
from holdfast.machine.queue import STEP, Machine

__all__ = ["MOVES", "REVIVABLE", "STEP", "Head", "Machine", "Move", "ReadyOrder"]
