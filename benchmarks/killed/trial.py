"""One trial: jobs are sent, a worker begins, is killed in the middle, a new one is started, and the rest is watched.

The kill falls into a moment when a job is running: the worker's processes are stopped, and go on again where no job is
between its two side effects. A job is done when the second is written; beside it stands what the library itself still
counts as unfinished, so that neither can hide behind the other.
"""

import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import processes
from benchmarks.envs import Outcome, ProgramFailed
from benchmarks.killed.contestants import Contestant
from benchmarks.killed.effects import Effects
from benchmarks.killed.stage import Stage
from benchmarks.servers import server

LIMIT = 120.0
"""Seconds after the kill in which jobs may come back."""

QUIET = 3.0
"""Seconds without a side effect after which a trial only waits, and lets others work."""

BEGUN = 120.0
LOOK_EVERY = 0.002
ASK_EVERY = 5.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a trial found. Seconds count from the kill and are None where it did not happen within the limit.

    `interrupted` jobs had begun and not ended at the kill. `not_done` have no side effect at the end; `unfinished` and
    `failed` are the library's own counts then (None where it does not count). `twice` have it more than once.
    """

    version: str
    settings: dict[str, object]
    jobs: int
    interrupted: int
    not_done: int
    unfinished: int
    failed: int | None
    twice: int
    interrupted_done: float | None
    all_done: float | None


@dataclass(frozen=True, slots=True)
class Kill:
    """When it was, and the jobs that were running in what was killed."""

    at: float
    interrupted: frozenset[int]


def trial(contestant: Contestant, *, jobs: int, scratch: Path, turn: threading.Lock) -> Result:
    """Make one trial. `turn` is held while it works, so that trials share the machine in waiting only."""
    with ExitStack() as working, ExitStack() as held:
        working.enter_context(turn)
        directory = held.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=scratch))
        stage = Stage(contestant, Path(directory), held.enter_context(server(contestant.server, scratch)))
        sent = stage.ask("enqueue", "--jobs", str(jobs))
        effects = Effects(Path(directory) / "effects")
        effects.file.touch()
        worker = held.enter_context(stage.worker())
        try:
            kill = kill_in_the_middle(worker, effects, jobs, one=contestant.one)
        except ProgramFailed as error:
            raise ProgramFailed(f"{contestant.name} {error}:\n{stage.log()}") from error
        if not contestant.one:
            held.enter_context(stage.worker())
        left = watch(stage, effects, jobs, kill.at, working.close)
    return result(sent, left, effects, jobs, kill)


def kill_in_the_middle(worker: "subprocess.Popen[bytes]", effects: Effects, jobs: int, *, one: bool) -> Kill:
    """Kill the worker's processes, or `one` of its children, when half of the jobs are done and some are running."""
    end = time.monotonic() + BEGUN
    while len(effects.done) < jobs // 2:
        effects.read()
        if worker.poll() is not None or time.monotonic() > end:
            raise ProgramFailed(f"has done {len(effects.done)} jobs")
        time.sleep(LOOK_EVERY)
    while True:
        family = processes.freeze(worker.pid)
        effects.read()
        if effects.running:
            break
        processes.thaw(family)
        time.sleep(LOOK_EVERY)
    doomed = processes.descendants(next(iter(effects.running.values()))) if one else family
    interrupted = frozenset(job for job, process in effects.running.items() if process in doomed)
    kill = Kill(time.monotonic(), interrupted)
    processes.kill(doomed)
    if one:
        processes.thaw(family)
    else:
        worker.wait()  # as its service manager would, so that nothing of it is left
    return kill


def watch(stage: Stage, effects: Effects, jobs: int, killed: float, let_others: Callable[[], None]) -> Outcome:
    """Look on until everything is done, for the library too, or the limit is reached; returns what it says then."""
    heard = asked = killed
    while (now := time.monotonic()) < killed + LIMIT:
        if effects.read():
            heard = now
        if now > heard + QUIET:
            let_others()
        if len(effects.done) == jobs and now > heard + 1 and now > asked + ASK_EVERY:
            asked = now
            left = stage.ask("left")
            if not left.figures["unfinished"]:
                return left
        time.sleep(LOOK_EVERY)
    effects.read()
    return stage.ask("left")


def result(sent: Outcome, left: Outcome, effects: Effects, jobs: int, kill: Kill) -> Result:
    ended = {job: times[0] for job, times in effects.done.items()}
    failed = left.figures.get("failed")
    return Result(
        version=sent.version,
        settings=dict(sent.settings),
        jobs=jobs,
        interrupted=len(kill.interrupted),
        not_done=jobs - len(ended),
        unfinished=round(left.figures["unfinished"]),
        failed=None if failed is None else round(failed),
        twice=sum(len(times) > 1 for times in effects.done.values()),
        interrupted_done=since(kill.at, [ended.get(job) for job in kill.interrupted]),
        all_done=since(kill.at, [ended.get(job) for job in range(jobs)]),
    )


def since(start: float, times: list[float | None]) -> float | None:
    """How long after `start` the last of these was, or None where one never came."""
    known = [at for at in times if at is not None]
    return round(max(known) - start, 2) if known and len(known) == len(times) else None
