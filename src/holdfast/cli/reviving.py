"""Replay and reload: long work on many jobs, in batches, at a rate, with progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from holdfast.bulk import Which
from holdfast.cli.choosing import place
from holdfast.cli.output import Output, count, progress
from holdfast.contract import QueueBackend
from holdfast.delivery import Matching, Replayed

Verb = Literal["replay", "reload"]


def revive(
    store: QueueBackend,
    out: Output,
    targets: Mapping[str, Which],
    verb: Verb,
    *,
    rate: float | None = None,
    dry_run: bool = False,
) -> None:
    """Make jobs ready again and say how many were, or with ``dry_run`` only say how many would be."""
    matching = {queue: _revive(store, queue, which, verb, dry_run=True).matching for queue, which in targets.items()}
    total = sum(matching.values(), Matching())
    if dry_run:
        _answer_dry(out, verb, matching, total)
        return
    done: dict[str, Replayed] = {}
    with progress(f"{verb}ing", total.jobs) as bar:
        for queue, which in targets.items():
            update = _Steps(bar.update)
            done[queue] = _revive(store, queue, which, verb, rate=rate, progress=update)
    _answer(out, verb, done)


def _revive(store: QueueBackend, queue: str, which: Which, verb: Verb, **how: Any) -> Replayed:
    one = place(store, queue)
    return one.replay(which, **how) if verb == "replay" else one.reload(which, **how)


class _Steps:
    """Turns how many were done so far into how many more."""

    def __init__(self, update: Any) -> None:
        self._update, self._done = update, 0

    def __call__(self, done: int) -> None:
        self._update(done - self._done)
        self._done = done


def _answer_dry(out: Output, verb: Verb, matching: Mapping[str, Matching], total: Matching) -> None:
    queues = {queue: its.jobs for queue, its in matching.items() if its.jobs}
    noun = "job" if total == Matching(1) else "jobs"
    out.answer(
        {"dry_run": True, "count": total.jobs, "exact": total.exact, "queues": queues},
        f"{total} {noun} would be {verb}ed",
    )


def _answer(out: Output, verb: Verb, done: Mapping[str, Replayed]) -> None:
    moved = [{"queue": queue, "id": job_id} for queue, its in done.items() for job_id in its.moved]
    duplicates = [{"queue": queue, "id": job_id} for queue, its in done.items() for job_id in its.duplicates]
    left = sum(its.matching.jobs for its in done.values()) - len(moved) - len(duplicates)
    lines = [f"{count(len(moved), 'job')} {verb}ed: ready again, with {_ATTEMPTS[verb]}"]
    if duplicates:
        lines.append(f"{count(len(duplicates), 'duplicate')} left as found: another job has the same unique key")
    if left:
        lines.append(f"{count(left, 'job')} left as found: only dead, cancelled and expired jobs are {verb}ed")
    out.answer({"count": len(moved), "left": left, "jobs": moved, "duplicates": duplicates}, *lines)


_ATTEMPTS = {"replay": "all attempts anew", "reload": "one more attempt"}
