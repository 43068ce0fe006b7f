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
