"""Replay and reload: long work on many jobs, in batches, at a rate, with progress."""

from __future__ import annotations

import time
from typing import Literal

from holdfast.cli.choosing import Chosen, in_batches, place
from holdfast.cli.output import Output, count, progress
from holdfast.contract import QueueBackend
from holdfast.delivery import Replayed

LARGEST_BATCH = 500
BATCHES_PER_SECOND = 10
"""How finely a rate is kept."""


def revive(
    store: QueueBackend, out: Output, chosen: Chosen, verb: Literal["replay", "reload"], rate: float | None = None
) -> None:
    """Make the chosen jobs ready again and say how many were; the others have moved on and are left alone."""
    total = sum(map(len, chosen.values()))
    moved: list[dict[str, str]] = []
    duplicates: list[dict[str, str]] = []
    size = LARGEST_BATCH if rate is None else max(1, min(LARGEST_BATCH, int(rate / BATCHES_PER_SECOND)))
    started = time.monotonic()
    with progress(f"{verb}ing", total) as bar:
        for done, (queue, job_ids) in enumerate(in_batches(chosen, size)):
            if rate is not None and (early := started + done * size / rate - time.monotonic()) > 0:
                time.sleep(early)
            one = place(store, queue)
            revived = one.replay(job_ids) if verb == "replay" else Replayed(tuple(one.reload(job_ids)))
            moved += [{"queue": queue, "id": job_id} for job_id in revived.moved]
            duplicates += [{"queue": queue, "id": job_id} for job_id in revived.duplicates]
            bar.update(len(job_ids))
    left = total - len(moved) - len(duplicates)
    lines = [f"{count(len(moved), 'job')} {verb}ed: ready again, with {_ATTEMPTS[verb]}"]
    if duplicates:
        lines.append(f"{count(len(duplicates), 'duplicate')} left as found: another job has the same unique key")
    if left:
        lines.append(f"{count(left, 'job')} left as found: only dead, cancelled and expired jobs are {verb}ed")
    out.answer({"count": len(moved), "left": left, "jobs": moved, "duplicates": duplicates}, *lines)


_ATTEMPTS = {"replay": "all attempts anew", "reload": "one more attempt"}
