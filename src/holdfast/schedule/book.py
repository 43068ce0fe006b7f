"""The schedules of an App: those its code declares, and those its store keeps."""

from __future__ import annotations

import builtins
import weakref
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Protocol, TypeVar, Unpack, cast

import msgspec

from holdfast.capabilities import Definition, Schedule, Schedules, Tick
from holdfast.clock import Clock, moment
from holdfast.errors import NotSupported, UsageError, nearest
from holdfast.events import Events
from holdfast.message import Stored, instant, new_id
from holdfast.schedule.cron import next_tick
from holdfast.schedule.schedule import (
    Declared,
    DeclaredOptions,
    PlacedOptions,
    ScheduleOptions,
    Sendable,
    declared,
    listed_by,
    manners,
    paused,
    redefined,
    register,
    template_of,
    timing_of,
)
from holdfast.schedule.ticker import ScheduleBackend, Ticker
from holdfast.sending import Sender

PAGE = 1000


class Callee(Protocol):
    """A task: what a schedule of code is declared on."""

    @property
    def name(self) -> str: ...
    @property
    def call(self) -> Callable[..., Sendable]: ...


C = TypeVar("C", bound=Callee)


class AppSchedules:
    """The schedules of one App. A schedule is known by its name, in each of its queues on its own; ``queue=None``
    means all of them. Thread-safe. Every method but those that say so goes to the store; ``NotSupported`` when that
    keeps no schedules, ``UsageError`` for a name that is not there.
    """

    def __init__(self, sender: Sender, store: Callable[[], object], events: Events, clock: Callable[[], Clock]) -> None:
        self._sender, self._open, self._events, self._clock = sender, store, events, clock
        self._declared: dict[str, tuple[Callee, Declared]] = {}
        self._tickers: weakref.WeakSet[Ticker] = weakref.WeakSet()

    # -- code -----------------------------------------------------------------------------------------------------

    def declare(self, task: C, options: DeclaredOptions, known: Callable[[str], object]) -> C:
        """Note that code declares a schedule of ``task``; touches no store. ``known`` finds a task by its name now."""
        call = task.call(*options.get("args", ()), **options.get("kwargs", {}))
        schedule = declared(call, options, "code")
        earlier = self._declared.get(schedule.name)
        if earlier is not None and known(earlier[0].name) is earlier[0]:
            raise UsageError(
                f"there is a schedule {schedule.name!r} already; give one of the two a name: @app.schedule(name=…)"
            )
        self._declared[schedule.name] = task, schedule
        return task

    def queues(self) -> builtins.list[str]:
        """Return the queues of what code declares. Touches no store."""
        return [queue for one in self.of_code() for queue in one.queues]

    def register(self) -> builtins.list[Schedule]:
        """Store the schedules that code declares, as workers do when they start; return them as they are stored.

        Repeating it changes nothing. They are fired while a live worker declares them.
        """
        found = [register(self._store, queue, one) for one in self.of_code() for queue in one.queues]
        self._changed()
        return found

    def ticker(self, queues: Sequence[str]) -> Ticker:
        """Return what fires the schedules of these queues, not started. Workers of this App have one each."""
        ticker = Ticker(
            self._store,
            queues,
            self.of_code(),
            events=self._events,
            clock=self._clock(),
            hand_over=self._sender.middleware.hand_over,
        )
        self._tickers.add(ticker)
        return ticker

    def of_code(self) -> builtins.list[Declared]:
        """Return what code declares, as it was told. Touches no store."""
        return [schedule for _, schedule in self._declared.values()]

    # -- looking --------------------------------------------------------------------------------------------------

    def list(self, queue: str | None = None, *, name: str | None = None) -> builtins.list[Schedule]:
        """Return the stored schedules by queue and name, those that nobody fires marked as ``orphaned``."""
        store, after, found = self._store, ("", ""), list[Schedule]()
        while page := store.find_schedules(queue, name, limit=PAGE, after=after):
            found += page
            after = (page[-1].queue, page[-1].name)
        live = frozenset(chain.from_iterable(holder.schedules for holder in store.holders()))
        return listed_by(found, live)

    def get(self, name: str, queue: str | None = None) -> Schedule:
        """Return one schedule; ``UsageError`` when it is in several queues and none is given."""
        found = self._named(name, queue)
        if len(found) > 1:
            queues = ", ".join(repr(one.queue) for one in found)
            raise UsageError(f"schedule {name!r} is in the queues {queues}: say which, with queue=")
        return found[0]

    def next(self, name: str, count: int = 5, *, queue: str | None = None) -> builtins.list[datetime]:
        """Return when it ticks next, as UTC instants; a paused one as if it went on now."""
        schedule = self.get(name, queue)
        tick = schedule.next
        if schedule.paused:
            tick = next_tick(schedule.definition.rule, self._now())
        found: list[int] = []
        while tick is not None and len(found) < count:
            found.append(tick)
            tick = next_tick(schedule.definition.rule, tick)
        return [moment(one) for one in found]

    def ticks(
        self, name: str, *, queue: str | None = None, limit: int = 100, before: datetime | None = None
    ) -> builtins.list[Tick]:
        """Return what became of its ticks, newest first, those before an instant if one is given."""
        schedule = self.get(name, queue)
        earlier = None if before is None else instant(before, "before")
        return self._store.ticks(schedule.queue, schedule.name, limit=limit, before=earlier)

    # -- changing -------------------------------------------------------------------------------------------------

    def add(self, call: Sendable, **options: Unpack[PlacedOptions]) -> builtins.list[Schedule]:
        """Store a schedule of ``task.call(…)``, in each of its queues; workers of those queues fire it from now on.

        Adding it again keeps its next tick while its rule is the same, so a program may do it whenever it starts.
        ``UsageError`` names the option that does not fit, or that code declares a schedule of that name.
        """
        schedule = declared(call, options, "manual")
        for one in self.list(name=schedule.name):
            if one.queue in schedule.queues and one.definition.source == "code":
                raise UsageError(f"schedule {one.name!r} of queue {one.queue!r} is one of code; choose another name")
        saved = [register(self._store, queue, schedule) for queue in schedule.queues]
        self._changed()
        return saved

    def edit(
        self, name: str, *, queue: str | None = None, call: Sendable | None = None, **options: Unpack[ScheduleOptions]
    ) -> builtins.list[Schedule]:
        """Change what is given of a schedule; another rule starts anew from now. Code's own are changed there."""
        told: dict[str, Any] = manners(options)
        if call is not None:
            told["template"] = template_of(call)
        timing = timing_of(options) if options.keys() & {"cron", "tz", "every", "start"} else None

        def edited(schedule: Schedule, now: int) -> Schedule:
            if schedule.definition.source == "code":
                raise UsageError(
                    f"schedule {name!r} is declared in code, which stores it again at every start: edit it there"
                )
            rule = schedule.definition.rule if timing is None else timing.rule_after(schedule.definition.rule, now)
            definition: Definition = msgspec.structs.replace(schedule.definition, rule=rule, **told)
            return redefined(schedule, definition, now)

        return self._change(name, queue, edited)

    def pause(self, name: str, queue: str | None = None) -> builtins.list[Schedule]:
        """Let it tick no more until it is resumed, also across restarts and when code declares it again."""
        return self._change(name, queue, lambda schedule, now: paused(schedule, now, pause=True))

    def resume(self, name: str, queue: str | None = None) -> builtins.list[Schedule]:
        """Let it tick again, from now on: what fell into the pause is not made up for."""
        return self._change(name, queue, lambda schedule, now: paused(schedule, now, pause=False))

    def run(self, name: str, queue: str | None = None) -> builtins.list[Stored]:
        """Send its call now, whatever its rule, pause and overlap say. This is no tick: nothing else changes."""
        return [
            self._sender.send(one.queue, [one.definition.template.message(new_id())])[0]
            for one in self._named(name, queue)
        ]

    def remove(self, name: str, queue: str | None = None) -> builtins.list[Schedule]:
        """Remove it with its ticks; return what was removed. Its jobs stay, and code stores its own at a start.

        One whose record is damaged is removed too, though nothing can be returned of it.
        """
        found = self.list(queue, name=name)
        removed = [one for one in found if self._store.remove_schedule(one.queue, one.name)]
        if not found and not self._remove_unread(name, queue):
            self._named(name, queue)  # which says that there is none
        self._changed()
        return removed

    # -- inside ---------------------------------------------------------------------------------------------------

    @property
    def _store(self) -> ScheduleBackend:
        store = self._open()
        if not isinstance(store, Schedules):
            raise NotSupported(f"{type(store).__name__} keeps no schedules")
        return cast("ScheduleBackend", store)

    def _now(self) -> int:
        return self._store.due_schedules((), limit=0).now

    def _named(self, name: str, queue: str | None) -> builtins.list[Schedule]:
        found = self.list(queue, name=name)
        if not found:
            where = "" if queue is None else f" in queue {queue!r}"
            names = {one.name for one in self._store.find_schedules(queue)}
            raise UsageError(f"no schedule is called {name!r}{where}{nearest(name, names)}")
        return found

    def _remove_unread(self, name: str, queue: str | None) -> bool:
        store = self._store
        places = store.queues() if queue is None else [queue]
        return sum(store.remove_schedule(place, name) for place in places) > 0

    def _change(
        self, name: str, queue: str | None, change: Callable[[Schedule, int], Schedule]
    ) -> builtins.list[Schedule]:
        saved = [self._change_one(one, change) for one in self._named(name, queue)]
        self._changed()
        return [one for one in saved if one is not None]

    def _change_one(self, schedule: Schedule, change: Callable[[Schedule, int], Schedule]) -> Schedule | None:
        """Change one schedule as it is now; None when it has been removed meanwhile."""
        store = self._store
        while True:
            saved = store.save_schedule(change(schedule, self._now()), schedule.version)
            if saved is not None:
                return msgspec.structs.replace(saved, orphaned=schedule.orphaned)
            found = store.find_schedules(schedule.queue, schedule.name)
            if not found:
                return None
            schedule = found[0]

    def _changed(self) -> None:
        for ticker in list(self._tickers):
            ticker.wake()
