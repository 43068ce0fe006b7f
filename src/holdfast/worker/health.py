"""How a worker is: whether it lives, whether it leases, and what it says of itself with each beat."""

from __future__ import annotations

import os
from functools import cache
from heapq import nsmallest

import msgspec

from holdfast.clock import Clock
from holdfast.delivery import HolderInfo, RunningJob
from holdfast.worker.crew import Crew
from holdfast.worker.memory import memory_of
from holdfast.worker.runners.runner import Lagging

MOST_RUNNING = 20
"""So many of the jobs that run are told of with a beat, those that have run longest."""


class Health(msgspec.Struct, frozen=True):
    """``live``: its threads turn; one that is not should be replaced. ``ready``: it leases what there is to lease.
    ``why`` says what is amiss, and is empty when nothing is.
    """

    live: bool
    ready: bool
    why: str = ""


def describe(holder: HolderInfo, crew: Crew, state: str, clock: Clock) -> HolderInfo:
    """Return the holder with what a worker says of itself to people."""
    running, now = crew.running(), clock.boot()
    longest = nsmallest(MOST_RUNNING, running, key=lambda context: context.started)
    return msgspec.structs.replace(
        holder,
        version=_version(),
        slots=sum(runner.slots for runner in crew.runners),
        used=len(running),
        running=tuple(
            RunningJob(context.queue, context.id, context.kind, max(0, now - context.started) / 1000)
            for context in longest
        ),
        memory=memory_of(os.getpid()),
        lag=_lag(crew),
        state=state,
    )


def _lag(crew: Crew) -> float | None:
    lags = (runner.lag for runner in crew.runners if isinstance(runner, Lagging))
    return max((lag for lag in lags if lag is not None), default=None)


@cache
def _version() -> str:  # holdfast.__version__ lies above this layer
    from importlib.metadata import PackageNotFoundError, version  # costs start-up time, which only workers pay

    try:
        return version("holdfast")
    except PackageNotFoundError:  # a copy that was not installed, as frozen programs carry
        return ""
