"""Interleaved rounds: every program runs once per round, so that a slow minute of the machine slows all alike.

Rounds alternate in direction, so that none always runs after the same other. The raw figures of the machine are taken
at the start of each round. Programs with variants are tried before the rounds, interleaved too; the best one stays.
Programs that make rounds of their own run after the others, each once.
"""

import json
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.envs import Outcome, Program, ProgramFailed, run, run_rounds
from benchmarks.job import BODY, Stopwatch, noop
from benchmarks.servers import IN_MEMORY, server

BLOCK = b"\x5a" * 4096
SYNCS = 1_000
LOOPS = 200_000

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Summary:
    """The median of a few values and how far they spread."""

    median: float
    low: float
    high: float
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a variant before the rounds."""

    variant: tuple[str, ...]
    figures: dict[str, float]


@dataclass(slots=True)
class Series:
    """All runs of one program: the trials of its variants, the variant kept, one outcome per round, and what failed."""

    program: Program
    jobs: int
    variant: tuple[str, ...] = ()
    trials: list[Trial] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    failed: str = ""

    def values(self, figure: str) -> list[float]:
        """The figure in each round."""
        return [outcome.figures[figure] for outcome in self.outcomes]


@dataclass(frozen=True, slots=True)
class Measured:
    """What the rounds gave: a series per program name and the raw figures of the machine."""

    series: dict[str, Series]
    raw: dict[str, Summary]


def summary(values: Sequence[float]) -> Summary:
    return Summary(statistics.median(values), min(values), max(values), tuple(values))


def measure(programs: Sequence[Program], *, rounds: int, scale: float, scratch: Path, say: Say) -> Measured:
    """Run all programs for `rounds` rounds, each with its number of jobs times `scale`."""
    series = {program.name: Series(program, max(program.fewest, round(program.jobs * scale))) for program in programs}
    shared = [each for each in series.values() if not each.program.own_rounds]
    for each in [each for each in shared if not each.program.once]:
        attempt(each, say, lambda each=each: choose_variant(each, scratch, say))
    raw: dict[str, list[float]] = {"fdatasync": [], "loop": []}
    for number in range(1, rounds + 1):
        raw["fdatasync"].append(fdatasync_rate(scratch))
        raw["loop"].append(loop_rate())
        for each in shared if number % 2 else reversed(shared):
            if not each.failed and not (each.program.once and number > 1):
                say(f"round {number} of {rounds}: {each.program.name}")
                attempt(each, say, lambda each=each: each.outcomes.append(once(each, scratch, each.variant)))
    for each in series.values():
        if each.program.own_rounds:
            say(f"{rounds} rounds of its own: {each.program.name}")
            attempt(each, say, lambda each=each: each.outcomes.extend(own_rounds(each, scratch, rounds)))
    return Measured(series, {name: summary(values) for name, values in raw.items()})


def attempt(series: Series, say: Say, work: Callable[[], object]) -> None:
    """Do it; where the program is optional, its failure is told and kept instead of raised."""
    try:
        work()
    except ProgramFailed as error:
        if not series.program.optional:
            raise
        series.failed = str(error)
        say(f"left out from here on: {error}")


def once(series: Series, scratch: Path, variant: tuple[str, ...]) -> Outcome:
    """Run the program once, on a server of its own where it needs one."""
    program = series.program
    with server(program.server, scratch, IN_MEMORY) as url:
        return run(program, jobs=series.jobs, scratch=scratch, variant=(*variant, *at(url)))


def own_rounds(series: Series, scratch: Path, rounds: int) -> list[Outcome]:
    program = series.program
    with server(program.server, scratch, IN_MEMORY) as url:
        return run_rounds(program, jobs=series.jobs, scratch=scratch, rounds=rounds, arguments=at(url))


def at(url: str) -> tuple[str, ...]:
    return ("--url", url) if url else ()


def choose_variant(series: Series, scratch: Path, say: Say) -> None:
    """Keep the variant whose deciding figure has the best median; this also warms up environment and disk."""
    program = series.program
    series.variant = program.variants[0]
    for _ in range(program.trials if len(program.variants) > 1 else 1):
        for variant in program.variants:
            say(f"trying {program.name} {' '.join(variant)}".rstrip())
            figures = once(series, scratch, (*variant, *program.trying)).figures
            series.trials.append(Trial(variant, dict(figures)))

    def deciding(variant: tuple[str, ...]) -> float:
        tried = (trial for trial in series.trials if trial.variant == variant)
        return statistics.median(trial.figures[program.judged_by] for trial in tried)

    if len(program.variants) > 1:
        series.variant = max(program.variants, key=deciding)


def fdatasync_rate(scratch: Path) -> float:
    """4 KiB appends per second, each made durable before the next, in a file that grows."""
    sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync
    with tempfile.TemporaryFile(dir=scratch, buffering=0) as file:
        watch = Stopwatch()
        for _ in range(SYNCS):
            file.write(BLOCK)
            sync(file.fileno())
        return watch.rate(SYNCS)


def loop_rate() -> float:
    """Times per second that one thread decodes the JSON arguments and calls the job: what no store can pass."""
    watch = Stopwatch()
    for _ in range(LOOPS):
        noop(**json.loads(BODY))
    return watch.rate(LOOPS)
