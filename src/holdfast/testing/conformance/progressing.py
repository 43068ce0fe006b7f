"""Cases of progress: what a running job says of how far it is, and to whom that belongs."""

from __future__ import annotations

from typing import Protocol

import pytest

from holdfast.capabilities import Inspectable, JobFilter, Progress
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, Burial, GiveBack, Nack, Receipt, Report, Reported, Settlement
from holdfast.failures import ErrorInfo
from holdfast.testing.conformance.cases import QUEUE, Cases

BOOM = ErrorInfo("ValueError", "boom")


class _Store(QueueBackend, Inspectable, Progress, Protocol): ...


class ProgressCases(Cases):
    """A report belongs to the run that made it, and to nobody who lost the lease."""

    needs = (Inspectable, Progress)
    store: _Store

    def _shown(self, job_id: str = "job") -> Reported | None:
        job = self.store.get(QUEUE, job_id)
        assert job is not None
        return job.progress

    def _running(self, job_id: str = "job") -> Receipt:
        self.send(job_id)
        return self.lease_one().receipt

    def test_a_job_that_has_reported_nothing_shows_no_progress(self) -> None:
        """Waiting or running."""
        self.send("job")
        before = self._shown()

        self.lease_one()

        assert (before, self._shown()) == (None, None)

    def test_a_report_is_shown_with_its_note_and_instant(self) -> None:
        """One by one and in listings."""
        receipt = self._running()
        self.elapse(5)
        now = self.harness.wall()

        lost = self.store.report([Report(receipt, 0.4, "half-way, näh")])

        shown = self._shown()
        assert lost == []
        assert shown is not None
        assert (shown.fraction, shown.note) == (0.4, "half-way, näh")
        assert now <= shown.at <= self.harness.wall()
        assert self.store.browse(QUEUE, JobFilter()).jobs[0].progress == shown

    @pytest.mark.parametrize("fraction", [0.0, 1 / 3, 1.0])
    def test_a_fraction_is_kept_as_it_is(self, fraction: float) -> None:
        """From nothing to all."""
        self.store.report([Report(self._running(), fraction)])

        shown = self._shown()

        assert shown is not None
        assert (shown.fraction, shown.note) == (fraction, "")

    def test_the_last_report_counts(self) -> None:
        """Of several calls, and of several reports in one."""
        receipt = self._running()

        self.store.report([Report(receipt, 0.1, "first")])
        self.store.report([Report(receipt, 0.9, "later"), Report(receipt, 0.5, "last")])

        shown = self._shown()
        assert shown is not None
        assert (shown.fraction, shown.note) == (0.5, "last")

    def test_reports_of_several_jobs_and_queues_go_in_one_call(self) -> None:
        """Each to its own job; what is lost spoils no other."""
        here = self._running()
        self.send("job", queue="elsewhere")
        there = self.lease_one(queue="elsewhere").receipt
        unknown = [Receipt(QUEUE, "nobody", 1), Receipt("nowhere", "job", 1)]

        lost = self.store.report([Report(receipt, 0.5) for receipt in (here, *unknown, there)])

        assert lost == unknown
        assert self._shown() is not None
        elsewhere = self.store.get("elsewhere", "job")
        assert elsewhere is not None
        assert elsewhere.progress is not None

    def test_an_old_token_reports_nothing(self) -> None:
        """A stale worker cannot speak for the new claimant's run."""
        old = self._running()
        self.settle(Nack(old))
        new = self.lease_one().receipt
        self.store.report([Report(new, 0.2, "new")])

        lost = self.store.report([Report(old, 0.9, "old")])

        shown = self._shown()
        assert lost == [old]
        assert shown is not None
        assert shown.note == "new"

    @pytest.mark.parametrize("choice", range(4), ids=["ack", "bury", "nack", "give-back"])
    def test_a_run_that_is_over_reports_nothing(self, choice: int) -> None:
        """Its lease is gone, whatever ended it."""
        receipt = self._running()
        endings: list[Settlement] = [Ack(receipt), Burial(receipt, "given up"), Nack(receipt, 60), GiveBack(receipt)]
        self.settle(endings[choice])

        lost = self.store.report([Report(receipt, 0.9)])

        assert lost == [receipt]
        assert self._shown() is None

    def test_a_new_run_starts_without_progress(self) -> None:
        """While it waits, the job shows how far the failed run had come."""
        receipt = self._running()
        self.store.report([Report(receipt, 0.7, "so far")])
        self.settle(Nack(receipt, delay=10, error=BOOM))
        waiting = self._shown()
        self.elapse(10)

        self.lease_one()

        assert waiting is not None
        assert waiting.note == "so far"
        assert self._shown() is None

    def test_an_ended_job_keeps_what_its_run_said_last(self) -> None:
        """A dead letter shows how far it came."""
        receipt = self._running()
        self.store.report([Report(receipt, 0.7, "then it broke")])

        self.settle(Burial(receipt, "given up", BOOM))

        shown = self._shown()
        assert shown is not None
        assert shown.note == "then it broke"

    def test_progress_goes_with_its_job(self) -> None:
        """An id that is sent again finds none."""
        receipt = self._running()
        self.store.report([Report(receipt, 0.7)])
        self.settle(Ack(receipt))

        self.store.destroy(QUEUE)
        self.send("job")

        assert self._shown() is None

    def test_a_report_changes_nothing_else(self) -> None:
        """Neither counts nor the lease."""
        receipt = self._running()
        before = self.stats()

        self.store.report([Report(receipt, 0.7)])

        assert self.stats() == before
        assert self.settle(Ack(receipt)) == []

    def test_a_call_without_reports_does_nothing(self) -> None:
        """An empty batch is a batch."""
        assert self.store.report([]) == []
