"""The demo's event log: how every run ended is appended to it, and a group reads it while the jobs run."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from holdfast.app import App
from holdfast.demo.plan import Planned
from holdfast.demo.survey import QUEUE
from holdfast.errors import HoldfastError
from holdfast.worker import CONTEXT, Context

LOG, GROUP = "runs", "audit"
PARTITIONS = 4
PAGE = 1000

Outcome = Literal["done", "failed"]
Story = dict[str, list[Outcome]]
"""How the runs of each job ended, in order."""


class Run(msgspec.Struct, frozen=True):
    """How one run of a job ended."""

    job: str
    outcome: Outcome


class Audit:
    """What the group has read: how often each message, and the story that they tell."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.reads: dict[str, int] = {}
        self.story: Story = {}

    def note(self, message: str, run: Run) -> None:
        """Note that a message was read."""
        with self._changed:
            self.reads[message] = self.reads.get(message, 0) + 1
            self.story.setdefault(run.job, []).append(run.outcome)
            self._changed.notify_all()

    def wait_for(self, messages: int, patience: float) -> None:
        """Wait until so many messages were read; ``HoldfastError`` when they do not come."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.reads) >= messages, patience):
                raise HoldfastError(f"{len(self.reads)} of {messages} events were read within {patience:g} s")


def declare(app: App) -> Audit:
    """Append how each run ends, and let the group read it. The job is the key, which keeps its runs in order."""
    log, audit = app.log(LOG, partitions=PARTITIONS), Audit()

    def append(job: str, outcome: Outcome) -> None:
        log.append(msgspec.json.encode(Run(job, outcome)), key=job)

    @app.middleware.run
    def told(ctx: Context) -> Iterator[None]:
        try:
            yield
        except Exception:
            if ctx.queue == QUEUE:
                append(ctx.id, "failed")
            raise
        if ctx.queue == QUEUE:
            append(ctx.id, "done")

    @app.consume(LOG, group=GROUP)
    def read(run: Run, *, ctx: Context = CONTEXT) -> None:
        audit.note(ctx.id, run)

    return audit


def expected(plan: Sequence[Planned], jobs: Sequence[str]) -> Story:
    """Return how the runs of each job must end, one job for each file of the plan."""
    return {job: [*_failures(one), "done"] for one, job in zip(plan, jobs, strict=True)}


def _failures(one: Planned) -> Iterator[Outcome]:
    for _ in range(one.failures):
        yield "failed"


def appended(app: App) -> Story:
    """Return the story that the log tells."""
    found: Story = {}
    log = app.log(LOG)
    for ends in log.ends():
        offset = ends.first
        while batch := log.read(ends.partition, offset, PAGE):
            for body in batch.bodies:
                run = msgspec.json.decode(body, type=Run)
                found.setdefault(run.job, []).append(run.outcome)
            offset = batch.next_offsets[ends.partition]
    return found
