"""Cases of looking at jobs: one by one with their runs, and page by page."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
import pytest

from holdfast.capabilities import Inspectable, JobFilter
from holdfast.contract import QueueBackend
from holdfast.delivery import FIRST_ERRORS, LAST_ERRORS, Ack, Burial, Cancellation, GiveBack, JobView, Nack, State
from holdfast.failures import ErrorInfo
from holdfast.message import Message
from holdfast.testing.conformance.cases import OTHER, QUEUE, WORKER, Cases

BOOM = ErrorInfo("ValueError", "boom", "Traceback …")


class _Store(QueueBackend, Inspectable, Protocol): ...


class InspectCases(Cases):
    """A base to look at one job."""

    needs = (Inspectable,)
    store: _Store

    def _get(self, job_id: str = "job") -> JobView:
        job = self.store.get(QUEUE, job_id)
        assert job is not None
        return job


class GetCases(InspectCases):
    """One job, as it stands at the instant of looking."""

    def test_an_unknown_job_is_none(self) -> None:
        """Neither in a queue that exists nor elsewhere."""
        self.declare()

        assert self.store.get(QUEUE, "job") is None
        assert self.store.get("nowhere", "job") is None

    def test_a_waiting_job_shows_what_was_sent(self) -> None:
        """All of it."""
        now = self.harness.wall()
        self.send(
            "job",
            body=b"\x00\xff",
            kind="mail",
            key="k",
            priority=7,
            headers={"a": "b"},
            max_attempts=3,
            timeout=1.5,
            expires_in=60,
        )

        job = self._get()

        shown = (job.queue, job.id, job.body, job.kind, job.key, job.priority, dict(job.headers), job.max_attempts)
        assert shown == (QUEUE, "job", b"\x00\xff", "mail", "k", 7, {"a": "b"}, 3)
        assert (job.timeout, job.format, job.attempts, job.crashes, job.token) == (1.5, 1, 0, 0, 0)
        assert (job.holder, job.started, job.ended, job.reason, job.runs) == (None, None, None, None, ())
        assert job.sent == pytest.approx(now, abs=2000)
        assert job.expires == pytest.approx(now + 60_000, abs=2000)

    @pytest.mark.parametrize("state", list(State))
    def test_a_job_shows_its_state(self, state: State) -> None:
        """Whatever it is."""
        self.bring("job", state)

        assert self._get().state is state

    def test_a_running_job_shows_its_holder_and_start(self) -> None:
        """Who has it, since when, for the how manieth time."""
        self.send("job")
        self.elapse(5)
        now = self.harness.wall()
        self.lease()

        job = self._get()

        assert (job.holder, job.attempts, job.token) == (WORKER, 1, 1)
        assert job.started == pytest.approx(now, abs=2000)

    def test_an_ended_job_shows_when_it_ended(self) -> None:
        """In ms of the store's wall clock."""
        self.bring("job", State.READY)
        receipt = self.lease_one(kinds=("job",)).receipt
        self.elapse(30)
        now = self.harness.wall()

        self.settle(Ack(receipt))

        assert self._get().ended == pytest.approx(now, abs=2000)

    def test_a_dead_letter_shows_its_reason(self) -> None:
        """Message, reason, attempts, errors."""
        self.send("job")

        self.settle(Burial(self.lease_one().receipt, "no such customer", BOOM))

        job = self._get()
        assert (job.state, job.reason, job.attempts) == (State.DEAD, "no such customer", 1)

    def test_a_stopped_job_shows_its_reason(self) -> None:
        """A handler may cancel its own job."""
        self.send("job")

        self.settle(Cancellation(self.lease_one().receipt, "not needed any more"))

        assert (self._get().state, self._get().reason) == (State.CANCELLED, "not needed any more")

    def test_a_due_job_reads_as_ready(self) -> None:
        """Though nobody has written it down."""
        self.send("job", delay=5)
        self.elapse(5)

        assert self._get().state is State.READY

    def test_an_expired_job_reads_as_expired(self) -> None:
        """From the instant of its expiry."""
        self.send("job", expires_in=5)
        self.elapse(5)

        job = self._get()

        assert (job.state, job.reason) == (State.EXPIRED, "expired")

    @pytest.mark.parametrize("options", [{"delay": 5}, {"expires_in": 5}], ids=["due", "expired"])
    def test_writing_down_what_time_did_changes_nothing_to_see(self, options: dict[str, Any]) -> None:
        """Tidying only writes it down."""
        self.send("job", **options)
        self.elapse(60)
        before = self._get()

        self.store.tidy()

        assert self._get() == before

    def test_looking_changes_nothing(self) -> None:
        """Not even the attempts."""
        self.send("job")
        self._get()

        assert self.lease_one().attempt == 1

    def test_a_held_job_shows_it(self) -> None:
        """Behind the head of its key."""
        self.send("head", "behind", key="k")

        assert (self._get("head").held, self._get("behind").held) == (False, True)

    def test_a_promoted_job_is_held_no_more(self) -> None:
        """The head has ended."""
        self.send("head", "behind", key="k")

        self.settle(Ack(self.lease_one().receipt))

        assert not self._get("behind").held

    def test_a_retry_shows_when_it_is_due(self) -> None:
        """Scheduled, with attempts."""
        self.send("job")
        now = self.harness.wall()

        self.settle(Nack(self.lease_one().receipt, delay=60))

        job = self._get()
        assert (job.state, job.attempts) == (State.SCHEDULED, 1)
        assert job.due == pytest.approx(now + 60_000, abs=2000)

    def test_a_job_given_back_shows_no_holder(self) -> None:
        """Nobody has it."""
        self.send("job")

        self.settle(GiveBack(self.lease_one().receipt))

        job = self._get()
        assert (job.state, job.holder, job.attempts) == (State.READY, None, 0)


class RunCases(InspectCases):
    """Every attempt is recorded."""

    def _fail(self, times: int) -> None:
        for number in range(1, times + 1):
            self.settle(Nack(self.lease_one().receipt, error=ErrorInfo("ValueError", f"failure {number}")))
            self.elapse(0.01)

    def test_a_failed_run_is_recorded_with_its_error(self) -> None:
        """Number, worker, start, end, outcome, error type, message, traceback."""
        self.send("job")
        began = self.harness.wall()
        receipt = self.lease_one().receipt
        self.elapse(3)

        self.settle(Nack(receipt, error=BOOM))

        [run] = self._get().runs
        assert (run.number, run.holder, run.outcome, run.error) == (1, WORKER, "error", BOOM)
        assert run.started == pytest.approx(began, abs=2000)
        assert run.ended == pytest.approx(began + 3000, abs=2000)

    def test_a_timed_out_run_is_told_apart(self) -> None:
        """The reason of the nack is its outcome."""
        self.send("job")

        self.settle(Nack(self.lease_one().receipt, error=BOOM, reason="timeout"))

        assert [run.outcome for run in self._get().runs] == ["timeout"]

    def test_a_burial_is_recorded(self) -> None:
        """As the run it ended."""
        self.send("job")

        self.settle(Burial(self.lease_one().receipt, "no", BOOM))

        assert [(run.outcome, run.error) for run in self._get().runs] == [("buried", BOOM)]

    def test_a_successful_run_is_recorded(self) -> None:
        """After those that failed."""
        self.send("job")
        self._fail(1)

        self.settle(Ack(self.lease_one().receipt))

        assert [(run.number, run.outcome) for run in self._get().runs] == [(1, "error"), (2, "done")]

    def test_a_run_that_never_started_is_not_recorded(self) -> None:
        """Giving back is no run."""
        self.send("job")

        self.settle(GiveBack(self.lease_one().receipt))

        assert self._get().runs == ()

    def test_runs_are_in_order(self) -> None:
        """With their numbers."""
        self.send("job")
        self._fail(3)

        assert [(run.number, run.error and run.error.message) for run in self._get().runs] == [
            (1, "failure 1"),
            (2, "failure 2"),
            (3, "failure 3"),
        ]

    def test_of_many_runs_the_first_two_and_the_last_eight_are_kept(self) -> None:
        """A failing job does not grow for ever."""
        self.send("job", max_attempts=None)
        self._fail(30)

        numbers = [run.number for run in self._get().runs]

        assert numbers == [1, 2, 23, 24, 25, 26, 27, 28, 29, 30]
        assert len(numbers) == FIRST_ERRORS + LAST_ERRORS

    def test_a_run_lost_to_silence_is_recorded(self) -> None:
        """Nobody knows what became of it."""
        self.beat(OTHER, ttl=10)
        self.send("job")
        self.lease(holder=OTHER)
        self.elapse(11)

        self.store.tidy()

        assert [(run.number, run.holder, run.outcome) for run in self._get().runs] == [(1, OTHER, "lost")]

    def test_a_job_buried_in_its_last_attempt_says_why(self) -> None:
        """Visible, with the reason its holder ended (G-T23)."""
        self.beat(OTHER)
        self.send("job", max_attempts=1)
        self.lease(holder=OTHER)

        self.store.retire(OTHER, "went silent", None)

        job = self._get()
        assert (job.state, job.crashes, job.reason) == (State.DEAD, 0, "went silent")

    def test_a_lost_settle_records_nothing(self) -> None:
        """The late worker's error is not the job's."""
        self.send("job")
        receipt = self.lease_one().receipt
        self.settle(GiveBack(receipt))

        self.settle(Nack(receipt, error=BOOM))

        assert self._get().runs == ()


class BrowseCases(InspectCases):
    """Jobs page by page, newest first."""

    def _ids(self, only: JobFilter | None = None, limit: int = 100) -> list[str]:
        """Return the ids of all pages."""
        page = self.store.browse(QUEUE, only or JobFilter(), limit=limit)
        found = [job.id for job in page.jobs]
        while page.cursor is not None:
            page = self.store.browse(QUEUE, only or JobFilter(), limit=limit, cursor=page.cursor)
            found += [job.id for job in page.jobs]
        return found

    def test_an_unknown_queue_has_no_jobs(self) -> None:
        """An empty page, and the last."""
        page = self.store.browse("nowhere", JobFilter())

        assert (page.jobs, page.cursor) == ((), None)

    def test_the_newest_sent_come_first(self) -> None:
        """Whatever their state."""
        self.send("first", delay=60)
        self.send("second", priority=9)
        self.bring("third", State.DONE)

        assert self._ids() == ["third", "second", "first"]

    def test_pages_show_every_job_once(self) -> None:
        """Keyset paging, also when the last page is full."""
        self.send(*map(str, range(30)))

        found = self._ids(limit=10)

        assert found == [str(number) for number in reversed(range(30))]

    def test_a_page_keeps_to_its_limit(self) -> None:
        """The cursor says that there is more."""
        self.send(*map(str, range(30)))

        page = self.store.browse(QUEUE, JobFilter(), limit=7)

        assert len(page.jobs) == 7
        assert page.cursor is not None

    def test_jobs_sent_meanwhile_do_not_shift_later_pages(self) -> None:
        """The cursor is a place, not a number."""
        self.send("a", "b", "c", "d")
        first = self.store.browse(QUEUE, JobFilter(), limit=2)
        self.send("e", "f")

        second = self.store.browse(QUEUE, JobFilter(), limit=2, cursor=first.cursor)

        assert [job.id for job in second.jobs] == ["b", "a"]

    def test_jobs_removed_meanwhile_do_not_shift_later_pages(self) -> None:
        """Also when the last one seen is gone."""
        self.declare(done_for=0)
        self.send("a", "b")
        self.bring("c", State.DONE)
        first = self.store.browse(QUEUE, JobFilter(), limit=1)
        self.tidy_all()

        second = self.store.browse(QUEUE, JobFilter(), limit=10, cursor=first.cursor)

        assert [job.id for job in second.jobs] == ["b", "a"]

    def test_a_page_looks_at_a_bounded_number_of_jobs(self) -> None:
        """It may be short and still have a cursor; the pages together are complete (G-T48)."""
        self.store.send(QUEUE, [Message(id="sought", body=b"", kind="rare")])
        self.store.send(QUEUE, [Message(id=str(number), body=b"") for number in range(10_001)])

        first = self.store.browse(QUEUE, JobFilter(kind="rare"))

        assert (first.jobs, first.cursor is None) == ((), False)
        assert self._ids(JobFilter(kind="rare")) == ["sought"]

    def test_bodies_are_left_out_on_request(self) -> None:
        """With the headers; filters look at them all the same."""
        self.send("job", body=b"a body", headers={"tenant": "x"}, key="k")
        only = JobFilter(headers={"tenant": "x"})

        [whole] = self.store.browse(QUEUE, only).jobs
        [bare] = self.store.browse(QUEUE, only, bodies=False).jobs

        assert (whole.body, whole.headers) == (b"a body", {"tenant": "x"})
        assert bare == msgspec.structs.replace(whole, body=b"", headers={})

    def test_a_page_tells_the_instant_it_was_read_at(self) -> None:
        """By the store's own clock."""
        self.send("job")
        job = self.store.get(QUEUE, "job")
        assert job is not None
        self.elapse(60)

        page = self.store.browse(QUEUE, JobFilter())

        assert page.at - job.sent >= 60_000
        assert self.store.browse("nowhere", JobFilter()).at >= page.at

    def test_pages_come_without_runs(self) -> None:
        """They are for looking one by one."""
        self.send("job")
        self.settle(Burial(self.lease_one().receipt, "no", BOOM))

        [job] = self.store.browse(QUEUE, JobFilter()).jobs

        assert job == msgspec.structs.replace(self._get(), runs=())
