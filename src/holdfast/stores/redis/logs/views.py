"""How groups stand, as operators see it: who reads, how far behind they are, what is kept for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from holdfast.logged import GroupInfo, Lag
from holdfast.stores.redis.logs.keeping import floors, parts_of
from holdfast.stores.redis.logs.places import Log, LogPlaces
from holdfast.stores.redis.logs.readers import Reader, Readers
from holdfast.stores.redis.scripts import Script

_GROUPS, _PLACE = Script.load("logs/groups"), Script.load("logs/place")


class Group(msgspec.Struct, frozen=True):
    """A group: when it was ``seen`` (as the server wrote it), the ms since, members and holders, places and owners."""

    name: str
    number: bytes
    seen: bytes
    idle: int
    members: dict[bytes, str]
    nexts: tuple[int, ...]
    owners: tuple[bytes, ...]

    def idle_with(self, readers: Mapping[str, Reader]) -> int:
        """Return the ms since something was seen of it, or heard of its members' holders."""
        heard = (readers[holder].unheard for holder in self.members.values())
        return max(0, min([self.idle, *(one for one in heard if one is not None)]))

    def living(self, readers: Mapping[str, Reader]) -> dict[bytes, str]:
        """Return those members, with their holders, that live."""
        return {one: holder for one, holder in self.members.items() if not readers[holder].has_ended()}


def standings(places: LogPlaces, log: Log, group: str = "") -> list[Group]:
    """Return the groups of a log by name, or the one of that name."""
    now, *found = places.run(_GROUPS, log.name, group)
    return sorted(
        (
            Group(
                name.decode(),
                number,
                seen,
                now - int(seen),
                {one: holder.decode() for one, holder in zip(members[::2], members[1::2], strict=True)},
                tuple(its[::2]),
                tuple(its[1::2]),
            )
            for name, number, seen, members, its in found
        ),
        key=lambda one: one.name,
    )


def holders_of(readers: Readers, groups: Sequence[Group]) -> Mapping[str, Reader]:
    """Return what is known of the holders of all members."""
    return readers.ask(sorted({holder for group in groups for holder in group.members.values()}))


def infos(places: LogPlaces, readers: Readers, log: Log, now: int) -> list[GroupInfo]:
    """Return the groups of a log; see ``LogGroups``."""
    found = standings(places, log)
    known = holders_of(readers, found)
    pins = _pins(places, log, found, now) if log.settings.until_consumed and found else {}
    return [
        GroupInfo(
            log.name,
            group.name,
            tuple(sorted(set(group.living(known).values()))),
            group.idle_with(known) / 1000,
            pins.get(group.name, 0),
        )
        for group in found
    ]


def _pins(places: LogPlaces, log: Log, groups: Sequence[Group], now: int) -> dict[str, int]:
    """Return the bytes that are kept for one group alone: it has not read them, and all others have."""
    pins, bounds = dict[str, int](), list[tuple[str, int, int, int]]()
    for i, floor in enumerate(floors(places, log, parts_of(places, log), now, has_groups=True)):
        nexts = sorted((min(floor, group.nexts[i]), group.name) for group in groups if i < len(group.nexts))
        if nexts:
            slowest, name = nexts[0]
            bounds.append((name, i, slowest, nexts[1][0] if len(nexts) > 1 else floor))
    replies = places.run_parts(_PLACE, log, [(i, (slowest, end)) for _, i, slowest, end in bounds])
    for bound, reply in zip(bounds, replies, strict=True):
        dropped, first, end = reply[5], reply[7], reply[9]
        pins[bound[0]] = pins.get(bound[0], 0) + max(0, end - max(first, dropped))
    return pins


def lags(places: LogPlaces, readers: Readers, log: Log, group: Group, now: int) -> list[Lag]:
    """Return how far a group is behind; see ``LogGroups``."""
    readers_ = group.living(holders_of(readers, [group]))
    replies = places.run_parts(_PLACE, log, [(i, (next_,)) for i, next_ in enumerate(group.nexts)])
    found = list[Lag]()
    for i, (next_, owner, reply) in enumerate(zip(group.nexts, group.owners, replies, strict=True)):
        first, end, _, oldest, _, _, time, _ = reply
        from_ = max(next_, first, log.firsts[i] if i < len(log.firsts) else 0)
        time = oldest if next_ < first else time
        age = max(0, now - time) / 1000 if from_ < end and time >= 0 else None
        found.append(Lag(i, next_, max(0, end - from_), age, readers_.get(owner), next_ < from_))
    return found
