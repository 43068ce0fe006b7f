"""Cases of unique jobs that come back, by a settlement or by an operator, and find their slot taken or free."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import pytest

from holdfast.capabilities import Cancellable, Flushable, Inspectable, Replayable
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, Burial, Cancellation, Crash, GiveBack, Nack, Receipt, Settlement, State
from holdfast.message import Unique
from holdfast.testing.conformance.cases import LONG, OTHER, QUEUE, Cases
from holdfast.testing.conformance.unique import HOUR, ONE, STARTED

BACK = [Nack, GiveBack, partial(Crash, reason="died")]


class ReentryCases(Cases):
    """Only send is refused: a job that comes back takes its slot if it is free, and else goes on without one."""

    def _probe(self, unique: Unique = STARTED) -> str:
        """Return the id of whoever has the slot, "probe" when it was free and now is the probe's."""
        [stored] = self.send("probe", unique=unique, delay=LONG)
        return stored.id

    def _overtaken(self) -> Receipt:
        """Lease a job whose slot another one takes meanwhile."""
        self.send("job", unique=STARTED)
        receipt = self.lease_one().receipt
        self.send("other", unique=STARTED, delay=LONG)
        return receipt

    @pytest.mark.parametrize("settle", BACK, ids=["failed", "given back", "crashed"])
    def test_a_job_that_comes_back_has_its_slot_again(self, settle: Callable[[Receipt], Settlement]) -> None:
        """When no other has taken it."""
        self.send("job", unique=STARTED)

        self.settle(settle(self.lease_one().receipt))

        assert self._probe() == "job"

    @pytest.mark.parametrize("settle", BACK, ids=["failed", "given back", "crashed"])
    def test_a_job_that_lost_its_slot_goes_on_without(self, settle: Callable[[Receipt], Settlement]) -> None:
        """It runs again, and the other one keeps the slot."""
        receipt = self._overtaken()

        assert self.settle(settle(receipt)) == []

        assert self._probe() == "other"
        assert self.leased() == ["job"]

    def test_a_job_given_back_by_its_lease_goes_on_without(self) -> None:
        """As with its receipt."""
        self.send("job", unique=STARTED)
        self.lease(lease_id="known")
        self.send("other", unique=STARTED, delay=LONG)

        self.settle(GiveBack(queue=QUEUE, lease_id="known"))

        assert self._probe() == "other"
        assert self.leased() == ["job"]

    def test_a_job_taken_back_goes_on_without(self) -> None:
        """Its holder is gone, its slot too."""
        self.beat(OTHER)
        self.send("job", unique=STARTED)
        self.lease_one(holder=OTHER)
        self.send("other", unique=STARTED, delay=LONG)

        self.store.retire(OTHER, "stopped")

        assert self._probe() == "other"
        assert self.leased() == ["job"]

    def test_a_job_taken_back_has_its_slot_again(self) -> None:
        """When no other has taken it."""
        self.beat(OTHER)
        self.send("job", unique=STARTED)
        self.lease_one(holder=OTHER)

        self.store.retire(OTHER, "stopped")

        assert self._probe() == "job"

    def test_a_slot_that_became_free_again_is_taken_on_the_way_back(self) -> None:
        """The one who had overtaken it has ended."""
        self.send("job", unique=STARTED)
        job = self.lease_one().receipt
        self.send("other", unique=STARTED)
        other = self.lease_one().receipt
        self.settle(Nack(job))
        assert self._probe() == "job"

        self.settle(Nack(other))

        assert self._probe() == "job"
        assert sorted(self.leased()) == ["job", "other"]

    def test_the_end_of_a_job_without_a_slot_frees_none(self) -> None:
        """The slot is another's."""
        receipt = self._overtaken()
        self.settle(Nack(receipt))

        self.settle(Ack(self.lease_one().receipt))

        assert self._probe() == "other"


class _Revived(QueueBackend, Inspectable, Cancellable, Replayable, Flushable, Protocol): ...


class UniquePowersCases(Cases):
    """Operators and slots: replay is refused by a slot, reload is not; what is removed has none."""

    needs = (Inspectable, Cancellable, Replayable, Flushable)
    store: _Revived

    def _dead(self, job_id: str = "job", unique: Unique = ONE) -> None:
        self.send(job_id, unique=unique, priority=1)
        self.settle(Burial(self.lease_one().receipt, "no"))

    def _holder(self, unique: Unique = ONE) -> str:
        [stored] = self.send("probe", unique=unique, delay=LONG)
        return stored.id

    def test_a_replay_is_skipped_while_another_has_the_slot(self) -> None:
        """And told as a duplicate."""
        self._dead()
        self.send("other", unique=ONE)

        replayed = self.store.replay(QUEUE, ["job", "unknown", "job"])

        assert (replayed.moved, replayed.duplicates) == ((), ("job",))
        assert self.stats().dead == 1
        assert self.leased() == ["other"]

    def test_a_replayed_job_has_its_slot(self) -> None:
        """When it is free."""
        self._dead()

        assert self.store.replay(QUEUE, ["job"]).moved == ("job",)

        assert self._holder() == "job"

    def test_a_replay_waits_for_the_other_to_end(self) -> None:
        """Then it may be repeated."""
        self._dead()
        self.send("other", unique=ONE)
        self.store.replay(QUEUE, ["job"])
        self.settle(Ack(self.lease_one().receipt))

        assert self.store.replay(QUEUE, ["job"]).moved == ("job",)

    def test_of_two_with_one_key_the_first_is_replayed(self) -> None:
        """It has the slot when the second comes."""
        self._dead("a")
        self._dead("b")

        replayed = self.store.replay(QUEUE, ["a", "b"])

        assert (replayed.moved, replayed.duplicates) == (("a",), ("b",))

    def test_its_own_time_does_not_stand_in_its_way(self) -> None:
        """The slot that lasts is its own."""
        self._dead(unique=HOUR)

        assert self.store.replay(QUEUE, ["job"]).moved == ("job",)

    def test_what_cannot_be_replayed_is_no_duplicate(self) -> None:
        """Its state is in the way, not its slot."""
        self.send("job", unique=STARTED)
        self.lease_one()
        self.send("other", unique=STARTED)

        replayed = self.store.replay(QUEUE, ["job", "other"])

        assert (replayed.moved, replayed.duplicates) == ((), ())

    def test_a_reload_goes_on_without_a_slot(self) -> None:
        """It is asked for by name."""
        self._dead()
        self.send("other", unique=ONE, delay=LONG)

        assert self.store.reload(QUEUE, ["job"]) == ["job"]

        assert self._holder() == "other"
        assert self.leased() == ["job"]

    def test_a_reloaded_job_has_its_slot(self) -> None:
        """When it is free."""
        self._dead()
        self.store.reload(QUEUE, ["job"])

        assert self._holder() == "job"

    def test_a_cancelled_job_has_no_slot(self) -> None:
        """It has ended."""
        self.send("job", unique=ONE)
        self.store.cancel(QUEUE, ["job"])

        assert self._holder() == "probe"

    def test_a_running_job_keeps_its_slot_until_it_stops(self) -> None:
        """A request to cancel ends nothing."""
        self.send("job", unique=ONE)
        receipt = self.lease_one().receipt
        self.store.cancel(QUEUE, ["job"])
        assert self._holder() == "job"
        self.settle(Cancellation(receipt))

        assert self._holder() == "probe"

    @pytest.mark.parametrize("state", [State.SCHEDULED, State.READY])
    def test_a_flushed_job_has_no_slot(self, state: State) -> None:
        """It is gone."""
        self.bring("job", state, unique=ONE)
        self.store.flush(QUEUE, state)

        assert self._holder() == "probe"

    def test_a_slot_outlasts_its_job(self) -> None:
        """Within its time, though the job is removed and its id forgotten."""
        self.declare(done_for=0, done_most=0, dedupe_window=10)
        self.send("job", unique=HOUR)
        self.settle(Ack(self.lease_one().receipt))
        self.tidy_all()
        self.elapse(11)
        self.tidy_all()
        assert self.store.get(QUEUE, "job") is None
        assert self._holder() == "job"

        self.elapse(3600)
        self.tidy_all()
        assert self._holder() == "probe"

    def test_a_destroyed_queue_keeps_no_slot(self) -> None:
        """A queue made later finds nothing old."""
        self.send("job", unique=HOUR)
        self.store.destroy(QUEUE)

        assert self._holder() == "probe"
