"""One supervised process from its start to its end: what it said, what it was told, and whether it is well."""

from __future__ import annotations

import time

from holdfast.clock import SYSTEM
from holdfast.heartbeat import process_start
from holdfast.worker.children import Child
from holdfast.worker.deaths import died, killed
from holdfast.worker.keeper import Death
from holdfast.worker.memory import memory_of
from holdfast.worker.published import read_published
from holdfast.worker.tether import Begun, Ended, Failed, Ready, Stop, Will, Work

LAST_CALL = 1.9
"""Seconds that a process which was told to stop has beyond its grace; then it is killed."""
TOO_MUCH = 2
"""A process that occupies so many times what it may is killed at once: there may be no time for its grace."""
STALLED_LOOKS = 3
"""Looks in a row at which a process has to be stalled."""


class Life:
    """Begins with a process that waits for the order to work, and ends after ``quota`` jobs. Nothing here blocks."""

    def __init__(self, quota: int | None) -> None:
        self.quota = quota
        self.child = Child(supervised=True, max_jobs=quota)
        self.begun = self.ready = False
        self.last: Ended | Failed | None = None
        self.published = ""
        self.level = 0  # how urgently it was told to stop; 0 not at all
        self.spared = False  # it was killed because it did not end
        self.end: float | None = None  # when (time.monotonic) it is killed if it has not ended
        self._start = process_start(self.child.pid) or 0
        self._began = self._heard = time.monotonic()
        self._stalled = 0
        self._why_killed = ""

    def hear(self) -> None:
        """Take in what it has said by now."""
        for report in self.child.said():
            self._heard = time.monotonic()
            match report:
                case Begun():
                    self.begun = True
                case Ready(published):
                    self.ready, self.published = True, published
                case Ended() | Failed():
                    self.last = report

    def work(self) -> None:
        """Let it work."""
        self.child.order(Work())

    def stop(self, level: int, grace: float) -> None:
        """Let it stop, with grace (1) or without (2); what is not more urgent than before changes nothing."""
        if level > self.level:
            self.level = level
            self.child.order(Stop(level))
            end = time.monotonic() + LAST_CALL + (grace if level == 1 else 0.0)
            self.end = end if self.end is None else min(end, self.end)

    def hurry(self) -> None:
        """Kill it if its time to stop is over. None of its jobs is charged with that."""
        if self.end is not None and time.monotonic() >= self.end:
            self._kill("at the end of its grace", spared=True)

    def condition(self) -> str:
        """Return what its worker is at, as it has published that."""
        seen = read_published(self.published)
        return "starting" if seen is None else seen.condition

    def end_stalled(self, limit: float) -> None:
        """Kill it if its worker has not turned, or it could not begin or end, for so many seconds.

        To be called once a second. It has to be seen several times: when a machine has slept, nobody has turned.
        """
        self._stalled = self._stalled + 1 if self._silent() >= limit else 0
        if self._stalled >= STALLED_LOOKS:
            self._kill("stalled")

    def _silent(self) -> float:
        if (seen := read_published(self.published)) is not None:
            return (SYSTEM.boot() - seen.tick) / 1000
        return 0.0 if self.ready and self.last is None else time.monotonic() - self._heard

    def hold_to(self, max_memory: int, grace: float) -> None:
        """Let it stop if it occupies more memory than that, and kill it at twice as much."""
        occupied = memory_of(self.child.pid)
        if occupied > TOO_MUCH * max_memory:
            self._kill("over --max-memory")
        elif occupied > max_memory:
            self.stop(1, grace)

    def lived(self) -> float:
        """Return for how many seconds it has lived."""
        return time.monotonic() - self._began

    def death(self, code: int, *, out_of_memory: bool) -> Death:
        """Say how it went, once it has ended with this exit code. What it planned itself is charged to no job."""
        reason = killed(self._why_killed) if self._why_killed else died(code, out_of_memory=out_of_memory)
        return Death(
            pid=self.child.pid,
            start=self._start,
            reason="its process ended" if self.last is not None else reason,
            planned=self.last is not None or self.spared or (self.level > 0 and code == 0),
            published=self.published,
            will=Will() if self.last is None else self.last.will,
        )

    def _kill(self, why: str, *, spared: bool = False) -> None:
        if not self._why_killed:
            self._why_killed, self.spared = why, spared
            self.child.kill()
