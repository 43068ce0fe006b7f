"""Cases of choosing jobs: by state, kind, key, reason, text, headers and time."""

from __future__ import annotations

from typing import Protocol

import pytest

from holdfast.capabilities import Inspectable, JobFilter
from holdfast.contract import QueueBackend
from holdfast.delivery import Burial, Nack, State
from holdfast.failures import ErrorInfo
from holdfast.testing.conformance.cases import QUEUE, Cases

BOOM = ErrorInfo("ValueError", "boom", "Traceback …")


class _Store(QueueBackend, Inspectable, Protocol): ...


class FilterCases(Cases):
    """Which jobs match, whatever their order."""

    needs = (Inspectable,)
    store: _Store

    def _ids(self, only: JobFilter) -> list[str]:
        return [job.id for job in self.store.browse(QUEUE, only).jobs]

    @pytest.mark.parametrize("state", list(State))
    def test_states_are_filtered(self, state: State) -> None:
        """By what a reader sees (G-T48)."""
        for each in State:
            self.bring(each.value, each)

        assert self._ids(JobFilter(states=(state,))) == [state.value]

    def test_due_and_expired_jobs_are_filtered_as_such(self) -> None:
        """Though nobody has written it down."""
        self.send("due", delay=5)
        self.send("over", expires_in=5)
        self.elapse(5)

        assert self._ids(JobFilter(states=(State.READY,))) == ["due"]
        assert self._ids(JobFilter(states=(State.EXPIRED,))) == ["over"]
        assert self._ids(JobFilter(states=(State.SCHEDULED,))) == []

    def test_kinds_are_filtered(self) -> None:
        """The empty kind is a kind."""
        self.send("raw")
        self.send("mail", kind="mail")

        assert self._ids(JobFilter(kind="mail")) == ["mail"]
        assert self._ids(JobFilter(kind="")) == ["raw"]

    def test_reasons_are_filtered_whole(self) -> None:
        """Equal, not contained."""
        for name, reason in [("a", "timeout"), ("b", "timeout of the payment"), ("c", "other")]:
            self.send(name)
            self.settle(Burial(self.lease_one().receipt, reason))

        assert self._ids(JobFilter(reason="timeout")) == ["a"]

    def test_text_is_found_in_reasons_and_last_errors(self) -> None:
        """Contained, as it is."""
        self.send("a", "b", "c", "d")
        a, b, c, d = (one.receipt for one in self.lease())
        self.settle(Burial(a, "payment refused"), Nack(b, 60, ErrorInfo("PaymentError", "50% off")))
        self.settle(Nack(c, 60, ErrorInfo("ValueError", "no payment")), Burial(d, "other"))

        assert self._ids(JobFilter(text="payment")) == ["c", "a"]
        assert self._ids(JobFilter(text="50%")) == ["b"]
        assert self._ids(JobFilter(text="%")) == ["b"]

    def test_times_of_sending_are_filtered(self) -> None:
        """`since` is inclusive, `until` exclusive."""
        marks = []
        for name in "abc":
            marks.append(self.harness.wall())
            self.send(name)
            self.elapse(10)

        assert self._ids(JobFilter(since=marks[1])) == ["c", "b"]
        assert self._ids(JobFilter(until=marks[2])) == ["b", "a"]
        assert self._ids(JobFilter(since=marks[1], until=marks[2])) == ["b"]

    def test_times_of_the_end_are_filtered(self) -> None:
        """Since inclusive, until exclusive; jobs that have not ended do not match."""
        for number in range(3):
            self.elapse(10)
            self.bring(f"dead {number}", State.DEAD)
        self.bring("ready", State.READY)
        ends = [job.ended for number in range(3) if (job := self.store.get(QUEUE, f"dead {number}")) is not None]

        assert self._ids(JobFilter(ended_since=ends[1])) == ["dead 2", "dead 1"]
        assert self._ids(JobFilter(ended_until=ends[1])) == ["dead 0"]
        assert self._ids(JobFilter(ended_since=ends[1], ended_until=ends[2])) == ["dead 1"]

    def test_an_expired_job_ended_when_it_expired(self) -> None:
        """Though nobody has written that down."""
        self.send("job", expires_in=5)
        self.elapse(60)
        job = self.store.get(QUEUE, "job")
        assert job is not None
        assert job.ended is not None

        assert self._ids(JobFilter(ended_since=job.ended, ended_until=job.ended + 1)) == ["job"]
        assert self._ids(JobFilter(ended_since=job.ended + 1)) == []

    def test_keys_are_filtered(self) -> None:
        """Whole."""
        self.send("a", key="user-1")
        self.send("b", key="user-12")
        self.send("c")

        assert self._ids(JobFilter(key="user-1")) == ["a"]

    def test_headers_are_filtered(self) -> None:
        """All that are named must be there, with these values."""
        self.send("a", headers={"tenant": "x", "trace": "1"})
        self.send("b", headers={"tenant": "x"})
        self.send("c", headers={"tenant": "y"})
        self.send("d")

        assert self._ids(JobFilter(headers={"tenant": "x"})) == ["b", "a"]
        assert self._ids(JobFilter(headers={"tenant": "x", "trace": "1"})) == ["a"]
        assert self._ids(JobFilter(headers={})) == ["d", "c", "b", "a"]
