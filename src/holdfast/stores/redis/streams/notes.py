"""What is kept beside a group of a foreign stream, because the server does not: where it stood, and who died at what.

::

    <prefix>stream:{<stream>.<group>}           hash, for 30 days after the last change
        begun   ms at which the group was made: what is read of another group of its name is another reading
        stood   id below and at which all was finished, at most a second ago
    <prefix>stream:{<stream>.<group>}:crashes   hash, for 7 days after the last death
        <id>/<run> = why the process died

The keys are of a slot of their own: of a foreign stream's name nothing can be asked.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from holdfast.entries import entry_at, offset_of
from holdfast.errors import QueueFull
from holdfast.logged import Crashes
from holdfast.stores.redis.link import Link

KEPT, CRASHES_KEPT = 30 * 86_400, 7 * 86_400


class Notes:
    """Any thread may call."""

    def __init__(self, link: Link, key: str) -> None:
        self._link, self._key, self._crashes = link, key, f"{key}:crashes"
        self._charged: set[int] = set()

    def begin(self, now: int) -> int:
        """Note that a group was made, now; return what tells its reading from others."""
        with suppress(QueueFull):  # a server that is full is worked off all the same
            self._link.call(self._key, ("HSET", self._key, "begun", now), ("EXPIRE", self._key, KEPT))
        return now

    def begun(self, now: int) -> int:
        """Return the same of a group that was there."""
        (begun,) = self._link.call(self._key, ("HGET", self._key, "begun"))
        if begun is not None:
            return int(begun)
        with suppress(QueueFull):
            self._link.call(self._key, ("HSETNX", self._key, "begun", now), ("EXPIRE", self._key, KEPT))
            (begun,) = self._link.call(self._key, ("HGET", self._key, "begun"))
        return int(begun or now)

    def stood(self) -> tuple[bool, str | None]:
        """Return whether there was such a group, and where it stood if that is known."""
        begun, stood = self._link.call(self._key, ("HMGET", self._key, "begun", "stood"))[0]
        return begun is not None, None if stood is None else stood.decode()

    def stand(self, entry: str) -> None:
        """Note that all is finished up to this entry; on a full server that has to wait."""
        with suppress(QueueFull):
            self._link.call(self._key, ("HSET", self._key, "stood", entry), ("EXPIRE", self._key, KEPT))

    def charge(self, offset: int, run: int, reason: str) -> Crashes:
        """Note a death, once a run; return what is noted of this entry."""
        commands = (
            ("HSETNX", self._crashes, f"{entry_at(offset)}/{run}", reason),
            ("EXPIRE", self._crashes, CRASHES_KEPT),
        )
        self._link.call(self._key, *commands, durable=True)
        return self.crashes().get(offset, Crashes())

    def crashes(self) -> dict[int, Crashes]:
        """Return what is noted, by offset."""
        (found,) = self._link.call(self._key, ("HGETALL", self._crashes))
        deaths = []
        for name, reason in zip(found[::2], found[1::2], strict=True):
            entry, _, run = name.decode().partition("/")
            deaths.append((offset_of(entry), int(run), reason.decode("utf-8", "replace")))
        crashes = dict[int, Crashes]()
        for offset, run, reason in sorted(deaths):
            crashes[offset] = crashes.get(offset, Crashes()).charged(run, reason)
        self._charged.update(crashes)
        return crashes

    def forget(self, offsets: Collection[int]) -> None:
        """Forget the deaths at entries that are finished."""
        if not (gone := self._charged.intersection(offsets)):
            return
        crashes = self.crashes()
        fields = [f"{entry_at(offset)}/{run}" for offset in gone & crashes.keys() for run in crashes[offset].runs]
        if fields:
            self._link.call(self._key, ("HDEL", self._crashes, *fields))
        self._charged -= gone
