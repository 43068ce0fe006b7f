"""How many jobs a runner should hold: those it runs, and those that will start within about a second."""

from __future__ import annotations

from holdfast.worker.runners.runner import Tally

MOST_AHEAD = 2000
"""So many jobs are leased ahead at the most, however short they are."""
MEMORY = 0.9
"""What one run leaves of the average before it: half is forgotten after seven runs."""


class Pace:
    """Judges, by a moving average of run times, how far ahead of its ``slots`` a runner is to lease.

    ``prefetch`` is the time ahead in seconds; 0 means nothing beyond the slots. Its owner holds a lock.
    """

    def __init__(self, slots: int, prefetch: float) -> None:
        self.slots = slots
        self._prefetch = prefetch
        self._seen = Tally(0, 0.0)
        self._average: float | None = None
        self.taken = 0
        self.held = 0

    def given(self, jobs: int) -> None:
        """Note that the runner was given so many jobs; negative when they were taken back."""
        self.taken += jobs
        self.held += jobs

    def update(self, tally: Tally) -> None:
        """Take in what has ended meanwhile."""
        ended, seconds = tally.ended - self._seen.ended, tally.seconds - self._seen.seconds
        self._seen = tally
        self.held = self.taken - tally.ended
        if ended > 0:
            latest = max(seconds, 0.0) / ended
            weight = 1.0 if self._average is None else 1.0 - MEMORY**ended
            self._average = latest * weight + (self._average or 0.0) * (1.0 - weight)

    def slower(self, seconds: float) -> None:
        """Learn that jobs have waited ``seconds`` for a slot: whatever the average says, runs now take that long."""
        self._average = max(self._average or 0.0, seconds)

    @property
    def ahead(self) -> int:
        """How many jobs will start, beside those that run, within the time ahead."""
        if self._average is None:
            return 0
        return int(min(MOST_AHEAD, self.slots * self._prefetch / max(self._average, 1e-9)))

    @property
    def room(self) -> int:
        """How many jobs to lease now; 0 until enough are missing to be worth a call."""
        ahead = self.ahead
        room = self.slots + ahead - self.held
        return room if room >= max(1, ahead // 2) else 0
