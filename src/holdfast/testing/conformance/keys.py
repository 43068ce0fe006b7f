"""Cases of keys: of one key at most one job is running, and they run in the order they became ready."""

from __future__ import annotations

import pytest

from holdfast.delivery import Ack, Burial, Cancellation, GiveBack, Nack, Receipt, Settlement
from holdfast.message import FORMAT
from holdfast.testing.conformance.cases import OTHER, Cases


def _ends(receipt: Receipt) -> list[Settlement]:
    return [Ack(receipt), Burial(receipt, "given up"), Cancellation(receipt)]


class KeyCases(Cases):
    """A key is a line of jobs, of which the first alone stands in the queue."""

    def test_of_one_key_one_job_is_running(self) -> None:
        """The others wait, also for another worker."""
        self.send("a", "b", key="k")
        self.beat(OTHER)

        assert self.leased() == ["a"]
        assert self.leased(holder=OTHER) == []

    def test_keys_do_not_wait_for_each_other(self) -> None:
        """Only jobs of the same key do."""
        self.send("a", "b", key="k")
        self.send("c", key="l")
        self.send("d")

        got = self.leased()

        assert got == ["a", "c", "d"]

    def test_keys_are_per_queue(self) -> None:
        """The same key elsewhere is another."""
        self.send("here", key="k")
        self.send("there", key="k", queue="elsewhere")
        self.lease()

        got = self.leased(queue="elsewhere")

        assert got == ["there"]

    @pytest.mark.parametrize("end", [0, 1, 2], ids=["ack", "bury", "stop"])
    def test_a_job_that_ends_frees_its_key(self, end: int) -> None:
        """Done, dead and cancelled alike, in the same step."""
        self.send("a", "b", key="k")
        receipt = self.lease_one().receipt

        self.settle(_ends(receipt)[end])

        assert self.leased() == ["b"]

    def test_an_expired_head_frees_its_key(self) -> None:
        """At the instant of its expiry."""
        self.send("a", key="k", expires_in=5)
        self.send("b", key="k")
        self.elapse(5)

        got = self.leased()

        assert got == ["b"]

    def test_jobs_of_a_key_run_in_the_order_they_became_ready(self) -> None:
        """One after the other."""
        self.send("a", "b", "c", key="k")
        order = []

        for _ in range(3):
            delivery = self.lease_one()
            order.append(delivery.id)
            self.settle(Ack(delivery.receipt))

        assert order == ["a", "b", "c"]

    def test_priority_does_not_reorder_within_a_key(self) -> None:
        """An important job waits for those of its key before it."""
        self.send("first", key="k", priority=-5)
        self.send("important", key="k", priority=50)

        got = self.leased()

        assert got == ["first"]

    def test_a_key_stands_where_its_head_stands(self) -> None:
        """The priority of those behind the head does not carry it."""
        self.send("head", key="k", priority=-5)
        self.send("important", key="k", priority=50)
        self.send("other")

        got = self.leased()

        assert got == ["other", "head"]

    def test_a_promoted_job_stands_at_its_own_priority(self) -> None:
        """When its turn has come, its priority counts."""
        self.send("head", key="k", priority=10)
        self.send("important", key="k", priority=50)
        self.send("other", priority=20)
        head, other = sorted(self.lease(), key=lambda one: one.id)
        self.settle(GiveBack(other.receipt), Ack(head.receipt))

        got = self.leased()

        assert got == ["important", "other"]

    def test_a_promoted_job_stands_by_the_time_it_became_ready(self) -> None:
        """Having been held costs it no place among the others."""
        self.send("a", "b", key="k")
        self.elapse(1)
        self.send("later")
        self.settle(Ack(self.lease_one().receipt))

        got = self.leased()

        assert got == ["b", "later"]

    def test_a_delayed_job_joins_its_key_when_it_is_due(self) -> None:
        """A delay holds nobody."""
        self.send("delayed", key="k", delay=10)
        self.send("now", key="k")

        assert self.leased() == ["now"]
        self.elapse(10)
        assert self.leased() == []

    def test_a_job_due_earlier_goes_first_though_it_is_promoted_later(self) -> None:
        """The order of a key is by becoming ready, whenever somebody wrote that down."""
        self.send("due earlier", key="k", delay=5)
        self.elapse(6)
        self.send("sent later", key="k")

        got = self.leased()

        assert got == ["due earlier"]

    def test_a_running_job_is_not_overtaken_by_one_due_earlier(self) -> None:
        """What runs is the head until it ends."""
        self.send("due", key="k", delay=5)
        self.elapse(4)
        self.send("running", key="k")
        running = self.lease_one()
        self.elapse(2)
        self.send("later", key="k")

        self.settle(Ack(running.receipt))

        assert self.leased() == ["due"]

    def test_a_batch_of_settlements_frees_several_keys(self) -> None:
        """Each in its own step."""
        for key in "xyz":
            self.send(f"{key}1", f"{key}2", key=key)
        first = self.lease()

        self.settle(*(Ack(one.receipt) for one in first))

        assert self.leased() == ["x2", "y2", "z2"]


class HeldCases(Cases):
    """What holds a key, and how held jobs are counted."""

    def test_a_retry_holds_its_key(self) -> None:
        """A job waiting for a retry stays its key's head."""
        self.send("a", "b", key="k")

        self.settle(Nack(self.lease_one().receipt, delay=10))

        assert self.leased() == []

    def test_a_retry_runs_before_the_rest_of_its_key(self) -> None:
        """Order within a key survives failures."""
        self.send("a", "b", key="k")
        self.settle(Nack(self.lease_one().receipt, delay=10))
        self.elapse(10)

        got = self.leased()

        assert got == ["a"]

    def test_a_nack_without_delay_keeps_its_key(self) -> None:
        """Going behind what is ready does not mean behind its own key."""
        self.send("a", "b", key="k")

        self.settle(Nack(self.lease_one().receipt))

        assert self.leased() == ["a"]

    def test_a_job_given_back_keeps_its_key(self) -> None:
        """It is still the head."""
        self.send("a", "b", key="k")

        self.settle(GiveBack(self.lease_one().receipt))

        assert self.leased() == ["a"]

    def test_a_job_taken_back_keeps_its_key(self) -> None:
        """The end of a holder does not let the next job overtake."""
        self.beat(OTHER)
        self.send("a", "b", key="k")
        self.lease(holder=OTHER)

        self.store.retire(OTHER, "died", None)

        assert self.leased() == ["a"]

    def test_a_retry_that_expires_frees_its_key(self) -> None:
        """Nothing holds a key for ever."""
        self.send("a", key="k", expires_in=5)
        self.send("b", key="k")
        self.settle(Nack(self.lease_one().receipt, delay=60))
        self.elapse(5)

        got = self.leased()

        assert got == ["b"]

    def test_a_held_job_can_expire(self) -> None:
        """It leaves the line without having been its head."""
        self.send("a", key="k")
        self.send("b", key="k", expires_in=5)
        self.send("c", key="k")
        head = self.lease_one()
        self.elapse(5)

        self.settle(Ack(head.receipt))

        assert self.leased() == ["c"]

    def test_held_jobs_are_counted_in_ready_and_as_held(self) -> None:
        """They are ready and marked held."""
        self.send("a", "b", "c", key="k")

        stats = self.stats()

        assert (stats.ready, stats.held) == (3, 2)

    def test_held_jobs_are_left_out_of_the_depth(self) -> None:
        """`depth` is what could start now."""
        self.send("a", "b", "c", key="k")
        self.send("d")

        assert self.stats().depth == 2

    def test_held_jobs_are_left_out_of_the_oldest_age(self) -> None:
        """A job waiting for its key is not late."""
        self.send("a", "b", key="k")
        self.lease_one()
        self.elapse(100)
        self.send("fresh")

        oldest = self.stats().oldest_ready

        assert oldest == pytest.approx(0, abs=1)

    def test_jobs_behind_a_running_one_are_held(self) -> None:
        """And nobody could start them."""
        self.send("a", "b", key="k")
        self.lease()

        stats = self.stats()

        assert (stats.ready, stats.held, stats.depth, stats.oldest_ready) == (1, 1, 0, None)

    def test_jobs_behind_a_retry_are_held(self) -> None:
        """The retry itself is scheduled."""
        self.send("a", "b", key="k")
        self.settle(Nack(self.lease_one().receipt, delay=10))

        stats = self.stats()

        assert (stats.scheduled, stats.ready, stats.held) == (1, 1, 1)

    def test_a_head_of_an_unhandled_kind_holds_its_key(self) -> None:
        """Order is kept even then; the head is reported."""
        self.send("foreign", key="k", kind="foreign")
        self.send("known", key="k")

        assert self.leased() == []
        assert self.stats().unhandled == {"foreign": 1}

    def test_a_head_of_a_newer_format_holds_its_key(self) -> None:
        """As one of an unhandled kind does."""
        self.send("newer", key="k", format=FORMAT + 1)
        self.send("known", key="k")

        got = self.leased()

        assert got == []

    def test_a_due_job_behind_its_head_is_counted_as_held(self) -> None:
        """Counts are exact though nobody has made it ready yet."""
        self.send("a", key="k")
        self.send("b", key="k", delay=5)
        self.elapse(5)

        stats = self.stats()

        assert (stats.ready, stats.held) == (2, 1)
