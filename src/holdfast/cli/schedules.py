"""``holdfast schedules``: the rules that send jobs at times, what became of their ticks, and when they tick next."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
import msgspec

from holdfast.capabilities import Cron, Rule, Schedule, Tick
from holdfast.cli.choosing import queue_names
from holdfast.cli.groups import NounGroup
from holdfast.cli.options import json_option, opened, store_options, yes_option
from holdfast.cli.output import Output, Table, count, iso, length
from holdfast.clock import SYSTEM
from holdfast.contract import QueueBackend
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.schedule.book import AppSchedules

F = TypeVar("F", bound=Callable[..., Any])


def on_schedules(command: F) -> F:
    """Give a command ``--url``, ``--app``, ``--json``, ``--queue``; its function ``book``, ``queue`` and ``out``."""

    @functools.wraps(command)
    def run(*args: Any, url: str | None, app: str | None, queue: str | None, **given: Any) -> Any:
        with opened(url, app) as (store, found):
            if queue is not None:
                queue_names(store, [queue])
            return command(*args, book=_book(store) if found is None else found.schedules, queue=queue, **given)

    run = click.option("--queue", "-q", help="Those in this queue.")(store_options(json_option(run)))
    return cast("F", run)


def _book(store: QueueBackend) -> AppSchedules:
    from holdfast.events import Events
    from holdfast.schedule.book import AppSchedules
    from holdfast.sending import Sender

    events = Events()
    return AppSchedules(Sender(lambda: store, events), lambda: store, events, lambda: SYSTEM)


name_argument = click.argument("name", metavar="NAME")
names_argument = click.argument("names", nargs=-1, metavar="NAME...", required=True)


@click.group(cls=NounGroup)
def schedules() -> None:
    """List, show, pause, resume, run and remove schedules."""


# -- looking --------------------------------------------------------------------------------------------------


@schedules.command("list")
@on_schedules
def list_schedules(book: AppSchedules, out: Output, queue: str | None) -> None:
    """List the schedules, with their next tick and what became of the last one."""
    found = [(one, _last(book, one)) for one in book.list(queue)]
    headings = ["queue", "name", "rule", "zone", "next", "last tick", ""]
    out.answer(
        {"schedules": [_document(schedule, last) for schedule, last in found]},
        Table(headings, [_row(schedule, last) for schedule, last in found]) if found else "there are no schedules",
    )


def _last(book: AppSchedules, schedule: Schedule) -> Tick | None:
    return next(iter(book.ticks(schedule.name, queue=schedule.queue, limit=1)), None)


def _row(schedule: Schedule, last: Tick | None) -> list[object]:
    return [
        schedule.queue,
        schedule.name,
        _rule(schedule.definition.rule),
        _zone_name(schedule),
        _local(schedule, schedule.next),
        None if last is None else f"{last.outcome} {_local(schedule, last.tick)}",
        ", ".join(_marks(schedule)),
    ]


def _marks(schedule: Schedule) -> list[str]:
    return [name for name in ("paused", "orphaned") if getattr(schedule, name)]


@schedules.command()
@name_argument
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="At most so many ticks.")
@on_schedules
def show(book: AppSchedules, out: Output, queue: str | None, name: str, limit: int) -> None:
    """Show a schedule: its rule, what it sends, and what became of its ticks, newest first."""
    found = [(one, book.ticks(one.name, queue=one.queue, limit=limit)) for one in _named(book, name, queue)]
    documents = [
        {**_document(one, next(iter(ticks), None)), "ticks": [_tick_document(tick) for tick in ticks]}
        for one, ticks in found
    ]
    parts = [part for one, ticks in found for part in (_in_full(one), _tick_table(one, ticks), "")]
    out.answer({"schedules": documents}, *parts[:-1])


@schedules.command("next")
@name_argument
@click.option("-n", "number", type=click.IntRange(1, 1000), default=5, show_default=True, help="So many ticks.")
@on_schedules
def show_next(book: AppSchedules, out: Output, queue: str | None, name: str, number: int) -> None:
    """Show when a schedule ticks next; a paused one as if it went on now."""
    found = [(one, book.next(one.name, number, queue=one.queue)) for one in _named(book, name, queue)]
    rows = [
        [one.queue, moment.astimezone(_zone(one)).isoformat(sep=" ", timespec=_GRAIN), iso(_ms(moment))]
        for one, moments in found
        for moment in moments
    ]
    out.answer(
        {"next": [{"queue": one.queue, "name": one.name, "ticks": [iso(_ms(at)) for at in ats]} for one, ats in found]},
        Table(["queue", "in its zone", "UTC"], rows) if rows else f"{name} ticks no more",
        *[f"{one.name} of queue {one.queue} is paused: it ticks at none of these" for one, _ in found if one.paused],
    )


# -- changing -------------------------------------------------------------------------------------------------


@schedules.command()
@names_argument
@on_schedules
def pause(book: AppSchedules, out: Output, queue: str | None, names: Sequence[str]) -> None:
    """Let schedules tick no more until they are resumed; this outlives restarts."""
    _check(book, names, queue)
    _tell(out, [one for name in names for one in book.pause(name, queue)], "paused")


@schedules.command()
@names_argument
@on_schedules
def resume(book: AppSchedules, out: Output, queue: str | None, names: Sequence[str]) -> None:
    """Let schedules tick again, from now on: ticks in the pause are not made up for."""
    _check(book, names, queue)
    _tell(out, [one for name in names for one in book.resume(name, queue)], "resumed")


@schedules.command()
@names_argument
@on_schedules
def run(book: AppSchedules, out: Output, queue: str | None, names: Sequence[str]) -> None:
    """Send the schedules' jobs now, whatever their rules and pauses say."""
    _check(book, names, queue)
    sent = [(name, stored) for name in names for stored in book.run(name, queue)]
    out.answer(
        {"jobs": [{"schedule": name, "queue": stored.queue, "id": stored.id} for name, stored in sent]},
        *[f"{name}: sent job {stored.id} to queue {stored.queue}" for name, stored in sent],
    )


@schedules.command()
@names_argument
@yes_option
@on_schedules
def remove(book: AppSchedules, out: Output, queue: str | None, names: Sequence[str], *, yes: bool) -> None:
    """Remove schedules and what became of their ticks; jobs stay. Those of code come back when a worker starts."""
    found = _check(book, names, queue)
    out.confirm(f"this removes {count(len(found), 'schedule')}: {', '.join(names)}", yes=yes)
    _tell(out, [one for name in names for one in book.remove(name, queue)], "removed")


def _tell(out: Output, changed: Sequence[Schedule], done: str) -> None:
    out.answer(
        {"schedules": [_document(one, None) for one in changed]},
        *[f"{done}: {one.name} of queue {one.queue}" for one in changed],
    )


def _check(book: AppSchedules, names: Sequence[str], queue: str | None) -> list[Schedule]:
    """Return the schedules of all these names, so that a typo in the last changes none of the others."""
    return [one for name in dict.fromkeys(names) for one in _named(book, name, queue)]


def _named(book: AppSchedules, name: str, queue: str | None) -> list[Schedule]:
    return book.list(queue, name=name) or [book.get(name, queue)]  # which says that there is none


# -- how they read --------------------------------------------------------------------------------------------


def _document(schedule: Schedule, last: Tick | None) -> dict[str, Any]:
    told = schedule.definition
    return {
        "queue": schedule.queue,
        "name": schedule.name,
        "rule": msgspec.to_builtins(told.rule),
        "kind": told.template.kind,
        "missed": told.missed,
        "overlap": told.overlap,
        "jitter": told.jitter,
        "source": told.source,
        "paused": schedule.paused,
        "orphaned": schedule.orphaned,
        "next": iso(schedule.next),
        "created": iso(schedule.created),
        "last": None if last is None else _tick_document(last),
    }


def _tick_document(tick: Tick) -> dict[str, Any]:
    return {"tick": iso(tick.tick), "outcome": tick.outcome.value, "job": tick.job, "at": iso(tick.at)}


def _in_full(schedule: Schedule) -> str:
    told, template = schedule.definition, schedule.definition.template
    lines = [f"schedule  {schedule.name}  of queue {schedule.queue}"]
    counted = "" if isinstance(told.rule, Cron) else f", counted from {iso(told.rule.start)}"
    lines.append(f"rule      {rule_in_words(told.rule)}{counted}")
    lines.append(f"sends     {template.kind}, {len(template.body)} bytes")
    spread = f", spread over {length(told.jitter)}" if told.jitter else ""
    lines.append(f"missed    {_MISSED[told.missed]}; overlap {told.overlap}{spread}")
    lines.append(f"declared  {'in code' if told.source == 'code' else 'by a program, at run time'}")
    if schedule.paused:
        lines.append("paused    it ticks no more until holdfast schedules resume")
    elif schedule.orphaned:
        lines.append("orphaned  no live worker declares it, so nobody fires it")
    lines.append(f"next      {_local(schedule, schedule.next) or 'never'}")
    return "\n".join(lines)


_MISSED = {"latest": "latest only", "all": "all", "skip": "none"}


def _tick_table(schedule: Schedule, ticks: Sequence[Tick]) -> Table | str:
    if not ticks:
        return "it has not ticked yet"
    rows = [[_local(schedule, tick.tick), tick.outcome, tick.job, iso(tick.at)] for tick in ticks]
    return Table(["tick", "outcome", "job", "written at"], rows)


def rule_in_words(rule: Rule) -> str:
    """Return a rule with its zone."""
    return f"{_rule(rule)} in {rule.tz}" if isinstance(rule, Cron) else _rule(rule)


def _rule(rule: Rule) -> str:
    if isinstance(rule, Cron):
        return rule.expression
    unit, name = next((unit, name) for unit, name in _UNITS if rule.seconds % unit == 0 or name == "s")
    return f"every {rule.seconds / unit:g} {name}"


_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def _zone_name(schedule: Schedule) -> str | None:
    rule = schedule.definition.rule
    return rule.tz if isinstance(rule, Cron) else None


_GRAIN = "seconds"


def _local(schedule: Schedule, millis: int | None) -> str | None:
    """Return an instant as the schedule's zone has it, with its offset."""
    if millis is None:
        return None
    return datetime.fromtimestamp(millis / 1000, _zone(schedule)).isoformat(sep=" ", timespec=_GRAIN)


def _zone(schedule: Schedule) -> tzinfo:
    from holdfast.schedule.expression import find_zone

    try:
        return find_zone(_zone_name(schedule) or "UTC")
    except UsageError:  # this machine does not know it
        return UTC


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
