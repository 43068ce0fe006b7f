"""Cases of unique jobs: who has the slot of a key, and for how long; of batches, threads and follow-ups."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from holdfast.delivery import Ack, Nack, State
from holdfast.message import Stored, Unique
from holdfast.testing.conformance.cases import QUEUE, Cases, at_once

ONE = Unique("one")
STARTED = Unique("one", until="started")
HOUR = Unique("one", within=3600.0)
LIVING = [State.SCHEDULED, State.READY, State.RUNNING]
ENDED = [State.DONE, State.DEAD, State.CANCELLED, State.EXPIRED]


class SlotCases(Cases):
    """What the cases of slots have in common."""

    def _sent(self, job_id: str, unique: Unique = ONE, **options: Any) -> Stored:
        [stored] = self.send(job_id, unique=unique, **options)
        return stored

    def _refused(self, by: str, unique: Unique = ONE) -> bool:
        """Tell whether a further send is refused; it must name the job that has the slot."""
        stored = self._sent(f"probe {self.harness.wall()} {id(object())}", unique)
        assert not stored.duplicate or stored.id == by
        return stored.duplicate


class UniqueCases(SlotCases):
    """A slot is held by one job, from its send until the job has ended or was leased, and as long as it was told."""

    def test_a_second_send_returns_the_first_job(self) -> None:
        """Race-free, and told (G-W14, C-W15)."""
        first = self._sent("first")

        second = self._sent("second")

        assert not first.duplicate
        assert second == Stored(QUEUE, "first", first.level, duplicate=True)
        assert self.leased() == ["first"]

    @pytest.mark.parametrize("state", LIVING)
    def test_a_job_has_its_slot_until_it_is_done(self, state: State) -> None:
        """While it waits and while it runs."""
        self.bring("job", state, unique=ONE)

        assert self._refused("job")

    @pytest.mark.parametrize("state", ENDED)
    def test_a_job_that_has_ended_has_no_slot(self, state: State) -> None:
        """In whatever way it ended."""
        self.bring("job", state, unique=ONE)

        assert not self._refused("job")

    def test_a_job_waiting_for_a_retry_has_its_slot(self) -> None:
        """It has not ended."""
        self._sent("job")
        self.settle(Nack(self.lease_one().receipt, 60.0))

        assert self._refused("job")

    def test_until_started_frees_the_slot_at_the_lease(self) -> None:
        """Whatever happens while it runs needs another run."""
        self._sent("job", STARTED)
        assert self._refused("job", STARTED)
        self.lease_one()

        assert not self._refused("job", STARTED)

    def test_what_counts_is_how_the_holder_was_sent(self) -> None:
        """Not what the next one would like."""
        self._sent("job", ONE)
        self.lease_one()

        assert self._refused("job", STARTED)

    def test_keys_are_apart(self) -> None:
        """One slot each."""
        self._sent("a", Unique("a"))

        assert not self._sent("b", Unique("b")).duplicate

    def test_a_slot_is_its_queues_own(self) -> None:
        """The same key elsewhere is another."""
        self._sent("here")

        assert not self._sent("there", queue="elsewhere").duplicate

    def test_a_unique_key_orders_nothing(self) -> None:
        """It is not the key of a message."""
        self._sent("job", Unique("k"))
        self.send("other", key="k")

        assert self.leased() == ["job", "other"]

    def test_a_known_id_comes_first(self) -> None:
        """The same message again is itself, whoever has the slot."""
        self._sent("old")
        self.settle(Ack(self.lease_one().receipt))
        self._sent("new")

        assert self._sent("old") == Stored(QUEUE, "old", self.store.features.level, duplicate=True)

    def test_an_expired_job_has_no_slot(self) -> None:
        """From that instant, with nobody near to write it down."""
        self._sent("job", expires_in=5)
        assert self._refused("job")
        self.elapse(5)

        assert not self._refused("job")

    def test_an_error_is_for_who_sent_it(self) -> None:
        """The store treats it as a skip."""
        self._sent("job")

        assert self._refused("job", Unique("one", on_conflict="error"))


class WithinCases(SlotCases):
    """A slot may last longer than its job: for a time from the send."""

    def test_a_slot_lasts_within_its_time(self) -> None:
        """Once an hour, also when the job was done at once."""
        self._sent("job", HOUR)
        self.settle(Ack(self.lease_one().receipt))
        self.elapse(3599)
        assert self._refused("job")
        self.elapse(1)

        assert not self._refused("job")

    def test_the_time_is_fixed_and_does_not_slide(self) -> None:
        """Refused sends do not prolong it."""
        self._sent("job", Unique("one", until="started", within=timedelta(seconds=10)))
        self.lease_one()
        for _ in range(3):
            self.elapse(3)
            assert self._refused("job", STARTED)
        self.elapse(1)

        assert not self._refused("job", STARTED)

    def test_a_job_that_takes_longer_has_its_slot_longer(self) -> None:
        """Until it is done, or started, all the same."""
        self._sent("job", Unique("one", within=10))
        self.lease_one()
        self.elapse(11)

        assert self._refused("job")


class UniqueBatchCases(SlotCases):
    """Uniqueness holds within a call, among threads and for follow-ups."""

    def test_a_key_twice_in_a_batch_is_stored_once(self) -> None:
        """As if sent one after the other."""
        stored = self.send("a", "b", "c", unique=ONE)

        assert [(one.id, one.duplicate) for one in stored] == [("a", False), ("a", True), ("a", True)]
        assert self.leased() == ["a"]

    def test_a_batch_is_judged_message_by_message(self) -> None:
        """Those without a conflict are stored."""
        self._sent("there")

        [refused] = self.send("refused", unique=ONE)
        stored = [*self.send("a", "b"), refused]

        assert [one.duplicate for one in stored] == [False, False, True]

    def test_a_follow_up_finds_the_slot_of_its_job_free(self) -> None:
        """The job has ended when its follow-ups are stored."""
        self._sent("job")
        self.settle(Ack(self.lease_one().receipt, then=(self.message("next", unique=ONE),)))

        assert self.leased() == ["next"]

    def test_a_follow_up_whose_slot_is_held_is_skipped(self) -> None:
        """And the ack is carried out all the same."""
        self._sent("holder")
        self.send("job", priority=1)
        receipt = self.lease_one().receipt

        lost = self.settle(Ack(receipt, then=(self.message("next", unique=ONE), self.message("free"))))

        assert lost == []
        assert self.leased() == ["holder", "free"]

    def test_acks_of_one_call_are_in_order(self) -> None:
        """A follow-up finds the slot held by a job that the same call acks after it."""
        self._sent("holder")
        self.send("job")
        holder, job = self.lease(2)

        self.settle(Ack(job.receipt, then=(self.message("next", unique=ONE),)), Ack(holder.receipt))

        assert self.leased() == []

    def test_of_many_threads_one_stores(self) -> None:
        """All others are told its id."""
        stored = at_once(8, lambda number: self._sent(f"job {number}"))

        assert sum(not one.duplicate for one in stored) == 1
        assert len({one.id for one in stored}) == 1
