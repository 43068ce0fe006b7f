"""Cases of leases: who may have one, what is granted, and how it is given back."""

from __future__ import annotations

import pytest

from holdfast.delivery import Ack, GiveBack, Nack
from holdfast.errors import LeaseLost
from holdfast.testing.conformance.cases import OTHER, QUEUE, WORKER, Cases, ids


class LeaseCases(Cases):
    """A lease is the sole right to a job while its holder lives."""

    def test_an_empty_queue_gives_nothing(self) -> None:
        """An answer, not an error, and at once (G-T17)."""
        self.declare()

        assert self.leased() == []

    def test_a_queue_that_does_not_exist_gives_nothing(self) -> None:
        """Leasing declares nothing."""
        got = self.leased(queue="nowhere")

        assert got == []
        assert "nowhere" not in self.store.queues()

    def test_a_holder_that_never_beat_gets_no_lease(self) -> None:
        """An unwatched lease would be for ever."""
        self.send("job")

        with pytest.raises(LeaseLost, match="stranger#1"):
            self.lease(holder="stranger#1")

    def test_a_retired_holder_gets_no_lease(self) -> None:
        """Its incarnation has ended."""
        self.beat(OTHER)
        self.store.retire(OTHER, "stopped")

        with pytest.raises(LeaseLost):
            self.lease(holder=OTHER)

    def test_a_rescued_holder_gets_no_lease(self) -> None:
        """Its jobs are others' now."""
        self.beat(OTHER, ttl=10)
        self.elapse(11)
        self.store.tidy()

        with pytest.raises(LeaseLost):
            self.lease(holder=OTHER)

    def test_a_leased_job_is_not_leased_again(self) -> None:
        """Not by the same worker, not by another."""
        self.beat(OTHER)
        self.send("job")
        self.lease()

        assert self.leased() == []
        assert self.leased(holder=OTHER) == []

    def test_a_lease_keeps_to_its_limit(self) -> None:
        """The rest stays for the next."""
        self.send("a", "b", "c")

        assert self.leased(2) == ["a", "b"]
        assert self.leased(2) == ["c"]

    def test_a_lease_of_none_grants_nothing(self) -> None:
        """A limit of 0 is legal."""
        self.send("job")

        assert self.leased(0) == []
        assert self.stats().ready == 1

    def test_workers_share_a_queue_without_overlap(self) -> None:
        """Each job goes to one of them (G-T2)."""
        self.beat(OTHER)
        self.send(*"abcdef")

        shares = [self.leased(2), self.leased(2, holder=OTHER), self.leased(2)]

        assert shares == [["a", "b"], ["c", "d"], ["e", "f"]]

    def test_a_lease_takes_from_its_queue_alone(self) -> None:
        """Queues are places of their own (G-T15)."""
        self.send("here")
        self.send("there", queue="elsewhere")

        got = self.leased()

        assert got == ["here"]

    def test_a_first_delivery_has_attempt_and_token_one(self) -> None:
        """Attempts are counted at the grant, before the handler runs."""
        self.send("job")

        got = self.lease_one()

        assert (got.attempt, got.token, got.crashes) == (1, 1, 0)

    def test_a_delivery_names_its_queue_and_receipt(self) -> None:
        """The receipt is the proof that settles it."""
        self.send("job")

        got = self.lease_one()

        assert (got.receipt.queue, got.receipt.id, got.receipt.token) == (QUEUE, "job", got.token)

    def test_a_delivery_tells_when_it_was_sent_ready_and_leased(self) -> None:
        """In ms of the store's wall clock."""
        before = self.harness.wall()
        self.send("job", delay=3)
        self.elapse(7)

        got = self.lease_one()

        assert got.sent == pytest.approx(before, abs=2000)
        assert got.ready == pytest.approx(before + 3000, abs=2000)
        assert got.leased == pytest.approx(before + 7000, abs=2000)

    def test_a_silent_holder_nobody_rescued_may_lease(self) -> None:
        """One whose ttl passed without anybody noticing lives on."""
        self.beat(OTHER, ttl=10)
        self.send("job")
        self.elapse(60)

        got = self.leased(holder=OTHER)

        assert got == ["job"]

    def test_a_leased_job_counts_as_running(self) -> None:
        """And no longer as ready."""
        self.send("job")
        self.lease()

        stats = self.stats()

        assert (stats.ready, stats.running) == (0, 1)


class GiveBackCases(Cases):
    """What did not start is returned unburned, by its receipt or by the lease call that granted it."""

    def test_giving_back_burns_no_attempt(self) -> None:
        """The next run is the first."""
        self.send("job")

        self.settle(GiveBack(self.lease_one().receipt))

        assert self.lease_one().attempt == 1

    def test_giving_back_raises_the_token_all_the_same(self) -> None:
        """The token is raised at every grant and never lowered."""
        self.send("job")
        first = self.lease_one()

        self.settle(GiveBack(first.receipt))

        assert self.lease_one().token > first.token

    def test_a_receipt_given_back_is_spent(self) -> None:
        """Nothing can be settled with it any more."""
        self.send("job")
        receipt = self.lease_one().receipt
        self.settle(GiveBack(receipt))

        lost = self.settle(Ack(receipt))

        assert lost == [receipt]

    def test_giving_back_twice_is_lost_the_second_time(self) -> None:
        """Repeating is harmless, and says so."""
        self.send("job")
        receipt = self.lease_one().receipt

        lost = self.settle(GiveBack(receipt), GiveBack(receipt))

        assert lost == [receipt]
        assert self.lease_one().attempt == 1

    def test_a_whole_lease_is_given_back_by_its_id(self) -> None:
        """A call whose outcome is unknown is undone without its answer."""
        self.send("a", "b")
        self.lease(lease_id="unknown outcome")

        lost = self.settle(GiveBack(queue=QUEUE, lease_id="unknown outcome"))

        assert lost == []
        assert [(one.id, one.attempt) for one in self.lease()] == [("a", 1), ("b", 1)]

    def test_another_lease_is_not_given_back(self) -> None:
        """The id tells them apart, though holder and queue are the same."""
        self.send("a", "b")
        self.lease(1, lease_id="kept")
        self.lease(1, lease_id="returned")

        self.settle(GiveBack(queue=QUEUE, lease_id="returned"))

        assert self.leased() == ["b"]

    def test_giving_a_lease_back_twice_is_harmless(self) -> None:
        """It takes nothing from who has the job by then."""
        self.send("job")
        self.lease(lease_id="first")
        self.settle(GiveBack(queue=QUEUE, lease_id="first"))
        again = self.lease_one(lease_id="second")

        lost = self.settle(GiveBack(queue=QUEUE, lease_id="first"))

        assert lost == []
        assert self.settle(Ack(again.receipt)) == []

    def test_a_lease_that_granted_nothing_can_be_given_back(self) -> None:
        """The call may never have reached the store."""
        self.declare()

        lost = self.settle(GiveBack(queue=QUEUE, lease_id="never arrived"))

        assert lost == []

    def test_a_lease_of_an_unknown_queue_can_be_given_back(self) -> None:
        """As one that was destroyed meanwhile."""
        lost = self.settle(GiveBack(queue="nowhere", lease_id="any"))

        assert lost == []

    def test_giving_a_lease_back_leaves_what_was_settled(self) -> None:
        """Only what is still running returns."""
        self.send("a", "b")
        a, _ = self.lease(lease_id="half settled")
        self.settle(Ack(a.receipt))

        self.settle(GiveBack(queue=QUEUE, lease_id="half settled"))

        assert self.leased() == ["b"]
        assert self.stats().done == 1

    def test_giving_a_lease_back_leaves_what_was_leased_again(self) -> None:
        """A job of that lease that failed and was granted anew belongs to the newer lease."""
        self.send("job")
        self.settle(Nack(self.lease_one(lease_id="older").receipt))
        newer = self.lease_one(lease_id="newer")

        self.settle(GiveBack(queue=QUEUE, lease_id="older"))

        assert self.settle(Ack(newer.receipt)) == []

    def test_a_lease_given_back_in_a_batch_is_carried_out_in_order(self) -> None:
        """What is acked before it in the batch is done, what comes after it is lost."""
        self.send("a", "b")
        a, b = self.lease(lease_id="both")

        lost = self.settle(Ack(a.receipt), GiveBack(queue=QUEUE, lease_id="both"), Ack(b.receipt))

        assert lost == [b.receipt]
        assert self.stats().done == 1

    def test_a_retried_job_given_back_keeps_its_earlier_attempts(self) -> None:
        """Only the attempt of this grant is returned."""
        self.send("job")
        self.settle(Nack(self.lease_one().receipt))
        self.settle(GiveBack(self.lease_one().receipt))

        got = self.lease_one()

        assert got.attempt == 2

    def test_a_job_given_back_after_the_last_attempt_can_run(self) -> None:
        """Unburned means unburned."""
        self.send("job", max_attempts=1)

        self.settle(GiveBack(self.lease_one().receipt))

        got = self.lease_one()
        assert (got.attempt, got.last_attempt) == (1, True)

    def test_another_holders_lease_is_given_back_by_its_id(self) -> None:
        """The lease id alone decides."""
        self.beat(OTHER)
        self.send("job")
        self.lease(holder=OTHER, lease_id="theirs")

        self.settle(GiveBack(queue=QUEUE, lease_id="theirs"))

        assert ids(self.lease(holder=WORKER)) == ["job"]
