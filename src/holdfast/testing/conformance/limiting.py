"""Cases of queues with a limit: how many jobs may wait, and what is exempt."""

from __future__ import annotations

import pytest

from holdfast.delivery import ENDED, Ack, Nack
from holdfast.errors import QueueFull
from holdfast.message import Unique
from holdfast.testing.conformance.cases import LONG, QUEUE, Cases, at_once

TWO = Unique("two")


class LimitCases(Cases):
    """A queue with a limit takes no more than so many jobs that wait."""

    def test_a_send_beyond_the_limit_stores_nothing(self) -> None:
        """The whole call is refused, and says how to go on."""
        self.declare(limit=3)
        self.send("a", "b")

        with pytest.raises(QueueFull, match=r"limit of 3"):
            self.send("c", "d")

        assert self.stats().ready == 2

    def test_a_send_up_to_the_limit_is_stored(self) -> None:
        """Exactly so many."""
        self.declare(limit=3)

        self.send("a", "b", "c")

        assert self.stats().ready == 3

    def test_scheduled_jobs_count(self) -> None:
        """They wait too."""
        self.declare(limit=1)
        self.send("a", delay=LONG)

        with pytest.raises(QueueFull):
            self.send("b")

    def test_running_and_ended_jobs_do_not_count(self) -> None:
        """Room comes with every lease."""
        self.declare(limit=1)
        self.send("running")
        self.lease_one()
        for state in ENDED:
            self.bring(state.value, state)

        self.send("next")

        assert self.stats().ready == 1

    def test_expired_jobs_do_not_count(self) -> None:
        """From that instant, with nobody near to write it down."""
        self.declare(limit=2)
        self.send("a", "b", expires_in=5)
        self.elapse(5)

        self.send("c", "d")

        assert self.stats().ready == 2

    def test_duplicates_do_not_count(self) -> None:
        """By id or by unique key, there or in the same batch."""
        self.declare(limit=3)
        self.send("a")
        self.send("b", unique=Unique("one"))

        stored = self.store.send(
            QUEUE,
            [
                self.message("a"),
                self.message("c", unique=Unique("one")),
                self.message("d", unique=TWO),
                self.message("e", unique=TWO),
                self.message("d"),
            ],
        )

        assert [one.duplicate for one in stored] == [True, True, False, True, True]
        assert [one.duplicate for one in self.send("a", "b", "d")] == [True, True, True]

    def test_a_full_queue_can_be_debounced(self) -> None:
        """Nothing is added."""
        self.declare(limit=1)
        self.send("a", unique=Unique("one"))

        [stored] = self.send("b", unique=Unique("one", on_conflict="debounce"), delay=LONG)

        assert stored.id == "a"
        assert self.stats().scheduled == 1

    def test_what_comes_back_is_exempt(self) -> None:
        """A nack is never refused."""
        self.declare(limit=1)
        self.send("a")
        receipt = self.lease_one().receipt
        self.send("b")

        assert self.settle(Nack(receipt)) == []

        assert self.stats().ready == 2

    def test_follow_ups_are_exempt(self) -> None:
        """An ack is never refused."""
        self.declare(limit=1)
        self.send("a")
        receipt = self.lease_one().receipt
        self.send("b")

        assert self.settle(Ack(receipt, then=(self.message("c"), self.message("d")))) == []

        assert self.stats().ready == 3

    def test_what_is_not_held_to_the_limits_is_stored_whole(self) -> None:
        """Its sender is done already, and could not be told: neither number nor size count, and ids do."""
        self.declare(limit=1, max_body=1)
        self.send("a")

        stored = self.store.send(
            QUEUE, [self.message("a"), self.message("b", body=b"large"), self.message("c")], limited=False
        )

        assert [one.duplicate for one in stored] == [True, False, False]
        assert self.stats().ready == 3
        assert self.store.send(QUEUE, [self.message("b")], limited=False)[0].duplicate

    def test_the_last_settings_hold(self) -> None:
        """None lifts the limit."""
        self.declare(limit=0)
        with pytest.raises(QueueFull):
            self.send("a")
        self.declare()

        self.send("a")

        assert self.stats().ready == 1

    def test_it_is_exact_among_many_threads(self) -> None:
        """As many are stored as there is room for."""
        self.declare(limit=20)

        def attempt(number: int) -> int:
            stored = 0
            for part in range(10):
                try:
                    stored += len(self.send(f"{number}/{part}"))
                except QueueFull:
                    continue
            return stored

        assert sum(at_once(8, attempt)) == 20
        assert self.stats().ready == 20
