"""What is claimed of Holdfast on Redis, each a figure of ours over another's of the same round."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.envs import Program
from benchmarks.measure import Measured, Summary, summary
from benchmarks.redis import contestants
from benchmarks.rows import Source


@dataclass(frozen=True, slots=True)
class Target:
    """The median of our figure over the best of the others' in each round is at least `least`, or at most `most`.

    The best of the others is the greatest where `least` is given, the smallest where `most` is. Without others it is
    our figure itself.
    """

    name: str
    ours: Source
    others: tuple[Source, ...] = ()
    least: float | None = None
    most: float | None = None
    unit: str = "×"

    @property
    def programs(self) -> tuple[Program, ...]:
        return (self.ours.program, *(each.program for each in self.others))


@dataclass(frozen=True, slots=True)
class Found:
    """A target with what was found. `against` is who was best most often."""

    target: Target
    ours: Summary
    other: Summary | None
    against: str
    ratio: Summary
    met: bool


def peers(figure: str) -> tuple[Source, ...]:
    return tuple(Source(peer, figure) for peer in contestants.PEERS)


def ours(figure: str) -> Source:
    return Source(contestants.OURS, figure)


BARE = (Source(contestants.BARE),)
RAW = (Source(contestants.BARE, "enqueued"),)
IDLE = contestants.IDLE

TARGETS: tuple[Target, ...] = (
    Target("no-op jobs, one worker process: over the bare loop", Source(contestants.WORK), BARE, 0.35),
    Target("the same: over the fastest peer", ours("processed"), peers("processed"), 10.0),
    Target("two worker processes: over the fastest peer", ours("processed_by_2"), peers("processed_by_2"), 10.0),
    Target("enqueue one by one: over the fastest peer", ours("one_by_one"), peers("one_by_one"), 1.2),
    Target("enqueue in bulk: over the fastest peer", ours("bulk"), peers("bulk"), 5.0),
    Target("enqueue in bulk: over the raw insert", ours("bulk"), RAW, 0.4),
    Target("100 enqueue at once: over the fastest peer", ours("concurrent"), peers("concurrent"), 5.0),
    Target("100 enqueue at once: over the raw insert", ours("concurrent"), RAW, 0.4),
    Target("enqueue to start p50", ours("start_p50_ms"), most=1.0, unit="ms"),
    Target("enqueue to start p50: over the best peer", ours("start_p50_ms"), peers("start_p50_ms"), most=1.0),
    Target("enqueue to start p99: over the best peer", ours("start_p99_ms"), peers("start_p99_ms"), most=1.0),
    *(
        Target(f"a million {scene}: over a thousand", Source(contestants.FLAT, scene), (short,), 0.9)
        for scene in ("waiting", "unhandled", "scheduled")
        for short in [Source(contestants.FLAT, f"{scene}_short")]
    ),
    Target("an idle worker", Source(IDLE, "idle_percent"), most=1.0, unit="% of a core"),
    Target("an idle worker, beside its beats", Source(IDLE, "idle_statements"), most=0.2, unit="round trips /s"),
    Target("memory after a million jobs", Source(contestants.HISTORY, "over_start"), most=1.05),
)


def find(target: Target, measured: Measured) -> Found | None:
    """What was found; None where ours was not measured, or none of the others."""
    values = complete(target.ours, measured)
    others = {each.program.name: complete(each, measured) for each in target.others}
    others = {name: figures for name, figures in others.items() if figures}
    if not values or (target.others and not others):
        return None
    if not target.others:
        return judged(target, values, None, "", values)
    pick = max if target.least is not None else min
    best = [pick(others, key=lambda name: others[name][number]) for number in range(len(values))]
    theirs = [others[name][number] for number, name in enumerate(best)]
    ratios = [mine / other for mine, other in zip(values, theirs, strict=True)]
    return judged(target, values, theirs, max(best, key=best.count), ratios)


def judged(
    target: Target, values: Sequence[float], theirs: Sequence[float] | None, against: str, ratios: Sequence[float]
) -> Found:
    ratio = summary(ratios)
    high_enough = target.least is None or ratio.median >= target.least
    low_enough = target.most is None or ratio.median <= target.most
    other = None if theirs is None else summary(theirs)
    return Found(target, summary(values), other, against, ratio, high_enough and low_enough)


def complete(source: Source, measured: Measured) -> list[float]:
    """The figure in every round; empty where it was not measured in all of them."""
    series = measured.series.get(source.program.name)
    if series is None or series.failed or any(source.figure not in each.figures for each in series.outcomes):
        return []
    return series.values(source.figure)
