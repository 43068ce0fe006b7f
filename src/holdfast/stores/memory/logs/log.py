"""One log in memory: its partitions and groups, and what retention lets go of."""

from __future__ import annotations

from holdfast.config import LogSettings
from holdfast.errors import QueueFull
from holdfast.logged import Columns, GroupInfo, Lag, LogTidied, Producer, Start
from holdfast.stores.memory.logs.group import MemoryGroup
from holdfast.stores.memory.logs.partition import MemoryPartition, kept
from holdfast.stores.refused import check_columns, check_fits, fewer_partitions, log_full, no_group, no_partition


class MemoryLog:
    """A log. Not thread-safe: its store's lock is held."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.settings = LogSettings()
        self.partitions: list[MemoryPartition] = []
        self.groups: dict[str, MemoryGroup] = {}
        self._appends = 0

    def declare(self, settings: LogSettings) -> None:
        """Take these settings; groups that exist begin a new partition at its first message."""
        there = len(self.partitions)
        if settings.partitions < there:
            raise fewer_partitions(self.name, there, settings.partitions)
        self.settings = settings
        self.partitions += [MemoryPartition(self.name, number) for number in range(there, settings.partitions)]
        for group in self.groups.values():
            group.grow()

    @property
    def size(self) -> int:
        """The bytes kept."""
        return sum(partition.size for partition in self.partitions)

    def partition(self, number: int) -> MemoryPartition:
        """Return a partition; ``UsageError`` when there is none of that number."""
        if not 0 <= number < len(self.partitions):
            raise no_partition(self.name, number, len(self.partitions))
        return self.partitions[number]

    def group(self, name: str) -> MemoryGroup:
        """Return a group; ``UsageError`` when there is none of that name."""
        if name not in self.groups:
            raise no_group(self.name, name, self.groups)
        return self.groups[name]

    def make_group(self, name: str, start: Start, boot: int) -> MemoryGroup:
        """Return the group, made if need be: then it begins at ``start``."""
        if name not in self.groups:
            places = [_begin(partition, start) for partition in self.partitions]
            self.groups[name] = MemoryGroup(self, name, places, boot)
        return self.groups[name]

    # -- appending ------------------------------------------------------------------------------------------------

    def append(
        self, number: int, columns: Columns, producer: Producer | None, now: int, room: int
    ) -> tuple[int, int, bool]:
        """Add messages; return the offset of the first, the bytes gained, and whether they had been there.

        ``room`` are the bytes that the store has left for all its logs.
        """
        partition = self.partition(number)
        bodies = check_columns(self.name, self.settings, columns)
        if producer is not None and (at := partition.repeated(producer)) is not None:
            return at, 0, True
        new = kept(columns, bodies, self.settings.compression)
        limit = self.settings.limit_bytes
        if limit is not None and self.size + new.size > limit:
            check_fits(self.name, limit, new.size)
            raise log_full(self.name, limit)
        if new.size > room:
            raise QueueFull(f"log {self.name!r}: the memory store has {room} bytes left of its max_log_bytes")
        self._appends += 1
        offset = partition.append(new, self._appends, now, producer)
        for group in self.groups.values():
            group.appended(number)
        return offset, new.size, False

    # -- retention ------------------------------------------------------------------------------------------------

    def tidy(self, now: int, boot: int, limit: int) -> LogTidied:
        """Remove groups past their expiry, then drop up to ``limit`` appends that are no longer kept."""
        expired = self._expire(boot)
        done = LogTidied(groups=tuple((self.name, name) for name in expired))
        floors = self._floors(now)
        if self.settings.until_consumed:
            for group in self.groups.values():
                floors = list(map(min, floors, group.nexts()))
        for partition, floor in zip(self.partitions, floors, strict=True):
            appends, messages, size = partition.drop_until(floor, limit)
            limit -= appends
            done += LogTidied(messages, size, more=not limit)
        return done

    def _expire(self, boot: int) -> list[str]:
        expiry = self.settings.group_expiry
        if expiry is None:
            return []
        expired = [
            name for name, group in self.groups.items() if not group.live(boot) and group.idle(boot) > expiry * 1000
        ]
        for name in expired:
            self.groups.pop(name).remove()
        return expired

    def _floors(self, now: int) -> list[int]:
        """Return, for each partition, the offset below which nothing is kept, groups aside."""
        settings = self.settings.with_groups() if self.groups else self.settings
        floors = [partition.first for partition in self.partitions]
        if settings.keep_for is not None:
            young = now - int(settings.keep_for * 1000)
            floors = [max(floor, each.find(young)) for floor, each in zip(floors, self.partitions, strict=True)]
        if settings.keep_bytes is not None or settings.keep_most is not None:
            last = self._last_beyond(settings.keep_most, settings.keep_bytes)
            floors = [max(floor, each.after(last)[0]) for floor, each in zip(floors, self.partitions, strict=True)]
        return floors

    def _last_beyond(self, most: int | None, size: int | None) -> int:
        """Return the number of the newest append that goes, so that what follows is no less than is to be kept."""
        low, high = 0, self._appends
        while low < high:
            middle = (low + high + 1) // 2
            follow = [partition.after(middle) for partition in self.partitions]
            enough_messages = most is not None and sum(messages for _, messages, _ in follow) >= most
            enough_bytes = size is not None and sum(bytes_ for _, _, bytes_ in follow) >= size
            if enough_messages or enough_bytes:
                low = middle
            else:
                high = middle - 1
        return low

    # -- groups ---------------------------------------------------------------------------------------------------

    def infos(self, now: int, boot: int) -> list[GroupInfo]:
        """Return the groups."""
        pins = self._pins(now) if self.settings.until_consumed else {}
        return [
            GroupInfo(self.name, name, group.holders(boot), group.idle(boot) / 1000, pins.get(name, 0))
            for name, group in self.groups.items()
        ]

    def _pins(self, now: int) -> dict[str, int]:
        """Return the bytes that are kept for one group alone: it has not read them, and all others have."""
        pins = dict.fromkeys(self.groups, 0)
        for partition, floor in zip(self.partitions, self._floors(now), strict=True):
            places = sorted((min(floor, group.nexts()[partition.number]), name) for name, group in self.groups.items())
            if places:
                (slowest, name), others = places[0], places[1:]
                pins[name] += partition.size_between(slowest, others[0][0] if others else floor)
        return pins

    def lags(self, group: MemoryGroup, now: int, boot: int) -> list[Lag]:
        """Return how far a group is behind in each partition."""
        return [
            _lag(partition, next_, group.holder_of(partition.number, boot), now)
            for partition, next_ in zip(self.partitions, group.nexts(), strict=True)
        ]


def _begin(partition: MemoryPartition, start: Start) -> int:
    if start.at == "latest":
        return partition.next
    if start.at == "time":
        return partition.find(start.value)
    if start.at == "offset":
        partition.check(start.value)
        return start.value
    return partition.first


def _lag(partition: MemoryPartition, next_: int, member: str | None, now: int) -> Lag:
    oldest = max(next_, partition.first)
    time = partition.time_of(oldest)
    age = None if time is None else max(0, now - time) / 1000
    return Lag(partition.number, next_, partition.next - oldest, age, member, next_ < partition.first)
