"""What every worker does for the store beside its jobs: no leader is needed, and none is elected.

While nothing happens it costs next to no statements. When another holder falls silent is known from the worker's own
heartbeat, and whose process has gone from this machine's table of processes, which another thread looks through.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.clock import Clock
from holdfast.contract import QueueBackend
from holdfast.delivery import HolderInfo, Tidied
from holdfast.errors import BackendError
from holdfast.events import Dropped, Events, Expired, Rescued, Retired
from holdfast.heartbeat import Heartbeat, gone_holders
from holdfast.worker.deaths import GONE
from holdfast.worker.published import discard, read_published

TIDY_EVERY = 1.0
"""Seconds between two rounds while there is work; a silent holder's jobs are back that long after its ttl."""
TIDY_AT_LEAST = 60.0
"""Seconds between two rounds while there is none."""
RETIRE_EVERY = 2.0
"""Seconds between two looks for processes that have gone, and at least between two questions who holds anything."""
MOST_ROUNDS = 10
"""Rounds after which a worker sees to its jobs again; when they were not enough, the next follow without a pause."""


def tidy(backend: QueueBackend, events: Events) -> Tidied:
    """Do one round of tidying, and tell listeners what came of it."""
    tidied = backend.tidy()
    for event, count in ((Rescued, tidied.rescued), (Expired, tidied.expired), (Dropped, tidied.dead_dropped)):
        if count:
            events.emit(event(count))
    return tidied


def retire_gone(
    backend: QueueBackend,
    events: Events,
    holders: Sequence[HolderInfo],
    reason: str,
    *,
    planned: bool = False,
    given_back: int = 0,
) -> int:
    """End holders whose process has died, and charge it to the jobs that this had published as started, under whichever
    of its ids; to none when it was ``planned``. All that a holder without such news held is charged with an attempt.
    Then what was published is removed, so all holders of one process come together. Return how many jobs came back;
    listeners hear of those too that its will has ``given_back`` before.
    """
    returned = 0
    for holder in holders:
        seen = read_published(holder.published)
        charged = () if planned and holder.published else None if seen is None else seen.started
        jobs = backend.retire(holder.id, reason, charged)
        events.emit(Retired(holder, jobs + given_back, None if charged is None else min(jobs, len(charged)), reason))
        returned, given_back = returned + jobs, 0
    for holder in holders:
        discard(holder.published)
    return returned


def retire_all_gone(backend: QueueBackend, events: Events) -> int:
    """End the holders whose processes have gone from this machine; return how many jobs came back."""
    return retire_gone(backend, events, gone_holders(backend.holders()), GONE)


class Housekeeping:
    """Tidies the store and retires holders whose process has gone, when it is time to. Belongs to one thread."""

    def __init__(self, backend: QueueBackend, heartbeat: Heartbeat, events: Events, clock: Clock) -> None:
        self._backend = backend
        self._heartbeat = heartbeat
        self._events = events
        self._clock = clock
        self._tidied: int | None = None
        self._put_off = self._behind = False
        self._has_news = True
        self._asked = 0
        self._looked = 0
        self._holders: list[HolderInfo] = []

    @property
    def due_in(self) -> float:
        """The seconds until :meth:`run` has something to do though nothing has happened."""
        if self._tidied is None or self._behind:
            return 0.0
        pause = TIDY_EVERY if self._put_off else TIDY_AT_LEAST
        dues = [self._tidied + pause * 1000]
        if self._has_news:
            dues.append(self._looked + RETIRE_EVERY * 1000)
        if (end := self._heartbeat.next_end) is not None:
            dues.append(max(end, self._tidied + TIDY_EVERY * 1000))
        return max(0.0, (min(dues) - self._clock.boot()) / 1000)

    @property
    def knows_of_gone(self) -> bool:
        """Whether :meth:`run` would find that the process of another holder has gone. For any thread; asks no store."""
        return self._passed(self._looked, RETIRE_EVERY) and bool(gone_holders(self._holders))

    def run(self, *, busy: bool = True) -> None:
        """Do what is due; more is when the worker is ``busy``. A store that cannot is asked again in the next round."""
        self._put_off, self._has_news = self._put_off or busy, self._has_news or busy
        try:
            if self._is_time_to_tidy():
                self._tidied, self._put_off = self._clock.boot(), False
                self._heartbeat.catch_up()  # or a machine that slept would take its own jobs for those of the dead
                if not self._looked or self._is_over():
                    self._look_for_the_gone()  # or they count as silent, charged with what had not started
                self._tidy()
            if self._passed(self._looked, RETIRE_EVERY):
                self._look_for_the_gone()
        except BackendError as error:
            self._tidied, self._put_off, self._behind = self._clock.boot(), True, False
            self._events.logger.debug("housekeeping is put off: %s", error)

    def _is_time_to_tidy(self) -> bool:
        if self._tidied is None or self._behind:
            return True
        if not self._passed(self._tidied, TIDY_EVERY):
            return False
        return self._put_off or self._passed(self._tidied, TIDY_AT_LEAST) or self._somebody_fell_silent()

    def _somebody_fell_silent(self) -> bool:
        """Tell whether another holder's time is over, by newer news than that of the last beat."""
        if not self._is_over():
            return False
        self._heartbeat.renew()
        return self._is_over()

    def _is_over(self) -> bool:
        end = self._heartbeat.next_end
        return end is not None and self._clock.boot() >= end

    def _tidy(self) -> None:
        self._behind = all(tidy(self._backend, self._events).more for _ in range(MOST_ROUNDS))
        if self._is_over():
            self._heartbeat.renew()  # to know who is the next

    # -- processes ------------------------------------------------------------------------------------------------

    def _look_for_the_gone(self) -> None:
        """Retire the holders whose process has gone. Known ones are looked for without asking the store."""
        self._looked = self._clock.boot()
        if (
            self._has_news
            or self._is_over()
            or self._passed(self._asked, TIDY_AT_LEAST - RETIRE_EVERY)
            or gone_holders(self._holders)
        ):
            self._ask_for_holders()
            gone = gone_holders(self._holders)
            retire_gone(self._backend, self._events, gone, GONE)
            self._holders = [holder for holder in self._holders if holder not in gone]

    def _ask_for_holders(self) -> None:
        known = {holder.id for holder in self._holders}
        self._holders = self._backend.holders()
        # The first answer is older than the first wait for work, from which on a newcomer is news.
        self._asked, self._has_news = self._looked, not self._asked
        if any(holder.id not in known for holder in self._holders):
            self._heartbeat.renew()  # of a newcomer the last beat knew no end

    def _passed(self, since: int, seconds: float) -> bool:
        return self._clock.boot() - since >= seconds * 1000
