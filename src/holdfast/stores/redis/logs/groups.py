"""The groups of the logs of a store: the part of the contract that remembers who has read what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from holdfast.clock import Clock
from holdfast.contract import LogGroups
from holdfast.delivery import HolderInfo
from holdfast.logged import Crashes, Ends, GroupInfo, Lag, Start, WhenGone
from holdfast.stores.redis.logs import views
from holdfast.stores.redis.logs.member import RedisMember
from holdfast.stores.redis.logs.places import Log, LogPlaces
from holdfast.stores.redis.logs.readers import Readers, retired
from holdfast.stores.redis.logs.reading import search
from holdfast.stores.redis.logs.standing import finished_of
from holdfast.stores.redis.scripts import Script
from holdfast.stores.refused import no_group, offset_gone

_JOIN, _SEEK, _FORGET = Script.load("logs/join"), Script.load("logs/seek"), Script.load("logs/forget")
_CHARGE, _CRASHES = Script.load("logs/charge"), Script.load("logs/crashes")
_encode = msgspec.json.Encoder().encode
_decode_crashes = msgspec.json.Decoder(Crashes).decode


class RedisGroups(LogGroups):
    """Groups, and the members of this process."""

    def __init__(self, places: LogPlaces, readers: Readers, clock: Clock) -> None:
        self.places, self.readers, self.clock = places, readers, clock
        self.beaten: dict[str, int] = {}
        """When (boot ms) each holder of this process was last told of."""
        self.is_closed = False
        self._members: set[RedisMember] = set()

    # -- joining --------------------------------------------------------------------------------------------------

    def join(
        self, log: str, group: str, holder: HolderInfo, *, start: Start, when_gone: WhenGone = "error"
    ) -> RedisMember:
        its, number, member = self.enter(log, group, holder, start)
        joined = RedisMember(self, its, group, holder, numbers=(number, member), when_gone=when_gone)
        self._members.add(joined)
        return joined

    def enter(self, name: str, group: str, holder: HolderInfo, start: Start) -> tuple[Log, int, int]:
        """Add a member; return its log and the numbers of its group and its own. The holder is noted first."""
        log = self.places.look(name)
        if not self.beat(holder, name):
            raise retired(holder)
        while True:
            starts, is_exact = self._starts(log, group, start), "1" if start.at == "offset" else ""
            reply = self.places.run(_JOIN, name, log.life, group, holder.id, is_exact, *starts, durable=True)
            if reply == b"stale":
                log = self.places.look(name)
                continue
            if reply[0] == b"gone":
                raise offset_gone(name, self.places.ends(log)[reply[1]], start.value)
            return log, reply[0], reply[1]

    def _starts(self, log: Log, group: str, start: Start) -> list[int]:
        """Return where a group that is to be made begins in each partition; nothing for the first message."""
        key = self.places.keys.log(log.name)
        if start.at == "earliest" or self.places.link.call(key, ("HEXISTS", f"{key}:groups", group))[0]:
            return []
        if start.at == "time":
            found = search(self.places, log, dict.fromkeys(range(log.partitions), ("first", "t", start.value)))
            return [found[i][0] for i in range(log.partitions)]
        ends = self.places.ends(log)
        if start.at == "latest":
            return [one.next for one in ends]
        for one in ends:
            _check_offset(log, one, start.value)
        return [start.value] * log.partitions

    def left(self, member: RedisMember) -> None:
        """Forget a member."""
        self._members.discard(member)

    def leave_all(self) -> None:
        """Let all members of this process leave."""
        for member in list(self._members):
            member.leave()

    # -- operators ------------------------------------------------------------------------------------------------

    def groups(self, log: str) -> list[GroupInfo]:
        return views.infos(self.places, self.readers, self.places.look(log), self.clock.wall())

    def lag(self, log: str, group: str) -> list[Lag]:
        its = self.places.look(log)
        found = views.standings(self.places, its, group)
        if not found:
            raise self._no_group(its, group)
        return views.lags(self.places, self.readers, its, found[0], self.clock.wall())

    def _no_group(self, log: Log, group: str) -> Exception:
        return no_group(log.name, group, [one.name for one in views.standings(self.places, log)])

    def seek(self, log: str, group: str, offsets: Mapping[int, int]) -> None:
        while True:
            its = self.places.look(log)
            for partition in offsets:
                its.check(partition)
            ends = self.places.ends(its)
            for partition, offset in offsets.items():
                _check_offset(its, ends[partition], offset)
            pairs = [number for pair in offsets.items() for number in pair]
            reply = self.places.run(_SEEK, log, its.life, group, *pairs, durable=True)
            if reply == b"stale":
                continue
            if reply != 1:
                _, partition, first = reply
                raise offset_gone(log, Ends(partition, first, ends[partition].next), offsets[partition])
            return

    def forget(self, log: str, group: str) -> bool:
        self.places.look(log)
        return bool(self.places.run(_FORGET, log, group, "", "", durable=True))

    # -- crashes --------------------------------------------------------------------------------------------------

    def charge(self, log: str, group: str, partition: int, offset: int, *, run: int, reason: str) -> Crashes:
        its = self.places.look(log)
        its.check(partition)
        there, wanted = b"", b""
        while True:
            reply = self.places.run(_CHARGE, log, group, partition, offset, there, wanted, durable=True)
            if reply == b"no group":
                raise self._no_group(its, group)
            there, place, finished = reply
            if offset < place or offset in finished_of(finished):
                return Crashes()
            known = _decode_crashes(there) if there else Crashes()
            charged = known.charged(run, reason)
            if charged is known:
                return known
            wanted = _encode(charged)

    def crashes(self, log: str, group: str, partition: int) -> dict[int, Crashes]:
        its = self.places.look(log)
        its.check(partition)
        reply: Any = self.places.run(_CRASHES, log, group, partition)
        if reply == b"no group":
            raise self._no_group(its, group)
        finished, *pairs = reply
        done, found = finished_of(finished), dict[int, Crashes]()
        for message, text in zip(pairs[::2], pairs[1::2], strict=True):
            index, _, offset = message.partition(b":")
            if int(index) == partition and int(offset) not in done:
                found[int(offset)] = _decode_crashes(text)
        return dict(sorted(found.items()))

    # -- holders --------------------------------------------------------------------------------------------------

    def beat(self, holder: HolderInfo, log: str = "") -> bool:
        now = self.clock.boot()
        alive = self.readers.beat(holder, log)
        if alive:
            self.beaten[holder.id] = now
        return alive

    def retire(self, holder: str) -> int:
        self.beaten.pop(holder, None)
        return self.readers.retire(holder)


def _check_offset(log: Log, ends: Ends, offset: int) -> None:
    """Raise ``OffsetGone`` for an offset beside the ends."""
    if not max(ends.first, log.firsts[ends.partition]) <= offset <= ends.next:
        raise offset_gone(log.name, ends, offset)
