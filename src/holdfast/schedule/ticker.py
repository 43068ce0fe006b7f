"""Fires schedules, from a thread of its own. Any number of tickers may serve the same schedules; none leads.

A ticker sleeps until the next tick that it knows of. It learns of others by its own look-ups, by changes made in this
process (:meth:`Ticker.wake`), and by what the heartbeat tells of changes made in other processes; it never polls.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from holdfast.capabilities import DueSchedules, Firing, Planned, Schedule, Schedules, Tick, owned, tick_id
from holdfast.clock import SYSTEM, Clock
from holdfast.contract import QueueBackend
from holdfast.delivery import Beat, HolderInfo
from holdfast.errors import BackendError, Closed, UsageError
from holdfast.events import Events, ScheduleFailed, Sent, Ticked
from holdfast.message import Message, Stored
from holdfast.retry import Retry
from holdfast.schedule.planning import plan
from holdfast.schedule.schedule import Declared, register

BATCH = 100
"""How many schedules are looked up, and fired in one transaction, at the most."""
AGAIN = Retry(base=1.0, cap=60.0)
"""When a broken schedule, or a store that is away, is tried again."""
LONGEST = 3600.0

T = TypeVar("T")
Place = tuple[str, str]
Fired = tuple[Schedule, Firing]
HandOver = Callable[[str, Sequence[Message]], Sequence[Message]]


class ScheduleBackend(QueueBackend, Schedules, Protocol):
    """A store of queues that keeps schedules."""


class Ticker:
    """Serves the schedules of ``queues``: manual ones, and of those that code declares the ones ``declared`` here.

    A service of a worker: ``start``, ``stop`` and ``join`` are for its owner. ``tick`` fires in the caller's thread
    and needs no start. What the store cannot do is logged and tried again for ever; a schedule that is broken is
    reported by ``ScheduleFailed``, tried again after pauses that grow, and stops no other. ``hand_over`` may change
    what is sent, as send middleware does.
    """

    def __init__(
        self,
        store: ScheduleBackend,
        queues: Sequence[str],
        declared: Sequence[Declared] = (),
        *,
        events: Events | None = None,
        clock: Clock = SYSTEM,
        hand_over: HandOver = lambda _, messages: messages,
    ) -> None:
        self._store, self._queues, self._hand_over = store, tuple(queues), hand_over
        self._events, self._clock = events or Events(), clock
        self._unregistered = {(queue, one.name): one for one in declared for queue in one.queues if queue in queues}
        self.own = frozenset(owned(*place) for place in self._unregistered)
        """The schedules of code that it fires, as holders list them."""
        self._failing: dict[Place, tuple[int, int]] = {}
        self._seen: DueSchedules | None = None
        self._wakes_at: float | None = None
        self._wake = threading.Event()
        self._pid = os.getpid()
        self._stopping = False
        self._firing = threading.Lock()
        self._thread: threading.Thread | None = None
        clock.on_move(self.wake)

    # -- a service of a worker ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, which registers what code declares first of all."""
        self._thread = threading.Thread(target=self._run, name="holdfast-ticker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end, and return at once."""
        self._stopping = True
        self._wake.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread to end; tell whether it has."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def wake(self) -> None:
        """Look again: schedules of this process have changed, or its clock was moved."""
        if os.getpid() == self._pid:  # in the child of a fork it is the parent's, whose locks may never be let go
            self._wake.set()

    def introduce(self, holder: HolderInfo) -> HolderInfo:
        """Return the worker's holder with the schedules that it declares: they are fired while one lists them."""
        return msgspec.structs.replace(holder, schedules=tuple(sorted(self.own)))

    def heard(self, beat: Beat) -> None:
        """Hear what a heartbeat was told: if something ticks before this ticker would wake, it looks again.

        It does so too when it should have woken by now: its wait does not count while the machine sleeps.
        """
        if beat.next_tick is None:
            return
        now, wakes_at = self._clock.boot(), self._wakes_at
        if wakes_at is None or wakes_at <= now or now + beat.next_tick * 1000 < wakes_at:
            self._wake.set()

    # -- firing ---------------------------------------------------------------------------------------------------

    def tick(self) -> int:
        """Fire all that is due now, in the caller's thread, and return how many jobs that sent.

        Registers what code declares first, if that is still to be done. Raises what the store raises.
        """
        with self._firing:
            self._register()
            sent = 0
            while True:
                broken = len(self._failing)
                planned = self._plan()
                sent += sum(tick.job is not None for tick in self._fire(planned))
                # Else others may have stood behind the broken ones. What ticks faster than the store fires never ends.
                if self._stopping or (not planned and len(self._failing) == broken):
                    return sent

    def next_in(self) -> float | None:
        """Return the seconds until the next tick, 0 for now, None when there is none. Looks into the store."""
        due = self._look()
        if due.schedules:
            return 0.0
        return None if due.next is None else (due.next - due.now) / 1000

    def _look(self) -> DueSchedules:
        # Broken schedules stay due, and must not crowd out the others.
        return self._store.due_schedules(self._queues, self.own, limit=BATCH + len(self._failing))

    def _register(self) -> None:
        """Register what is not registered yet and did not fail a moment ago."""
        for place, declared in list(self._unregistered.items()):
            if self._is_put_off(place):
                continue
            if self._safely(place, partial(register, self._store, place[0], declared)) is not None:
                del self._unregistered[place]

    def _plan(self) -> list[Fired]:
        """Return the schedules that are due and well, with what fires them."""
        due = self._seen = self._look()
        for queue, name, wrong in due.unreadable:
            if not self._is_put_off((queue, name)):
                self._safely((queue, name), partial(_refuse, wrong))
        planned: list[Fired] = []
        for schedule in due.schedules:
            place = (schedule.queue, schedule.name)
            if not self._is_put_off(place) and (
                firing := self._safely(place, partial(self._firing_of, schedule, due.now))
            ):
                planned.append((schedule, firing))
        return planned

    def _firing_of(self, schedule: Schedule, now: int) -> Firing:
        """Return what fires a schedule that is due, its jobs as they were handed over."""
        firing = plan(schedule, now)
        sent = [one for one in firing.ticks if one.send]
        made = [_message(schedule, one) for one in sent]
        given = self._hand_over(schedule.queue, made)
        changed = {
            one.tick: msgspec.structs.replace(one, message=msgspec.structs.replace(after, id=before.id))
            for one, before, after in zip(sent, made, given, strict=True)
            if after is not before
        }
        if not changed:
            return firing
        return msgspec.structs.replace(firing, ticks=tuple(changed.get(one.tick, one) for one in firing.ticks))

    def _fire(self, planned: Sequence[Fired]) -> list[Tick]:
        """Fire them all in one step, or each alone when one of them is at fault; return what was written down."""
        if not planned:
            return []
        try:
            fired = self._store.fire([firing for _, firing in planned])
        except (BackendError, Closed):
            raise
        except Exception:
            fired = [self._fire_alone(schedule, firing) for schedule, firing in planned]
        ticks: list[Tick] = []
        for (schedule, firing), its in zip(planned, fired, strict=True):
            ticks += its or ()
            self._tell(schedule, firing, its or ())
        return ticks

    def _fire_alone(self, schedule: Schedule, firing: Firing) -> list[Tick] | None:
        fired = self._safely((schedule.queue, schedule.name), partial(self._store.fire, [firing]))
        return fired[0] if fired else None

    def _tell(self, schedule: Schedule, firing: Firing, ticks: Sequence[Tick]) -> None:
        queue, planned = schedule.queue, {one.tick: one for one in firing.ticks}
        for tick in ticks:
            self._events.emit(Ticked(queue, schedule.name, tick.tick, tick.outcome.value, tick.job))
            if tick.job is not None and self._events.wants(Sent):
                message = planned[tick.tick].message or _message(schedule, planned[tick.tick])
                self._events.emit(Sent(message, Stored(queue, tick.job, self._store.features.level)))

    # -- what is broken -------------------------------------------------------------------------------------------

    def _is_put_off(self, place: Place) -> bool:
        return place in self._failing and self._clock.boot() < self._failing[place][1]

    def _safely(self, place: Place, act: Callable[[], T]) -> T | None:
        """Return what ``act`` returns; when a schedule is at fault, report it, put it off and return None."""
        try:
            result = act()
        except (BackendError, Closed):
            raise
        except Exception as error:
            failures = self._failing.get(place, (0, 0))[0] + 1
            delay = AGAIN.delay(failures)
            self._failing[place] = failures, self._clock.boot() + int(delay * 1000)
            self._events.emit(ScheduleFailed(*place, error, delay))
            return None
        self._failing.pop(place, None)
        return result

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stopping:
            self._wakes_at = None  # whatever is heard from here on is news
            self._wake.clear()
            try:
                self.tick()
                pause, failures = self._until_next(), 0
            except Closed:
                return
            except Exception as error:
                failures += 1
                pause = AGAIN.delay(failures)
                level = logging.WARNING if failures == 1 else logging.DEBUG
                known = isinstance(error, BackendError)
                self._events.logger.log(
                    level, "schedules cannot be fired: %s", error, exc_info=None if known else error
                )
            self._wakes_at = self._clock.boot() + pause * 1000
            if not self._stopping:
                self._wake.wait(pause)

    def _until_next(self) -> float:
        """Return the seconds until there is something to do, as the last look-up saw it."""
        seen, boot = self._seen, self._clock.boot()
        again = [(at - boot) / 1000 for _, at in self._failing.values()]
        ahead = [] if seen is None or seen.next is None else [(seen.next - seen.now) / 1000]
        return max(0.0, min((*again, *ahead, LONGEST)))


def _message(schedule: Schedule, planned: Planned) -> Message:
    job_id = tick_id(schedule.queue, schedule.name, planned.tick)  # one tick has one job, whoever fires it
    return schedule.definition.template.message(job_id, planned.due)


def _refuse(wrong: str) -> None:
    raise UsageError(f"what is stored of it is damaged: {wrong}; remove it, and add it again")
