"""How a worker is told to work, and what it says when it has ended."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from holdfast.errors import UsageError
from holdfast.heartbeat import EMBEDDED_TTL
from holdfast.worker.gates import Named

LONGEST_NAME = 255
"""Characters of a worker's name."""


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """So many ``slots`` of a worker for jobs of these ``queues``, and of these ``kinds`` (tasks or their names), alone.

    One of the two may be left out; with both, a job must fit both. Those jobs take shared slots too; others never
    take a lane's. Like the shared slots, a lane's are there for plain and for async tasks each.
    """

    slots: int
    queues: Sequence[str] = ()
    kinds: Sequence[str | Named] = ()

    def __post_init__(self) -> None:
        for name, value in (("queues", self.queues), ("kinds", self.kinds)):
            if isinstance(value, str):
                raise UsageError(f"the {name} of a lane are several: Lane({name}=[{value!r}])")
        if not isinstance(self.slots, int) or self.slots < 1:
            raise UsageError(f"a lane's slots are 1 or more, not {self.slots!r}")
        if not self.queues and not self.kinds:
            raise UsageError("a lane says for which queues or kinds it is: Lane(slots=2, queues=['urgent'])")

    @property
    def names(self) -> frozenset[str]:
        """The names of its kinds; none when it is for all."""
        return frozenset(kind if isinstance(kind, str) else kind.name for kind in self.kinds)


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Lengths are seconds.

    At most ``concurrency`` jobs run at once on each runner, and beside them those of its ``lanes``; of isolated
    tasks, ``isolated``, each in a process of its own: by default as many as there are cores, but no more than
    ``concurrency``. Beyond those, jobs that will start within ``prefetch`` are leased, none when ``embedded`` in
    somebody else's process. ``grace`` is how long a stop waits for running jobs. The store is asked every
    ``busy_poll`` even if no wake-up came, or ``idle_poll`` when there is nothing to do, not even to end. ``drain`` ends
    the worker when nothing is ready or running any more (jobs due later stay), ``max_jobs`` when so many runs have
    ended. When it is ``supervised``, this process's parent looks after it.
    """

    concurrency: int = 10
    name: str = ""
    ttl: float = EMBEDDED_TTL
    grace: float = 25.0
    prefetch: float = 1.0
    embedded: bool = False
    busy_poll: float = 1.0
    idle_poll: float = 30.0
    stall_after: float = 30.0
    drain: bool = False
    max_jobs: int | None = None
    lanes: Sequence[Lane] = ()
    supervised: bool = False
    isolated: int | None = None

    def __post_init__(self) -> None:
        if len(self.name) > LONGEST_NAME:
            raise UsageError(f"a worker's name has at most {LONGEST_NAME} characters, not {len(self.name)}")
        for name in ("concurrency", "max_jobs", "isolated"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise UsageError(f"a worker's {name} is 1 or more, not {value!r}")
        for name in ("ttl", "busy_poll", "idle_poll"):
            if not (value := getattr(self, name)) > 0:
                raise UsageError(f"a worker's {name} is more than 0 seconds, not {value!r}")
        for name in ("grace", "prefetch"):
            if not (value := getattr(self, name)) >= 0:
                raise UsageError(f"a worker's {name} is 0 seconds or more, not {value!r}")

    @property
    def processes(self) -> int:
        """How many isolated jobs run at once."""
        return min(self.concurrency, _cores()) if self.isolated is None else self.isolated


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker's life went, in jobs.

    ``done``, ``retried``, ``buried``, ``cancelled`` and ``given_back`` were settled so; of ``crashed`` a process of
    their own died, and they came back or were buried; ``lost`` were refused because their lease was lost.
    ``abandoned`` still ran in threads that cannot be stopped, and ``unsettled`` results had not reached the store, when
    the worker ended: both run again.
    """

    done: int = 0
    retried: int = 0
    buried: int = 0
    cancelled: int = 0
    given_back: int = 0
    crashed: int = 0
    lost: int = 0
    abandoned: int = 0
    unsettled: int = 0
