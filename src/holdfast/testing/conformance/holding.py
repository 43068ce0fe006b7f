"""Cases of holders: what a heartbeat keeps, the end of a holder, and what its jobs are charged."""

from __future__ import annotations

import pytest

from holdfast.delivery import Ack, GiveBack, Nack, Receipt
from holdfast.testing.conformance.cases import OTHER, Cases


class HolderCases(Cases):
    """One heartbeat keeps all leases of a process; when it ends, anybody returns its jobs."""

    def test_a_retired_holder_stays_ended(self) -> None:
        """Its next beat is told so."""
        self.beat(OTHER)
        self.store.retire(OTHER, "stopped")

        beat = self.beat(OTHER)

        assert not beat.alive
        assert OTHER not in [holder.id for holder in self.store.holders()]

    def test_a_rescued_holder_stays_ended(self) -> None:
        """It woke up too late."""
        self.beat(OTHER, ttl=10)
        self.elapse(11)
        self.store.tidy()

        beat = self.beat(OTHER)

        assert not beat.alive

    def test_a_silent_holder_lives_on_when_nobody_noticed(self) -> None:
        """Its leases are still its own."""
        self.beat(OTHER, ttl=10)
        self.send("job")
        delivery = self.lease_one(holder=OTHER)
        self.elapse(60)

        beat = self.beat(OTHER, ttl=10)
        self.store.tidy()

        assert beat.alive
        assert self.settle(Ack(delivery.receipt)) == []

    def test_jobs_of_a_silent_holder_are_delivered_again(self) -> None:
        """After its ttl, by whoever tidies: the same job, one attempt further (G-T22)."""
        self.beat(OTHER, ttl=10)
        self.send("a", "b")
        self.lease(holder=OTHER)
        self.elapse(11)

        tidied = self.store.tidy()

        assert tidied.rescued == 2
        assert [(one.id, one.attempt) for one in self.lease()] == [("a", 2), ("b", 2)]

    def test_a_silent_holder_is_rescued_once(self) -> None:
        """Repeating finds nothing (G-T22)."""
        self.beat(OTHER, ttl=10)
        self.send("job")
        self.lease(holder=OTHER)
        self.elapse(11)
        self.store.tidy()

        again = self.store.tidy()

        assert again.rescued == 0

    def test_nothing_is_rescued_before_the_ttl_is_over(self) -> None:
        """Not a moment early (G-T47)."""
        self.beat(OTHER, ttl=10)
        self.send("job")
        self.lease(holder=OTHER)
        self.elapse(9)

        tidied = self.store.tidy()

        assert tidied.rescued == 0

    def test_beats_keep_long_runs_safe(self) -> None:
        """A lease has no maximum while its holder beats."""
        self.beat(OTHER, ttl=10)
        self.send("job")
        delivery = self.lease_one(holder=OTHER)

        for _ in range(20):
            self.elapse(9)
            self.beat(OTHER, ttl=10)
            self.store.tidy()

        assert self.settle(Ack(delivery.receipt)) == []

    def test_the_ttl_can_change_at_run_time(self) -> None:
        """The last beat's counts."""
        self.beat(OTHER, ttl=10)
        self.send("job")
        self.lease(holder=OTHER)
        self.beat(OTHER, ttl=100)
        self.elapse(60)

        assert self.store.tidy().rescued == 0
        self.elapse(50)
        assert self.store.tidy().rescued == 1

    @pytest.mark.parametrize("jump", [3600.0, -3600.0], ids=["forward", "back"])
    def test_a_jump_of_the_wall_clock_rescues_nobody(self, jump: float) -> None:
        """Heartbeats are measured by a clock nobody can set."""
        self.beat(OTHER, ttl=10)
        self.send("job")
        delivery = self.lease_one(holder=OTHER)

        self.harness.set_wall(jump)

        assert self.store.tidy().rescued == 0
        assert self.settle(Ack(delivery.receipt)) == []

    def test_a_wall_clock_set_back_delays_no_rescue(self) -> None:
        """The other direction of the same promise."""
        self.beat(OTHER, ttl=10)
        self.send("job")
        self.lease(holder=OTHER)
        self.harness.set_wall(-3600)
        self.elapse(11)

        tidied = self.store.tidy()

        assert tidied.rescued == 1

    def test_the_late_settle_of_a_rescued_holder_is_lost(self) -> None:
        """The fence refuses it (G-T45)."""
        self.beat(OTHER, ttl=10)
        self.send("job")
        late = self.lease_one(holder=OTHER).receipt
        self.elapse(11)
        self.store.tidy()

        lost = self.settle(Ack(late))

        assert lost == [late]

    def test_a_new_incarnation_is_another_holder(self) -> None:
        """It neither has nor keeps the leases of the one before."""
        self.beat("other#1", ttl=10)
        self.send("job")
        self.lease(holder="other#1")
        self.beat("other#2", ttl=100)
        self.elapse(11)

        tidied = self.store.tidy()

        assert tidied.rescued == 1
        assert self.leased(holder="other#2") == ["job"]


class RetireCases(Cases):
    """The end of a holder returns its jobs at once."""

    def test_retiring_returns_unstarted_jobs_unburned(self) -> None:
        """No charge, no attempt."""
        self.beat(OTHER)
        self.send("a", "b")
        self.lease(holder=OTHER)

        taken = self.store.retire(OTHER, "stopped")

        assert taken == 2
        assert [(one.id, one.attempt, one.crashes) for one in self.lease()] == [("a", 1, 0), ("b", 1, 0)]

    def test_retiring_twice_finds_nothing(self) -> None:
        """Idempotent."""
        self.beat(OTHER)
        self.send("job")
        self.lease(holder=OTHER)
        self.store.retire(OTHER, "stopped")

        assert self.store.retire(OTHER, "stopped") == 0

    def test_retiring_an_unknown_holder_finds_nothing(self) -> None:
        """It may have been retired long ago."""
        assert self.store.retire("stranger#1", "stopped") == 0

    def test_retiring_an_idle_holder_ends_it(self) -> None:
        """Though there is nothing to return."""
        self.beat(OTHER)

        assert self.store.retire(OTHER, "stopped") == 0
        assert not self.beat(OTHER).alive

    def test_retiring_leaves_the_jobs_of_others(self) -> None:
        """Only the holder's own return."""
        self.beat(OTHER)
        self.send("mine", "theirs")
        mine = self.lease_one()
        self.lease(holder=OTHER)

        self.store.retire(OTHER, "stopped")

        assert self.settle(Ack(mine.receipt)) == []
        assert self.leased() == ["theirs"]

    def test_retiring_reaches_every_queue(self) -> None:
        """A holder may hold leases in many."""
        self.beat(OTHER)
        for queue in ("one", "two"):
            self.send("job", queue=queue)
            self.lease(queue=queue, holder=OTHER)

        taken = self.store.retire(OTHER, "stopped")

        assert taken == 2
        assert self.leased(queue="one") + self.leased(queue="two") == ["job", "job"]

    def test_retiring_leaves_what_was_settled(self) -> None:
        """Done is done."""
        self.beat(OTHER)
        self.send("a", "b")
        a, _ = self.lease(holder=OTHER)
        self.settle(Ack(a.receipt))

        taken = self.store.retire(OTHER, "stopped")

        assert taken == 1
        assert (self.stats().done, self.stats().ready) == (1, 1)

    def test_a_settle_after_retiring_is_lost(self) -> None:
        """The lease ended with its holder."""
        self.beat(OTHER)
        self.send("job")
        receipt = self.lease_one(holder=OTHER).receipt
        self.store.retire(OTHER, "stopped")

        lost = self.settle(Ack(receipt))

        assert lost == [receipt]


class ChargeCases(Cases):
    """The end of a holder charges the runs that it names, or everybody an attempt when nobody knows what ran."""

    def test_when_nobody_knows_what_ran_all_are_charged_an_attempt(self) -> None:
        """`charged=None`: an attempt and no crash."""
        self.beat(OTHER)
        self.send("a", "b")
        self.lease(holder=OTHER)

        taken = self.store.retire(OTHER, "went silent", None)

        assert taken == 2
        assert [(one.attempt, one.crashes) for one in self.lease()] == [(2, 0), (2, 0)]

    def test_a_silent_holders_last_attempt_is_buried(self) -> None:
        """Seen, not delivered for ever (G-T23)."""
        self.beat(OTHER, ttl=10)
        self.send("job", max_attempts=1)
        self.lease(holder=OTHER)
        self.elapse(11)
        self.store.tidy()

        assert self.leased() == []
        assert self.stats().dead == 1

    def test_silence_alone_never_convicts(self) -> None:
        """Without a limit of attempts, a job lost to silence runs again and again."""
        self.send("job", max_attempts=None)
        for number in range(5):
            holder = f"silent#{number}"
            self.beat(holder)
            self.lease(holder=holder)
            self.store.retire(holder, "went silent", None)

        assert self.lease_one().attempt == 6

    def test_a_charge_for_an_older_run_does_not_count(self) -> None:
        """The receipt names the run, not the job."""
        self.beat(OTHER)
        self.send("job")
        older = self.lease_one(holder=OTHER).receipt
        self.settle(GiveBack(older))
        self.lease(holder=OTHER)

        self.store.retire(OTHER, "died", [older])

        got = self.lease_one()
        assert (got.attempt, got.crashes) == (1, 0)

    def test_a_charge_for_a_job_of_another_queue_does_not_count(self) -> None:
        """Ids are per queue."""
        self.beat(OTHER)
        self.send("job")
        token = self.lease_one(holder=OTHER).token

        self.store.retire(OTHER, "died", [Receipt("elsewhere", "job", token)])

        assert self.lease_one().crashes == 0

    def test_a_charge_for_somebody_elses_run_does_not_count(self) -> None:
        """Only runs of the retired holder are charged."""
        self.beat(OTHER)
        self.send("job")
        mine = self.lease_one()

        self.store.retire(OTHER, "died", [mine.receipt])

        assert self.settle(Nack(mine.receipt)) == []
        assert self.lease_one().crashes == 0
