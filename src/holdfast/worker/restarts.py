"""What follows the end of a supervised process: nothing, another one, or the end of all. Decided without one."""

from __future__ import annotations

import enum
import random
from collections.abc import Callable

import msgspec

from holdfast.retry import Retry
from holdfast.worker.tether import Ended, Failed

PAUSES = Retry(attempts=None, base=0.5, cap=30.0)
"""The waits before a process that keeps ending is started again; full jitter, so that many do not start at once."""
LONG_ENOUGH = 10.0
"""Seconds of life after which an end counts as the first."""


class Verdict(enum.Enum):
    """What becomes of a seat whose process has ended."""

    EMPTY = "nobody takes its place"
    REPLACE = "another one takes its place at once"
    RETRY = "another one takes its place, after a pause if this happens again and again"
    FAIL = "no process can work here: the supervisor ends"


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended: its last word, whether jobs may have run in it, whether all are to stop; its ``quota`` of
    jobs, after which it was to end, and how many its seat has ``left``.
    """

    last: Ended | Failed | None = None
    begun: bool = False
    stopping: bool = False
    quota: int | None = None
    left: int | None = None


def after(end: End, *, proven: bool) -> Verdict:
    """Judge an end. ``proven`` tells that some process of this command has been ready."""
    if end.stopping or end.left == 0:
        return Verdict.EMPTY
    if isinstance(end.last, Ended):
        if end.last.told:
            return Verdict.RETRY  # by a signal to it alone, or for its memory: its work is not over
        used = end.quota is not None and runs(end.last) >= end.quota
        return Verdict.REPLACE if used else Verdict.EMPTY
    return Verdict.RETRY if proven or (end.begun and end.last is None) else Verdict.FAIL


def runs(ended: Ended) -> int:
    """Return how many runs a process counts towards its quota."""
    counts: dict[str, int] = msgspec.structs.asdict(ended.counts)
    return sum(counts.values()) - counts["given_back"]


def shares(jobs: int | None, processes: int) -> list[int | None]:
    """Share out so many jobs among processes; those that would get none are left out."""
    if jobs is None:
        return [None] * processes
    each, more = divmod(jobs, processes)
    return [each + (number < more) for number in range(processes) if each + (number < more)]


def quota(left: int | None, recycle: int | None) -> int | None:
    """Return after how many jobs a process ends: when its seat has none left, or when it is to be replaced."""
    return min((limit for limit in (left, recycle) if limit is not None), default=None)


class Pauses:
    """The waits before one seat is taken again: none the first time, then longer and longer ones."""

    def __init__(self, draw: Callable[[], float] = random.random) -> None:
        self._draw = draw
        self._ends = 0

    def after(self, lived: float) -> float:
        """Return the seconds to wait after a process that has lived so many."""
        self._ends = 1 if lived >= LONG_ENOUGH else self._ends + 1
        return 0.0 if self._ends == 1 else PAUSES.delay(self._ends - 1, draw=self._draw)
