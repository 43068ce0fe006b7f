"""Cases of outcomes and results: how a job ended, what it returned, and waiting for that."""

from __future__ import annotations

import time
from typing import Protocol

import pytest

from holdfast.capabilities import Results, Watch
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, Burial, Cancellation, Nack, Outcome, Settlement, State
from holdfast.failures import ErrorInfo
from holdfast.testing.conformance.cases import OTHER, PATIENCE, PROMPT, QUEUE, Cases, beside

BOOM = ErrorInfo("ValueError", "boom", "Traceback …")


class _Store(QueueBackend, Results, Protocol): ...


class OutcomeCases(Cases):
    """The outcomes of ended jobs."""

    needs = (Results,)
    store: _Store

    def _outcome(self, job_id: str = "job") -> Outcome | None:
        return self.store.outcomes(QUEUE, [job_id]).get(job_id)

    def _ack(self, keep_result: float = 0.0) -> None:
        self.send("job")
        self.settle(Ack(self.lease_one().receipt, b"value", keep_result))

    def test_a_done_job_has_an_outcome(self) -> None:
        """Without a value when none is kept."""
        self.bring("job", State.DONE)

        assert self._outcome() == Outcome(State.DONE)

    def test_a_result_is_kept_with_the_ack(self) -> None:
        """Stored in the same atomic step."""
        self._ack(keep_result=60)

        assert self._outcome() == Outcome(State.DONE, b"value")

    def test_an_empty_result_is_a_result(self) -> None:
        """No bytes are not none."""
        self.send("job")

        self.settle(Ack(self.lease_one().receipt, b"", 60))

        assert self._outcome() == Outcome(State.DONE, b"")

    def test_a_result_nobody_keeps_is_not_stored(self) -> None:
        """Outcome only, by default."""
        self._ack()

        assert self._outcome() == Outcome(State.DONE)

    def test_a_result_of_a_lost_ack_is_not_stored(self) -> None:
        """The value of the one that counted stays."""
        self.send("job")
        receipt = self.lease_one().receipt
        self.settle(Ack(receipt, b"first", 60))

        self.settle(Ack(receipt, b"second", 60))

        assert self._outcome() == Outcome(State.DONE, b"first")

    def test_a_result_lapses_after_its_time(self) -> None:
        """The next tidy removes the value; the outcome stays."""
        self._ack(keep_result=60)
        self.elapse(61)
        self.tidy_all()

        assert self._outcome() == Outcome(State.DONE)

    def test_a_result_does_not_lapse_before(self) -> None:
        """Not a moment early."""
        self._ack(keep_result=60)
        self.elapse(58)
        self.tidy_all()

        assert self._outcome() == Outcome(State.DONE, b"value")

    def test_a_kept_result_keeps_its_job(self) -> None:
        """Retention waits for it."""
        self.declare(done_for=0, done_most=0)
        self._ack(keep_result=60)
        self.elapse(30)

        self.tidy_all()

        assert self._outcome() == Outcome(State.DONE, b"value")

    def test_a_lapsed_result_keeps_its_job_no_longer(self) -> None:
        """Retention goes by the job's end."""
        self.declare(done_for=0)
        self._ack(keep_result=60)
        self.elapse(61)

        self.tidy_all()

        assert self._outcome() is None
        assert self.stats().done == 0

    def test_a_lapsed_result_does_not_make_its_job_younger(self) -> None:
        """Of two the one that ended first is dropped."""
        self.declare(done_most=1)
        self._ack(keep_result=60)
        self.elapse(1)
        self.bring("newer", State.DONE)
        self.elapse(60)

        self.tidy_all()

        assert set(self.store.outcomes(QUEUE, ["job", "newer"])) == {"newer"}

    def test_a_dead_job_has_its_reason_and_error(self) -> None:
        """Type, message, traceback."""
        self.send("job")

        self.settle(Burial(self.lease_one().receipt, "no such customer", BOOM))

        assert self._outcome() == Outcome(State.DEAD, None, "no such customer", BOOM)

    def test_a_stopped_job_has_its_reason(self) -> None:
        """Without an error."""
        self.send("job")

        self.settle(Cancellation(self.lease_one().receipt, "not needed"))

        assert self._outcome() == Outcome(State.CANCELLED, None, "not needed")

    def test_an_expired_job_has_an_outcome(self) -> None:
        """From the instant of its expiry."""
        self.send("job", expires_in=5)
        self.elapse(5)

        assert self._outcome() == Outcome(State.EXPIRED, None, "expired")

    @pytest.mark.parametrize("state", [State.SCHEDULED, State.READY, State.RUNNING])
    def test_a_job_that_has_not_ended_has_none(self, state: State) -> None:
        """It is left out of the answer."""
        self.bring("job", state)

        assert self.store.outcomes(QUEUE, ["job"]) == {}

    def test_many_outcomes_come_in_one_answer(self) -> None:
        """Unknown jobs are left out."""
        self.bring("a", State.DONE)
        self.bring("b", State.DEAD)
        self.bring("c", State.READY)

        outcomes = self.store.outcomes(QUEUE, ["a", "b", "c", "unknown"])

        assert {job_id: outcome.state for job_id, outcome in outcomes.items()} == {"a": State.DONE, "b": State.DEAD}


class WatchCases(Cases):
    """A standing question "which of these have ended?"."""

    needs = (Results,)
    store: _Store

    @pytest.fixture(autouse=True)
    def _watch(self, _open: None) -> None:
        self.watch: Watch = self.store.watch()

    def _wait(self, timeout: float = PATIENCE) -> set[str]:
        """Wait once; the ended ids of the queue."""
        return {job_id for queue, job_id in self.watch.wait(timeout) if queue == QUEUE}

    def test_a_job_that_had_ended_before_is_returned(self) -> None:
        """At once."""
        self.bring("job", State.DONE)
        self.watch.add(QUEUE, ["job"])

        assert self.watch.wait(PATIENCE) == [(QUEUE, "job")]

    def test_a_job_that_does_not_exist_is_returned(self) -> None:
        """Nobody would ever end it."""
        self.watch.add(QUEUE, ["unknown"])
        self.watch.add("nowhere", ["job"])

        assert set(self.watch.wait(PATIENCE)) == {(QUEUE, "unknown"), ("nowhere", "job")}

    @pytest.mark.parametrize("end", [State.DONE, State.DEAD, State.CANCELLED])
    def test_a_job_that_ends_later_wakes(self, end: State) -> None:
        """However it ends."""
        self.send("job")
        receipt = self.lease_one().receipt
        self.watch.add(QUEUE, ["job"])
        waiting = beside(lambda: (self._wait(), time.monotonic()))
        began = time.monotonic()

        ends: dict[State, Settlement] = {
            State.DONE: Ack(receipt),
            State.DEAD: Burial(receipt, "no"),
            State.CANCELLED: Cancellation(receipt),
        }
        self.settle(ends[end])

        ended, at = waiting.result(2 * PATIENCE)
        assert ended == {"job"}
        assert at - began < PROMPT

    def test_a_job_that_expires_with_nobody_near_is_returned(self) -> None:
        """It ends by time alone."""
        self.send("job", expires_in=5)
        self.watch.add(QUEUE, ["job"])
        self.elapse(5)

        assert self._wait() == {"job"}

    def test_a_job_that_expires_wakes(self) -> None:
        """While the watch waits, also where no worker runs."""
        self.send("job", expires_in=5)
        self.watch.add(QUEUE, ["job"])
        waiting = beside(lambda: (self._wait(), time.monotonic()))
        began = time.monotonic()

        self.elapse(5)

        ended, at = waiting.result(2 * PATIENCE)
        assert ended == {"job"}
        assert at - began < PROMPT

    def test_a_job_buried_with_its_holder_wakes(self) -> None:
        """Nobody settled it."""
        self.beat(OTHER)
        self.send("job", max_attempts=1)
        self.lease(holder=OTHER)
        self.watch.add(QUEUE, ["job"])

        self.store.retire(OTHER, "died", None)

        assert self._wait() == {"job"}

    def test_the_job_of_a_destroyed_queue_is_returned(self) -> None:
        """It exists no longer."""
        self.send("job")
        self.watch.add(QUEUE, ["job"])

        self.store.destroy(QUEUE)

        assert self._wait() == {"job"}

    def test_a_job_that_waits_is_not_returned(self) -> None:
        """Its time passes, and the answer is empty."""
        self.send("job")
        self.watch.add(QUEUE, ["job"])
        self.settle(Nack(self.lease_one().receipt))

        assert self.watch.wait(0.05) == []

    def test_each_job_is_returned_once(self) -> None:
        """Then it is watched no longer."""
        self.bring("job", State.DONE)
        self.watch.add(QUEUE, ["job"])
        self._wait()

        assert self.watch.wait(0.05) == []

    def test_jobs_nobody_watches_are_not_returned(self) -> None:
        """Others end all the time."""
        self.send("watched")
        self.watch.add(QUEUE, ["watched"])

        self.bring("other", State.DONE)

        assert self.watch.wait(0.05) == []

    def test_a_discarded_job_is_not_returned(self) -> None:
        """Not even when it had ended."""
        self.bring("ended", State.DONE)
        self.send("waiting")
        self.watch.add(QUEUE, ["ended", "waiting"])

        self.watch.discard(QUEUE, ["ended", "waiting"])

        assert self.watch.wait(0.05) == []

    def test_an_interrupt_ends_a_wait(self) -> None:
        """From another thread."""
        self.send("job")
        self.watch.add(QUEUE, ["job"])
        waiting = beside(lambda: self.watch.wait(PATIENCE))

        self.watch.interrupt()

        assert waiting.result(PROMPT) == []

    def test_many_jobs_are_watched_at_once(self) -> None:
        """One watch for all."""
        names = [str(number) for number in range(1500)]
        self.send(*names)
        self.watch.add(QUEUE, names)
        self.settle(*(Ack(delivery.receipt) for delivery in self.lease(1500)))
        ended: set[str] = set()

        while len(ended) < len(names) and (more := self._wait()):
            ended |= more

        assert ended == set(names)

    def test_every_watch_is_told(self) -> None:
        """They do not take from each other."""
        self.send("job")
        other = self.store.watch()
        for watch in (self.watch, other):
            watch.add(QUEUE, ["job"])

        self.settle(Ack(self.lease_one().receipt))

        assert [self.watch.wait(PATIENCE), other.wait(PATIENCE)] == [[(QUEUE, "job")]] * 2

    def test_closing_the_store_ends_its_waits(self) -> None:
        """Nobody hangs."""
        self.send("job")
        self.watch.add(QUEUE, ["job"])
        waiting = beside(lambda: self.watch.wait(PATIENCE))

        self.store.close()

        ended = waiting.exception(PROMPT)
        assert ended is not None or waiting.result() == []
