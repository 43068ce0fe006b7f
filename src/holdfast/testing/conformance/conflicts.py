"""Cases of sends that find a slot held: what they do to the job that has it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Protocol

import pytest

from holdfast.capabilities import Inspectable
from holdfast.contract import QueueBackend
from holdfast.delivery import Ack, JobView, Nack, State
from holdfast.message import OnConflict, Unique, Until
from holdfast.testing.conformance.cases import LONG, QUEUE, Cases
from holdfast.testing.conformance.unique import HOUR, ONE, STARTED


class _Viewed(QueueBackend, Inspectable, Protocol): ...


class ClashCases(Cases):
    """What the cases of conflicts have in common."""

    needs = (Inspectable,)
    store: _Viewed

    def _conflict(self, on_conflict: OnConflict, until: Until = "done", **options: Any) -> str:
        """Send a second message with the key; return the id that is answered."""
        unique = Unique("one", until=until, on_conflict=on_conflict)
        [stored] = self.send("new", unique=unique, **options)
        return stored.id

    def _view(self, job_id: str = "job") -> JobView:
        view = self.store.get(QUEUE, job_id)
        assert view is not None
        return view


class ConflictCases(ClashCases):
    """A job is changed only while it waits, and in a batch as if sent one after the other."""

    @pytest.mark.parametrize("within", [60.0, timedelta(hours=1)])
    def test_a_job_tells_how_it_was_sent(self, within: float | timedelta) -> None:
        """Its key, until when, and for how long; not what a later send would have liked."""
        unique = Unique("one", until="started", within=within, on_conflict="error")
        self.send("job", unique=unique)
        self.send("plain")
        self._conflict("replace")

        assert self._view().unique == unique
        assert self._view("plain").unique is None

    def test_skip_changes_nothing(self) -> None:
        """The job stays as it was sent."""
        self.send("job", unique=ONE, priority=1)
        before = self._view()

        assert self._conflict("skip", body=b"new", priority=9) == "job"

        assert self._view() == before

    @pytest.mark.parametrize("on_conflict", ["replace", "debounce"])
    def test_a_running_job_is_left_alone(self, on_conflict: OnConflict) -> None:
        """It is told; its slot is held until it is done."""
        self.send("job", unique=ONE, body=b"old")
        self.lease_one()

        assert self._conflict(on_conflict, body=b"new") == "job"

        assert self._view().body == b"old"

    @pytest.mark.parametrize("on_conflict", ["replace", "debounce"])
    def test_beside_a_started_job_a_new_one_is_stored(self, on_conflict: OnConflict) -> None:
        """It has no slot any more."""
        self.send("job", unique=STARTED)
        self.lease_one()

        assert self._conflict(on_conflict, "started") == "new"

        assert self.leased() == ["new"]

    @pytest.mark.parametrize("on_conflict", ["replace", "debounce"])
    def test_an_ended_job_is_left_alone(self, on_conflict: OnConflict) -> None:
        """Its slot lasts."""
        self.send("job", unique=HOUR, body=b"old")
        self.settle(Ack(self.lease_one().receipt))

        assert self._conflict(on_conflict, body=b"new") == "job"

        assert (self._view().state, self._view().body) == (State.DONE, b"old")

    @pytest.mark.parametrize("on_conflict", ["replace", "debounce"])
    def test_a_message_of_the_same_batch_is_changed_too(self, on_conflict: OnConflict) -> None:
        """As if sent one after the other."""
        unique = Unique("one", on_conflict=on_conflict)
        first = self.message("a", unique=unique, body=b"1", delay=5, priority=1, key="k")
        second = self.message("b", unique=unique, body=b"2", delay=10, priority=2, key="l")

        stored = self.store.send(QUEUE, [first, second])

        view = self._view("a")
        assert [(one.id, one.duplicate) for one in stored] == [("a", False), ("a", True)]
        assert (view.body, view.priority, view.key) == (b"2", 2, "k")
        assert ((view.due or 0) - view.sent) // 1000 == (10 if on_conflict == "debounce" else 5)


class ReplaceCases(ClashCases):
    """A waiting job takes over what a new message says; its id, its key, its due time and its place stay."""

    @pytest.mark.parametrize("state", [State.SCHEDULED, State.READY])
    def test_replace_takes_over_the_message(self, state: State) -> None:
        """All but its id, its key, its due time and its place."""
        self.bring("job", state, unique=ONE, key="k", body=b"old", headers={"old": "1"})
        before = self._view()

        answer = self._conflict(
            "replace",
            body=b"new",
            headers={"new": "2"},
            kind="other",
            priority=7,
            max_attempts=2,
            timeout=9.0,
            expires_in=60,
            key="ignored",
            delay=5,
        )

        after = self._view()
        assert answer == "job"
        assert (after.body, after.headers, after.kind, after.priority) == (b"new", {"new": "2"}, "other", 7)
        assert (after.max_attempts, after.timeout, after.expires is None) == (2, 9.0, False)
        assert (after.id, after.key, after.state, after.due) == ("job", "k", state, before.due)

    def test_what_was_replaced_runs(self) -> None:
        """Once, and as it is now."""
        self.send("job", unique=ONE, kind="old", body=b"old")
        self._conflict("replace", kind="new", body=b"new")

        assert self.leased(kinds=("old",)) == []
        got = self.lease_one(kinds=("new",))
        assert (got.id, got.body) == ("job", b"new")
        assert self.stats().running == 1

    def test_a_replaced_job_keeps_its_place_among_equals(self) -> None:
        """Who waited longest is first."""
        self.send("job", unique=ONE)
        self.elapse(1)
        self.send("later")
        self._conflict("replace")

        assert self.leased() == ["job", "later"]

    def test_a_new_priority_holds_at_once(self) -> None:
        """It stands where it would have been sent."""
        self.send("first")
        self.send("job", unique=ONE)
        self._conflict("replace", priority=1)

        assert self.leased() == ["job", "first"]

    def test_a_replaced_job_that_is_held_stays_held(self) -> None:
        """Its key's head goes first."""
        self.send("head", key="k")
        self.send("job", key="k", unique=ONE)
        self._conflict("replace", kind="new", priority=9)

        assert self.stats().held == 1
        assert self.leased(kinds=("", "new")) == ["head"]

    def test_an_expiry_may_come_and_go(self) -> None:
        """It is that of the message sent last."""
        self.send("job", unique=ONE, expires_in=5)
        self._conflict("replace")
        self.elapse(6)
        assert self._view().state is State.READY
        self._conflict("replace", expires_in=5)
        self.elapse(5)

        assert self._view().state is State.EXPIRED
        assert self.leased() == []


class DebounceCases(ClashCases):
    """A waiting job is put off as well."""

    def test_debounce_puts_a_job_off(self) -> None:
        """It runs once, after things have been quiet for so long."""
        self.send("job", unique=ONE, delay=10)
        for number in range(3):
            self.elapse(6)
            assert self._conflict("debounce", delay=10, body=b"%d" % number) == "job"
        self.elapse(9)
        assert self.leased() == []
        self.elapse(1)

        got = self.lease_one()
        assert (got.id, got.body) == ("job", b"2")

    def test_debounce_puts_a_ready_job_off(self) -> None:
        """It is scheduled again."""
        self.send("job", unique=ONE)
        self._conflict("debounce", delay=10)

        assert self.stats().scheduled == 1
        assert self.leased() == []
        self.elapse(10)
        assert self.leased() == ["job"]

    def test_debounce_without_a_delay_makes_a_job_due(self) -> None:
        """The due time is that of the new message."""
        self.send("job", unique=ONE, delay=LONG)
        self._conflict("debounce")

        assert self.leased() == ["job"]

    def test_debounce_sends_a_ready_job_to_the_tail(self) -> None:
        """Its time of becoming ready is new."""
        self.send("job", unique=ONE)
        self.elapse(1)
        self.send("other")
        self.elapse(1)
        self._conflict("debounce")

        assert self.leased() == ["other", "job"]

    def test_a_job_that_is_put_off_lets_the_next_of_its_key_go(self) -> None:
        """It joins its key again when it is due."""
        self.send("job", key="k", unique=ONE)
        self.send("behind", key="k")
        self._conflict("debounce", delay=10)
        assert self.leased() == ["behind"]
        self.elapse(10)

        assert self.stats().held == 1
        assert self.leased() == []

    def test_a_held_job_that_is_put_off_is_held_no_more(self) -> None:
        """And the head of its key is not touched."""
        self.send("head", key="k")
        self.send("job", key="k", unique=ONE)
        self._conflict("debounce", delay=10)

        assert (self.stats().held, self.stats().scheduled) == (0, 1)
        assert self.leased() == ["head"]

    def test_a_retry_that_is_put_off_stays_the_head_of_its_key(self) -> None:
        """A job that was leased holds the others until it has ended."""
        self.send("job", key="k", unique=ONE)
        self.send("behind", key="k")
        self.settle(Nack(self.lease_one().receipt))
        self._conflict("debounce", delay=10)

        assert self.leased() == []
        self.elapse(10)
        assert self.leased() == ["job"]

    def test_the_slots_time_is_that_of_the_first_send(self) -> None:
        """Neither replacing nor debouncing moves it."""
        self.send("job", unique=Unique("one", within=10))
        self.elapse(6)
        self.send("new", unique=Unique("one", within=10, on_conflict="debounce"))
        self.settle(Ack(self.lease_one().receipt))
        self.elapse(4)

        assert self._conflict("skip") == "new"
