"""Cases of queues as places: declared, listed, destroyed, and made anew without anything old in them."""

from __future__ import annotations

from holdfast.config import QueueSettings
from holdfast.delivery import Ack, GiveBack, QueueStats, State
from holdfast.testing.conformance.cases import QUEUE, Cases


class QueueCases(Cases):
    """A queue has a name and settings."""

    def test_a_declared_queue_is_listed_with_its_settings(self) -> None:
        """All of them."""
        settings = QueueSettings(
            max_body=1000,
            min_body=1,
            done_for=1.5,
            done_most=7,
            dead_for=2.5,
            dead_most=8,
            dedupe_window=9.5,
            labels={"team": "mail", "größe": "1"},
            group="out",
            codec="msgpack",
        )

        self.store.declare(QUEUE, settings)

        assert self.store.queues() == {QUEUE: settings}

    def test_the_last_declared_settings_win(self) -> None:
        """Declaring may be repeated."""
        self.declare(max_body=10)

        self.declare(done_most=5)

        assert self.store.queues() == {QUEUE: QueueSettings(done_most=5)}

    def test_declaring_again_keeps_the_jobs(self) -> None:
        """Settings are all that changes."""
        self.send("job")

        self.declare(done_most=5)

        assert self.leased() == ["job"]

    def test_sending_declares_a_queue_with_the_defaults(self) -> None:
        """Nobody has to declare."""
        self.send("job")

        assert self.store.queues() == {QUEUE: QueueSettings()}

    def test_sending_keeps_declared_settings(self) -> None:
        """The defaults do not overwrite them."""
        self.declare(max_body=10)

        self.send("job")

        assert self.store.queues() == {QUEUE: QueueSettings(max_body=10)}

    def test_a_queue_may_have_any_name(self) -> None:
        """Names are compared whole and as they are."""
        names = ["Größe", "a.b:c/d", "x'y\"z", "work%", "x" * 200]

        for name in names:
            self.send("job", queue=name)

        assert sorted(self.store.queues()) == sorted(names)
        assert all(self.leased(queue=name) == ["job"] for name in names)

    def test_an_empty_store_has_no_queues(self) -> None:
        """Not even a default one."""
        assert self.store.queues() == {}


class DestroyCases(Cases):
    """Destroying removes a queue with everything."""

    def test_destroying_counts_the_jobs_that_went(self) -> None:
        """In whatever state they were."""
        for state in State:
            self.bring(state.value, state)

        gone = self.store.destroy(QUEUE)

        assert gone == 7
        assert self.store.queues() == {}

    def test_destroying_twice_finds_nothing(self) -> None:
        """Idempotent."""
        self.send("job")
        self.store.destroy(QUEUE)

        assert self.store.destroy(QUEUE) == 0

    def test_destroying_an_unknown_queue_finds_nothing(self) -> None:
        """No error."""
        assert self.store.destroy("nowhere") == 0

    def test_running_leases_are_lost(self) -> None:
        """Their jobs are gone."""
        self.send("job")
        receipt = self.lease_one().receipt
        self.store.destroy(QUEUE)

        lost = self.settle(Ack(receipt))

        assert lost == [receipt]

    def test_a_queue_made_again_finds_nothing_old(self) -> None:
        """No job, no count, no setting."""
        self.declare(max_body=10)
        for state in State:
            self.bring(state.value, state)
        self.store.destroy(QUEUE)

        self.send("new", body=b"x" * 20)

        assert self.stats() == QueueStats(queue=QUEUE, ready=1, oldest_ready=self.stats().oldest_ready)
        assert self.leased() == ["new"]

    def test_ids_of_a_destroyed_queue_are_free(self) -> None:
        """Recognising them would be something old."""
        self.bring("job", State.DONE)
        self.store.destroy(QUEUE)

        [stored] = self.send("job")

        assert not stored.duplicate

    def test_dropped_ids_of_a_destroyed_queue_are_free(self) -> None:
        """Those remembered for their window too."""
        self.declare(done_for=0)
        self.bring("job", State.DONE)
        self.tidy_all()
        self.store.destroy(QUEUE)

        [stored] = self.send("job")

        assert not stored.duplicate

    def test_a_receipt_from_before_stays_lost_when_its_id_is_leased_again(self) -> None:
        """The token goes on where it stood."""
        self.send("job")
        old = self.lease_one().receipt
        self.store.destroy(QUEUE)
        self.send("job")
        new = self.lease_one().receipt

        assert self.settle(Ack(old)) == [old]
        assert self.settle(Ack(new)) == []

    def test_receipts_stay_lost_over_several_destructions(self) -> None:
        """Also when the queue between had lower tokens to remember."""
        self.send("job")
        for _ in range(3):
            self.settle(GiveBack(self.lease_one().receipt))
        old = self.lease_one().receipt
        self.store.destroy(QUEUE)
        self.send("other")
        self.store.destroy(QUEUE)
        self.send("job")
        for _ in range(old.token):
            delivery = self.lease_one()
            self.settle(GiveBack(delivery.receipt))

        assert self.settle(Ack(old)) == [old]

    def test_a_lease_of_before_gives_nothing_back(self) -> None:
        """Its lease id means nothing in the new queue."""
        self.send("job")
        self.lease(lease_id="before")
        self.store.destroy(QUEUE)
        self.send("job")
        again = self.lease_one(lease_id="after")

        self.settle(GiveBack(queue=QUEUE, lease_id="before"))

        assert self.settle(Ack(again.receipt)) == []

    def test_keys_of_a_destroyed_queue_are_free(self) -> None:
        """Nothing old holds them."""
        self.send("a", "b", key="k")
        self.lease()
        self.store.destroy(QUEUE)
        self.send("c", key="k")

        assert self.leased() == ["c"]

    def test_other_queues_are_untouched(self) -> None:
        """Even those whose names begin alike."""
        self.send("a", queue="work")
        self.send("b", queue="work.more")
        running = self.lease_one(queue="work.more")
        self.store.destroy("work")

        assert self.settle(Ack(running.receipt)) == []

    def test_the_holder_of_a_destroyed_queue_lives_on(self) -> None:
        """It only has fewer jobs."""
        self.send("job")
        self.lease()
        self.store.destroy(QUEUE)

        assert self.beat().alive
        assert self.store.retire("worker#1", "stopped") == 0
