"""Cases of pausing: sends and settles go on, no lease is granted to anyone."""

from __future__ import annotations

from typing import Protocol

from holdfast.capabilities import Pausable
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, GiveBack
from holdfast.testing.conformance.cases import OTHER, PATIENCE, PROMPT, QUEUE, Cases, beside


class _Store(QueueBackend, Pausable, Protocol): ...


class PauseCases(Cases):
    """A paused queue grants no lease."""

    needs = (Pausable,)
    store: _Store

    def test_a_paused_queue_grants_no_lease(self) -> None:
        """To nobody."""
        self.send("job")

        self.store.pause(QUEUE)

        assert self.leased() == []

    def test_a_resumed_queue_grants_leases_again(self) -> None:
        """In the order as if nothing had been."""
        self.send("a", "b")
        self.store.pause(QUEUE)

        self.store.resume(QUEUE)

        assert self.leased() == ["a", "b"]

    def test_sends_go_on(self) -> None:
        """They are stored and counted."""
        self.store.pause(QUEUE)

        self.send("job")

        assert self.stats().ready == 1

    def test_running_jobs_go_on(self) -> None:
        """Their settles count."""
        self.send("job")
        receipt = self.lease_one().receipt
        self.store.pause(QUEUE)

        lost = self.settle(Ack(receipt))

        assert lost == []
        assert self.stats().done == 1

    def test_prefetched_jobs_go_back(self) -> None:
        """And stay there."""
        self.send("job")
        receipt = self.lease_one().receipt
        self.store.pause(QUEUE)

        self.settle(GiveBack(receipt))

        assert (self.stats().ready, self.leased()) == (1, [])

    def test_promotion_and_expiry_go_on(self) -> None:
        """Time does not stop."""
        self.send("due", delay=5)
        self.send("over", expires_in=5)
        self.store.pause(QUEUE)
        self.elapse(5)

        tidied = self.store.tidy()

        assert (tidied.promoted, tidied.expired) == (1, 1)

    def test_a_pause_is_shown(self) -> None:
        """In the counts."""
        self.declare()
        self.store.pause(QUEUE)
        paused = self.stats().paused
        self.store.resume(QUEUE)

        assert (paused, self.stats().paused) == (True, False)

    def test_a_beat_tells_of_it(self) -> None:
        """The worker gives its prefetched jobs back."""
        self.declare()

        self.store.pause(QUEUE)

        assert self.beat().paused == {QUEUE}
        self.store.resume(QUEUE)
        assert self.beat().paused == set()

    def test_a_beat_tells_of_the_holders_own_queues(self) -> None:
        """Others are none of its business."""
        self.store.pause("elsewhere")

        assert self.beat().paused == set()

    def test_other_queues_are_not_paused(self) -> None:
        """Only the one."""
        self.send("job", queue="elsewhere")

        self.store.pause(QUEUE)

        assert self.leased(queue="elsewhere") == ["job"]

    def test_pausing_and_resuming_may_be_repeated(self) -> None:
        """The last word counts."""
        self.send("job")
        for _ in range(2):
            self.store.pause(QUEUE)
        for _ in range(2):
            self.store.resume(QUEUE)

        assert self.leased() == ["job"]

    def test_a_queue_can_be_paused_before_its_first_job(self) -> None:
        """Nobody has to send first."""
        self.store.pause(QUEUE)
        self.send("job")

        assert self.leased() == []

    def test_a_wait_does_not_end_for_a_paused_queue(self) -> None:
        """There is nothing to lease."""
        self.send("job")
        self.store.pause(QUEUE)

        assert not self.store.wait((QUEUE,), ("",), 0.05)

    def test_resuming_wakes_everybody(self) -> None:
        """Each of the workers, not only the first."""
        self.store.pause(QUEUE)
        self.beat(OTHER)
        assert self.leased() == self.leased(holder=OTHER) == []
        self.send("a", "b")
        waits = [beside(lambda: self.store.wait((QUEUE,), ("",), PATIENCE)) for _ in range(2)]

        self.store.resume(QUEUE)

        assert [waiting.result(PROMPT) for waiting in waits] == [True, True]

    def test_a_destroyed_queue_comes_back_unpaused(self) -> None:
        """Nothing old is found, and a send wakes who began to wait while it was paused."""
        self.store.pause(QUEUE)
        assert not self.store.wait((QUEUE,), ("",), 0.01)
        waiting = beside(lambda: self.store.wait((QUEUE,), ("",), PATIENCE))

        self.store.destroy(QUEUE)
        self.send("job")

        assert waiting.result(PROMPT)
        assert self.leased() == ["job"]
