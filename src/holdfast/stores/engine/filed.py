"""What is kept of the jobs of one queue beside their heads: where their papers are, and how their runs ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from holdfast.delivery import Attempt, Reported, keep_runs
from holdfast.failures import ErrorInfo
from holdfast.machine import Head, Machine
from holdfast.message import Message
from holdfast.stores.engine.papers import Handle, Papers, Unreadable


class Run(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A run that failed; ``error`` is the handle of its error when that is a paper."""

    attempt: Attempt
    error: Handle | None = None


class Record(msgspec.Struct, eq=False, gc=False, array_like=True):
    """What has become of a job, and where its papers are."""

    message: Handle
    runs: tuple[Run, ...] = ()
    result: Handle | None = None
    progress: tuple[int, Reported] | None = None
    """With the token of its run."""


class Filed:
    """The records. A job without one has nothing but its message, which is found under the job's own number."""

    def __init__(self, machine: Machine, papers: Papers) -> None:
        self.machine = machine
        self.records: dict[str, Record] = {}
        self._papers = papers

    def keep(self, message: Message, seq: int, number: int) -> None:
        """Keep the message of the job ``seq``; its paper is that of this number."""
        handle = self._papers.keep(number, message)
        if handle != seq:
            self.records[message.id] = Record(handle)

    def record(self, head: Head) -> Record:
        """Return the record of a job, made now if need be."""
        record = self.records.get(head.id)
        if record is None:
            record = self.records[head.id] = Record(head.seq)
        return record

    def message(self, head: Head) -> Message | Unreadable:
        """Return what was sent."""
        return self._papers.messages([self._handle(head)])[0]

    def _handle(self, head: Head) -> Handle:
        record = self.records.get(head.id)
        return head.seq if record is None else record.message

    def note(self, head: Head, attempt: Attempt, error: ErrorInfo | None = None, number: int = 0) -> None:
        """Keep a run that failed; its ``error``, if it is a paper, is that of this number."""
        if error is None:
            run = Run(attempt)
        else:
            run = Run(msgspec.structs.replace(attempt, error=None), self._papers.keep(number, error))
        record = self.record(head)
        record.runs = keep_runs((*record.runs, run))

    def runs(self, head: Head) -> tuple[Attempt, ...]:
        """Return the runs of a job that failed, with their errors."""
        record = self.records.get(head.id)
        return () if record is None else tuple(map(self._attempt, record.runs))

    def _attempt(self, run: Run) -> Attempt:
        if run.error is None:
            return run.attempt
        return msgspec.structs.replace(run.attempt, error=self._papers.error(run.error))

    def forget(self, heads: Sequence[Head]) -> None:
        """Let go of the papers of jobs that the machine has removed."""
        for head in heads:
            record = self.records.pop(head.id, None)
            self._papers.drop(head.seq if record is None else record.message)

    def handles(self) -> Iterator[Handle]:
        """Return the handles of all papers that are still needed."""
        records = self.records
        for job_id, seq in self.machine.heads.numbers():
            yield records[job_id].message if job_id in records else seq
        for record in records.values():
            if record.result is not None:
                yield record.result
            yield from (run.error for run in record.runs if run.error is not None)

    def last_error(self, job_id: str) -> str:
        """Return the text of a job's last error, empty when it has none."""
        record = self.records.get(job_id)
        error = self._attempt(record.runs[-1]).error if record is not None and record.runs else None
        return "" if error is None else f"{error.type}: {error.message}"
