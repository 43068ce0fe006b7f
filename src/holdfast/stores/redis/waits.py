"""Waiting for work: a look at each queue, then a blocking command on the markers of its lanes and its due times.

A marker is taken by one waiter. Who took one and does not lease puts it back, or others would miss it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress

from holdfast.errors import Closed, HoldfastError
from holdfast.message import FORMAT
from holdfast.stores.redis.answers import checked
from holdfast.stores.redis.blocking import Blocking
from holdfast.stores.redis.keys import Keys, Times, lanes
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.scripts import Script

_LOOK, _WAKE = Script.load("look"), Script.load("wake")
_PAUSED = -2
_AT_LEAST = 0.002
"""A blocking command with a timeout of 0 would block for ever, and before Redis 7.0 one with 0.001 does."""
_DUE = ""
"""Where a lane is named: the marker of due times."""
_REST = 1.0
"""Seconds for which a server that took no marker back is not asked again, or nine times as long as that took."""
Taken = dict[str, set[str]]
"""Markers that were taken, by queue: lanes, or ``_DUE``."""


class Waits:
    """The waits of one open store."""

    def __init__(self, link: Link, keys: Keys, times: Times) -> None:
        self._link, self._keys, self._times = link, keys, times
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waiting = set[Blocking]()
        self._idle = list[Blocking]()
        self._interrupts = 0
        self._interrupt_next = False
        self._owed: Taken = {}
        self._away: dict[str, float] = {}  # queues whose server took nothing back, and until when it is left alone

    def wait(self, queues: Sequence[str], kinds: Collection[str], timeout: float) -> bool:
        """Block until there may be something to lease; see ``QueueBackend.wait``."""
        end = time.monotonic() + timeout
        with self._own():
            if self._closed:
                raise Closed("the store is closed")
            if self._interrupt_next:
                self._interrupt_next = False
                return False
            blocking = self._idle.pop() if self._idle else Blocking(self._link)
            self._waiting.add(blocking)
            interrupts = self._interrupts
        wait = _Wait(self, blocking, dict.fromkeys(queues), lanes(kinds, FORMAT), interrupts)
        try:
            self.put_back()
            woken = wait.until(end)
        except BaseException:
            self._owe(wait.taken)
            raise
        finally:
            with self._own():
                self._waiting.discard(blocking)
                keep = not self._closed
                if keep:
                    self._idle.append(blocking)
            if not keep:
                blocking.close()
        if woken:
            self._owe(wait.taken)
        else:
            self._put_back(wait.taken)
        return woken

    def goes_on(self, interrupts: int) -> bool:
        """Tell whether waits that began after so many interrupts go on."""
        return self._interrupts == interrupts and not self._closed

    def look(self, queues: Iterable[str], wanted: Sequence[str]) -> dict[str, int]:
        """Return when a lease may next find something in each queue, as lua/look.lua answers it."""
        names, args = list(queues), (self._times(), *wanted)
        replies = checked(self._link.run_all([(_LOOK, self._keys.queue(name), args) for name in names]))
        return dict(zip(names, replies, strict=True))

    # -- markers --------------------------------------------------------------------------------------------------

    def leased(self, queue: str, wanted: Iterable[str], *, granted: int) -> None:
        """Owe nothing for these lanes: a lease puts their markers where they belong. Only one that has granted
        something sees to the due times too.
        """
        if self._owed:
            with self._own():
                self._away.pop(queue, None)
                self._owed.get(queue, set()).difference_update(wanted, [_DUE] if granted else ())

    def _owe(self, taken: Taken) -> None:
        if taken:
            with self._own():
                for queue, which in taken.items():
                    self._owed.setdefault(queue, set()).update(which)

    def put_back(self) -> None:
        """Put back what was taken and led to no lease; but what a server did not take, once it had a rest."""
        if self._owed:
            with self._own():
                now = time.monotonic()
                there = [queue for queue in self._owed if self._away.get(queue, now) <= now]
                owed = {queue: self._owed.pop(queue) for queue in there}
            self._put_back(owed)

    def _put_back(self, taken: Taken) -> None:
        owed = {queue: which for queue, which in taken.items() if which}
        if not owed:
            return
        began = time.monotonic()
        calls = [(_WAKE, self._keys.queue(queue), (self._times(), *which)) for queue, which in owed.items()]
        replies = zip(owed.items(), self._link.run_all(calls), strict=True)
        kept = dict(item for item, reply in replies if isinstance(reply, HoldfastError))
        self._owe(kept)
        with self._own():
            now = time.monotonic()
            self._away |= dict.fromkeys(kept, now + max(_REST, 9 * (now - began)))

    def _own(self) -> threading.Lock:
        """Return the lock; in a process forked with this object, after beginning anew: it would share the pipes."""
        if self._pid != os.getpid():
            self._begin()
        return self._lock

    # -- ending ---------------------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """End the waits going on, or else the next one to come."""
        with self._own():
            self._interrupts += 1
            self._interrupt_next = not self._waiting
            self._nudge()

    def look_again(self) -> None:
        """Let every wait look again: somebody moved the clock, or a server failed, maybe theirs, which says nothing."""
        with self._own():
            self._nudge()

    def _nudge(self) -> None:
        for blocking in self._waiting:
            blocking.interrupt()

    def close(self) -> None:
        """End the waits going on; later ones raise ``Closed``."""
        with suppress(HoldfastError):
            self.put_back()
        with self._own():
            self._closed = True
            self._nudge()
            idle, self._idle = self._idle, []
        for blocking in idle:
            blocking.close()


class _Wait:
    """One wait: it looks, and blocks until it must look again."""

    def __init__(
        self, waits: Waits, blocking: Blocking, queues: Iterable[str], wanted: Sequence[str], interrupts: int
    ) -> None:
        self._waits, self._blocking, self._interrupts = waits, blocking, interrupts
        self._queues, self._wanted = list(queues), wanted
        self.taken: Taken = {}

    def until(self, end: float) -> bool:
        """Return whether there may be something; False when the time is over, or when interrupted."""
        while self._waits.goes_on(self._interrupts):
            chances = self._waits.look(self._queues, self._wanted)
            if 0 in chances.values():
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            pause = min([left, *(chance / 1000 for chance in chances.values() if chance > 0)])
            if self._block(chances, max(pause, _AT_LEAST)):
                return True
            if end - time.monotonic() < _AT_LEAST:  # no look is due before its own time, and no marker came
                return False
        return False

    def _block(self, chances: dict[str, int], pause: float) -> bool:
        """Block at most so long; tell whether a lane has something."""
        markers = dict[str, tuple[str, str]]()
        for queue, chance in chances.items():
            key = self._waits._keys.queue(queue)
            markers[f"{key}:wake"] = queue, _DUE
            if chance != _PAUSED:
                markers |= {f"{key}:wake:{lane}": (queue, lane) for lane in self._wanted}
        commands = [
            (keys[0], ("BZPOPMIN", *keys, f"{pause:.3f}")) for keys in self._waits._link.together(list(markers))
        ]
        try:
            answers = self._blocking.wait(commands, pause)
        except BaseException:  # whatever was taken for an answer that did not come
            for queue, lane in markers.values():
                self.taken.setdefault(queue, set()).add(lane)
            raise
        woken = False
        for _, (key, *_) in answers:
            queue, lane = markers[key.decode()]
            self.taken.setdefault(queue, set()).add(lane)
            woken |= lane != _DUE
        return woken
