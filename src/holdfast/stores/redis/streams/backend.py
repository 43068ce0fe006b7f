"""The contract of foreign streams: groups of the server's own, in which each member is a consumer.

The stream is never written, but by who asks for its finished entries to be deleted. What Redis does not keep of a group
is kept beside it: see ``notes``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from holdfast.capabilities import ForeignStreams
from holdfast.contract import StreamGroups, StreamReading
from holdfast.delivery import HolderInfo
from holdfast.entries import PARTITION, entry_at, offset_of, time_of
from holdfast.errors import BackendError, UsageError, nearest
from holdfast.logged import Crashes, GroupInfo, Lag, Start
from holdfast.stores.redis.keys import Keys
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.streams.group import Group, Standing, ask, is_gone
from holdfast.stores.redis.streams.member import RedisStreamMember, living


class RedisStreams(StreamGroups):
    """Any thread may call. ``holders`` tells who lives; nothing has to be closed."""

    def __init__(self, link: Link, keys: Keys, holders: Callable[[], Collection[HolderInfo]]) -> None:
        self._link, self._keys, self._holders = link, keys, holders
        self._joined: dict[tuple[str, str], Group] = {}

    def join(
        self, stream: str, group: str, holder: HolderInfo, *, start: Start, reading: StreamReading
    ) -> RedisStreamMember:
        if start.at == "offset":
            raise UsageError(f"stream {stream!r}: a group begins at earliest, latest or a time; entries have ids")
        its = self._joined.setdefault((stream, group), self._group(stream, group))
        return RedisStreamMember(its, holder, its.open(start), reading, self._holders)

    def groups(self, stream: str) -> list[GroupInfo]:
        alive = living(self._holders())
        return [self._info(stream, name, alive) for name in self._names(stream)]

    def lag(self, stream: str, group: str) -> list[Lag]:
        its = self._group(stream, group)
        standing = its.standing()
        if standing is None:
            names = self._names(stream)
            known = f"{nearest(group, names)}; it has {', '.join(names) or 'none'}"
            raise UsageError(f"stream {stream!r} has no group {group!r}{known}")
        return [self._undelivered(its, standing), *self._pending(its)]

    def charge(self, stream: str, group: str, partition: int, offset: int, *, run: int, reason: str) -> Crashes:
        its = self._group(stream, group)
        if not its.is_pending(entry_at(offset)):
            return Crashes()
        return its.notes.charge(offset, run, reason)

    def crashes(self, stream: str, group: str, partition: int) -> dict[int, Crashes]:
        return self._group(stream, group).notes.crashes()

    # -- how far it is --------------------------------------------------------------------------------------------

    def _group(self, stream: str, group: str) -> Group:
        known = self._joined.get((stream, group))
        return known or Group(self._link, self._keys, stream, group)

    def _names(self, stream: str) -> list[str]:
        try:
            found = ask(self._link, stream, "XINFO", "GROUPS", stream)
        except BackendError as error:
            if is_gone(error):
                return []
            raise
        return [one[one.index(b"name") + 1].decode("utf-8", "surrogateescape") for one in found]

    def _info(self, stream: str, name: str, alive: Collection[str]) -> GroupInfo:
        consumers = self._group(stream, name).consumers()
        holders = {one: self._keys.holder(one.name) for one in consumers}
        members = [holders[one] or one.name for one in consumers if not holders[one] or holders[one] in alive]
        idle = min((one.idle for one in consumers), default=0) / 1000
        return GroupInfo(stream, name, tuple(members), idle)

    def _undelivered(self, its: Group, standing: Standing) -> Lag:
        behind = offset_of(standing.delivered) + 1
        oldest = its.first_undelivered(standing)
        if oldest is None:
            return Lag(PARTITION, behind, 0)
        age = max(0.0, (its.time() - time_of(offset_of(oldest))) / 1000)
        return Lag(PARTITION, behind, max(1, standing.lag or 0), age, more=standing.lag is None)

    def _pending(self, its: Group) -> list[Lag]:
        found, now = list[Lag](), its.time()
        for consumer in its.consumers():
            first = its.first_pending(consumer.name) if consumer.pending else None
            if first is not None:
                age = max(0.0, (now - time_of(offset_of(first))) / 1000)
                member = self._keys.holder(consumer.name) or consumer.name
                found.append(Lag(PARTITION, offset_of(first), consumer.pending, age, member))
        return found


class BesideStreams(ForeignStreams):
    """A store beside which streams are that others fill."""

    _streams: RedisStreams

    def open_streams(self) -> RedisStreams:
        return self._streams
