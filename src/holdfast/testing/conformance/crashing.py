"""Cases of crashes: what a job is charged whose process died, with its holder or beside it."""

from __future__ import annotations

import itertools
from typing import Protocol

import pytest

from holdfast.capabilities import Inspectable
from holdfast.contract import QueueBackend
from holdfast.delivery import Crash, GiveBack, JobView, Nack, State
from holdfast.testing.conformance.cases import QUEUE, Cases


class DyingCases(Cases):
    """Each case for both ways: the holder itself dies and is retired, or it settles a run whose own process died."""

    @pytest.fixture(params=["with its holder", "beside its holder"], autouse=True)
    def _way(self, request: pytest.FixtureRequest) -> None:
        self.with_holder = request.param == "with its holder"
        self.numbers = itertools.count(1)

    def _crash(self, *guilty: str, reason: str = "worker died: SIGKILL") -> str:
        """Let a new holder lease all there is, and a process die while the guilty ran; return the holder."""
        holder = f"crashing#{next(self.numbers)}"
        self.beat(holder)
        held = self.lease(holder=holder)
        if self.with_holder:
            self.store.retire(holder, reason, [one.receipt for one in held if one.id in guilty])
        else:
            ends = [Crash(one.receipt, reason) if one.id in guilty else GiveBack(one.receipt) for one in held]
            assert self.settle(*ends) == []
        self.elapse(0.01)
        return holder


class CrashCases(DyingCases):
    """A job whose process died is charged; one that had not started never is."""

    def test_a_charged_job_burns_its_attempt_and_a_crash(self) -> None:
        """It ran when the process died."""
        self.send("job")
        self._crash("job")

        got = self.lease_one()

        assert (got.attempt, got.crashes) == (2, 1)

    def test_the_neighbours_of_a_charged_job_are_unburned(self) -> None:
        """A job that had not started is never charged."""
        self.send("guilty", "innocent")
        self._crash("guilty")

        got = {one.id: (one.attempt, one.crashes) for one in self.lease()}

        assert got == {"guilty": (2, 1), "innocent": (1, 0)}

    def test_a_charged_job_comes_back_at_once(self) -> None:
        """To its place."""
        self.send("first", "second")
        self._crash("first")

        assert self.leased() == ["first", "second"]

    def test_the_third_crash_buries(self) -> None:
        """Even if attempts are left (G-T40)."""
        self.send("poison", max_attempts=None)
        for _ in range(3):
            self._crash("poison")

        assert self.leased() == []
        assert self.stats().dead == 1

    def test_two_crashes_do_not_bury(self) -> None:
        """Only the third convicts."""
        self.send("job")
        self._crash("job")
        self._crash("job")

        assert self.leased() == ["job"]

    def test_a_failure_between_crashes_does_not_pardon(self) -> None:
        """Crashes add up over the runs of a job."""
        self.send("poison", max_attempts=None)
        self._crash("poison")
        self._crash("poison")
        self.settle(Nack(self.lease_one().receipt))
        self._crash("poison")

        assert self.stats().dead == 1

    def test_a_crash_in_the_last_attempt_buries(self) -> None:
        """None is left (G-T23)."""
        self.send("job", max_attempts=1)
        self._crash("job")

        assert self.leased() == []
        assert self.stats().dead == 1

    def test_an_uncharged_job_survives_its_last_attempt(self) -> None:
        """It did not run."""
        self.send("job", max_attempts=1)
        self._crash()

        assert self.leased() == ["job"]

    def test_a_burial_by_a_crash_frees_the_key(self) -> None:
        """A poisonous head holds nobody."""
        self.send("poison", "next", key="k", max_attempts=1)

        self._crash("poison")

        assert self.leased() == ["next"]

    def test_a_job_that_crashed_stays_the_head_of_its_key(self) -> None:
        """It goes first, and holds no other key."""
        self.send("guilty", "held", key="k")
        self.send("free", key="l")
        self._crash("guilty")

        assert self.leased() == ["guilty", "free"]


class _Store(QueueBackend, Inspectable, Protocol): ...


class CrashRunCases(DyingCases):
    """A crash is kept with its job."""

    needs = (Inspectable,)
    store: _Store

    def _get(self) -> JobView:
        job = self.store.get(QUEUE, "job")
        assert job is not None
        return job

    def test_a_crash_is_recorded_with_its_reason(self) -> None:
        """`worker died: SIGKILL`."""
        self.send("job")

        holder = self._crash("job", reason="worker died: SIGKILL")

        [run] = self._get().runs
        assert (run.number, run.holder, run.outcome) == (1, holder, "crashed")
        assert run.error is not None
        assert "worker died: SIGKILL" in run.error.message

    def test_a_job_buried_by_its_third_crash_says_why(self) -> None:
        """The reason of the crash is that of the dead letter (G-T40)."""
        self.send("job", max_attempts=None)

        for number in range(3):
            self._crash("job", reason=f"worker died: {number}")

        job = self._get()
        assert (job.state, job.crashes, job.attempts, job.reason) == (State.DEAD, 3, 3, "worker died: 2")
        assert [run.outcome for run in job.runs] == ["crashed"] * 3

    def test_a_job_that_came_back_shows_no_reason(self) -> None:
        """It waits, and nobody has it."""
        self.send("job")

        self._crash("job")

        job = self._get()
        assert (job.state, job.holder, job.crashes, job.attempts, job.reason) == (State.READY, None, 1, 1, None)
