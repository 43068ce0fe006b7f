"""Holders that read logs: they live in the slot of the whole store, and the logs are told when one ends.

A holder is noted with a log before it joins there, so whoever retires it knows where its members are. Members look for
themselves whether the others' holders live; a log's slot knows nothing of time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from holdfast.delivery import HolderInfo
from holdfast.errors import LeaseLost
from holdfast.heartbeat import died_here
from holdfast.stores.redis.answers import checked
from holdfast.stores.redis.keys import Keys, Times
from holdfast.stores.redis.link import Call, Link
from holdfast.stores.redis.scripts import Script

_READERS, _DISMISS = Script.load("logs/readers"), Script.load("logs/dismiss")
_decode = msgspec.json.Decoder(HolderInfo).decode


class Reader(msgspec.Struct, frozen=True):
    """A holder as the store was last told of it; it falls silent in so many ms. None for one that has ended."""

    info: HolderInfo | None
    left: int

    def has_ended(self) -> bool:
        """Tell whether it was silent, retired or never there, or its process of this host has gone."""
        return self.info is None or self.left <= 0 or bool(died_here([self.info]))

    @property
    def unheard(self) -> int | None:
        """For how many ms nothing was heard of it."""
        return None if self.info is None else max(0, int(self.info.ttl * 1000) - self.left)


class Readers:
    """The holders that read the logs of a store. Any thread."""

    def __init__(self, link: Link, keys: Keys, times: Times) -> None:
        self._link, self._keys, self._times = link, keys, times

    def _run(self, verb: str, *args: str | bytes | int, durable: bool = False) -> Any:
        return self._link.run(_READERS, self._keys.store, self._times(), verb, *args, durable=durable)

    def beat(self, holder: HolderInfo, log: str = "") -> bool:
        """Keep a holder alive, and note that it joins in a log; False when it was retired."""
        ttl = int(holder.ttl * 1000)
        return bool(self._run("beat", holder.id, ttl, msgspec.json.encode(holder), log, durable=bool(log)))

    def ask(self, holders: Collection[str]) -> Mapping[str, Reader]:
        """Return what is known of these holders."""
        if not holders:
            return {}
        now, *told = self._run("ask", *holders)
        return {
            holder: Reader(_decode(text) if text else None, expires - now)
            for holder, expires, text in zip(holders, told[::2], told[1::2], strict=True)
        }

    def retire(self, holder: str) -> int:
        """End a holder; return how many partitions its members held. What is left undone, who tidies does."""
        logs = self._run("retire", holder, durable=True)
        return self._dismiss(holder, logs)

    def _dismiss(self, holder: str, logs: Iterable[bytes]) -> int:
        names = [log.decode() for log in logs]
        times = self._times()
        calls: list[Call] = [(_DISMISS, self._keys.log(name), (times, holder, 0)) for name in names]
        held = sum(map(int, checked(self._link.run_all(calls, durable=True))))
        if names:
            self._run("done", holder, *names)
        return held

    def tidy(self) -> None:
        """Dismiss the members of holders that were retired, or silent for long, and forget those after a while."""
        left = self._run("left")
        for holder, logs in zip(left[::2], left[1::2], strict=True):
            self._dismiss(holder.decode(), logs)


def retired(holder: HolderInfo) -> LeaseLost:
    """Return what the members of a holder that was retired are told."""
    return LeaseLost(f"holder {holder.id!r} was retired; join under a new incarnation")
