"""Where time comes from: one small object, handed in, so that a test can move it.

Instants inside Holdfast are integers: milliseconds of UTC since 1970 (``wall``) and milliseconds since this machine
booted (``boot``). The wall clock decides when something is due or expires and nothing else; heartbeats are measured
by the boot clock, which also counts while the machine sleeps and which nobody can set.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Tells the time. Implementations never block and may be called from any thread."""

    def wall(self) -> int:
        """Milliseconds of UTC since 1970; may jump when somebody sets the machine's clock."""

    def boot(self) -> int:
        """Milliseconds since this machine booted; never goes back while the machine is up."""

    def on_move(self, moved: Callable[[], None]) -> None:
        """Call ``moved`` whenever somebody moves this clock, so that waits look again; only test clocks are moved."""


class SystemClock:
    """The machine's own clocks."""

    def wall(self) -> int:
        """Return milliseconds of UTC since 1970."""
        return time.time_ns() // 1_000_000

    def boot(self) -> int:
        """Return milliseconds since boot, sleep included where the platform tells."""
        return time.clock_gettime_ns(_BOOT_CLOCK) // 1_000_000

    def on_move(self, moved: Callable[[], None]) -> None:
        """Do nothing: nobody moves the system's clocks from here."""


_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

SYSTEM = SystemClock()


def boot_id() -> str:
    """Return a text that changes at every boot of this machine, so that boot times of two boots are never compared."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux: the boot instant, to the minute, is as good
        return str(int(time.time() - time.monotonic()) // 60)


def moment(millis: int) -> datetime:
    """Return the instant ``millis`` as an aware UTC ``datetime``."""
    return datetime.fromtimestamp(millis / 1000, UTC)
