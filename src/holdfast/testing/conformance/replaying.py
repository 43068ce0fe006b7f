"""Cases of replay and reload: ended jobs run again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pytest

from holdfast.capabilities import Inspectable, JobFilter, Replayable
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, Burial, Nack, Replayed, State
from holdfast.testing.conformance.cases import OTHER, QUEUE, Cases

REVIVED = [State.DEAD, State.CANCELLED, State.EXPIRED]
OTHERS = [state for state in State if state not in REVIVED]


class _Store(QueueBackend, Replayable, Protocol): ...


class ReviveCases(Cases):
    """What replay and reload have in common."""

    needs = (Replayable,)
    store: _Store

    @pytest.fixture(params=["replay", "reload"], autouse=True)
    def _verb(self, request: pytest.FixtureRequest) -> None:
        self.verb = str(request.param)

    def _revive(self, *job_ids: str) -> Sequence[str]:
        if self.verb == "reload":
            return self.store.reload(QUEUE, job_ids)
        return list(self.store.replay(QUEUE, job_ids).moved)

    @pytest.mark.parametrize("state", REVIVED)
    def test_an_ended_job_runs_again(self, state: State) -> None:
        """Dead, cancelled and expired (G-T11, C-T8)."""
        self.bring("job", state, kind="")

        moved = self._revive("job")

        assert moved == ["job"]
        assert getattr(self.stats(), state) == 0
        assert self.leased() == ["job"]

    @pytest.mark.parametrize("state", OTHERS)
    def test_other_jobs_are_untouched(self, state: State) -> None:
        """Those that wait, run or are done (G-T25)."""
        self.bring("job", state)

        moved = self._revive("job")

        assert moved == []
        assert getattr(self.stats(), state) == 1

    def test_unknown_ids_are_ignored(self) -> None:
        """A no-op (G-T12)."""
        self.bring("job", State.DEAD)

        assert self._revive("unknown", "job") == ["job"]

    def test_an_unknown_queue_has_nothing_to_run_again(self) -> None:
        """No error."""
        assert self.store.replay("nowhere", ["job"]) == Replayed()
        assert self.store.reload("nowhere", ["job"]) == []

    def test_the_second_call_finds_nothing(self) -> None:
        """Idempotent."""
        self.bring("job", State.DEAD)
        self._revive("job")

        assert self._revive("job") == []

    def test_an_id_twice_in_a_call_moves_once(self) -> None:
        """The job is ready when the second comes."""
        self.bring("job", State.DEAD)

        assert self._revive("job", "job") == ["job"]

    def test_many_move_in_one_call(self) -> None:
        """Only those that may."""
        for state in State:
            self.bring(state.value, state)

        moved = self._revive(*(state.value for state in State))

        assert sorted(moved) == sorted(REVIVED)

    def test_a_job_nobody_wrote_down_as_expired_runs_again(self) -> None:
        """It reads as expired, so it is."""
        self.send("job", expires_in=5)
        self.elapse(5)

        assert self._revive("job") == ["job"]
        assert self.leased() == ["job"]

    def test_it_does_not_expire_again(self) -> None:
        """No expiry is left."""
        self.send("job", expires_in=5)
        self.elapse(5)
        self._revive("job")
        self.elapse(100)

        assert self.leased() == ["job"]

    def test_it_goes_behind_what_is_ready(self) -> None:
        """By the time of becoming ready."""
        self.bring("old", State.DEAD, kind="")
        self.elapse(1)
        self.send("waiting")

        self._revive("old")

        assert self.leased() == ["waiting", "old"]

    def test_it_enters_at_the_tail_of_its_key(self) -> None:
        """It has lost its place in the line."""
        self.bring("old", State.DEAD, kind="", key="k")
        self.send("waiting", "behind", key="k")

        self._revive("old")

        order = []
        for _ in range(3):
            delivery = self.lease_one()
            order.append(delivery.id)
            self.settle(Ack(delivery.receipt))
        assert order == ["waiting", "behind", "old"]

    def test_it_waits_for_the_running_job_of_its_key(self) -> None:
        """Of one key at most one job is running."""
        self.bring("old", State.DEAD, kind="", key="k")
        self.send("running", key="k")
        self.lease()

        self._revive("old")

        assert self.leased() == []
        assert self.stats().held == 1

    def test_its_token_goes_on(self) -> None:
        """Old receipts stay lost."""
        old = self.bring("job", State.DEAD, kind="")
        assert old is not None
        self._revive("job")
        delivery = self.lease_one()

        assert self.settle(Ack(old)) == [old]
        assert delivery.token > old.token

    def test_its_priority_and_message_are_kept(self) -> None:
        """It is the same job."""
        self.send("job", body=b"payload", priority=9, headers={"a": "b"})
        self.settle(Burial(self.lease_one().receipt, "no"))
        self._revive("job")

        got = self.lease_one()

        assert (got.body, got.priority, got.headers) == (b"payload", 9, {"a": "b"})


class ReplayCases(Cases):
    """How replay and reload differ: attempts and crashes."""

    needs = (Replayable,)
    store: _Store

    def _dead(self, *, runs: int, max_attempts: int | None = 5) -> None:
        """Send a job and bury it in its ``runs``-th run."""
        self.send("job", max_attempts=max_attempts)
        for _ in range(runs - 1):
            self.settle(Nack(self.lease_one().receipt))
        self.settle(Burial(self.lease_one().receipt, "given up"))

    def _crash(self, times: int) -> None:
        for number in range(times):
            holder = f"{OTHER}{number}{self.harness.wall()}"
            self.beat(holder)
            self.store.retire(holder, "died", [self.lease_one(holder=holder).receipt])

    def test_replay_resets_the_attempts(self) -> None:
        """As if new (G-T25)."""
        self._dead(runs=3)
        self.store.replay(QUEUE, ["job"])

        got = self.lease_one()

        assert (got.attempt, got.max_attempts) == (1, 5)

    def test_replay_resets_the_crashes(self) -> None:
        """Three more may convict it again."""
        self.send("job", max_attempts=None)
        self._crash(3)
        self.store.replay(QUEUE, ["job"])

        assert self.lease_one().crashes == 0

    def test_reload_grants_exactly_one_more_attempt(self) -> None:
        """Attempts kept."""
        self._dead(runs=5)
        self.store.reload(QUEUE, ["job"])

        got = self.lease_one()

        assert (got.attempt, got.last_attempt) == (6, True)

    def test_reload_grants_one_attempt_even_if_more_were_left(self) -> None:
        """Exactly one."""
        self._dead(runs=2)
        self.store.reload(QUEUE, ["job"])

        got = self.lease_one()

        assert (got.attempt, got.last_attempt) == (3, True)

    def test_reload_of_a_job_without_a_limit_keeps_it_without(self) -> None:
        """There was always one more."""
        self._dead(runs=2, max_attempts=None)
        self.store.reload(QUEUE, ["job"])

        got = self.lease_one()

        assert (got.attempt, got.max_attempts) == (3, None)

    def test_a_reloaded_job_can_be_reloaded_again(self) -> None:
        """One more each time."""
        self._dead(runs=1, max_attempts=1)
        for _ in range(3):
            self.store.reload(QUEUE, ["job"])
            self.settle(self.lease_one().failure(0.0))
        self.store.reload(QUEUE, ["job"])

        got = self.lease_one()

        assert (got.attempt, got.last_attempt) == (5, True)

    def test_a_replayed_job_fails_as_a_new_one(self) -> None:
        """Retry, then dead letter (G-T11)."""
        self._dead(runs=2, max_attempts=2)
        self.store.replay(QUEUE, ["job"])

        self.settle(self.lease_one().failure(0.0))
        self.settle(self.lease_one().failure(0.0))

        assert self.stats().dead == 1


class _Pages(QueueBackend, Replayable, Inspectable, Protocol): ...


class ReplayPagesCases(Cases):
    """Who replays page by page comes to an end."""

    needs = (Replayable, Inspectable)
    store: _Pages

    def test_a_job_that_runs_again_is_on_no_later_page(self) -> None:
        """Whatever becomes of it, its place is where it was sent: who replays page by page ends."""
        for name in ("a", "b", "c"):
            self.bring(name, State.DEAD, kind="k")
        first = self.store.browse(QUEUE, JobFilter(states=(State.DEAD,)), limit=1)
        self.store.replay(QUEUE, ["c"])
        self.settle(Burial(self.lease_one(kinds=("k",)).receipt, "again"))

        rest = self.store.browse(QUEUE, JobFilter(states=(State.DEAD,)), limit=10, cursor=first.cursor)

        assert [job.id for job in first.jobs] == ["c"]
        assert [job.id for job in rest.jobs] == ["b", "a"]
