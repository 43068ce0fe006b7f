"""Cases of sends and settlements inside a caller's own transaction: true when he commits, never if he rolls back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from holdfast.capabilities import Inspectable, Transactional
from holdfast.delivery import Ack, Burial, Crash, GiveBack, Nack, QueueStats, Receipt, Settlement, State
from holdfast.errors import BodyTooLarge, UsageError
from holdfast.message import Message, Stored
from holdfast.testing.conformance.cases import PATIENCE, PROMPT, QUEUE, Cases, beside
from holdfast.testing.conformance.harness import Caller


class TransactionalCases(Cases):
    """What the cases of sends and settlements inside a caller's transaction share."""

    needs = (Transactional, Inspectable)

    def state(self, job_id: str) -> State | None:
        """Return the state of a job as everybody sees it, None when there is no such job."""
        assert isinstance(self.store, Inspectable)
        view = self.store.get(QUEUE, job_id)
        return None if view is None else view.state

    def send_in(self, caller: Caller, *job_ids: str, queue: str = QUEUE, **options: Any) -> list[Stored]:
        """Send one message for each id inside the caller's transaction; its body is its id."""
        assert isinstance(self.store, Transactional)
        messages = [Message(**{"id": id_, "body": id_.encode()} | options) for id_ in job_ids]
        return self.store.send_in(caller.connection, queue, messages)

    def settle_in(self, caller: Caller, *settlements: Settlement) -> list[Receipt]:
        """Settle inside the caller's transaction; return the receipts that were lost."""
        assert isinstance(self.store, Transactional)
        return self.store.settle_in(caller.connection, settlements)

    @contextmanager
    def transaction(self, caller: Caller | None = None, *, undone: bool = False) -> Iterator[Caller]:
        """Run the block in a transaction that is committed at its end, or ``undone``: rolled back."""
        caller = caller or self.harness.connect()
        caller.begin()
        try:
            yield caller
        except BaseException:
            caller.rollback()
            raise
        if undone:
            caller.rollback()
        else:
            caller.commit()


class SendInCases(TransactionalCases):
    """What is sent inside is nobody's business until the commit."""

    def test_what_was_sent_is_there_after_the_commit(self) -> None:
        """As if it had been sent then."""
        with self.transaction() as caller:
            stored = self.send_in(caller, "a", "b")

        assert [one.id for one in stored] == ["a", "b"]
        assert not any(one.duplicate for one in stored)
        assert self.leased() == ["a", "b"]

    def test_nobody_sees_it_before_the_commit(self) -> None:
        """Neither a look nor another handle's."""
        other = self.harness.open()
        with self.transaction() as caller:
            self.send_in(caller, "a")

            assert self.state("a") is None
            assert isinstance(other, Inspectable)
            assert other.get(QUEUE, "a") is None

    def test_what_was_rolled_back_never_was(self) -> None:
        """No job, no count, no queue, and its id is free."""
        with self.transaction(undone=True) as caller:
            self.send_in(caller, "a", "b", key="k", delay=5.0)

        assert self.store.queues() == {}
        assert self.stats() == QueueStats(queue=QUEUE)
        assert not self.send("a")[0].duplicate

    def test_what_is_known_is_a_duplicate_inside_as_well(self) -> None:
        """Whether it was sent before the transaction or in it."""
        self.send("a")
        with self.transaction() as caller:
            self.send_in(caller, "b")
            stored = self.send_in(caller, "a", "b", "c", "c")

        assert [one.duplicate for one in stored] == [True, True, False, True]
        assert self.leased() == ["a", "b", "c"]

    def test_a_kind_that_was_new_in_a_rollback_is_new_again(self) -> None:
        """Nothing of it is remembered by the store's own sends."""
        self.send("old", kind="old")
        with self.transaction(undone=True) as caller:
            self.send_in(caller, "a", kind="new")

        self.send("b", kind="newer")
        self.send("c", kind="new")

        assert self.leased(kinds=("new", "newer")) == ["b", "c"]
        assert self.leased(kinds=("old",)) == ["old"]

    def test_a_kind_that_was_new_in_a_commit_is_known_to_all(self) -> None:
        """The next send finds it."""
        with self.transaction() as caller:
            self.send_in(caller, "a", kind="new")
        self.send("b", kind="new")

        assert self.leased(kinds=("new",)) == ["a", "b"]

    def test_counts_are_exact_after_commit_and_rollback(self) -> None:
        """Of every state that a send can bring about."""
        self.send("a", key="k")
        caller = self.harness.connect()
        for undone in (True, False):
            with self.transaction(caller, undone=undone):
                self.send_in(caller, "b", "c", key="k")
                self.send_in(caller, "d", delay=60.0)

        stats = self.stats()
        assert (stats.ready, stats.held, stats.scheduled) == (3, 2, 1)

    def test_order_is_that_of_the_calls(self) -> None:
        """Inside and outside, one after the other."""
        self.send("a")
        with self.transaction() as caller:
            self.send_in(caller, "b")
            self.send_in(caller, "c", "d")
        self.send("e")

        assert self.leased() == ["a", "b", "c", "d", "e"]

    def test_order_goes_on_after_a_rollback(self) -> None:
        """As if it had not been."""
        self.send("a")
        with self.transaction(undone=True) as caller:
            self.send_in(caller, "b")
        self.send("c")
        with self.transaction(caller):
            self.send_in(caller, "d")

        assert self.leased() == ["a", "c", "d"]

    def test_the_head_of_a_key_that_was_rolled_back_holds_nobody(self) -> None:
        """The next of its key can start."""
        with self.transaction(undone=True) as caller:
            self.send_in(caller, "a", key="k")
        self.send("b", key="k")

        assert self.leased() == ["b"]

    def test_the_head_of_a_key_that_was_committed_holds_the_next(self) -> None:
        """One at a time, as ever."""
        with self.transaction() as caller:
            self.send_in(caller, "a", key="k")
        self.send("b", key="k")

        assert self.leased() == ["a"]

    def test_several_queues_are_sent_to_in_one_transaction(self) -> None:
        """All of it or nothing."""
        caller = self.harness.connect()
        for undone in (True, False):
            with self.transaction(caller, undone=undone):
                self.send_in(caller, "a")
                self.send_in(caller, "b", queue="other")

        assert self.leased() == ["a"]
        assert self.leased(queue="other") == ["b"]

    def test_a_refused_send_leaves_the_rest_of_the_transaction_alone(self) -> None:
        """Nothing of it stays behind, and what came before and after is committed."""
        self.declare(max_body=4)
        with self.transaction() as caller:
            self.send_in(caller, "a")
            with pytest.raises(BodyTooLarge):
                self.send_in(caller, "b", "much too large")
            self.send_in(caller, "c")

        assert self.leased() == ["a", "c"]
        assert self.stats().running == 2

    def test_a_waiting_worker_is_woken_by_the_commit(self) -> None:
        """Though the store itself has committed nothing."""
        waiting = threading.Event()
        self.send("other", queue="other")

        def wait() -> bool:
            waiting.set()
            return self.store.wait([QUEUE], [""], PATIENCE)

        with self.transaction() as caller:
            self.send_in(caller, "a")
            woken = beside(wait)
            assert waiting.wait(PATIENCE)
        assert woken.result(PROMPT)
        assert self.leased() == ["a"]

    def test_what_is_no_connection_of_this_store_is_refused(self) -> None:
        """Before anything is done."""
        assert isinstance(self.store, Transactional)
        with pytest.raises(UsageError):
            self.store.send_in(object(), QUEUE, [Message(body=b"")])
        with pytest.raises(UsageError):
            self.store.settle_in("postgres://", [Ack(Receipt(QUEUE, "a", 1))])

        assert self.store.queues() == {}


class SettleInCases(TransactionalCases):
    """What is settled inside is still leased until the commit."""

    def test_what_was_acked_is_done_after_the_commit(self) -> None:
        """And a further settlement of it is lost."""
        self.send("a")
        receipt = self.lease_one().receipt
        with self.transaction() as caller:
            assert self.settle_in(caller, Ack(receipt)) == []

            assert self.state("a") is State.RUNNING
        assert self.state("a") is State.DONE
        assert self.settle(Ack(receipt)) == [receipt]
        assert (self.stats().done, self.stats().running) == (1, 0)

    def test_what_was_acked_in_a_rollback_is_still_leased(self) -> None:
        """And can be settled in whatever way."""
        self.send("a")
        receipt = self.lease_one().receipt
        with self.transaction(undone=True) as caller:
            self.settle_in(caller, Ack(receipt))

        assert self.state("a") is State.RUNNING
        assert self.settle(GiveBack(receipt)) == []
        assert self.leased() == ["a"]

    def test_every_settlement_can_be_part_of_a_transaction(self) -> None:
        """In one mixed batch."""
        self.send("a", "b", "c", "d")
        self.send("e", max_attempts=1)
        a, b, c, d, e = (delivery.receipt for delivery in self.lease())
        with self.transaction() as caller:
            lost = self.settle_in(caller, Ack(a), Nack(b, 60.0), Burial(c, "no"), GiveBack(d), Crash(e, "died"))

        assert lost == []
        ends = [State.DONE, State.SCHEDULED, State.DEAD, State.READY, State.DEAD]
        assert [self.state(one) for one in "abcde"] == ends
        stats = self.stats()
        assert (stats.done, stats.scheduled, stats.dead, stats.ready, stats.running) == (1, 1, 2, 1, 0)

    def test_follow_ups_come_with_the_commit(self) -> None:
        """Of the ack they belong to, and never after a rollback."""
        self.send("a")
        receipt = self.lease_one().receipt
        caller = self.harness.connect()
        for undone in (True, False):
            with self.transaction(caller, undone=undone):
                self.settle_in(caller, Ack(receipt, then=(Message(id="next", body=b"", kind="next"),)))

        assert self.leased(kinds=("next",)) == ["next"]
        assert self.stats().running == 1

    def test_the_next_of_a_key_follows_with_the_commit(self) -> None:
        """Not before, and not after a rollback."""
        self.send("a", "b", key="k")
        receipt = self.lease_one().receipt
        caller = self.harness.connect()
        with self.transaction(caller, undone=True):
            self.settle_in(caller, Ack(receipt))
        assert self.leased() == []

        with self.transaction(caller):
            self.settle_in(caller, Ack(receipt))

        assert self.leased() == ["b"]

    def test_a_lost_receipt_is_reported_and_changes_nothing(self) -> None:
        """As outside a transaction."""
        self.send("a", "b")
        a, b = (delivery.receipt for delivery in self.lease())
        self.settle(GiveBack(a))
        with self.transaction() as caller:
            lost = self.settle_in(caller, Ack(a), Ack(b))

        assert lost == [a]
        assert [self.state(one) for one in "ab"] == [State.READY, State.DONE]

    def test_a_send_and_an_ack_are_one(self) -> None:
        """The next step of a chain exists exactly when this one is done."""
        self.send("a")
        receipt = self.lease_one().receipt
        caller = self.harness.connect()
        for undone in (True, False):
            with self.transaction(caller, undone=undone):
                self.send_in(caller, "b", kind="b")
                self.settle_in(caller, Ack(receipt))
            assert self.state("a") is (State.RUNNING if undone else State.DONE)
            assert self.state("b") is (None if undone else State.READY)

    def test_a_holder_that_ends_takes_back_what_a_rollback_left(self) -> None:
        """The lease was there all the time."""
        self.send("a")
        receipt = self.lease_one().receipt
        with self.transaction(undone=True) as caller:
            self.settle_in(caller, Ack(receipt))

        assert self.store.retire("worker#1", "stopped") == 1
        assert self.settle(Ack(receipt)) == [receipt]

    def test_a_holder_that_ends_takes_back_nothing_that_was_committed(self) -> None:
        """It is done."""
        self.send("a")
        receipt = self.lease_one().receipt
        with self.transaction() as caller:
            self.settle_in(caller, Ack(receipt))

        assert self.store.retire("worker#1", "died", None) == 0
        assert self.state("a") is State.DONE
