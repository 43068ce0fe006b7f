"""Cases of dead letters that are put: what failed elsewhere is browsed and replayed like any other."""

from __future__ import annotations

from typing import Any, Protocol

from holdfast.capabilities import DeadLetters, Inspectable, JobFilter, Replayable
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, State
from holdfast.failures import ErrorInfo
from holdfast.message import Unique
from holdfast.testing.conformance.cases import LONG, QUEUE, Cases

BOOM = ErrorInfo("ValueError", "boom", "Traceback: näh")


class _Store(QueueBackend, DeadLetters, Inspectable, Replayable, Protocol): ...


class _Burying(Cases):
    """Short words for cases of dead letters."""

    store: _Store

    def _put(
        self,
        job_id: str = "job",
        *,
        error: ErrorInfo | None = BOOM,
        attempts: int = 3,
        crashes: int = 1,
        **options: Any,
    ) -> bool:
        message = self.message(job_id, **options)
        return self.store.put_dead(QUEUE, message, "given up", error=error, attempts=attempts, crashes=crashes)


class DeadLetterCases(_Burying):
    """A dead letter is stored as if its job had died here."""

    needs = (DeadLetters, Inspectable, Replayable)

    def test_it_is_dead_from_the_start(self) -> None:
        """Counted as such, and never leased."""
        assert self._put()

        assert self.stats().dead == 1
        assert self.leased() == []

    def test_it_is_seen_as_it_was_put(self) -> None:
        """The whole message, the reason, the counters and the instant."""
        self._put(kind="consumer", body=b"payload", headers={"a": "b"}, key="k", priority=7, max_attempts=4)

        job = self.store.get(QUEUE, "job")

        assert job is not None
        assert (job.state, job.reason, job.attempts, job.crashes) == (State.DEAD, "given up", 3, 1)
        assert (job.kind, job.body, job.headers) == ("consumer", b"payload", {"a": "b"})
        assert (job.key, job.priority, job.max_attempts) == ("k", 7, 4)
        assert job.sent == job.ended
        assert (job.due, job.started, job.holder, job.held) == (None, None, None, False)

    def test_its_last_run_is_recorded_with_the_error(self) -> None:
        """The number of the run is that of its attempts."""
        self._put()

        job = self.store.get(QUEUE, "job")

        assert job is not None
        [run] = job.runs
        assert (run.number, run.outcome, run.error, run.ended) == (3, "buried", BOOM, job.ended)

    def test_a_dead_letter_needs_no_error(self) -> None:
        """Its processes may have died without one."""
        self._put(error=None, attempts=0, crashes=3)

        job = self.store.get(QUEUE, "job")

        assert job is not None
        [run] = job.runs
        assert (run.number, run.error, job.crashes) == (0, None, 3)

    def test_putting_it_again_stores_nothing(self) -> None:
        """Who dies between this and his commit does both again, and it appears once."""
        self._put(body=b"first")

        again = self._put(body=b"second")

        job = self.store.get(QUEUE, "job")
        assert not again
        assert job is not None
        assert job.body == b"first"
        assert self.stats().dead == 1

    def test_an_id_that_is_known_is_left_as_it_is(self) -> None:
        """Whatever state it is in."""
        for state in State:
            self.bring(state.value, state)

        put = [self._put(state.value) for state in State]

        assert not any(put)
        assert [getattr(self.stats(), state) for state in State] == [1] * len(State)

    def test_an_id_that_retention_dropped_is_still_known(self) -> None:
        """For as long as any ended job's."""
        self.declare(dead_for=10, dedupe_window=1000)
        self._put()
        self.elapse(11)
        self.tidy_all()

        assert self.stats().dead == 0
        assert not self._put()

    def test_it_makes_its_queue(self) -> None:
        """As a send does."""
        self.store.put_dead("elsewhere", self.message("job"), "no", error=None, attempts=1, crashes=0)

        assert "elsewhere" in self.store.queues()
        assert self.stats("elsewhere").dead == 1

    def test_it_is_browsed_by_its_reason_and_error(self) -> None:
        """Among the others."""
        self.bring("other", State.DEAD)
        self._put()

        only = JobFilter(states=(State.DEAD,), text="boom")

        assert [job.id for job in self.store.browse(QUEUE, only).jobs] == ["job"]

    def test_neither_limit_nor_largest_body_count(self) -> None:
        """What failed must be kept somewhere."""
        self.declare(limit=1, max_body=10)
        self.send("waiting")

        assert self._put(body=b"x" * 100)
        assert self.stats().dead == 1

    def test_it_counts_for_no_limit(self) -> None:
        """Only what waits does."""
        self.declare(limit=1)
        self._put()

        self.send("job 2")

        assert self.stats().ready == 1


class BuriedCases(_Burying):
    """Afterwards it is a dead letter like any other: replayed, reloaded, dropped by retention."""

    needs = (DeadLetters, Inspectable, Replayable)

    def test_delay_and_expiry_are_over(self) -> None:
        """It is dead, neither scheduled nor expired, and stays so."""
        self._put("late", delay=LONG)
        self._put("brief", expires_in=1)
        self.elapse(5)
        self.tidy_all()

        assert (self.stats().dead, self.stats().scheduled, self.stats().expired) == (2, 0, 0)

    def test_it_is_replayed_like_any_other(self) -> None:
        """As if new, with its whole message."""
        self._put(kind="consumer", body=b"payload", headers={"a": "b"}, max_attempts=4)

        moved = self.store.replay(QUEUE, ["job"]).moved

        got = self.lease_one(kinds=("consumer",))
        assert moved == ("job",)
        assert (got.body, got.headers, got.attempt, got.crashes, got.max_attempts) == (b"payload", {"a": "b"}, 1, 0, 4)
        assert self.settle(Ack(got.receipt)) == []

    def test_a_reload_grants_one_more_attempt(self) -> None:
        """Beyond those it had elsewhere."""
        self._put(attempts=5, max_attempts=5)
        self.store.reload(QUEUE, ["job"])

        got = self.lease_one()

        assert (got.attempt, got.last_attempt) == (6, True)

    def test_it_holds_no_key(self) -> None:
        """Until it is replayed; then it goes behind."""
        self._put("old", key="k")
        self.send("waiting", key="k")

        self.store.replay(QUEUE, ["old"])

        assert self.leased() == ["waiting"]
        assert self.stats().held == 1

    def test_it_has_no_unique_slot(self) -> None:
        """Until it is replayed, if it is free then."""
        unique = Unique("u", within=LONG)
        self._put("old", unique=unique)

        stored = self.send("new", unique=unique)

        assert [one.duplicate for one in stored] == [False]
        assert self.store.replay(QUEUE, ["old"]).duplicates == ("old",)

    def test_retention_drops_it(self) -> None:
        """By the instant it was put."""
        self.declare(dead_for=60)
        self.elapse(100)
        self._put()
        self.elapse(59)
        self.tidy_all()
        kept = self.stats().dead
        self.elapse(2)
        self.tidy_all()

        assert (kept, self.stats().dead) == (1, 0)

    def test_only_so_many_are_kept(self) -> None:
        """As of those that died here."""
        self.declare(dead_most=2)
        for number in range(5):
            self.elapse(1)
            self._put(f"job {number}")

        self.tidy_all()

        assert [job.id for job in self.store.browse(QUEUE, JobFilter()).jobs] == ["job 4", "job 3"]


class DurableDeadLetterCases(_Burying):
    """A dead letter outlives the process."""

    needs = (DeadLetters, Inspectable, Replayable)
    promises = ("durable",)

    def test_it_is_there_after_reopening(self) -> None:
        """With its run, and its id is known."""
        self._put()

        self.store = self.harness.reopen()  # type: ignore[assignment]

        job = self.store.get(QUEUE, "job")
        assert job is not None
        assert (job.state, job.runs[0].error) == (State.DEAD, BOOM)
        assert not self._put()
