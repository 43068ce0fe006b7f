"""Clocks that a test moves: hours pass in an instant, and nobody sleeps."""

from __future__ import annotations

import mmap
import struct
import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

from holdfast.clock import SYSTEM

_TIMES = struct.Struct("<qq")


class MovableClock:
    """A clock that goes on by itself from ``start`` (ms of UTC; the present by default) and can be moved besides.

    With ``ticking=False`` it stands still until it is moved, so that what a test sees never depends on how fast it
    runs. Thread-safe; ``on_move`` callbacks run after each move, in the thread that moved the clock.
    """

    def __init__(self, start: int | None = None, *, ticking: bool = True) -> None:
        self.ticking = ticking
        self._callbacks: list[Callable[[], Callable[[], None] | None]] = []
        self._lock = threading.Lock()
        if ticking:
            self._set_up((0 if start is None else start - SYSTEM.wall(), 0))
        else:
            self._set_up((SYSTEM.wall() if start is None else start, SYSTEM.boot()))

    def wall(self) -> int:
        """Return milliseconds of UTC since 1970, as moved."""
        return self._load()[0] + (SYSTEM.wall() if self.ticking else 0)

    def boot(self) -> int:
        """Return milliseconds since boot, as moved."""
        return self._load()[1] + (SYSTEM.boot() if self.ticking else 0)

    def on_move(self, moved: Callable[[], None]) -> None:
        """Call ``moved`` after every move that is made through this object; a method as long as its object lives."""
        try:
            kept: Callable[[], Callable[[], None] | None] = weakref.WeakMethod(moved)
        except TypeError:  # a plain function
            kept = partial(_itself, moved)
        with self._lock:
            self._callbacks.append(kept)

    def move(self, seconds: float) -> None:
        """Let ``seconds`` pass on both clocks at once."""
        self._shift(seconds, seconds)

    def set_wall(self, delta: float) -> None:
        """Set the wall clock ``delta`` seconds forward, or back, as an operator may; the boot clock is untouched."""
        self._shift(delta, 0)

    def _shift(self, wall: float, boot: float) -> None:
        with self._lock:
            times = self._load()
            self._store((times[0] + round(wall * 1000), times[1] + round(boot * 1000)))
            self._callbacks = [kept for kept in self._callbacks if kept() is not None]
            callbacks = [moved for kept in self._callbacks if (moved := kept()) is not None]
        for moved in callbacks:
            moved()

    # What a ticking clock keeps is how far it is from the system's clocks; a standing one keeps the instants.

    def _set_up(self, times: tuple[int, int]) -> None:
        self._times = times

    def _load(self) -> tuple[int, int]:
        return self._times

    def _store(self, times: tuple[int, int]) -> None:
        self._times = times


class SharedClock(MovableClock):
    """A movable clock that several processes share through a file of 16 bytes, made by the first who opens it.

    All of them must agree on ``ticking``. Callbacks run in the process that moves the clock; waits in the others
    look again when their poll interval is over.
    """

    def __init__(self, path: Path, *, ticking: bool = True) -> None:
        self.path = path
        super().__init__(ticking=ticking)

    def _set_up(self, times: tuple[int, int]) -> None:
        if not self.path.exists():
            self.path.write_bytes(_TIMES.pack(*times))
        with self.path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _TIMES.size)

    def _load(self) -> tuple[int, int]:
        wall, boot = _TIMES.unpack_from(self._shared)
        return wall, boot

    def _store(self, times: tuple[int, int]) -> None:
        _TIMES.pack_into(self._shared, 0, *times)


def _itself(moved: Callable[[], None]) -> Callable[[], None]:
    return moved
