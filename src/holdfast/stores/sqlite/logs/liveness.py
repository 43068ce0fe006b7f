"""Which members of groups live: their holder was seen within its ttl, in this boot, and its process is there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import msgspec

from holdfast.delivery import HolderInfo
from holdfast.heartbeat import died_here
from holdfast.stores.sqlite.logs.places import Source
from holdfast.stores.sqlite.statements import statements

_SQL = statements("logs/groups.sql")


class Instant(NamedTuple):
    """A moment: ms of UTC and of the boot clock, and the id of this boot."""

    wall: int
    uptime: int
    boot: str


class MemberRow(NamedTuple):
    """A member: its number, its holder, and until when (ms of which boot) that lives."""

    number: int
    holder: HolderInfo
    boot: str
    expires: int

    def is_silent(self, now: Instant) -> bool:
        """Tell whether its holder's ttl is over, or its boot."""
        return self.boot != now.boot or self.expires <= now.uptime


@lru_cache(maxsize=1024)
def _holder(text: str) -> HolderInfo:
    return msgspec.json.decode(text, type=HolderInfo)


def members(source: Source, group: int) -> list[MemberRow]:
    """Return the members of a group, dead ones that nobody has dismissed yet among them."""
    return [
        MemberRow(number, _holder(info), *until) for number, info, *until in source.execute(_SQL["members"], (group,))
    ]


def ended(rows: list[MemberRow], now: Instant) -> set[int]:
    """Return the numbers of those that have ended."""
    gone = {holder.id for holder in died_here({row.holder.id: row.holder for row in rows}.values())}
    return {row.number for row in rows if row.is_silent(now) or row.holder.id in gone}


def living(source: Source, group: int, now: Instant) -> Mapping[int, HolderInfo]:
    """Return the holders of those members of a group that live, by the number of the member."""
    rows = members(source, group)
    dead = ended(rows, now)
    return {row.number: row.holder for row in rows if row.number not in dead}
