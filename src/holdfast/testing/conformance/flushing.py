"""Cases of flushing: one state of a queue is emptied."""

from __future__ import annotations

from typing import Protocol

import pytest

from holdfast.capabilities import Flushable
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, State
from holdfast.errors import UsageError
from holdfast.testing.conformance.cases import QUEUE, Cases

REMOVABLE = [state for state in State if state is not State.RUNNING]


class _Store(QueueBackend, Flushable, Protocol): ...


class FlushCases(Cases):
    """Every job in one state goes, and no other."""

    needs = (Flushable,)
    store: _Store

    @pytest.mark.parametrize("state", REMOVABLE)
    def test_a_flush_empties_one_state(self, state: State) -> None:
        """And tells how many went (C-T6, C-T9)."""
        for each in State:
            self.bring(f"{each} 1", each)
            self.bring(f"{each} 2", each)

        gone = self.store.flush(QUEUE, state)

        assert gone == 2
        assert [getattr(self.stats(), each) for each in State] == [0 if each is state else 2 for each in State]

    def test_running_jobs_cannot_be_flushed(self) -> None:
        """They are somebody's."""
        self.bring("job", State.RUNNING)

        with pytest.raises(UsageError, match="running"):
            self.store.flush(QUEUE, State.RUNNING)

    def test_flushing_twice_finds_nothing(self) -> None:
        """Idempotent."""
        self.bring("job", State.DEAD)
        self.store.flush(QUEUE, State.DEAD)

        assert self.store.flush(QUEUE, State.DEAD) == 0

    def test_an_unknown_queue_has_nothing_to_flush(self) -> None:
        """No error."""
        assert self.store.flush("nowhere", State.DEAD) == 0

    def test_flushed_ready_jobs_are_not_leased(self) -> None:
        """They are gone."""
        self.send("a", "b", priority=3)
        self.store.flush(QUEUE, State.READY)

        assert self.leased() == []

    def test_flushed_scheduled_jobs_never_become_due(self) -> None:
        """They are gone."""
        self.send("job", delay=5)
        self.store.flush(QUEUE, State.SCHEDULED)
        self.elapse(5)

        assert self.leased() == []

    def test_due_jobs_are_flushed_as_ready_ones(self) -> None:
        """Though nobody has written that down."""
        self.send("due", delay=5)
        self.send("later", delay=60)
        self.elapse(5)

        assert self.store.flush(QUEUE, State.SCHEDULED) == 1
        assert self.leased() == ["due"]

    def test_expired_jobs_are_flushed_as_such(self) -> None:
        """Though nobody has written that down."""
        self.send("job", expires_in=5)
        self.elapse(5)

        assert self.store.flush(QUEUE, State.READY) == 0
        assert self.store.flush(QUEUE, State.EXPIRED) == 1

    def test_many_are_flushed_in_one_call(self) -> None:
        """Beyond a store's own batch sizes."""
        self.send(*map(str, range(2500)), delay=5)
        self.elapse(5)

        assert self.store.flush(QUEUE, State.READY) == 2500

    def test_flushed_ids_are_recognised_within_the_window(self) -> None:
        """A repeated send does not bring the job back."""
        self.declare(dedupe_window=100)
        self.send("job")
        self.store.flush(QUEUE, State.READY)
        self.elapse(98)
        self.tidy_all()

        [again] = self.send("job")

        assert again.duplicate

    def test_flushed_ids_are_free_after_the_window(self) -> None:
        """They are not remembered for ever."""
        self.declare(dedupe_window=100)
        self.send("job")
        self.store.flush(QUEUE, State.READY)
        self.elapse(101)
        self.tidy_all()

        [again] = self.send("job")

        assert not again.duplicate

    def test_a_flushed_line_of_a_key_leaves_it_free(self) -> None:
        """Head and held go together."""
        self.send("a", "b", "c", key="k")
        self.store.flush(QUEUE, State.READY)
        self.send("d", key="k")

        assert self.stats().held == 0
        assert self.leased() == ["d"]

    def test_held_jobs_can_be_flushed_behind_a_running_head(self) -> None:
        """The head keeps its key."""
        self.send("a", "b", "c", key="k")
        head = self.lease_one()

        assert self.store.flush(QUEUE, State.READY) == 2
        self.send("d", key="k")
        assert self.leased() == []
        self.settle(Ack(head.receipt))
        assert self.leased() == ["d"]

    def test_a_flushed_retry_frees_its_key(self) -> None:
        """It held the others until then."""
        self.send("a", "b", key="k")
        self.settle(self.lease_one().failure(60.0))

        assert self.store.flush(QUEUE, State.SCHEDULED) == 1
        assert self.leased() == ["b"]


class RemoveCases(Cases):
    """Jobs go by id, if they are in a state in which they may."""

    needs = (Flushable,)
    store: _Store

    @pytest.mark.parametrize("state", REMOVABLE)
    def test_a_job_in_any_state_but_running_is_removed(self, state: State) -> None:
        """And only it."""
        self.bring("job", state)
        self.bring("other", state)

        assert self.store.remove(QUEUE, ["job"]) == ["job"]
        assert [getattr(self.stats(), each) for each in State] == [int(each is state) for each in State]

    def test_a_running_job_stays(self) -> None:
        """It is somebody's."""
        receipt = self.bring("job", State.RUNNING)
        assert receipt is not None

        assert self.store.remove(QUEUE, ["job"]) == []
        assert self.settle(Ack(receipt)) == []

    def test_removing_running_jobs_cannot_be_asked_for(self) -> None:
        """An error, and nothing is removed."""
        self.bring("job", State.DEAD)

        with pytest.raises(UsageError, match="running"):
            self.store.remove(QUEUE, ["job"], states=list(State))
        assert self.stats().dead == 1

    def test_what_has_moved_on_meanwhile_is_left_alone(self) -> None:
        """Whoever purges dead letters does not remove what was replayed."""
        self.bring("dead", State.DEAD)
        self.bring("ready", State.READY)

        assert self.store.remove(QUEUE, ["dead", "ready"], states=(State.DEAD,)) == ["dead"]
        assert self.leased(kinds=("ready",)) == ["ready"]

    def test_unknown_jobs_and_queues_are_ignored(self) -> None:
        """And a job named twice goes once."""
        self.bring("job", State.DEAD)

        assert self.store.remove("nowhere", ["job"]) == []
        assert self.store.remove(QUEUE, ["job", "nobody", "job"]) == ["job"]
        assert self.store.remove(QUEUE, ["job"]) == []
        assert self.store.remove(QUEUE, []) == []

    def test_what_time_did_counts(self) -> None:
        """Due jobs are ready, and what is past its expiry is expired, though nobody has written that down."""
        self.send("due", delay=5)
        self.send("over", expires_in=5)
        self.elapse(5)

        assert self.store.remove(QUEUE, ["due", "over"], states=(State.SCHEDULED,)) == []
        assert self.store.remove(QUEUE, ["due"], states=(State.READY,)) == ["due"]
        assert self.store.remove(QUEUE, ["over"], states=(State.EXPIRED,)) == ["over"]

    def test_many_are_removed_in_one_call(self) -> None:
        """Beyond a store's own batch sizes."""
        names = [str(number) for number in range(2500)]
        self.send(*names)

        assert sorted(self.store.remove(QUEUE, names)) == sorted(names)
        assert self.stats().ready == 0

    def test_a_removed_head_frees_its_key(self) -> None:
        """The next in line can be leased at once."""
        self.send("a", "b", "c", key="k")

        self.store.remove(QUEUE, ["a"])

        assert self.stats().held == 1
        assert self.leased() == ["b"]

    def test_a_removed_held_job_leaves_the_line(self) -> None:
        """The others keep their order."""
        self.send("a", "b", "c", key="k")

        self.store.remove(QUEUE, ["b"])

        [head] = self.lease()
        self.settle(Ack(head.receipt))
        assert (head.id, self.leased()) == ("a", ["c"])

    def test_a_removed_retry_frees_its_key(self) -> None:
        """It held the others until then."""
        self.send("a", "b", key="k")
        self.settle(self.lease_one().failure(60.0))

        assert self.store.remove(QUEUE, ["a"]) == ["a"]
        assert self.leased() == ["b"]

    def test_removed_ids_are_recognised_within_the_window(self) -> None:
        """A repeated send does not bring the job back; after the window it does."""
        self.declare(dedupe_window=100)
        self.send("job")
        self.store.remove(QUEUE, ["job"])
        self.elapse(98)
        self.tidy_all()

        [within] = self.send("job")
        self.elapse(3)
        self.tidy_all()
        [after] = self.send("job")

        assert (within.duplicate, after.duplicate) == (True, False)

    def test_a_kept_result_goes_with_its_job(self) -> None:
        """And counts no more."""
        self.send("job")
        self.settle(Ack(self.lease_one().receipt, b"1", 60.0))

        assert self.store.remove(QUEUE, ["job"]) == ["job"]
        self.elapse(61)
        self.tidy_all()
        assert self.stats().done == 0
