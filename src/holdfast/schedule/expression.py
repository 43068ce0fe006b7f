"""Cron expressions and zone names as users write them: what is wrong is refused with the field and what it allows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from holdfast.errors import UsageError, nearest

SHORTCUTS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * SUN",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 JAN *",
    "@annually": "0 0 1 JAN *",
}

FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day of month": "1-31, L (the last) or LW (the last weekday)",
    "month": "1-12 or JAN-DEC",
    "day of week": "0-7 (0 and 7 are Sunday), SUN-SAT, MON#2 (the second Monday) or 5L (the last Friday)",
}
"""The fields in their order, and what each allows beside ``*``, lists, ranges and steps."""

_SPAN = dict(zip(FIELDS, (60, 24, 31, 12, 7), strict=True))
_NAMES = ("SUN MON TUE WED THU FRI SAT", "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC")
_SOME_DAY = datetime(2000, 1, 1)  # noqa: DTZ001 - local time


@lru_cache(maxsize=1000)
def parse(expression: str) -> tuple[str, ...]:
    """Return the five fields of an expression; ``UsageError`` says what is wrong with it."""
    said = f"cron expression {expression!r}"
    if expression.startswith("@"):
        return tuple(_shortcut(said, expression.lower()).split())
    fields = tuple(expression.upper().split())
    if len(fields) == 6:
        raise UsageError(
            f"{said} has six fields: seconds are not among them; for less than a minute use every=, in seconds"
        )
    if len(fields) != 5:
        raise UsageError(
            f"{said} has {len(fields)} fields; it takes five: {', '.join(FIELDS)}, such as 0 9 * * MON-FRI"
        )
    for place, (name, text) in enumerate(zip(FIELDS, fields, strict=True)):
        if (wrong := _wrong(place, name, text)) is not None:
            allowed = f"allowed: {FIELDS[name]}, *, lists (1,2), ranges (1-5) and steps (*/2)"
            raise UsageError(f"{said}: {name} {text!r} {wrong}; {allowed}")
    if not _fits(" ".join(fields)):
        raise UsageError(f"{said} never ticks: none of its months has that many days")
    return fields


def _shortcut(said: str, word: str) -> str:
    if word == "@reboot":
        raise UsageError(
            f"{said}: a schedule ticks by the clock, whichever processes run, and none of them stands for the machine; "
            "to send when a program starts, send in the program"
        )
    if word.startswith("@every"):
        raise UsageError(f"{said}: an interval is written every=, in seconds or as a timedelta")
    if word not in SHORTCUTS:
        raise UsageError(f"{said} is not known{nearest(word, SHORTCUTS)}; known: {', '.join(SHORTCUTS)}")
    return SHORTCUTS[word]


def _wrong(place: int, name: str, text: str) -> str | None:
    """Say what is wrong with one field, or return None."""
    for step in re.findall(r"/(\d+)", text):
        if int(step) >= _SPAN[name]:
            # cron takes it and starts over at the next hour, day or month, which is never what was meant.
            return f"has a step of {step}, longer than the field; for longer intervals use every="
    if _fits(" ".join(["*"] * place + [text] + ["*"] * (4 - place))):
        return None
    if "?" in text:
        return "has a ?; for any day write *"
    if any(_falls(low, high) for low, high in re.findall(r"(\w+)-(\w+)", text)):
        return f"has a range that falls; write two{', such as FRI-SAT,SUN-MON' if name == 'day of week' else ''}"
    return "is not understood"


def _fits(text: str) -> bool:
    try:
        CronSim(text, _SOME_DAY)
    except CronSimError:
        return False
    return True


def _falls(low: str, high: str) -> bool:
    for names in _NAMES:
        if low in names and high in names:
            return names.index(low) > names.index(high)
    return low.isdecimal() and high.isdecimal() and int(low) > int(high)


# -- zones ----------------------------------------------------------------------------------------------------


def find_zone(name: str) -> tzinfo:
    """Return the zone of that IANA name; ``UsageError`` when this machine does not know it, naming the nearest."""
    if name == "UTC":
        return UTC  # also where there is no zone data
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    known = available_timezones()
    if not known:
        raise UsageError(
            f"the zone {name!r} cannot be looked up: this machine has no zone data; install the package tzdata "
            "(pip install tzdata)"
        )
    raise UsageError(f"there is no zone {name!r}{_nearest_zone(name, known)}; zones are named like Europe/Paris")


def _nearest_zone(name: str, known: Iterable[str]) -> str:
    """Look without regard to case, and for the place alone: ``paris`` is like ``Europe/Paris``."""
    wanted = name.lower().replace(" ", "_")
    for zone in sorted(known):
        if wanted in (zone.lower(), zone.lower().rpartition("/")[2]):
            return f" (did you mean {zone!r}?)"
    return nearest(name, known)
