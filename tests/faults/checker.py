"""The judge of a history: which promises do the facts, and what the store says at the end, contradict?

Each rule is a function from a :class:`Story` to its findings; ``check`` asks all of them. The rules themselves are
tested by histories with a planted fault, see ``test_checker.py``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec

from holdfast.delivery import ENDED, State
from tests.faults.history import Accepted, Called, Died, Ended, Fact, Killed, Offered, Paused, Refused, Sent, Started

GRAIN = 0.002
"""Seconds by which a start may seem too early: stores keep due times in whole milliseconds."""


class Final(msgspec.Struct, frozen=True):
    """What the store says of one job at the end."""

    id: str
    state: State
    token: int
    attempts: int
    crashes: int = 0
    reason: str | None = None


class Promises(msgspec.Struct, frozen=True, kw_only=True):
    """What holds beside what always holds.

    Acknowledged jobs end in one of the states ``ends``. What a kill interrupted starts again within ``recovery``
    seconds, and a job starts within ``lateness`` after it was stored and due. With ``fifo``, jobs without a key first
    start in the order they were sent, as one slot has it. No job is charged with more than ``crashes``, the ``killers``
    of processes aside. With ``silent``, a holder merely fell silent, and nobody knew which of its jobs had started.
    """

    ends: frozenset[State] = frozenset({State.DONE})
    recovery: float | None = None
    lateness: float | None = None
    fifo: bool = False
    crashes: int = 1
    killers: frozenset[str] = frozenset()
    silent: bool = False


class Finding(NamedTuple):
    """A promise that was broken: which rule says so, and how."""

    rule: str
    id: str
    text: str


class Run(msgspec.Struct):
    """One run of a job, put together from its facts; ``pids`` are the processes it needed.

    ``killed`` is when one of them died before the store had taken what came of the run, ``paused`` when one of them was
    stopped for longer than its ttl.
    """

    id: str
    token: int
    pids: tuple[int, ...]
    started: float
    began: bool = False
    ended: float | None = None
    outcome: str = ""
    accepted: float | None = None
    refused: bool = False
    killed: float | None = None
    paused: float | None = None

    @property
    def over(self) -> float:
        """From when on its handler certainly did nothing any more."""
        if not self.began:
            return self.started
        return min(self.ended or float("inf"), self.killed or float("inf"))

    @property
    def interrupted(self) -> bool:
        """Whether it was killed before the store had taken what came of it."""
        return self.killed is not None and self.accepted is None and not self.refused

    @property
    def may_be_followed(self) -> bool:
        """Whether another run of the job may come after this one."""
        return self.outcome in {"failed", "stopped"} or self.interrupted or self.paused is not None


class Story:
    """The facts of a history, by job."""

    def __init__(self, facts: Sequence[Fact], finals: Iterable[Final], promises: Promises) -> None:
        self.facts = sorted(facts, key=lambda fact: fact.at)
        self.finals: Mapping[str, Final] = {final.id: final for final in finals}
        self.promises = promises
        self.offered = {fact.id: fact for fact in self.facts if isinstance(fact, Offered)}
        self.place = {job_id: place for place, job_id in enumerate(self.offered)}
        self.sent = {job_id: fact.at for fact in self.facts if isinstance(fact, Sent) for job_id in fact.ids}

    @cached_property
    def runs(self) -> dict[str, list[Run]]:
        """The runs of each job, in the order in which they started."""
        jobs: dict[str, list[Run]] = {}
        for run in sorted(self._begun(), key=lambda run: run.started):
            jobs.setdefault(run.id, []).append(run)
        deaths, pauses = self._deaths(), [fact for fact in self.facts if isinstance(fact, Paused)]
        for job_id, runs in jobs.items():
            for run, following in itertools.zip_longest(runs, runs[1:]):
                _judge(run, following, deaths, pauses)
            _forgive_missing_line(self.finals.get(job_id), runs)
        return jobs

    def _begun(self) -> list[Run]:
        """Return the runs and how they ended; two runs of one token are two."""
        called = {(fact.id, fact.token): fact for fact in self.facts if isinstance(fact, Called)}
        runs: dict[tuple[str, int], list[Run]] = {}
        for fact in self.facts:
            if isinstance(fact, Started):
                call = called.pop((fact.id, fact.token), fact)
                run = Run(fact.id, fact.token, tuple({call.pid, fact.pid}), fact.at, began=True)
                runs.setdefault((fact.id, fact.token), []).append(run)
        for grant, call in called.items():
            runs.setdefault(grant, [Run(call.id, call.token, (call.pid,), call.at)])
        for fact in self.facts:
            if isinstance(fact, Ended | Accepted | Refused):
                for run in runs.get((fact.id, fact.token), ()):
                    _end(run, fact)
        return [run for same in runs.values() for run in same]

    def _deaths(self) -> dict[int, float]:
        """Return when each process died that was killed: not before the last that it told."""
        told = {fact.pid: fact.at for fact in self.facts if not isinstance(fact, Killed | Died | Paused)}
        deaths: dict[int, float] = {}
        for fact in self.facts:
            if isinstance(fact, Killed | Died):
                least = fact.at if isinstance(fact, Killed) else 0.0
                deaths |= {pid: max(least, told.get(pid, 0.0)) for pid in fact.pids}
        return deaths


def _end(run: Run, fact: Fact) -> None:
    match fact:
        case Ended():
            run.ended, run.outcome = fact.at, fact.outcome
        case Accepted():
            run.accepted = fact.at
        case Refused():
            run.refused = True


def _judge(run: Run, following: Run | None, deaths: Mapping[int, float], pauses: Sequence[Paused]) -> None:
    """Note what befell a run before it was settled: nobody else had it then."""
    until = float("inf") if following is None else following.started
    if run.accepted is None and not run.refused:
        run.killed = min(
            (deaths[pid] for pid in run.pids if run.started <= deaths.get(pid, 0.0) <= until), default=None
        )
    run.paused = min((fact.at for fact in pauses if fact.at <= until and set(fact.pids) & set(run.pids)), default=None)


def _forgive_missing_line(final: Final | None, runs: Sequence[Run]) -> None:
    """A process may be killed after the store took a completion and before it could write so."""
    if final is not None and final.state is State.DONE and not any(run.accepted for run in runs):
        for run in runs:
            if run.token == final.token and run.interrupted:
                run.accepted = run.killed


# -- rules --------------------------------------------------------------------------------------------------------


def lost(story: Story) -> Iterator[Finding]:
    """A job acknowledged to its sender is there at the end, and has ended as it may."""
    for job_id in story.sent:
        final = story.finals.get(job_id)
        if final is None:
            yield Finding("lost", job_id, "acknowledged to its sender, and not there")
        elif final.state not in story.promises.ends:
            word = "ended" if final.state in ENDED else "is still"
            yield Finding("lost", job_id, f"acknowledged to its sender, and {word} {final.state}: {final.reason}")


def phantom(story: Story) -> Iterator[Finding]:
    """Nothing is there, and nothing runs, that nobody sent; nothing is done that has not run."""
    for job_id in {*story.finals, *story.runs} - set(story.offered):
        yield Finding("phantom", job_id, "nobody sent it")
    for job_id, final in story.finals.items():
        if final.state is State.DONE and not any(run.token == final.token for run in story.runs.get(job_id, ())):
            yield Finding("phantom", job_id, f"done by a run with token {final.token}, which never was")


def completed_twice(story: Story) -> Iterator[Finding]:
    """The store takes one completion of a job, and keeps to it."""
    for job_id, runs in story.runs.items():
        accepted = [run for run in runs if run.accepted]
        final = story.finals.get(job_id)
        if len(accepted) > 1:
            yield Finding("completed twice", job_id, f"by tokens {[run.token for run in accepted]}")
        elif accepted and final is not None and (final.state, final.token) != (State.DONE, accepted[0].token):
            yield Finding("completed twice", job_id, f"{accepted[0]} was accepted, and the store says {final}")
        if any(run.accepted and run.refused for run in runs):
            yield Finding("completed twice", job_id, "one run was both accepted and refused")


def ran_again(story: Story) -> Iterator[Finding]:
    """A job whose completion was accepted never starts again, and a run is followed by another only with a reason."""
    for job_id, runs in story.runs.items():
        for run, following in itertools.pairwise(runs):
            if run.accepted and following.started > run.accepted and following.paused is None:
                yield Finding("ran again", job_id, f"{following} after {run} had been accepted")
            elif not run.may_be_followed:
                yield Finding("ran again", job_id, f"{following} though nothing had happened to {run}")


def at_once(story: Story) -> Iterator[Finding]:
    """No job runs twice at once, unless the first run's process was stopped for so long that it lost its lease."""
    for job_id, runs in story.runs.items():
        for run, following in itertools.combinations(runs, 2):
            lost_lease = run.paused is not None and run.paused <= following.started
            if run.over > following.started and not lost_lease:
                yield Finding("at once", job_id, f"{following} began while {run} was not over")


def token(story: Story) -> Iterator[Finding]:
    """Each run of a job has a higher token than those before it."""
    for job_id, runs in story.runs.items():
        for run, following in itertools.pairwise(runs):
            late = following.paused is not None or run.paused is not None
            if following.token == run.token or (following.token < run.token and not late):
                yield Finding("token", job_id, f"{following} after {run}")


def refused(story: Story) -> Iterator[Finding]:
    """A lease is lost only by a process that was stopped for too long."""
    for job_id, runs in story.runs.items():
        for run in runs:
            if run.refused and run.paused is None:
                yield Finding("refused", job_id, f"{run} lost its lease, and its process was never stopped")


def key_order(story: Story) -> Iterator[Finding]:
    """Jobs of one key run one at a time and in the order they were sent."""
    keys: dict[str, list[Run]] = {}
    for job_id, runs in story.runs.items():
        offered = story.offered.get(job_id)
        if offered is not None and offered.key is not None and not offered.due:
            keys.setdefault(offered.key, []).extend(runs)
    for key, all_runs in keys.items():
        for run, following in itertools.pairwise(sorted(all_runs, key=lambda run: run.started)):
            if run.id == following.id:
                continue
            if story.place[following.id] < story.place[run.id] and following.paused is None:
                yield Finding("key order", following.id, f"of key {key!r} began after {run.id}, which was sent later")
            if run.over > following.started and run.paused is None:
                yield Finding("key order", following.id, f"of key {key!r} began while {run} was not over")


def fifo(story: Story) -> Iterator[Finding]:
    """Jobs without a key begin in the order they were sent."""
    if not story.promises.fifo:
        return
    firsts = [runs[0] for job_id, runs in story.runs.items() if _is_plain(story.offered.get(job_id))]
    for run, following in itertools.pairwise(sorted(firsts, key=lambda run: run.started)):
        if story.place[following.id] < story.place[run.id]:
            yield Finding("fifo", following.id, f"began after {run.id}, which was sent later")


def _is_plain(offered: Offered | None) -> bool:
    return offered is not None and offered.key is None and not offered.due


def early(story: Story) -> Iterator[Finding]:
    """No job starts before it is sent, or before it is due."""
    for job_id, runs in story.runs.items():
        offered = story.offered.get(job_id)
        if offered is not None and runs[0].started < (due := offered.at + offered.due) - GRAIN:
            yield Finding("early", job_id, f"began {due - runs[0].started:.3f} s before it was due")


def late(story: Story) -> Iterator[Finding]:
    """A job starts soon after it is stored and due."""
    if story.promises.lateness is None:
        return
    for job_id, runs in story.runs.items():
        if job_id in story.sent and job_id in story.offered:
            waited = runs[0].started - max(story.sent[job_id], story.offered[job_id].at + story.offered[job_id].due)
            if waited > story.promises.lateness:
                yield Finding("late", job_id, f"began {waited:.3f} s after it was stored and due")


def attempts(story: Story) -> Iterator[Finding]:
    """An attempt is charged to a run that counted: done, failed, or interrupted after it had really started."""
    if story.promises.silent:
        return
    for final in story.finals.values():
        runs = story.runs.get(final.id, ())
        counted = sum(_counts(run, final) for run in runs)
        if final.attempts > counted:
            yield Finding("attempts", final.id, f"{final.attempts} attempts, of which {counted} counted: {runs}")


def _counts(run: Run, final: Final) -> bool:
    undecodable = not run.began and (final.state, final.token) == (State.DEAD, run.token)
    ended = run.accepted is not None or run.outcome == "failed" or undecodable
    return ended or run.interrupted or run.paused is not None


def crashes(story: Story) -> Iterator[Finding]:
    """A crash is charged to each run that was interrupted by the death of its process, and to no other."""
    most, killers, silent = story.promises.crashes, story.promises.killers, story.promises.silent
    for final in story.finals.values():
        runs = story.runs.get(final.id, ())
        if final.crashes > sum(run.interrupted for run in runs):
            yield Finding(
                "crashes", final.id, f"{final.crashes} crashes, and none of its runs was so often interrupted"
            )
        if final.crashes > most and final.id not in killers:
            yield Finding("crashes", final.id, f"{final.crashes} crashes, and it killed nobody")
        sure = sum(run.interrupted and run.began and run.ended is None for run in runs)
        if final.crashes < min(sure, most) and not silent:
            yield Finding("crashes", final.id, f"{final.crashes} crashes, and {sure} of its runs were cut short")


def recovery(story: Story) -> Iterator[Finding]:
    """What was interrupted starts again soon, or has ended."""
    for job_id, runs in story.runs.items():
        final = story.finals.get(job_id)
        if runs[-1].interrupted and final is not None and final.state not in {State.DEAD, *story.promises.ends}:
            yield Finding("recovery", job_id, f"{runs[-1]} was interrupted, and it never ran again")
    if (most := story.promises.recovery) is None:
        return
    for job_id, seconds in _recoveries(story):
        if seconds > most:
            yield Finding("recovery", job_id, f"ran again only after {seconds:.2f} s")


def _recoveries(story: Story) -> Iterator[tuple[str, float]]:
    for job_id, runs in story.runs.items():
        for run, following in itertools.pairwise(runs):
            if run.interrupted and run.killed is not None:
                yield job_id, following.started - run.killed


Rule = Callable[[Story], Iterator[Finding]]
RULES: tuple[Rule, ...] = (
    lost,
    phantom,
    completed_twice,
    ran_again,
    at_once,
    token,
    refused,
    key_order,
    fifo,
    early,
    late,
    attempts,
    crashes,
    recovery,
)


def check(facts: Sequence[Fact], finals: Iterable[Final], promises: Promises | None = None) -> list[Finding]:
    """Return every promise that this history breaks."""
    story = Story(facts, finals, promises or Promises())
    return [finding for rule in RULES for finding in rule(story)]


def recoveries(facts: Sequence[Fact], finals: Iterable[Final]) -> list[float]:
    """Return for each interrupted run that was followed by another the seconds from the kill to that."""
    return [seconds for _, seconds in _recoveries(Story(facts, finals, Promises()))]
