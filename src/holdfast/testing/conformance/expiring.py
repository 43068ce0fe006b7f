"""Cases of expiry: a job past it reads as expired everywhere from that instant, also with no worker running."""

from __future__ import annotations

from holdfast.delivery import Ack, GiveBack, Nack
from holdfast.testing.conformance.cases import OTHER, PATIENCE, QUEUE, Cases, beside


class ExpiryCases(Cases):
    """Only waiting jobs expire, and tidying only writes it down."""

    def test_an_expired_job_is_not_leased(self) -> None:
        """From the instant of its expiry."""
        self.send("job", expires_in=5)
        self.elapse(5)

        got = self.leased()

        assert got == []

    def test_a_job_is_leased_until_it_expires(self) -> None:
        """Not a moment less than it was promised."""
        self.send("job", expires_in=5)
        self.elapse(4)

        got = self.leased()

        assert got == ["job"]

    def test_an_expired_job_counts_as_expired_at_once(self) -> None:
        """Though nobody has written it down."""
        self.send("job", expires_in=5)
        self.elapse(5)

        stats = self.stats()

        assert (stats.ready, stats.expired) == (0, 1)

    def test_a_job_that_expires_at_once_is_stored_expired(self) -> None:
        """`expires_in=0` is legal."""
        self.send("job", expires_in=0.0)

        assert self.leased() == []
        assert self.stats().expired == 1

    def test_a_scheduled_job_can_expire_before_it_is_due(self) -> None:
        """Then it never becomes ready."""
        self.send("job", delay=60, expires_in=5)
        self.elapse(5)

        assert self.stats().expired == 1
        self.elapse(60)
        assert self.leased() == []

    def test_a_job_both_due_and_expired_is_expired(self) -> None:
        """However long nobody looked."""
        self.send("job", delay=5, expires_in=6)
        self.elapse(10)

        got = self.leased()

        assert got == []
        assert self.stats().expired == 1

    def test_a_running_job_does_not_expire(self) -> None:
        """It started in time; its ack counts."""
        self.send("job", expires_in=5)
        delivery = self.lease_one()
        self.elapse(10)
        self.store.tidy()

        lost = self.settle(Ack(delivery.receipt))

        assert lost == []
        assert self.stats().done == 1

    def test_a_job_given_back_after_its_expiry_is_expired(self) -> None:
        """Waiting again, it has waited too long."""
        self.send("job", expires_in=5)
        delivery = self.lease_one()
        self.elapse(10)

        self.settle(GiveBack(delivery.receipt))

        assert self.leased() == []
        assert self.stats().expired == 1

    def test_a_retry_expires_while_it_waits(self) -> None:
        """A delay does not prolong the job's time."""
        self.send("job", expires_in=5)
        self.settle(Nack(self.lease_one().receipt, delay=60))
        self.elapse(5)

        stats = self.stats()

        assert (stats.scheduled, stats.expired) == (0, 1)

    def test_a_job_taken_back_after_its_expiry_is_expired(self) -> None:
        """The end of its holder makes it wait again."""
        self.beat(OTHER)
        self.send("job", expires_in=5)
        self.lease(holder=OTHER)
        self.elapse(10)

        self.store.retire(OTHER, "died", None)

        assert self.stats().expired == 1

    def test_tidying_writes_expiry_down(self) -> None:
        """And tells how much of it there was."""
        self.send("a", "b", expires_in=5)
        self.send("c", delay=60, expires_in=5)
        self.send("d")
        self.elapse(5)

        tidied = self.store.tidy()

        assert tidied.expired == 3
        assert self.store.tidy().expired == 0

    def test_expiry_is_counted_once_written_down(self) -> None:
        """Tidying changes no count."""
        self.send("job", expires_in=5)
        self.elapse(5)
        before = self.stats()

        self.store.tidy()

        assert self.stats() == before

    def test_many_expired_jobs_hide_no_live_one(self) -> None:
        """They are passed by in bounded steps."""
        self.send(*map(str, range(2500)), expires_in=5, priority=9)
        self.send("live")
        self.elapse(5)

        got = [job for _ in range(5) for job in self.leased(1)]

        assert got == ["live"]

    def test_an_expiry_that_frees_a_key_wakes(self) -> None:
        """The next of the key can start, though nobody has settled anything."""
        self.send("head", key="k", expires_in=5)
        self.settle(Nack(self.lease_one().receipt, 3600))
        self.send("next", key="k")
        waiting = beside(lambda: self.store.wait((QUEUE,), ("",), PATIENCE))

        self.elapse(6)

        assert waiting.result(2 * PATIENCE)
        assert self.leased() == ["next"]
