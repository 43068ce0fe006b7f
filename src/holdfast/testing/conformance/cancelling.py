"""Cases of cancelling: waiting jobs at once, running ones by asking their holder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import pytest

from holdfast.capabilities import Cancellable
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, Cancellation, Crash, GiveBack, Nack, Receipt, Settlement, State
from holdfast.testing.conformance.cases import OTHER, QUEUE, Cases


class _Store(QueueBackend, Cancellable, Protocol): ...


class CancelCases(Cases):
    """Waiting jobs are cancelled, ended ones left."""

    needs = (Cancellable,)
    store: _Store

    @pytest.mark.parametrize("state", [State.SCHEDULED, State.READY])
    def test_a_waiting_job_is_cancelled(self, state: State) -> None:
        """At once, and never leased."""
        self.bring("job", state)

        states = self.store.cancel(QUEUE, ["job"])

        assert states == {"job": State.CANCELLED}
        assert self.stats().cancelled == 1
        assert self.leased(kinds=("job",)) == []

    @pytest.mark.parametrize("state", [State.DONE, State.DEAD, State.CANCELLED, State.EXPIRED])
    def test_an_ended_job_is_left(self, state: State) -> None:
        """The answer says how it ended."""
        self.bring("job", state)

        states = self.store.cancel(QUEUE, ["job"])

        assert states == {"job": state}
        assert getattr(self.stats(), state) == 1

    def test_an_expired_job_cannot_be_cancelled(self) -> None:
        """Though nobody has written its expiry down."""
        self.send("job", expires_in=5)
        self.elapse(5)

        assert self.store.cancel(QUEUE, ["job"]) == {"job": State.EXPIRED}

    def test_unknown_jobs_are_left_out(self) -> None:
        """Only known ones are in the answer."""
        self.send("job")

        assert self.store.cancel(QUEUE, ["job", "unknown"]) == {"job": State.CANCELLED}

    def test_nothing_is_known_of_an_unknown_queue(self) -> None:
        """No error."""
        assert self.store.cancel("nowhere", ["job"]) == {}

    def test_many_are_cancelled_in_one_call(self) -> None:
        """Whatever state each is in."""
        for state in State:
            self.bring(state.value, state)

        states = self.store.cancel(QUEUE, [state.value for state in State])

        assert states == {
            "scheduled": State.CANCELLED,
            "ready": State.CANCELLED,
            "running": State.RUNNING,
            "done": State.DONE,
            "dead": State.DEAD,
            "cancelled": State.CANCELLED,
            "expired": State.EXPIRED,
        }

    def test_a_cancelled_head_frees_its_key(self) -> None:
        """The next can start."""
        self.send("a", "b", key="k")

        self.store.cancel(QUEUE, ["a"])

        assert self.leased() == ["b"]

    def test_a_cancelled_retry_frees_its_key(self) -> None:
        """It held the others until then."""
        self.send("a", "b", key="k")
        self.settle(Nack(self.lease_one().receipt, delay=60))

        self.store.cancel(QUEUE, ["a"])

        assert self.leased() == ["b"]

    def test_a_held_job_can_be_cancelled(self) -> None:
        """It leaves its line."""
        self.send("a", "b", "c", key="k")

        self.store.cancel(QUEUE, ["b"])

        assert self.stats().held == 1
        self.settle(Ack(self.lease_one().receipt))
        assert self.leased() == ["c"]

    def test_a_cancelled_id_is_recognised(self) -> None:
        """Its job exists."""
        self.send("job")
        self.store.cancel(QUEUE, ["job"])

        [again] = self.send("job")

        assert again.duplicate


class CancelRunningCases(Cases):
    """A running job is asked for, and its holder decides."""

    needs = (Cancellable,)
    store: _Store

    def _asked(self, job_id: str = "job") -> Receipt:
        """Send and lease a job, and ask to cancel it."""
        self.send(job_id)
        receipt = self.lease_one().receipt
        self.store.cancel(QUEUE, [job_id])
        return receipt

    def test_a_running_job_stays_running(self) -> None:
        """Until its holder settles it."""
        self.send("job")
        self.lease()

        states = self.store.cancel(QUEUE, ["job"])

        assert states == {"job": State.RUNNING}
        assert self.stats().running == 1

    def test_its_holder_hears_of_it_in_its_beat(self) -> None:
        """`beat` answers with the receipts."""
        receipt = self._asked()

        assert self.beat().cancels == (receipt,)

    def test_other_holders_do_not_hear_of_it(self) -> None:
        """It is none of theirs."""
        self._asked()

        assert self.beat(OTHER).cancels == ()

    def test_a_request_ends_with_the_run(self) -> None:
        """No beat tells of it any more."""
        receipt = self._asked()
        self.settle(Cancellation(receipt))

        assert self.beat().cancels == ()

    @pytest.mark.parametrize(
        "settlement",
        [Cancellation, Nack, GiveBack, partial(Crash, reason="died")],
        ids=["stopped", "failed", "given back", "crashed"],
    )
    def test_a_run_that_does_not_finish_is_cancelled(self, settlement: Callable[[Receipt], Settlement]) -> None:
        """Stopped, failed, given back or crashed."""
        receipt = self._asked()

        lost = self.settle(settlement(receipt))

        assert lost == []
        assert self.stats().cancelled == 1
        assert self.leased() == []

    def test_a_retry_with_delay_is_cancelled_too(self) -> None:
        """It would run again otherwise."""
        receipt = self._asked()

        self.settle(Nack(receipt, delay=60))

        assert (self.stats().cancelled, self.stats().scheduled) == (1, 0)

    def test_a_lease_given_back_by_id_is_cancelled(self) -> None:
        """The same rule for the other form."""
        self.send("job")
        self.lease(lease_id="unknown outcome")
        self.store.cancel(QUEUE, ["job"])

        self.settle(GiveBack(queue=QUEUE, lease_id="unknown outcome"))

        assert self.stats().cancelled == 1

    def test_a_run_that_finishes_is_done(self) -> None:
        """The request came too late."""
        receipt = self._asked()

        self.settle(Ack(receipt))

        assert (self.stats().done, self.stats().cancelled) == (1, 0)

    @pytest.mark.parametrize("charged", [(), None], ids=["retired", "silent"])
    def test_a_job_whose_holder_ended_is_cancelled(self, charged: tuple[Receipt, ...] | None) -> None:
        """It does not run again."""
        self.beat(OTHER)
        self.send("job")
        self.lease(holder=OTHER)
        self.store.cancel(QUEUE, ["job"])

        self.store.retire(OTHER, "died", charged)

        assert (self.stats().cancelled, self.leased()) == (1, [])

    def test_a_job_that_crashed_in_its_last_attempt_is_cancelled(self) -> None:
        """Cancelled wins over buried."""
        self.beat(OTHER)
        self.send("job", max_attempts=1)
        receipt = self.lease_one(holder=OTHER).receipt
        self.store.cancel(QUEUE, ["job"])

        self.store.retire(OTHER, "died", [receipt])

        assert (self.stats().cancelled, self.stats().dead) == (1, 0)

    def test_a_job_whose_own_process_died_in_its_last_attempt_is_cancelled(self) -> None:
        """The same of a settlement."""
        self.send("job", max_attempts=1)
        receipt = self.lease_one().receipt
        self.store.cancel(QUEUE, ["job"])

        self.settle(Crash(receipt, "died"))

        assert (self.stats().cancelled, self.stats().dead) == (1, 0)

    def test_a_running_job_keeps_its_key_until_it_is_settled(self) -> None:
        """The request frees nothing."""
        self.send("a", "b", key="k")
        receipt = self.lease_one().receipt
        self.store.cancel(QUEUE, ["a"])

        assert self.leased() == []
        self.settle(Cancellation(receipt))
        assert self.leased() == ["b"]

    def test_asking_twice_is_harmless(self) -> None:
        """One request."""
        receipt = self._asked()

        assert self.store.cancel(QUEUE, ["job"]) == {"job": State.RUNNING}
        assert self.beat().cancels == (receipt,)
