"""When a rule ticks: pure functions on ``Cron`` and ``Every``, in ms since 1970 UTC, without a clock and without I/O.

A cron rule is read in its zone's local time. Where the clocks change, what its hour field says decides:

- It leaves out some hours (``30 2 * * *``, ``*/15 8-18 * * *``): the rule means times of day. A local time that is
  repeated ticks once, at its first occurrence; one that is skipped ticks at the transition, where several make one.
- It allows every hour (``0 * * * *``, ``*/15 * * * *``): the rule means a rhythm. It ticks whenever the local minute
  fits, so it goes on through a repeated hour and has nothing to make up for a skipped one.

Debian's cron tells the two apart by the first letter of the minute and hour fields, and so does the package cronsim;
by its rule ``*/15 2 * * *`` would tick eight times on one day and not at all on another.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

from cronsim import CronSim

from holdfast.capabilities import Cron, Every, Rule
from holdfast.config import CENTURY
from holdfast.errors import UsageError
from holdfast.schedule.expression import find_zone, parse

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_EARLIEST, _LATEST = (int((datetime(year, 1, 1, tzinfo=UTC) - _EPOCH) / _MS) for year in (1800, 9900))
"""Instants beyond are treated as these, so that no computation leaves what ``datetime`` can hold."""


# -- making rules ---------------------------------------------------------------------------------------------


def cron(expression: str, tz: str = "UTC") -> Cron:
    """Return the rule of a cron expression read in the IANA zone ``tz``.

    Five fields (minute, hour, day of month, month, day of week) with names, lists, ranges and steps, or a shortcut such
    as ``@daily``. As in cron, a day must fit both day fields if one of them starts with ``*``, else either of them.
    ``UsageError`` names the field that is wrong and what it allows, a rule that never ticks, or an unknown zone.
    """
    find_zone(tz)
    rule = Cron(" ".join(expression.split()), tz)
    # A weekday and 29 February meet within any 40 years; cronsim looks 50 years ahead.
    if next(CronSim(" ".join(parse(rule.expression)), datetime(2000, 1, 1)), None) is None:  # noqa: DTZ001 - local
        raise UsageError(f"cron expression {rule.expression!r} never ticks: no day fits its day and month fields")
    return rule


def every(interval: float | timedelta, start: int) -> Every:
    """Return the rule that ticks at ``start`` (ms) and each multiple of ``interval`` after it.

    ``interval`` is in seconds or a ``timedelta``, rounded to ms; ``UsageError`` unless it is 1 ms to 100 years.
    """
    seconds = interval.total_seconds() if isinstance(interval, timedelta) else interval
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise UsageError(f"every= takes seconds or a timedelta, not {interval!r}")
    if not 0.001 <= seconds <= CENTURY:
        raise UsageError(f"every= must be 0.001 to {CENTURY:.0f} seconds, not {seconds!r}")
    return Every(round(seconds * 1000) / 1000, start)


# -- computing ticks ------------------------------------------------------------------------------------------


def next_tick(rule: Rule, after: int) -> int | None:
    """Return the first tick strictly after ``after``; None when there is none within 50 years.

    ``UsageError`` when the rule cannot be read here: this machine may lack its zone.
    """
    if isinstance(rule, Every):
        period = _period(rule)
        return rule.start + max(0, (after - rule.start) // period + 1) * period
    after = min(max(after, _EARLIEST), _LATEST)
    return next((tick for tick in _walk(rule, after, 1) if tick > after), None)


def ticks(rule: Rule, after: int, until: int, most: int) -> list[int]:
    """Return the ticks ``after < tick <= until`` in order; of more than ``most``, the newest.

    The work grows with ``most`` and not with the time between. Errors as for ``next_tick``.
    """
    if most <= 0 or until <= after:
        return []
    if isinstance(rule, Every):
        period = _period(rule)
        last = (until - rule.start) // period
        first = max(0, (after - rule.start) // period + 1, last - most + 1)
        return [rule.start + number * period for number in range(first, last + 1)]
    found: list[int] = []
    until = min(max(until, _EARLIEST), _LATEST)
    for tick in _walk(rule, until, -1):
        if tick <= after or len(found) == most:
            break
        if tick <= until:
            found.append(tick)
    return found[::-1]


def _period(rule: Every) -> int:
    return max(1, round(rule.seconds * 1000))


def _walk(rule: Cron, start: int, sign: int) -> Iterator[int]:
    """Yield each tick once, from ``start`` on forwards (``sign`` 1) or backwards (-1); the first may lie before it.

    A rhythm's local time that is repeated has two instants, and those of one local time enclose those of others:
    the farther one is held until the nearer ones of its neighbours are past.
    """
    zone = find_zone(rule.tz)
    matching = CronSim(" ".join(parse(rule.expression)), _beginning(start, zone, sign), reverse=sign < 0)
    rhythm = len(matching.hours) == 24
    held: list[int] = []
    last: int | None = None
    for local in matching:
        near, *far = _instants(local, zone, rhythm=rhythm)[::sign] or (None,)
        if near is None:
            continue
        while held and sign * held[0] < sign * near:
            yield held.pop(0)
        if near != last:
            yield near
        last = near
        held += far
    yield from held


def _beginning(start: int, zone: tzinfo, sign: int) -> datetime:
    """Return the local time to walk from, so that no tick on that side of ``start`` is left out.

    Only in a repeated hour is a local time on the other side: the second 02:15 comes after the first 02:45.
    """
    here = (_EPOCH + start * _MS).astimezone(zone)
    local = here.replace(tzinfo=None, fold=0)
    twice = _ms(here.replace(fold=1)) - _ms(here.replace(fold=0))
    if twice > 0 and here.fold == (sign < 0):
        local -= sign * twice * _MS
    return local - sign * timedelta(minutes=1)


def _instants(local: datetime, zone: tzinfo, *, rhythm: bool) -> tuple[int, ...]:
    """Return when this local time is a tick: PEP 495 reads it by the offset before a change (fold 0) and after it."""
    before, after = _ms(local.replace(tzinfo=zone)), _ms(local.replace(tzinfo=zone, fold=1))
    if before == after:
        return (before,)
    if before < after:
        return (before, after) if rhythm else (before,)
    return () if rhythm else (_transition(after, before, zone),)


def _transition(low: int, high: int, zone: tzinfo) -> int:
    """Return the first instant after ``low`` at which the zone's offset is that of ``high``."""
    offset = _offset(high, zone)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _offset(middle, zone) == offset else (middle, high)
    return high


def _offset(instant: int, zone: tzinfo) -> timedelta | None:
    return (_EPOCH + instant * _MS).astimezone(zone).utcoffset()


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // _MS
