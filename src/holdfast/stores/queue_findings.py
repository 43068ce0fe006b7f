"""What an operator should know of queues, whatever the store: judged by their statistics alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.capabilities import Finding
from holdfast.delivery import QueueStats

LATE = 300.0
"""Seconds that a job may be ready before nobody seems to keep up with its queue."""


def queue_findings(found: Sequence[QueueStats]) -> Iterator[Finding]:
    """Yield what is to be said of each queue, the healthy ones included."""
    for stats in found:
        name, late = f"queue {stats.queue!r}", stats.oldest_ready
        for kind, jobs in stats.unhandled.items():
            yield Finding(
                "warn", f"{name}: {jobs} ready of kind {kind!r}", "no live worker of this queue handles that kind",
                "start a worker whose App has that task, or cancel them",
            )  # fmt: skip
        if stats.paused:
            yield Finding("warn", f"{name} is paused", "no lease is granted", f"holdfast queues resume {stats.queue}")
        if late is not None and late > LATE and not stats.paused:
            yield Finding(
                "warn", f"{name}: the oldest ready job waits for {late:.0f} s", "its workers do not keep up",
                "add workers, or look for jobs that hold a key for long",
            )  # fmt: skip
        elif late is not None:
            yield Finding("ok", f"{name}: {stats.ready} ready, the oldest for {late:.0f} s")
        else:
            yield Finding("ok", f"{name}: nothing could start now")
