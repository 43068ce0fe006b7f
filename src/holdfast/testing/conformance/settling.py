"""Cases of settling: fencing, mixed batches, follow-ups, and the counters of retries."""

from __future__ import annotations

import pytest

from holdfast.delivery import Ack, Burial, Cancellation, Crash, GiveBack, Nack, Receipt, Settlement, State
from holdfast.failures import ErrorInfo
from holdfast.message import Message
from holdfast.testing.conformance.cases import QUEUE, Cases

BOOM = ErrorInfo("ValueError", "boom")


def _every(receipt: Receipt) -> list[Settlement]:
    return [
        Ack(receipt),
        Nack(receipt),
        Burial(receipt, "late"),
        Cancellation(receipt),
        GiveBack(receipt),
        Crash(receipt, "late"),
    ]


class SettleCases(Cases):
    """A settlement counts once, and only from who holds the lease."""

    @pytest.mark.parametrize(
        ("choice", "state"),
        [(0, "done"), (1, "ready"), (2, "dead"), (3, "cancelled"), (4, "ready"), (5, "ready")],
        ids=["ack", "nack", "bury", "stop", "give-back", "crash"],
    )
    def test_a_settlement_moves_its_job(self, choice: int, state: str) -> None:
        """Each leads where the diagram says (G-T19, G-T35)."""
        self.send("job")
        receipt = self.lease_one().receipt

        lost = self.settle(_every(receipt)[choice])

        assert lost == []
        assert (getattr(self.stats(), state), self.stats().running) == (1, 0)

    def test_a_text_that_no_store_can_keep_spoils_no_batch(self) -> None:
        """What a handler says when it fails is stored, whatever it says, and beside it all the rest."""
        self.send("odd", "good")
        odd, good = self.lease(limit=2)

        odd.bury("a\ud800b\0c", error=ErrorInfo.of(ValueError("a\ud800b\0c")))
        good.ack()

        assert odd.settlement is not None
        assert good.settlement is not None
        assert self.settle(odd.settlement, good.settlement) == []
        assert (self.stats().dead, self.stats().done) == (1, 1)

    @pytest.mark.parametrize("choice", range(6), ids=["ack", "nack", "bury", "stop", "give-back", "crash"])
    def test_an_old_token_settles_nothing(self, choice: int) -> None:
        """A stale worker cannot touch the new claimant's run (G-T45)."""
        self.send("job")
        old = self.lease_one().receipt
        self.settle(Nack(old))
        new = self.lease_one().receipt

        lost = self.settle(_every(old)[choice])

        assert lost == [old]
        assert self.settle(Ack(new)) == []

    @pytest.mark.parametrize("state", [State.DONE, State.DEAD, State.CANCELLED])
    def test_an_ended_job_is_not_settled_again(self, state: State) -> None:
        """A late settle does not change what is over (G-T24)."""
        receipt = self.bring("job", state)
        assert receipt is not None

        lost = self.settle(*_every(receipt))

        assert lost == [receipt] * 6
        assert getattr(self.stats(), state) == 1

    def test_a_second_ack_in_the_same_batch_is_lost(self) -> None:
        """The first took effect."""
        self.send("job")
        receipt = self.lease_one().receipt

        lost = self.settle(Ack(receipt), Ack(receipt))

        assert lost == [receipt]

    def test_a_repeated_call_is_lost_item_by_item(self) -> None:
        """What took effect the first time is reported lost the second."""
        self.send("a", "b")
        acks = [Ack(delivery.receipt) for delivery in self.lease()]
        self.settle(*acks)

        lost = self.settle(*acks)

        assert lost == [ack.receipt for ack in acks]

    def test_a_lost_item_does_not_spoil_its_batch(self) -> None:
        """It changes nothing, never raises, and the others count."""
        self.send("a", "b")
        a, b = (delivery.receipt for delivery in self.lease())
        unknown = Receipt(QUEUE, "never sent", 1)

        lost = self.settle(Ack(a), Ack(unknown), Ack(b))

        assert lost == [unknown]
        assert self.stats().done == 2

    def test_a_receipt_of_an_unknown_queue_is_lost(self) -> None:
        """As after `destroy`."""
        receipt = Receipt("nowhere", "job", 1)

        lost = self.settle(Ack(receipt))

        assert lost == [receipt]

    def test_a_token_from_the_future_is_lost(self) -> None:
        """Id and token must be equal, not at least as high."""
        self.send("job")
        receipt = self.lease_one().receipt
        guessed = Receipt(QUEUE, "job", receipt.token + 1)

        lost = self.settle(Ack(guessed))

        assert lost == [guessed]

    def test_an_empty_batch_settles_nothing(self) -> None:
        """A batch of none is legal."""
        assert self.settle() == []

    def test_one_batch_mixes_all_settlements(self) -> None:
        """Also over several queues."""
        self.send("a", "b", "c", "d", "e", "f")
        self.send("g", queue="elsewhere")
        a, b, c, d, e, f = (delivery.receipt for delivery in self.lease())
        g = self.lease_one(queue="elsewhere").receipt

        lost = self.settle(Ack(a), Nack(b, 60), Burial(c, "no"), Cancellation(d), GiveBack(e), Crash(f, "died"), Ack(g))

        stats = self.stats()
        assert lost == []
        assert (stats.done, stats.scheduled, stats.dead, stats.cancelled, stats.ready) == (1, 1, 1, 1, 2)
        assert self.stats("elsewhere").done == 1

    def test_a_large_batch_is_settled_whole(self) -> None:
        """Beyond a store's own batch sizes."""
        self.send(*map(str, range(1500)))

        lost = self.settle(*(Ack(delivery.receipt) for delivery in self.lease(1500)))

        assert lost == []
        assert self.stats().done == 1500

    def test_a_holder_past_its_ttl_may_still_settle(self) -> None:
        """Id and token are compared, nothing else."""
        self.beat("slow#1", ttl=10)
        self.send("job")
        receipt = self.lease_one(holder="slow#1").receipt
        self.elapse(3600)

        lost = self.settle(Ack(receipt))

        assert lost == []

    def test_of_two_acks_of_a_job_in_a_batch_the_valid_one_counts(self) -> None:
        """A job that came back to its worker while the first result waited to be settled."""
        self.send("job")
        first = self.lease_one().receipt
        self.settle(GiveBack(first))
        second = self.lease_one().receipt

        assert self.settle(Ack(first), Ack(second)) == [first]
        assert self.stats().done == 1

    @pytest.mark.parametrize("delay", [float("inf"), float("nan"), 1e300, -5.0])
    def test_a_delay_that_is_no_length_spoils_no_batch(self, delay: float) -> None:
        """It is bounded, and the others are settled."""
        self.send("a", "b", "c")
        a, b, c = self.lease(3)

        assert self.settle(Ack(a.receipt), Nack(b.receipt, delay), Ack(c.receipt)) == []
        assert self.stats().done == 2


class FollowUpCases(Cases):
    """An ack can store further messages in the same step."""

    def test_follow_ups_are_stored_with_the_ack(self) -> None:
        """In the acked job's queue, in their order."""
        self.send("job")
        receipt = self.lease_one().receipt

        self.settle(Ack(receipt, then=(Message(id="x", body=b"1"), Message(id="y", body=b"2"))))

        assert [(one.id, one.body) for one in self.lease()] == [("x", b"1"), ("y", b"2")]

    def test_follow_ups_of_a_lost_ack_are_not_stored(self) -> None:
        """Both or neither."""
        self.send("job")
        receipt = self.lease_one().receipt
        self.settle(Burial(receipt, "given up"))

        self.settle(Ack(receipt, then=(Message(id="x", body=b""),)))

        assert self.leased() == []

    def test_a_known_follow_up_is_not_stored_twice(self) -> None:
        """Follow-ups are recognised by their ids, as every message."""
        self.send("job")
        receipt = self.lease_one().receipt
        self.send("x", body=b"first")

        lost = self.settle(Ack(receipt, then=(Message(id="x", body=b"second"),)))

        assert lost == []
        assert [one.body for one in self.lease()] == [b"first"]

    def test_a_follow_up_of_the_same_key_goes_behind_those_waiting(self) -> None:
        """It becomes ready now, they were ready before."""
        self.send("a", "b", key="k")
        receipt = self.lease_one().receipt
        self.elapse(1)

        self.settle(Ack(receipt, then=(Message(id="c", body=b"", key="k"),)))

        assert self.leased() == ["b"]

    def test_a_delayed_follow_up_is_scheduled(self) -> None:
        """All send options hold."""
        self.send("job")
        receipt = self.lease_one().receipt

        self.settle(Ack(receipt, then=(Message(id="x", body=b"", delay=60),)))

        assert self.stats().scheduled == 1

    def test_a_repeated_ack_stores_its_follow_ups_once(self) -> None:
        """Who does not know whether an ack took effect settles it again: the second is lost, follow-ups and all."""
        self.send("job")
        ack = Ack(self.lease_one().receipt, then=(Message(id="x", body=b""), Message(id="y", body=b"")))
        self.settle(ack)

        lost = self.settle(ack)

        assert lost == [ack.receipt]
        assert self.leased() == ["x", "y"]

    def test_an_old_lease_stores_no_follow_ups_beside_those_of_the_new_one(self) -> None:
        """The run that was taken over counts for nothing."""
        self.send("job")
        old = self.lease_one().receipt
        self.settle(Nack(old))
        new = self.lease_one().receipt

        lost = self.settle(
            Ack(old, then=(Message(id="of the old", body=b""),)), Ack(new, then=(Message(id="of the new", body=b""),))
        )

        assert lost == [old]
        assert self.leased() == ["of the new"]

    def test_of_one_id_twice_among_follow_ups_the_first_counts(self) -> None:
        """Within one ack, and between the acks of a batch."""
        self.send("a", "b")
        first, second = (delivery.receipt for delivery in self.lease())

        lost = self.settle(
            Ack(first, then=(Message(id="x", body=b"1"), Message(id="x", body=b"2"))),
            Ack(second, then=(Message(id="x", body=b"3"), Message(id="y", body=b"4"))),
        )

        assert lost == []
        assert [(one.id, one.body) for one in self.lease()] == [("x", b"1"), ("y", b"4")]

    def test_a_follow_up_is_stored_whole(self) -> None:
        """Everything that a send stores."""
        self.send("job")
        receipt = self.lease_one().receipt
        sent = Message(
            id="x",
            body=b"\x00\xff",
            kind="k",
            headers={"a": "b"},
            key="key",
            priority=7,
            max_attempts=3,
            timeout=1.5,
        )

        self.settle(Ack(receipt, then=(sent,)))

        fields = ("id", "body", "kind", "headers", "key", "priority", "max_attempts", "timeout")
        got = self.lease_one(kinds=("k",))
        assert {field: getattr(got, field) for field in fields} == {field: getattr(sent, field) for field in fields}

    def test_a_follow_up_is_stored_whatever_its_size(self) -> None:
        """The run is done, and nobody is left whom a refusal would tell."""
        self.declare(max_body=5)
        self.send("job")
        receipt = self.lease_one().receipt

        lost = self.settle(Ack(receipt, then=(Message(id="x", body=b"more than five"),)))

        assert lost == []
        assert self.leased() == ["x"]

    def test_follow_ups_are_stored_with_a_result(self) -> None:
        """Both come in the step of the ack."""
        self.send("job")
        receipt = self.lease_one().receipt

        self.settle(Ack(receipt, b"value", 60, (Message(id="x", body=b""),)))

        assert (self.stats().done, self.leased()) == (1, ["x"])


class RetryCases(Cases):
    """Attempts are counted at the grant and given back when nothing ran; tokens only rise."""

    def test_attempts_count_up_with_every_failure(self) -> None:
        """Each delivery says which attempt it is (G-T3, G-T10)."""
        self.send("job")
        attempts = []

        for _ in range(3):
            delivery = self.lease_one()
            attempts.append(delivery.attempt)
            self.settle(Nack(delivery.receipt, error=BOOM))

        assert attempts == [1, 2, 3]

    def test_tokens_rise_at_every_grant(self) -> None:
        """Whatever ended the run before."""
        self.send("job")
        tokens = []

        for settlement in (Nack, GiveBack, Nack):
            delivery = self.lease_one()
            tokens.append(delivery.token)
            self.settle(settlement(delivery.receipt))

        assert tokens == sorted(set(tokens))

    def test_a_nack_without_count_gives_the_attempt_back(self) -> None:
        """`RetryLater(count=False)` burns nothing."""
        self.send("job")

        self.settle(Nack(self.lease_one().receipt, count=False))

        assert self.lease_one().attempt == 1

    def test_a_retry_is_not_leased_before_its_delay(self) -> None:
        """It is scheduled (G-T21)."""
        self.send("job")
        self.settle(Nack(self.lease_one().receipt, delay=10))
        self.elapse(9)

        assert self.leased() == []
        assert self.stats().scheduled == 1

    def test_a_retry_is_leased_after_its_delay(self) -> None:
        """The same job, whole."""
        self.send("job", body=b"payload", headers={"a": "b"})
        self.settle(Nack(self.lease_one().receipt, delay=10))
        self.elapse(10)

        got = self.lease_one()

        assert (got.id, got.body, got.headers, got.attempt) == ("job", b"payload", {"a": "b"}, 2)

    def test_nack_and_reschedule_are_one_step(self) -> None:
        """There is neither no copy nor two (G-T20)."""
        self.send("job")

        self.settle(Nack(self.lease_one().receipt, delay=10))

        stats = self.stats()
        assert (stats.scheduled, stats.ready, stats.running, stats.dead) == (1, 0, 0, 0)

    def test_a_nack_never_dead_letters(self) -> None:
        """Who settles decides when to give up: the store only obeys."""
        self.send("job", max_attempts=1)

        self.settle(Nack(self.lease_one().receipt))

        assert self.lease_one().attempt == 2

    def test_a_job_without_a_limit_has_no_last_attempt(self) -> None:
        """`max_attempts=None` means no limit."""
        self.send("job", max_attempts=None)
        for _ in range(8):
            self.settle(Nack(self.lease_one().receipt))

        got = self.lease_one()

        assert (got.attempt, got.max_attempts, got.last_attempt) == (9, None, False)

    def test_a_delivery_knows_its_last_attempt(self) -> None:
        """Then a failure is a burial (G-T4, G-T11)."""
        self.send("job", max_attempts=2)
        self.settle(self.lease_one().failure(0.0, BOOM))

        last = self.lease_one()
        self.settle(last.failure(0.0, BOOM))

        assert last.last_attempt
        assert (self.stats().dead, self.stats().ready) == (1, 0)

    def test_a_failing_job_does_not_count_as_a_crash(self) -> None:
        """Crashes are another counter."""
        self.send("job")
        self.settle(Nack(self.lease_one().receipt, error=BOOM))

        assert self.lease_one().crashes == 0

    def test_a_retried_job_can_be_acked(self) -> None:
        """Failed, then done; nothing is left in any other state (C-T7)."""
        self.send("job")
        self.settle(Nack(self.lease_one().receipt, error=BOOM))

        self.settle(Ack(self.lease_one().receipt))

        stats = self.stats()
        assert (stats.done, stats.dead, stats.ready, stats.scheduled) == (1, 0, 0, 0)
