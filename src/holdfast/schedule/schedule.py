"""Schedules as programs declare them, and how a declaration meets what is stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypedDict, get_args

import msgspec

from holdfast.capabilities import (
    Definition,
    Every,
    Missed,
    Overlap,
    Rule,
    Schedule,
    Schedules,
    Source,
    Template,
    owned,
)
from holdfast.errors import UsageError, nearest
from holdfast.message import Message, Seconds, instant, seconds
from holdfast.schedule.cron import cron, every, next_tick


class ScheduleOptions(TypedDict, total=False):
    """When a schedule ticks, and what a tick does.

    ``cron`` is read in the zone ``tz`` (UTC by default). ``every`` is an interval, counted from ``start`` or else from
    the first registration. ``missed`` says what becomes of ticks that nobody fired in time: ``latest`` (one run for the
    newest), ``all`` (up to 1 000) or ``skip``; ``overlap`` what a tick does while an earlier job has not ended:
    ``skip``, ``allow`` or ``replace``. ``jitter`` spreads the jobs over that time after their tick.
    """

    cron: str
    tz: str
    every: Seconds
    start: datetime
    missed: Missed
    overlap: Overlap
    jitter: Seconds


class PlacedOptions(ScheduleOptions, total=False):
    """``name`` is by default the task's; ``queues`` by default the call's: in each the schedule is one of its own."""

    name: str
    queues: Sequence[str]


class DeclaredOptions(PlacedOptions, total=False):
    """``args`` and ``kwargs`` are the arguments of every call."""

    args: Sequence[Any]
    kwargs: dict[str, Any]


class Sendable(Protocol):
    """A call of a task, as ``task.call(…)`` returns it."""

    @property
    def queue(self) -> str: ...
    @property
    def message(self) -> Message: ...


class Timing(msgspec.Struct, frozen=True):
    """A rule as it was told: without ``start``, an interval counts from its first registration."""

    rule: Rule
    start: bool = True

    def rule_after(self, stored: Rule | None, now: int) -> Rule:
        """Return the rule to store, in place of one that may be there already."""
        if self.start or not isinstance(self.rule, Every):
            return self.rule
        if isinstance(stored, Every) and stored.seconds == self.rule.seconds:
            return stored
        return Every(self.rule.seconds, now)


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as it was told, for each of its queues. The rule in ``definition`` is that of ``timing``."""

    name: str
    queues: tuple[str, ...]
    timing: Timing
    definition: Definition

    def own(self) -> list[str]:
        """Return how holders list it."""
        return [owned(queue, self.name) for queue in self.queues]


def declared(call: Sendable, options: PlacedOptions, source: Source) -> Declared:
    """Return a schedule of ``call``; ``UsageError`` names the option that does not fit."""
    known = DeclaredOptions.__annotations__
    if unknown := min(options.keys() - known.keys(), default=None):
        raise UsageError(f"unknown schedule option {unknown!r}{nearest(unknown, known)}; known: {', '.join(known)}")
    timing, queues = timing_of(options), options.get("queues", (call.queue,))
    if isinstance(queues, str) or not queues or not all(isinstance(queue, str) and queue for queue in queues):
        raise UsageError(f"queues must be several texts, such as queues=[{call.queue!r}], not {queues!r}")
    definition = Definition(rule=timing.rule, template=template_of(call), source=source, **manners(options))
    name = checked_name(options.get("name", call.message.kind))
    return Declared(name=name, queues=tuple(dict.fromkeys(queues)), timing=timing, definition=definition)


def timing_of(options: ScheduleOptions) -> Timing:
    """Return the rule that the options tell."""
    if ("cron" in options) == ("every" in options):
        raise UsageError('a schedule needs cron= or every=, one of the two: cron="0 9 * * MON-FRI" or every=300')
    if "cron" in options:
        if "start" in options:
            raise UsageError("start= belongs to every=; a cron expression says itself when it ticks")
        return Timing(cron(options["cron"], options.get("tz", "UTC")))
    if "tz" in options:
        raise UsageError("tz= belongs to cron=; an interval is the same in every zone")
    start = instant(options["start"], "start") if "start" in options else 0
    return Timing(every(options["every"], start), "start" in options)


def manners(options: ScheduleOptions) -> dict[str, Any]:
    """Return the fields of a definition that say what a tick does, those that were told."""
    told: dict[str, Any] = {}
    for name, choices in (("missed", get_args(Missed)), ("overlap", get_args(Overlap))):
        if name in options:
            choice = told[name] = options[name]  # type: ignore[literal-required] # one of two
            if choice not in choices:
                raise UsageError(
                    f"{name} must be {', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}, not {choice!r}"
                )
    if "jitter" in options:
        told["jitter"] = seconds(options["jitter"], "jitter")
    return told


def template_of(call: Sendable) -> Template:
    """Return what each tick sends."""
    message = call.message
    if message.delay or message.due is not None:
        raise UsageError("the call of a schedule has no delay and no run_at: the schedule says when it runs")
    if message.unique is not None:
        raise UsageError("the call of a schedule is not unique: overlap= says what becomes of jobs that meet")
    return Template(**{name: getattr(message, name) for name in Template.__struct_fields__})


def checked_name(name: str) -> str:
    """Return the name when a schedule can have it; else ``UsageError``."""
    if not isinstance(name, str) or not 1 <= len(name) <= 255 or not name.isprintable():
        raise UsageError(f"a schedule's name must be a printable text of 1 to 255 characters, not {name!r:.80}")
    return name


# -- registering ----------------------------------------------------------------------------------------------


def register(store: Schedules, queue: str, schedule: Declared) -> Schedule:
    """Store a declared schedule in one queue, unless it is stored just so; return it as it is stored.

    Its pause stays, and while its rule is the same its next tick. Another rule starts anew from now. Every change
    fences whoever has read the old one. ``UsageError`` when what is stored under its name cannot be read.
    """
    while True:
        now = store.due_schedules((), limit=0).now
        old = next(iter(store.find_schedules(queue, schedule.name)), None)
        rule = schedule.timing.rule_after(None if old is None else old.definition.rule, now)
        definition = msgspec.structs.replace(schedule.definition, rule=rule)
        if old is not None and old.definition == definition:
            return old
        new = redefined(old or Schedule(queue=queue, name=schedule.name, definition=definition), definition, now)
        saved = store.save_schedule(new, new.version)
        if saved is not None:
            return saved
        if old is None and not store.find_schedules(queue, schedule.name):
            raise UsageError(
                f"schedule {schedule.name!r} of queue {queue!r} is stored already, but cannot be read: it is damaged, "
                f"or of a newer release; remove it first: app.schedules.remove({schedule.name!r}, {queue!r})"
            )


def redefined(schedule: Schedule, definition: Definition, now: int) -> Schedule:
    """Return a schedule with another definition: it goes on from its next tick if the rule is the same."""
    same = schedule.version > 0 and definition.rule == schedule.definition.rule
    following = schedule.next
    if not same:
        following = None if schedule.paused else next_tick(definition.rule, now)
    return msgspec.structs.replace(schedule, definition=definition, next=following)


def paused(schedule: Schedule, now: int, *, pause: bool) -> Schedule:
    """Return a schedule paused or going on. Ticks that fall into a pause are nobody's: it goes on from now."""
    if schedule.paused == pause:
        return schedule
    following = None if pause else next_tick(schedule.definition.rule, now)
    return msgspec.structs.replace(schedule, paused=pause, next=following)


def listed_by(schedules: Iterable[Schedule], live: frozenset[str]) -> list[Schedule]:
    """Return the schedules, those of code marked as orphaned that no live holder lists."""
    return [
        msgspec.structs.replace(one, orphaned=True)
        if one.definition.source == "code" and owned(one.queue, one.name) not in live
        else one
        for one in schedules
    ]
