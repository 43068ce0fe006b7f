"""The groups of all logs in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from holdfast.clock import Clock
from holdfast.contract import LogGroups
from holdfast.delivery import HolderInfo
from holdfast.errors import Closed, LeaseLost
from holdfast.logged import Crashes, GroupInfo, Lag, Start, WhenGone
from holdfast.stores.memory.logs.holders import Alive
from holdfast.stores.memory.logs.log import MemoryLog
from holdfast.stores.memory.logs.member import MemoryMember
from holdfast.stores.refused import no_log


class MemoryGroups(LogGroups):
    """What is asked of groups, and the lock under which all of this store's logs are."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lock = threading.Condition(threading.RLock())
        self._closed = False
        self._logs: dict[str, MemoryLog] = {}
        self._holders: dict[str, Alive] = {}

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Take the lock; ``Closed`` when this is closed."""
        with self.lock:
            if self._closed:
                raise Closed("the logs of this memory store are closed")
            yield

    def _log(self, name: str) -> MemoryLog:
        if name not in self._logs:
            raise no_log(name, self._logs)
        return self._logs[name]

    def join(
        self, log: str, group: str, holder: HolderInfo, *, start: Start, when_gone: WhenGone = "error"
    ) -> MemoryMember:
        with self.opened():
            its, boot = self._log(log), self.clock.boot()
            alive = self._alive(holder)
            if alive.retired:
                raise LeaseLost(f"holder {holder.id!r} was retired; join under a new incarnation")
            alive.seen(boot)
            return MemoryMember(self, its.make_group(group, start, boot), alive, when_gone)

    def _alive(self, holder: HolderInfo) -> Alive:
        alive = self._holders.setdefault(holder.id, Alive(holder.id, holder.ttl))
        alive.ttl = int(holder.ttl * 1000)
        return alive

    def groups(self, log: str) -> list[GroupInfo]:
        with self.opened():
            return self._log(log).infos(self.clock.wall(), self.clock.boot())

    def lag(self, log: str, group: str) -> list[Lag]:
        with self.opened():
            its = self._log(log)
            return its.lags(its.group(group), self.clock.wall(), self.clock.boot())

    def seek(self, log: str, group: str, offsets: Mapping[int, int]) -> None:
        with self.opened():
            its, boot = self._log(log), self.clock.boot()
            for partition, offset in offsets.items():
                its.partition(partition).check(offset)
            sought = its.make_group(group, Start(), boot)
            sought.seen = boot
            for partition, offset in offsets.items():
                sought.places[partition].seek(offset)
            sought.wake()

    def forget(self, log: str, group: str) -> bool:
        with self.opened():
            known = self._log(log).groups.pop(group, None)
            if known is not None:
                known.remove()
            return known is not None

    def charge(self, log: str, group: str, partition: int, offset: int, *, run: int, reason: str) -> Crashes:
        with self.opened():
            its = self._log(log)
            its.partition(partition)
            return its.group(group).places[partition].charge(offset, run, reason)

    def crashes(self, log: str, group: str, partition: int) -> dict[int, Crashes]:
        with self.opened():
            its = self._log(log)
            its.partition(partition)
            return dict(its.group(group).places[partition].crashes)

    def beat(self, holder: HolderInfo) -> bool:
        with self.opened():
            alive = self._alive(holder)
            if not alive.retired:
                alive.seen(self.clock.boot())
            return not alive.retired

    def retire(self, holder: str) -> int:
        with self.opened():
            boot = self.clock.boot()
            alive = self._holders.setdefault(holder, Alive(holder, 0))
            return alive.retire(boot)
