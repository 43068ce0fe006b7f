"""Waiting for jobs to end: one reading connection, however many jobs and waiters."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from functools import partial

from holdfast.capabilities import Watch
from holdfast.clock import Clock
from holdfast.stores.sqlite import reading
from holdfast.stores.sqlite.file import Reader, data_version

POLL = 0.01
"""How often, in seconds, the file is asked whether another process has committed to it."""
LOOK_AT_LEAST = 30.0
"""Seconds after which a look is made though nothing seems to have changed."""
REST = 9.0
"""A look at the watched jobs is followed by this many times its own length of rest."""


class SqliteWatch(Watch):
    """Looks again whenever something was committed, but never spends more than a tenth of the time looking."""

    def __init__(self, reader: Reader, clock: Clock, closed: Callable[[SqliteWatch], None]) -> None:
        self._reader, self._clock, self._on_close = reader, clock, closed
        self._changed = threading.Condition()
        self._watched: dict[str, set[str]] = {}
        self._fresh = False
        self._interrupted = False
        self._version: tuple[int, int] | None = None
        self._looked = 0.0
        self._rest_until = 0.0
        self._expires: int | None = None
        clock.on_move(self.wake)

    def add(self, queue: str, job_ids: Collection[str]) -> None:
        with self._changed:
            self._watched.setdefault(queue, set()).update(job_ids)
            self._fresh = True
            self._changed.notify_all()

    def discard(self, queue: str, job_ids: Collection[str]) -> None:
        with self._changed:
            self._watched.get(queue, set()).difference_update(job_ids)

    def wait(self, timeout: float) -> list[tuple[str, str]]:
        end = time.monotonic() + timeout
        while True:
            if self._due() and (ended := self._look()):
                return ended
            left = end - time.monotonic()
            with self._changed:
                if self._interrupted or left <= 0:
                    self._interrupted = False
                    return []
                if not self._fresh:
                    self._changed.wait(min(left, POLL))

    def wake(self) -> None:
        """Look at once: this process has committed something."""
        with self._changed:
            self._changed.notify_all()

    def interrupt(self) -> None:
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def close(self) -> None:
        self._reader.close()
        self._on_close(self)

    def _due(self) -> bool:
        """Tell whether there is anything new to look at, and enough rest since the last look."""
        if self._fresh:
            return True
        if time.monotonic() < self._rest_until:
            return False
        if self._expires is not None and self._expires <= self._clock.wall():
            return True  # which nobody need have written down
        if time.monotonic() - self._looked >= LOOK_AT_LEAST:
            return True
        version = self._reader.read(data_version)
        changed, self._version = version != self._version, version
        return changed

    def _look(self) -> list[tuple[str, str]]:
        start = self._looked = time.monotonic()
        with self._changed:
            self._fresh = False
            watched = {queue: list(ids) for queue, ids in self._watched.items() if ids}
        now = self._clock.wall()
        ended: list[tuple[str, str]] = []
        expiries: list[int] = []
        for queue, ids in watched.items():
            over, expires = self._reader.read(partial(reading.ended, queue=queue, job_ids=ids, now=now))
            ended += [(queue, job_id) for job_id in over]
            expiries += [] if expires is None else [expires]
        for queue, job_id in ended:  # only now: a look that fails half-way must not forget what it found
            self.discard(queue, [job_id])
        self._expires = min(expiries, default=None)
        self._rest_until = time.monotonic() + REST * (time.monotonic() - start)
        return ended
