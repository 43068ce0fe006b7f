"""The jobs of one queue that a watch waits for, and what the server of the queue has been told of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from itertools import islice
from typing import Any

import msgspec

from holdfast.stores.redis.connection import Arg
from holdfast.stores.redis.scripts import Script

_WATCH, _UNWATCH, _FOLLOW, _OVER = (
    Script.load(f"completions/{name}") for name in ("watch", "unwatch", "follow", "over")
)
TTL = 30.0
"""Seconds without a sign after which a client is taken for dead, and others may remove its watch."""
BEAT = 5.0
"""Seconds between signs: each also tells whether the server still has all that it was told."""
LOOK_EVERY = 5.0
"""Seconds after which all jobs are looked at, though nothing was told of them."""
REST = 50.0
"""A look at the jobs is followed by at least this many times its own length without one."""
BATCH = 1000
"""How many jobs one call is about: others must not wait for ten thousand."""
ENTRIES = 1000
"""How many entries of the stream are read at a time."""
_SOON = 0.02


class Step(msgspec.Struct, frozen=True):
    """What the server is to be asked: a script, what it is given behind the time, and who takes its answer.

    ``took`` returns the jobs that turn out to have ended; ``failed`` is called when there was no answer.
    """

    script: Script
    args: tuple[Arg, ...]
    took: Callable[[Any], list[str]]
    failed: Callable[[], None]


class Watched:
    """A part of a watch. Its owner asks for steps until there is none, and holds his lock for every call.

    A job is in one of three sets: ``_new``, of which the server is not told yet; ``_known``, which it will tell of; and
    ``_left``, of which it is to tell no more. One that has ended is in none.
    """

    def __init__(self, key: str, watch: str) -> None:
        self.key, self.stream = key, f"{key}:watch:{watch}"
        self._watch = watch
        self._new = dict[str, None]()
        self._known = set[str]()
        self._left = set[str]()
        self._looking = list[str]()
        self._read, self._untrimmed = (b"0", b"0"), 0
        self._look_began = self._look_at = self._follow_at = 0.0
        self._begins_anew = False
        self.is_told = False
        """Whether the server may have something of this watch."""

    # -- which jobs -----------------------------------------------------------------------------------------------

    def add(self, job_ids: Iterable[str]) -> None:
        """Wait for these as well."""
        for job_id in job_ids:
            if job_id not in self._known:
                self._new[job_id] = None
                self._left.discard(job_id)

    def discard(self, job_ids: Collection[str]) -> None:
        """Wait for these no more."""
        for job_id in job_ids:
            self._new.pop(job_id, None)
        self._left.update(self._known.intersection(job_ids))
        self._known.difference_update(job_ids)

    @property
    def is_idle(self) -> bool:
        """Tell whether there is nothing to wait for, and nothing left at the server."""
        return not (self._new or self._known or self._left or self.is_told)

    @property
    def cursor(self) -> bytes:
        """Which entry of the stream was read last."""
        return b"-".join(self._read)

    # -- what to ask ----------------------------------------------------------------------------------------------

    @property
    def due_at(self) -> float:
        """When, on the monotonic clock, there is something to ask, if nothing is told before."""
        if self._new or self._left or self._looking or self._begins_anew:
            return 0.0
        return min(self._follow_at, self._look_at if self._known else self._follow_at)

    def doubt(self) -> None:
        """Ask at the next opportunity, and look at everything: something may have been lost."""
        self._follow_at = self._look_at = 0.0
        self._looking = []

    def ask(self) -> None:
        """Ask at the next opportunity whether anything has ended."""
        self._follow_at = 0.0

    def step(self) -> Step | None:
        """Return what is to be asked next; None when there is nothing for now."""
        now = time.monotonic()
        if self._begins_anew or (self.is_told and now >= self._follow_at and not (self._new or self._known)):
            return self.removal()
        if self._left:
            return self._leave()
        if self._new:
            return self._enter()
        if self._known and now >= self._follow_at:
            numbers = *self._read, ENTRIES
            return Step(_FOLLOW, (self._watch, _TTL_MS, *numbers), self._followed, _nothing)
        if self._known and now >= self._look_at and not self._looking:
            self._looking, self._look_began = list(self._known), now
            self._look_at = now + LOOK_EVERY
        if self._looking:
            some, self._looking = self._looking[:BATCH], self._looking[BATCH:]
            return Step(_OVER, tuple(some), self._looked, _nothing)
        return None

    def removal(self) -> Step:
        """Return a step that removes the watch from the server; ``is_told`` says whether another is needed."""
        return Step(_UNWATCH, (self._watch,), self.removed, _nothing)

    def _enter(self) -> Step:
        some = list(islice(self._new, BATCH))
        for job_id in some:
            del self._new[job_id]
        self._known.update(some)
        self.is_told = True

        def failed() -> None:
            again = self._known.intersection(some)  # those that nobody has discarded meanwhile
            self._known -= again
            self._new.update(dict.fromkeys(again))

        return Step(_WATCH, (self._watch, _TTL_MS, *some), self._entered, failed)

    def _leave(self) -> Step:
        some = list(islice(self._left, BATCH))
        self._left.difference_update(some)

        def failed() -> None:
            self._left.update(job_id for job_id in some if job_id not in self._known and job_id not in self._new)

        return Step(_UNWATCH, (self._watch, *some), _no_jobs, failed)

    # -- what it answers ------------------------------------------------------------------------------------------

    def told(self, entries: Iterable[Any]) -> list[str]:
        """Take what was read from the stream; return the jobs that have ended."""
        ended = list[str]()
        for entry, fields in entries:
            self._read = tuple(entry.split(b"-"))
            ended += self._ended(fields[::2])
            self._untrimmed += 1
        if self._untrimmed >= ENTRIES:
            self._follow_at = 0.0
        return ended

    def _entered(self, reply: Any) -> list[str]:
        over, expires_in = reply
        follow_at = _following(expires_in)
        self._follow_at = min(self._follow_at or follow_at, follow_at)
        return self._ended(over)

    def _ended(self, job_ids: Iterable[bytes]) -> list[str]:
        ended = [job_id for job_id in (one.decode() for one in job_ids) if job_id in self._known]
        self._known.difference_update(ended)
        return ended

    def _followed(self, reply: Any) -> list[str]:
        if reply is None:
            self._begin_anew()
            return []
        entries, awaited, expires_in = reply
        ended = self.told(entries)
        self._untrimmed = len(entries)
        self._follow_at = _following(expires_in)
        if len(entries) == ENTRIES:
            self._follow_at = 0.0
        elif awaited < len(self._known):  # it has lost some of them
            self._begin_anew()
        return ended

    def _looked(self, reply: Iterable[bytes]) -> list[str]:
        ended = self._ended(reply)
        self._left.update(ended)  # nobody has told of these, so they are still waited for
        if not self._looking:
            now = time.monotonic()
            self._look_at = now + max(LOOK_EVERY, REST * (now - self._look_began))
        return ended

    def _begin_anew(self) -> None:
        """Forget what the server was told: it has forgotten some of it, or has taken the client for dead."""
        self._new.update(dict.fromkeys(self._known))
        self._known.clear()
        self._left.clear()
        self._begins_anew = True
        self.doubt()

    def removed(self, is_over: object) -> list[str]:
        """Take note of a step of removing the watch."""
        if is_over:
            self._begins_anew = self.is_told = False
            self._read, self._untrimmed = (b"0", b"0"), 0
        return []


_TTL_MS = int(TTL * 1000)


def _following(expires_in: int) -> float:
    """Return when to ask again: once in a while, and when the next job of the queue expires."""
    return time.monotonic() + (BEAT if expires_in < 0 else min(BEAT, max(_SOON, expires_in / 1000)))


def _nothing() -> None:
    """Nothing was lost with an answer that did not come."""


def _no_jobs(_: object) -> list[str]:
    return []
