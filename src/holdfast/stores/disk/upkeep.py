"""What partitions need when nobody appends: a mark when they have become idle, a sync when its interval is over.

One thread looks after any number of them. It sleeps while all are quiet, and is woken once when one no longer is.
"""

from __future__ import annotations

import threading
from typing import Protocol

from holdfast.events import LOGGER

AGAIN_IN = 1.0
"""Seconds until what failed in an unforeseen way is looked after again."""


class Kept(Protocol):
    """What is looked after."""

    def upkeep(self) -> float | None:
        """Do what is due; return in how many seconds to come again, None when woken for the next time."""


class Upkeep:
    """The thread: begun by the first that is woken, ended by ``stop``."""

    def __init__(self, name: str = "holdfast-upkeep") -> None:
        self._name = name
        self._changed = threading.Condition()
        self._awake: dict[int, Kept] = {}
        self._thread: threading.Thread | None = None
        self._woken = self._stopped = False

    def wake(self, kept: Kept) -> bool:
        """Look after this one from now on, until it is quiet. Blocks for an instant at most; any thread.

        False when no thread can be begun, as while the program ends: wake it again then.
        """
        with self._changed:
            if self._stopped:
                return True
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return False
                self._thread = thread
            self._awake[id(kept)] = kept
            self._woken = True
            self._changed.notify()
            return True

    def stop(self) -> None:
        """End the thread and wait for it. May be repeated."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        delay: float | None = None
        while (awake := self._next_round(delay)) is not None:
            delays = [again for kept in awake if (again := self._look_after(kept)) is not None]
            delay = min(delays, default=None)

    def _next_round(self, delay: float | None) -> list[Kept] | None:
        """Block until it is time, or somebody was woken; return all that are to be looked after, None when stopped."""
        with self._changed:
            if not self._woken and not self._stopped:
                self._changed.wait(delay)
            self._woken = False
            # Taken out before they are asked: one that is woken while it is asked is in again.
            awake, self._awake = list(self._awake.values()), {}
            return None if self._stopped else awake

    def _look_after(self, kept: Kept) -> float | None:
        again: float | None
        try:
            again = kept.upkeep()
        except Exception:  # the others are to be looked after all the same, and so is this one
            LOGGER.exception("%r could not be looked after; it is tried again", kept)
            again = AGAIN_IN
        if again is not None:
            with self._changed:
                self._awake[id(kept)] = kept
        return again
