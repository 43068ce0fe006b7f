"""Queues as places: their settings and names, their counts, and their end."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.config import QueueSettings
from holdfast.delivery import QueueStats, Tidied
from holdfast.message import FORMAT
from holdfast.stores.redis.answers import checked
from holdfast.stores.redis.connection import Arg
from holdfast.stores.redis.holding import PLACES, Holding
from holdfast.stores.redis.keys import Keys, Times
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.scripts import Script

_DECLARE, _DESTROY, _SETTINGS = map(Script.load, ("declare", "destroy", "settings"))
_STATS, _TIDY = Script.load("stats"), Script.load("tidy")
_STEP = 1000
_DESTROYED_AT_ONCE = 5_000
"""How many jobs one script removes: others must not wait for a million."""
_decode = msgspec.json.Decoder(QueueSettings).decode


class Places:
    """The queues of a store."""

    def __init__(self, link: Link, keys: Keys, times: Times, holding: Holding) -> None:
        self._link, self._keys, self._times, self._holding = link, keys, times, holding
        self._known: dict[str, QueueSettings] = {}

    def declare(self, queue: str, settings: QueueSettings) -> None:
        """Make a queue exist with these settings."""
        self._known[queue] = settings
        self._declare(queue, settings, "always")

    def make(self, queue: str) -> None:
        """Make a queue exist that is not there: as it was if the servers have lost it, else with the defaults."""
        self._declare(queue, self._lost(queue) or QueueSettings(), "new")

    def restore(self, queue: str) -> None:
        """Make a queue again that the servers have lost; leave alone one that was never there, or was destroyed."""
        if (settings := self._lost(queue)) is not None:
            self._declare(queue, settings, "new")

    def _lost(self, queue: str) -> QueueSettings | None:
        """Return the settings of a queue that is not there, as last known here; None unless the servers lost it."""
        if queue not in self._known:
            return None
        key = self._keys.queue(queue)
        (is_destroyed,) = self._link.call(key, ("EXISTS", f"{key}:token"))  # that stays when a queue is destroyed
        if is_destroyed:
            self._known.pop(queue, None)
        return self._known.get(queue)

    def _declare(self, queue: str, settings: QueueSettings, how: str) -> None:
        """Write settings; with ``how="new"`` a queue that is there keeps its own.

        Its name is noted before and after: whoever removes it meanwhile leaves a name alone that was noted again.
        """
        self._note(queue)
        key = self._keys.queue(queue)
        self._link.run(_DECLARE, key, self._times(), how, *_fields(settings), durable=True)
        self._note(queue)

    def _note(self, queue: str) -> None:
        self._link.run(PLACES, self._keys.store, self._times(), "note", queue, durable=True)

    def in_declared(self, queue: str, call: Callable[[], Any]) -> Any:
        """Return what a script answered, after making the queue if it had to be."""
        while (reply := call()) == b"undeclared":
            self.make(queue)
        return reply

    def settings(self, queue: str) -> QueueSettings:
        """Return the settings of a queue, which is made if it is not there."""
        key = self._keys.queue(queue)
        while (text := self._link.call(key, ("HGET", f"{key}:settings", "json"))[0]) is None:
            self.make(queue)
        return _decode(text)

    def names(self) -> list[str]:
        """Return the names of all queues; one of them may have been removed."""
        (names,) = self._link.call(self._keys.store, ("HKEYS", f"{self._keys.store}:queues"))
        return [name.decode() for name in names]

    def all(self) -> dict[str, QueueSettings]:
        """Return every queue by name with its settings."""
        names = self.names()
        keys = [self._keys.queue(name) for name in names]
        texts = checked(self._link.run_all([(_SETTINGS, key, (self._times(),)) for key in keys]))
        found = {name: _decode(text) for name, text in zip(names, texts, strict=True) if text is not None}
        self._known |= found
        return found

    def destroy(self, queue: str) -> int:
        """Remove a queue with everything; return how many jobs went."""
        number = self._link.run(PLACES, self._keys.store, self._times(), "number", queue)
        gone, is_over = 0, 0
        while not is_over:
            key = self._keys.queue(queue)
            step, is_over = self._link.run(_DESTROY, key, self._times(), _DESTROYED_AT_ONCE, durable=True)
            gone += step
        self._link.run(PLACES, self._keys.store, self._times(), "forget", queue, number, durable=True)
        return gone

    # -- counts and housekeeping ----------------------------------------------------------------------------------

    def stats(self, queue: str) -> QueueStats:
        """Return the counts of a queue."""
        while (answer := self._link.run(_STATS, self._keys.queue(queue), self._times(), _STEP))[0]:
            pass  # there was more to write down than one script does
        _, paused, scheduled, running, done, kept, dead, cancelled, expired, jobs, oldest, *standing = answer
        done += kept
        ready = jobs - scheduled - running - done - dead - cancelled - expired
        lanes = {lane.decode(): count for lane, count in zip(standing[::2], standing[1::2], strict=True)}
        return QueueStats(
            queue=queue,
            scheduled=scheduled,
            ready=ready,
            held=ready - sum(lanes.values()),
            running=running,
            done=done,
            dead=dead,
            cancelled=cancelled,
            expired=expired,
            paused=bool(paused),
            oldest_ready=None if oldest < 0 else oldest / 1000,
            unhandled=self._unhandled(queue, lanes) if lanes else {},
        )

    def _unhandled(self, queue: str, lanes: dict[str, int]) -> dict[str, int]:
        living = (one for one in self._holding.living() if one.beaten is not None and one.beaten < one.ttl)
        served = set(itertools.chain.from_iterable(one.kinds for one in living if queue in one.queues))
        unhandled = dict[str, int]()
        for lane, jobs in lanes.items():
            format_, _, kind = lane.partition(":")
            if int(format_) > FORMAT:
                unhandled[f"{kind} (format {format_})"] = jobs
            elif kind not in served:
                unhandled[kind] = unhandled.get(kind, 0) + jobs
        return unhandled

    def tidy(self, limit: int) -> tuple[Tidied, dict[str, list[str]]]:
        """Do a round of tidying in every queue; return what was done, and the queues of each holder that leases."""
        names = self.names()
        calls = [(_TIDY, self._keys.queue(name), (self._times(), limit)) for name in names]
        tidied, leasing = Tidied(), dict[str, list[str]]()
        for name, reply in zip(names, checked(self._link.run_all(calls, durable=True)), strict=True):
            expired, promoted, dropped, dead, most, holders = reply
            tidied += Tidied(0, expired, promoted, dropped, dead, most >= limit)
            for holder in holders:
                leasing.setdefault(holder.decode(), []).append(name)
        return tidied, leasing


def _fields(settings: QueueSettings) -> list[Arg]:
    """Return what is kept of settings: all as JSON, and in numbers and ms what scripts need."""
    fields: list[Arg] = ["json", msgspec.json.encode(settings)]
    for name in ("max_body", "min_body", "limit", "done_most", "dead_most", "ticks_most"):
        if (number := getattr(settings, name)) is not None:
            fields += [name, number]
    for name in ("done_for", "dead_for", "dedupe_window", "ticks_for"):
        if (length := getattr(settings, name)) is not None:
            fields += [name, int(length * 1000)]
    return fields
