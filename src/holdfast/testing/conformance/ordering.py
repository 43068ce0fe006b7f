"""Cases of the order in which jobs are leased, and of the kinds and formats a worker takes."""

from __future__ import annotations

import pytest

from holdfast.delivery import Ack, GiveBack, Nack
from holdfast.message import FORMAT, HIGHEST_PRIORITY, LOWEST_PRIORITY
from holdfast.testing.conformance.cases import OTHER, QUEUE, WORKER, Cases


class OrderCases(Cases):
    """Higher priority first, then the ms of becoming ready, then send order."""

    def test_jobs_come_in_send_order(self) -> None:
        """Ties go by send order (G-T8)."""
        self.send("a", "b")
        self.send("c")

        got = self.leased()

        assert got == ["a", "b", "c"]

    def test_a_higher_priority_goes_first(self) -> None:
        """Whatever was sent before (G-T7)."""
        self.send("one", priority=1)
        self.send("ten", priority=10)
        self.send("five", priority=5)

        got = self.leased()

        assert got == ["ten", "five", "one"]

    def test_priorities_reach_from_the_lowest_to_the_highest(self) -> None:
        """-100 … 100, default 0."""
        self.send("lowest", priority=LOWEST_PRIORITY)
        self.send("default")
        self.send("highest", priority=HIGHEST_PRIORITY)

        got = self.leased()

        assert got == ["highest", "default", "lowest"]

    def test_a_small_limit_takes_the_best(self) -> None:
        """The limit cuts the order, it does not choose another."""
        self.send("low", priority=-1)
        self.send("high", priority=1)

        got = self.leased(1)

        assert got == ["high"]

    def test_a_due_job_of_higher_priority_goes_before_ready_ones(self) -> None:
        """Becoming due late costs no priority."""
        self.send("important", priority=5, delay=10)
        self.send("ready")
        self.elapse(10)

        got = self.leased()

        assert got == ["important", "ready"]

    def test_a_job_given_back_keeps_its_place(self) -> None:
        """It stands before what became ready after it."""
        self.send("a")
        delivery = self.lease_one()
        self.elapse(1)
        self.send("b")

        self.settle(GiveBack(delivery.receipt))

        assert self.leased() == ["a", "b"]

    def test_jobs_of_one_lease_given_back_keep_their_order(self) -> None:
        """Also when they are given back in another order."""
        self.send("a", "b", "c")
        a, b, c = self.lease()

        self.settle(GiveBack(c.receipt), GiveBack(a.receipt), GiveBack(b.receipt))

        assert self.leased() == ["a", "b", "c"]

    def test_a_nack_without_delay_goes_behind_what_is_ready(self) -> None:
        """A failing job does not run in a circle before the others."""
        self.send("failing", "waiting")
        failing = self.lease_one()

        self.settle(Nack(failing.receipt))

        assert self.leased() == ["waiting", "failing"]

    def test_a_nack_without_delay_goes_before_what_is_sent_later(self) -> None:
        """It becomes ready now."""
        self.send("failing")
        self.settle(Nack(self.lease_one().receipt))
        self.elapse(1)
        self.send("later")

        got = self.leased()

        assert got == ["failing", "later"]

    def test_a_nack_with_delay_stands_where_it_became_due(self) -> None:
        """A retry takes its place by the time it is due."""
        self.send("failing")
        self.settle(Nack(self.lease_one().receipt, delay=5))
        self.elapse(1)
        self.send("before")
        self.elapse(5)
        self.send("after")

        got = self.leased()

        assert got == ["before", "failing", "after"]

    def test_a_nacked_job_keeps_its_priority(self) -> None:
        """Going behind is within the priority."""
        self.send("important", priority=5)
        self.send("ordinary")

        self.settle(Nack(self.lease_one().receipt))

        assert self.leased() == ["important", "ordinary"]

    def test_jobs_taken_back_from_a_holder_keep_their_place(self) -> None:
        """`retire` returns each to its place."""
        self.beat(OTHER)
        self.send("a", "b")
        self.lease(holder=OTHER)
        self.elapse(1)
        self.send("c")

        self.store.retire(OTHER, "stopped")

        assert self.leased() == ["a", "b", "c"]

    def test_kinds_are_merged_in_one_order(self) -> None:
        """A lease of several kinds takes the best of all of them."""
        for kind, name, priority in [("x", "x0", 0), ("y", "y0", 0), ("x", "x5", 5), ("y", "y9", 9), ("x", "x1", 0)]:
            self.send(name, kind=kind, priority=priority)

        got = self.leased(kinds=("x", "y"))

        assert got == ["y9", "x5", "x0", "y0", "x1"]


class KindCases(Cases):
    """A worker leases only kinds it has handlers for, of formats it knows; the rest stays ready and is shown."""

    def test_other_kinds_are_left_alone(self) -> None:
        """They stay ready, in order, untouched (G-T9, G-T37)."""
        self.send("a", kind="foreign")
        self.send("b", kind="known")
        self.send("c", kind="foreign")
        self.lease(kinds=("known",))

        got = self.lease(kinds=("foreign",))

        assert [(one.id, one.attempt) for one in got] == [("a", 1), ("c", 1)]

    def test_raw_messages_have_the_empty_kind(self) -> None:
        """A lease of other kinds leaves them."""
        self.send("raw")

        assert self.leased(kinds=("mail",)) == []
        assert self.leased(kinds=("",)) == ["raw"]

    def test_a_lease_of_no_kinds_gets_nothing(self) -> None:
        """No handlers, no jobs."""
        self.send("job")

        got = self.leased(kinds=())

        assert got == []

    def test_a_kind_nobody_handles_is_shown_as_unhandled(self) -> None:
        """`stats` counts it by kind."""
        self.send("a", "b", kind="foreign")
        self.send("c")

        assert self.stats().unhandled == {"foreign": 2}

    def test_a_kind_of_a_live_holder_is_not_unhandled(self) -> None:
        """One live holder that lists it is enough."""
        self.send("job", kind="mail")

        self.beat(OTHER, kinds=("mail",))

        assert self.stats().unhandled == {}

    def test_a_kind_handled_for_another_queue_is_unhandled(self) -> None:
        """Holders list their queues, too."""
        self.send("job", kind="mail")

        self.beat(OTHER, kinds=("mail",), queue="elsewhere")

        assert self.stats().unhandled == {"mail": 1}

    def test_a_kind_is_unhandled_again_when_its_holder_ends(self) -> None:
        """Ended holders handle nothing."""
        self.send("job", kind="mail")
        self.beat(OTHER, kinds=("mail",))

        self.store.retire(OTHER, "stopped")

        assert self.stats().unhandled == {"mail": 1}

    def test_a_kind_is_unhandled_when_its_holder_is_silent(self) -> None:
        """A holder past its ttl is not live, though nobody has noticed."""
        self.send("job", kind="mail")
        self.beat(OTHER, kinds=("mail",), ttl=10)

        self.elapse(11)

        assert self.stats().unhandled == {"mail": 1}

    def test_a_newer_format_is_left_alone(self) -> None:
        """A job written by a newer release waits for a worker that knows it."""
        self.send("newer", format=FORMAT + 1)
        self.send("known")

        got = self.leased(max_format=FORMAT)

        assert got == ["known"]

    def test_a_newer_format_is_leased_by_who_knows_it(self) -> None:
        """In its order, with the older ones."""
        self.send("newer", format=FORMAT + 1)
        self.send("known")

        got = self.leased(max_format=FORMAT + 1)

        assert got == ["newer", "known"]

    def test_a_newer_format_is_shown_as_unhandled(self) -> None:
        """Also when a live holder takes its kind."""
        self.beat(WORKER, kinds=("mail",))
        self.send("newer", kind="mail", format=FORMAT + 1)

        assert self.stats().unhandled == {f"mail (format {FORMAT + 1})": 1}

    @pytest.mark.parametrize("kind", ["mail.send", "größe/ü", "a b'c\"d\\e%_", "x" * 255])
    def test_a_kind_may_be_any_text(self, kind: str) -> None:
        """Kinds are compared whole and as they are."""
        self.send("other", kind=kind[:-1] + "?")
        self.send("job", kind=kind)

        got = self.leased(kinds=(kind,))

        assert got == ["job"]

    def test_many_jobs_of_an_unhandled_kind_hide_nothing(self) -> None:
        """What stands in front and is not taken is not looked through."""
        self.send(*map(str, range(3000)), kind="foreign", priority=100)
        self.send("job")

        got = self.leased(1)

        assert got == ["job"]
        assert self.stats(QUEUE).ready == 3000

    def test_a_job_is_leased_after_its_kind_has_run_empty(self) -> None:
        """A kind that was drained works again."""
        self.send("first", kind="mail")
        self.settle(Ack(self.lease_one(kinds=("mail",)).receipt))
        self.leased(kinds=("mail",))
        self.send("second", kind="mail")

        got = self.leased(kinds=("mail",))

        assert got == ["second"]
