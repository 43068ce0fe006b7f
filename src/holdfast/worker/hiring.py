"""Which runners a worker has: one for each way of running its jobs, and one more for each lane of those."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from holdfast.errors import UsageError, nearest
from holdfast.worker.crew import LaneRunner
from holdfast.worker.options import Lane
from holdfast.worker.runners.runner import Desk, Runner
from holdfast.worker.runners.threads import ThreadRunner


def hire(desk: Desk, slots: int, isolated_slots: int = 0) -> list[Runner]:
    """Return a runner of so many slots for each way of running that these handlers need."""
    isolated = [handler.kind for handler in desk.handlers.values() if handler.isolated is not None]
    here = [handler for handler in desk.handlers.values() if handler.isolated is None]
    plain = [handler.kind for handler in here if not handler.is_async]
    awaited = [handler.kind for handler in here if handler.is_async]
    runners: list[Runner] = []
    if plain:
        runners.append(ThreadRunner(plain, slots, desk))
    if awaited:
        from holdfast.worker.runners.loop import (  # brings asyncio, for which plain workers need not wait
            EventLoop,
            LoopRunner,
        )

        runners.append(LoopRunner(awaited, slots, desk, EventLoop(desk)))
    if isolated:
        from holdfast.worker.runners.processes import ProcessRunner  # brings multiprocessing

        runners.append(ProcessRunner(isolated, isolated_slots, desk))
    return runners


def serve_lanes(
    lanes: Sequence[Lane], queues: Sequence[str], runners: Sequence[Runner], desk: Desk
) -> list[LaneRunner]:
    """Return a runner for each lane and way of running its jobs; those on the event loop share the one there is."""
    served: list[LaneRunner] = []
    for lane in lanes:
        _check("queue", lane.queues, queues)
        _check("kind", lane.names, desk.handlers)
        for shared in runners:
            kinds = shared.kinds & lane.names if lane.names else shared.kinds
            if kinds:
                beside = _beside(shared, kinds, lane.slots, desk)
                served.append(LaneRunner(beside, shared, tuple(lane.queues) or None))
    return served


def _beside(shared: Runner, kinds: frozenset[str], slots: int, desk: Desk) -> Runner:
    if isinstance(shared, ThreadRunner):
        return ThreadRunner(kinds, slots, desk)
    from holdfast.worker.runners.loop import LoopRunner

    if isinstance(shared, LoopRunner):
        return shared.beside(kinds, slots)
    from holdfast.worker.runners.processes import ProcessRunner

    if isinstance(shared, ProcessRunner):
        return ProcessRunner(kinds, slots, desk)
    raise UsageError(f"{type(shared).__name__} serves no lanes")


def _check(what: str, asked: Collection[str], known: Collection[str]) -> None:
    for name in asked:
        if name not in known:
            hint = nearest(name, list(known))
            raise UsageError(f"a lane names {what} {name!r}, which this worker does not serve{hint}")
