"""How a worker is told to work, and what it says when it has ended."""

from __future__ import annotations

import msgspec

from holdfast.errors import UsageError
from holdfast.heartbeat import EMBEDDED_TTL


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Lengths are seconds.

    At most ``concurrency`` jobs run at once on each runner. Beyond those, jobs that will start within ``prefetch``
    are leased, none when ``embedded`` in somebody else's process. ``grace`` is how long a stop waits for running
    jobs. The store is asked every ``busy_poll``, or ``idle_poll`` when there is nothing to do, even if no wake-up
    came. ``drain`` ends the worker when nothing is ready or running any more (jobs due later
    stay), ``max_jobs`` when so many runs have ended.
    """

    concurrency: int = 10
    name: str = ""
    ttl: float = EMBEDDED_TTL
    grace: float = 25.0
    prefetch: float = 1.0
    embedded: bool = False
    busy_poll: float = 1.0
    idle_poll: float = 5.0
    stall_after: float = 30.0
    drain: bool = False
    max_jobs: int | None = None

    def __post_init__(self) -> None:
        for name in ("concurrency", "max_jobs"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise UsageError(f"a worker's {name} is 1 or more, not {value!r}")
        for name in ("ttl", "busy_poll", "idle_poll"):
            if not (value := getattr(self, name)) > 0:
                raise UsageError(f"a worker's {name} is more than 0 seconds, not {value!r}")
        for name in ("grace", "prefetch"):
            if not (value := getattr(self, name)) >= 0:
                raise UsageError(f"a worker's {name} is 0 seconds or more, not {value!r}")


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker's life went, in jobs.

    ``done``, ``retried``, ``buried``, ``cancelled`` and ``given_back`` were settled so; ``lost`` were refused because
    their lease was lost. ``abandoned`` still ran in threads that cannot be stopped, and ``unsettled`` results had
    not reached the store, when the worker ended: both run again.
    """

    done: int = 0
    retried: int = 0
    buried: int = 0
    cancelled: int = 0
    given_back: int = 0
    lost: int = 0
    abandoned: int = 0
    unsettled: int = 0
