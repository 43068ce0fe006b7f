"""Cases of calls in doubt: carried out, but their caller hears of a failure, and calls again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pytest

from holdfast.capabilities import Cancellable, Flushable, Inspectable, JobFilter, Pausable, Progress, Replayable
from holdfast.config import QueueSettings
from holdfast.contract import QueueBackend
from holdfast.delivery import (
    Ack,
    Burial,
    Cancellation,
    Crash,
    Delivery,
    GiveBack,
    HolderInfo,
    JobView,
    Nack,
    Receipt,
    Report,
    State,
)
from holdfast.failures import ErrorInfo
from holdfast.message import FORMAT, Message, Unique
from holdfast.testing.conformance.cases import LONG, Cases

VERBS = (
    *("declare", "send", "lease", "settle", "beat", "retire", "tidy", "report"),
    *("cancel", "replay", "reload", "flush", "remove", "pause", "resume"),
)


class _Store(QueueBackend, Inspectable, Cancellable, Replayable, Flushable, Pausable, Progress, Protocol): ...


class _Life:
    """The life of one queue and its two holders, in which every call of one verb is made twice."""

    def __init__(self, store: _Store, queue: str, doubted: str) -> None:
        self.store, self.queue, self.doubted = store, queue, doubted
        self.worker, self.other = f"{queue}#1", f"{queue}#2"

    def call(self, verb: str, *arguments: Any) -> Any:
        """Call a verb of the store; the first answer of two is the one that got lost."""
        if verb == self.doubted:
            getattr(self.store, verb)(*arguments)
        return getattr(self.store, verb)(*arguments)

    def lease(self, holder: str, limit: int) -> list[Delivery]:
        """Lease; who does not know the outcome gives back what it may have been granted, and leases again."""
        if self.doubted == "lease":
            self._lease(holder, limit, "in doubt")
            self.store.settle([GiveBack(queue=self.queue, lease_id="in doubt")])
        return self._lease(holder, limit, f"{holder} {limit}")

    def _lease(self, holder: str, limit: int, lease_id: str) -> list[Delivery]:
        return self.store.lease(self.queue, holder, lease_id, limit=limit, kinds=("",), max_format=FORMAT)

    def run(self, elapse: Callable[[float], None]) -> None:
        """Let every verb do its work; ``elapse`` lets time pass."""
        self.call("declare", self.queue, QueueSettings(done_for=LONG))
        for holder in (self.worker, self.other):
            self.call("beat", HolderInfo(id=holder, ttl=LONG, queues=(self.queue,), kinds=("",)))
        jobs = [Message(id=f"job {number}", body=b"", max_attempts=2) for number in range(12)]
        line = [Message(id=f"in line {number}", body=b"", key="k", unique=Unique(str(number))) for number in range(3)]
        over = [Message(id="over", body=b"", expires_in=1.0), Message(id="due", body=b"", delay=1.0)]
        self.call("send", self.queue, [*jobs, *line, *over])
        self._work([one.receipt for one in self.lease(self.worker, 7)])
        held = [one.receipt for one in self.lease(self.other, 4)]
        self.call("cancel", self.queue, [held[0].id, "in line 2"])
        elapse(2.0)
        self.call("tidy")
        self.call("retire", self.other, "died", held[:3])
        self._operate()

    def _work(self, receipts: list[Receipt]) -> None:
        self.call("report", [Report(one, 0.5, "half") for one in receipts])
        done, flushed, failed, dead, stopped, back, crashed = receipts
        follower = Message(id="follower", body=b"", delay=LONG)
        settlements = [Ack(done, then=(follower,)), Ack(flushed), Nack(failed, LONG, ErrorInfo("E", "e"))]
        settlements += [Burial(dead, "given up"), Cancellation(stopped), GiveBack(back), Crash(crashed, "died")]
        self.call("settle", settlements)

    def _operate(self) -> None:
        queue = self.queue
        self.call("remove", queue, ["job 0"])
        self.call("replay", queue, ["job 3"])
        self.call("reload", queue, ["job 4"])
        self.call("flush", queue, State.DONE)
        self.call("pause", queue)
        self.call("resume", queue)

    def seen(self) -> list[tuple[object, ...]]:
        """Return what there is to see of each job, instants and tokens aside."""
        page = self.store.browse(self.queue, JobFilter())
        jobs = [self.store.get(self.queue, job.id) for job in page.jobs]
        return [_seen(job) for job in jobs if job is not None]


def _seen(job: JobView) -> tuple[object, ...]:
    runs = tuple((run.number, run.holder.partition("#")[2], run.outcome, run.error) for run in job.runs)
    told = None if job.progress is None else (job.progress.fraction, job.progress.note)
    return job.id, job.state, job.attempts, job.max_attempts, job.crashes, job.held, job.reason, runs, told


class DoubtCases(Cases):
    """Made again, a call that had been carried out changes nothing more."""

    needs = (Inspectable, Cancellable, Replayable, Flushable, Pausable, Progress)
    store: _Store

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_call_made_again_comes_to_what_one_call_comes_to(self, verb: str) -> None:
        """Whichever verb it is, in the midst of the life of a queue."""
        calm, doubted = _Life(self.store, "calm", ""), _Life(self.store, "doubted", verb)

        for life in (calm, doubted):
            life.run(self.elapse)

        assert len(calm.seen()) > 10
        assert doubted.seen() == calm.seen()
        assert (self.stats("doubted").running, self.stats("doubted").paused) == (0, False)
