"""Cases of housekeeping: what a round of tidying does, how it is bounded, and how long ended jobs are kept."""

from __future__ import annotations

import pytest

from holdfast.delivery import Ack, Nack, State, Tidied
from holdfast.testing.conformance.cases import OTHER, QUEUE, Cases


class TidyCases(Cases):
    """A round is bounded and needs no leader."""

    def test_tidying_an_empty_store_does_nothing(self) -> None:
        """And says so."""
        assert self.store.tidy() == Tidied()

    def test_tidying_again_does_nothing(self) -> None:
        """Any number of callers may do it."""
        self.send("due", delay=5)
        self.send("expired", expires_in=5)
        self.elapse(5)
        self.store.tidy()

        assert self.store.tidy() == Tidied()

    def test_tidying_makes_due_jobs_ready(self) -> None:
        """Also where nobody leases."""
        self.send("a", "b", delay=5)
        self.elapse(5)

        assert self.store.tidy().promoted == 2
        assert self.stats().ready == 2

    def test_tidying_reaches_every_queue(self) -> None:
        """One call for the whole store."""
        self.send("a", delay=5, queue="one")
        self.send("b", delay=5, queue="two")
        self.elapse(5)

        assert self.store.tidy().promoted == 2

    def test_a_round_makes_no_more_ready_than_its_limit(self) -> None:
        """`more` says that it stopped there."""
        self.send("a", "b", "c", delay=5)
        self.elapse(5)

        tidied = self.store.tidy(2)

        assert (tidied.promoted, tidied.more) == (2, True)

    def test_the_limit_holds_for_each_queue(self) -> None:
        """A queue that always has more to do keeps no other waiting."""
        for queue in ("one", "two", "three"):
            self.send("a", "b", "c", delay=5, queue=queue)
        self.elapse(5)

        rounds = [self.store.tidy(2).promoted for _ in range(3)]

        assert rounds == [6, 3, 0]

    def test_a_round_writes_down_no_more_expiries_than_its_limit(self) -> None:
        """The rest reads as expired all the same."""
        self.send("a", "b", "c", expires_in=5)
        self.elapse(5)

        tidied = self.store.tidy(2)

        assert (tidied.expired, tidied.more) == (2, True)
        assert self.stats().expired == 3

    def test_a_round_drops_no_more_than_its_limit(self) -> None:
        """Large queues are tidied in steps."""
        self.declare(done_for=0)
        for name in "abc":
            self.bring(name, State.DONE)

        tidied = self.store.tidy(2)

        assert (tidied.dropped, tidied.more) == (2, True)
        assert self.stats().done == 1

    def test_a_round_rescues_no_more_than_its_limit(self) -> None:
        """One holder after the other."""
        for holder in ("x#1", "y#1"):
            self.beat(holder, ttl=10)
            self.send(holder)
            self.lease(holder=holder)
        self.elapse(11)

        tidied = self.store.tidy(1)

        assert (tidied.rescued, tidied.more) == (1, True)
        assert self.store.tidy(1).rescued == 1

    def test_tidying_while_there_is_more_finishes_everything(self) -> None:
        """However small the steps."""
        self.send(*map(str, range(50)), delay=5)
        self.send(*map(str, range(50, 100)), expires_in=5)
        self.elapse(5)

        while self.store.tidy(7).more:
            pass

        assert self.store.tidy() == Tidied()

    def test_there_is_more_while_remembered_ids_are_let_go(self) -> None:
        """Or they would pile up."""
        self.declare(done_for=0, dedupe_window=10)
        for name in "abc":
            self.bring(name, State.DONE)
        self.tidy_all()
        self.elapse(11)

        assert [self.store.tidy(2).more for _ in range(2)] == [True, False]


class RetentionCases(Cases):
    """Ended jobs are kept as their queue says, and dropped at the next tidy after."""

    def end(self, *names: str, state: State = State.DONE) -> None:
        """End one job after the other, a second apart."""
        for name in names:
            self.bring(name, state)
            self.elapse(1)

    def test_ended_jobs_are_kept_by_default(self) -> None:
        """Done for a day, dead for thirty."""
        self.end("done")
        self.end("dead", state=State.DEAD)
        self.elapse(80_000)

        assert self.store.tidy().dropped == 0
        assert (self.stats().done, self.stats().dead) == (1, 1)

    @pytest.mark.parametrize("state", [State.DONE, State.CANCELLED, State.EXPIRED])
    def test_an_ended_job_is_dropped_when_its_time_is_over(self, state: State) -> None:
        """`done_for` holds for done, cancelled and expired jobs alike."""
        self.declare(done_for=100)
        self.end("job", state=state)
        self.tidy_all()
        self.elapse(100)

        tidied = self.store.tidy()

        assert tidied.dropped == 1
        assert getattr(self.stats(), state) == 0

    def test_an_ended_job_is_kept_until_its_time_is_over(self) -> None:
        """Not a moment less."""
        self.declare(done_for=100)
        self.end("job")
        self.elapse(97)

        assert self.store.tidy().dropped == 0

    def test_dead_letters_are_kept_for_a_time_of_their_own(self) -> None:
        """`dead_for` alone decides."""
        self.declare(done_for=0, dead_for=100)
        self.end("job", state=State.DEAD)
        self.elapse(50)

        assert self.store.tidy().dropped == 0
        self.elapse(50)
        assert self.store.tidy().dropped == 1

    def test_dropped_dead_letters_are_told_apart(self) -> None:
        """Dropping one is worth an event."""
        self.declare(done_for=0, dead_for=0)
        self.end("a", "b")
        self.end("c", state=State.DEAD)

        tidied = self.store.tidy()

        assert (tidied.dropped, tidied.dead_dropped) == (3, 1)

    def test_only_the_newest_are_kept(self) -> None:
        """`done_most` counts them."""
        self.declare(done_most=2)
        self.end("a", "b", "c", "d")

        tidied = self.store.tidy()

        assert (tidied.dropped, self.stats().done) == (2, 2)

    def test_only_the_newest_dead_letters_are_kept(self) -> None:
        """`dead_most` counts them."""
        self.declare(dead_most=1)
        self.end("a", "b", state=State.DEAD)

        tidied = self.store.tidy()

        assert (tidied.dead_dropped, self.stats().dead) == (1, 1)

    def test_a_retention_of_nothing_drops_at_the_next_tidy(self) -> None:
        """0 means delete at once."""
        self.declare(done_for=0)
        self.bring("job", State.DONE)

        assert self.store.tidy().dropped == 1

    def test_jobs_that_have_not_ended_are_never_dropped(self) -> None:
        """Retention is for what is over."""
        self.declare(done_for=0, done_most=0, dead_for=0, dead_most=0)
        for state in (State.SCHEDULED, State.READY, State.RUNNING):
            self.bring(state.value, state)
        self.elapse(400_000)

        assert self.store.tidy().dropped == 0

    def test_each_queue_has_its_own_retention(self) -> None:
        """Settings are per queue."""
        self.declare(done_for=0)
        self.send("kept", queue="elsewhere")
        self.settle(Ack(self.lease_one(queue="elsewhere").receipt))
        self.bring("dropped", State.DONE)

        self.store.tidy()

        assert (self.stats().done, self.stats("elsewhere").done) == (0, 1)

    def test_a_dropped_job_is_unknown_to_settle(self) -> None:
        """Its receipt is lost."""
        self.declare(done_for=0)
        receipt = self.bring("job", State.DONE)
        assert receipt is not None
        self.store.tidy()

        assert self.settle(Nack(receipt)) == [receipt]

    def test_the_time_of_an_expired_job_counts_from_its_expiry(self) -> None:
        """Not from when somebody wrote it down."""
        self.declare(done_for=100)
        self.beat(OTHER)
        self.send("job", expires_in=5, queue=QUEUE)
        self.elapse(106)

        self.tidy_all()

        assert self.stats().expired == 0
