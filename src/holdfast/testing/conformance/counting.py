"""Cases of stats: exact counts at any moment."""

from __future__ import annotations

import pytest

from holdfast.delivery import Ack, Nack, QueueStats, State
from holdfast.testing.conformance.cases import QUEUE, Cases


class StatsCases(Cases):
    """Counts are exact, what became due or expired by now included."""

    def test_a_queue_that_does_not_exist_counts_nothing(self) -> None:
        """All zero, and asking does not make it."""
        stats = self.stats("nowhere")

        assert stats == QueueStats(queue="nowhere")
        assert "nowhere" not in self.store.queues()

    @pytest.mark.parametrize("state", list(State))
    def test_each_state_is_counted(self, state: State) -> None:
        """In its own column and no other."""
        self.bring("job", state)

        stats = self.stats()

        assert {other.value: getattr(stats, other) for other in State} == {
            other.value: int(other is state) for other in State
        }

    def test_counts_add_up_over_a_mixed_life(self) -> None:
        """After many moves each job is counted once."""
        for name, state in enumerate(list(State) * 3):
            self.bring(str(name), state)

        stats = self.stats()

        assert [getattr(stats, state) for state in State] == [3] * 7

    def test_a_due_job_counts_as_ready(self) -> None:
        """Even before anybody has written it down."""
        self.send("job", delay=5)
        self.elapse(5)

        stats = self.stats()

        assert (stats.scheduled, stats.ready) == (0, 1)

    def test_many_due_jobs_count_as_ready(self) -> None:
        """Also more than one step makes ready."""
        self.send(*map(str, range(2500)), delay=5)
        self.elapse(5)

        stats = self.stats()

        assert (stats.scheduled, stats.ready) == (0, 2500)

    def test_many_expired_jobs_count_as_expired(self) -> None:
        """Also more than one step writes down."""
        self.send(*map(str, range(2500)), expires_in=5)
        self.elapse(5)

        stats = self.stats()

        assert (stats.ready, stats.expired) == (0, 2500)

    def test_a_retry_counts_as_scheduled(self) -> None:
        """A retry is scheduled with attempts (C-T6)."""
        self.send("job")
        self.settle(Nack(self.lease_one().receipt, delay=60))

        assert self.stats().scheduled == 1

    def test_the_oldest_ready_age_is_in_seconds(self) -> None:
        """Since the job became ready."""
        self.send("old")
        self.elapse(40)
        self.send("new")
        self.elapse(2)

        assert self.stats().oldest_ready == pytest.approx(42, abs=1)

    def test_the_oldest_ready_age_counts_from_the_due_time(self) -> None:
        """Waiting to become due is not being late."""
        self.send("job", delay=30)
        self.elapse(40)

        assert self.stats().oldest_ready == pytest.approx(10, abs=1)

    def test_the_oldest_ready_job_may_be_of_any_priority(self) -> None:
        """The least important is the one that waits."""
        self.send("old", priority=-100)
        self.elapse(40)
        self.send("new", priority=100)

        assert self.stats().oldest_ready == pytest.approx(40, abs=1)

    @pytest.mark.parametrize("state", sorted(set(State) - {State.READY}))
    def test_without_ready_jobs_there_is_no_oldest(self, state: State) -> None:
        """None, not nought."""
        self.bring("job", state)

        assert self.stats().oldest_ready is None

    def test_queues_are_counted_apart(self) -> None:
        """One name, one place."""
        self.send("a", "b")
        self.send("c", queue="elsewhere")

        assert (self.stats().ready, self.stats("elsewhere").ready) == (2, 1)

    def test_a_drained_queue_counts_only_what_is_done(self) -> None:
        """Nothing lingers in any other column."""
        self.send(*map(str, range(100)))
        while batch := self.lease(7):
            self.settle(*(Ack(one.receipt) for one in batch))

        assert self.stats() == QueueStats(queue=QUEUE, done=100)

    def test_a_kind_that_once_had_a_held_job_is_still_seen_as_unhandled(self) -> None:
        """A head of a kind nobody handles holds its key and is reported."""
        self.send("a", "b", kind="strange", key="k")
        for _ in range(2):
            self.settle(Ack(self.lease_one(kinds=("strange",)).receipt))
        self.send("c", kind="strange", key="k")

        assert self.stats().unhandled == {"strange": 1}
