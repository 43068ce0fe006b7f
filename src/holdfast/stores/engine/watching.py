"""Who waits for the ends of jobs in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from typing import Protocol

from holdfast.capabilities import Watch


class Watched(Protocol):
    """What a watch asks of its store."""

    def over(self, queue: str, job_ids: Collection[str]) -> list[str]:
        """Return those of the jobs that have ended, or do not exist."""

    def until_expiry(self, queues: Collection[str]) -> float | None:
        """Write down what has expired in these queues; return the seconds until the next expiry, None for never."""

    def forget(self, watch: EngineWatch) -> None:
        """Tell it of ends no more."""


class EngineWatch(Watch):
    """Told by the store of every end, it keeps those it watches. Its own lock is the innermost."""

    def __init__(self, store: Watched) -> None:
        self._store = store
        self._changed = threading.Condition()
        self._watched: set[tuple[str, str]] = set()
        self._queues: set[str] = set()
        self._ended: list[tuple[str, str]] = []
        self._interrupted = False
        self._look = False

    def add(self, queue: str, job_ids: Collection[str]) -> None:
        with self._changed:
            self._watched.update((queue, job_id) for job_id in job_ids)
            self._queues.add(queue)
        self.tell(queue, self._store.over(queue, job_ids))
        self.look_again()

    def discard(self, queue: str, job_ids: Collection[str]) -> None:
        gone = {(queue, job_id) for job_id in job_ids}
        with self._changed:
            self._watched -= gone
            self._ended = [job for job in self._ended if job not in gone]

    def wait(self, timeout: float) -> list[tuple[str, str]]:
        end = time.monotonic() + timeout
        while True:
            with self._changed:
                self._look, queues = False, list(self._queues)
            pause = self._store.until_expiry(queues)  # jobs also end by time alone, with nobody near
            with self._changed:
                left = end - time.monotonic()
                if self._ended or self._interrupted or left <= 0:
                    self._interrupted = False
                    ended, self._ended = self._ended, []
                    return ended
                if not self._look:
                    self._changed.wait(left if pause is None else min(left, pause))

    def interrupt(self) -> None:
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def close(self) -> None:
        self._store.forget(self)

    def tell(self, queue: str, job_ids: Collection[str]) -> None:
        """Take note that jobs have ended."""
        with self._changed:
            ended = [(queue, job_id) for job_id in job_ids if (queue, job_id) in self._watched]
            if ended:
                self._watched.difference_update(ended)
                self._ended += ended
                self._changed.notify_all()

    def look_again(self) -> None:
        """Ask the store again when the next job expires: a clock was moved, a job added, the store closed."""
        with self._changed:
            self._look = True
            self._changed.notify_all()
