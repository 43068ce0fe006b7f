"""Cases of holders that end, are silent, or beat, and of deaths that are charged."""

from __future__ import annotations

import pytest

from holdfast.delivery import HolderInfo
from holdfast.errors import LeaseLost, UsageError
from holdfast.logged import Crashes, Offset
from holdfast.testing.conformance.cases import PATIENCE, PROMPT, beside
from holdfast.testing.conformance.logs.cases import GROUP, LOG, OTHER, READER, LogCases

TTL = 10.0


class LogRetireCases(LogCases):
    """A holder that is retired has no partitions any more."""

    @pytest.fixture(autouse=True)
    def _two(self, _open: None) -> None:
        self.declare(partitions=2)
        self.append("a", "b")
        self.append("c", partition=1)

    def test_retiring_tells_how_many_partitions_it_took(self) -> None:
        """Again, or for one that never was, none."""
        self.poll(self.join())

        assert [self.logs.retire(READER), self.logs.retire(READER), self.logs.retire("nobody#1")] == [2, 0, 0]

    def test_others_take_over_what_was_not_committed(self) -> None:
        """At once."""
        member, other = self.join(), self.join(holder=OTHER)
        self.poll(member)
        self.logs.retire(READER)

        assert sorted(self.polled(other)) == ["a", "b", "c"]

    def test_a_stand_by_that_waits_is_woken(self) -> None:
        """It takes over."""
        self.declare("single")
        self.append("x", log="single")
        member, other = self.join(log="single"), self.join(log="single", holder=OTHER)
        self.poll(member)
        waiting = beside(lambda: self.polled(other, wait=PATIENCE))

        self.logs.retire(READER)

        assert waiting.result(PROMPT) == ["x"]

    def test_its_commits_are_lost(self) -> None:
        """The group stays where it is."""
        member = self.join()
        chunks = self.poll(member)
        self.logs.retire(READER)

        with pytest.raises(LeaseLost):
            self.commit(member, chunks)

        assert self.place() == 0

    def test_it_polls_no_more(self) -> None:
        """It has to begin a new life."""
        member = self.join()
        self.poll(member)
        self.logs.retire(READER)

        with pytest.raises(LeaseLost):
            self.poll(member)

    def test_it_hears_of_it_in_its_beat(self) -> None:
        """As a worker does."""
        info = HolderInfo(id=READER, ttl=TTL)
        self.poll(self.join())
        before = self.logs.beat(info)
        self.logs.retire(READER)

        assert (before, self.logs.beat(info)) == (True, False)

    def test_all_its_members_end(self) -> None:
        """Of every group and log."""
        self.declare("other")
        for member in (self.join(), self.join("second"), self.join(log="other")):
            self.poll(member)

        assert self.logs.retire(READER) == 5

    def test_other_holders_read_on(self) -> None:
        """They hold what they held."""
        member, other = self.join(), self.join("second", holder=OTHER)
        self.poll(member)
        chunks = self.poll(other)
        self.logs.retire(READER)

        assert self.commit(other, chunks) == {0: 2, 1: 1}

    def test_a_retired_holder_is_no_member_any_more(self) -> None:
        """Shares and lists leave it out."""
        self.poll(self.join())
        self.logs.retire(READER)

        assert [info.members for info in self.logs.groups(LOG)] == [()]
        assert [lag.member for lag in self.logs.lag(LOG, GROUP)] == [None, None]

    def test_a_beat_of_a_holder_without_members_is_heard(self) -> None:
        """It may join any moment."""
        assert self.logs.beat(HolderInfo(id=OTHER, ttl=TTL))


class LogSilenceCases(LogCases):
    """Where nothing tells of a death, a holder that is silent for its ttl loses its partitions."""

    unless = ("locks",)

    @pytest.fixture(autouse=True)
    def _two(self, _open: None) -> None:
        self.append("a", "b")
        self.silent = self.join(ttl=TTL)
        self.chunks_polled = self.poll(self.silent)
        self.other = self.join(holder=OTHER)

    def _beat(self) -> bool:
        return self.logs.beat(HolderInfo(id=READER, ttl=TTL))

    def test_a_silent_holder_loses_its_partitions(self) -> None:
        """When its ttl has passed, not before."""
        self.elapse(TTL - 2)
        before = self.polled(self.other)
        self.elapse(4)

        assert (before, self.polled(self.other)) == ([], ["a", "b"])

    def test_a_stand_by_that_waits_takes_over_from_the_silent(self) -> None:
        """Nobody has to tell it."""
        waiting = beside(lambda: self.polled(self.other, wait=PATIENCE))

        self.elapse(TTL + 1)

        assert waiting.result(PROMPT) == ["a", "b"]

    def test_what_it_commits_after_that_is_lost(self) -> None:
        """Another reads it."""
        self.elapse(TTL + 1)
        self.poll(self.other)

        with pytest.raises(LeaseLost):
            self.commit(self.silent, self.chunks_polled)

    def test_a_silent_holder_may_come_back(self) -> None:
        """As a member that holds nothing yet."""
        self.elapse(TTL + 1)
        self.poll(self.other)

        assert self.polled(self.silent) == []

    def test_a_beat_keeps_its_partitions(self) -> None:
        """For another ttl."""
        self.elapse(TTL - 2)
        alive = self._beat()
        self.elapse(TTL - 2)

        assert (alive, self.polled(self.other)) == (True, [])
        assert self.commit(self.silent, self.chunks_polled) == {0: 2}

    def test_a_poll_keeps_them(self) -> None:
        """It is a sign of life."""
        self.elapse(TTL - 2)
        self.poll(self.silent)
        self.elapse(TTL - 2)

        assert self.polled(self.other) == []

    def test_a_commit_keeps_them(self) -> None:
        """So is this."""
        self.elapse(TTL - 2)
        self.commit(self.silent, self.chunks_polled)
        self.elapse(TTL - 2)
        self.append("c")

        assert self.polled(self.other) == []

    def test_a_sign_of_one_member_keeps_all_of_its_holder(self) -> None:
        """A holder lives or not."""
        second = self.join("second", ttl=TTL)
        self.elapse(TTL - 2)
        self.poll(second)
        self.elapse(TTL - 2)

        assert self.polled(self.other) == []

    def test_a_silent_holder_is_not_listed(self) -> None:
        """Neither as a member nor as who reads."""
        self.elapse(TTL + 1)

        assert self.logs.groups(LOG)[0].members == (OTHER,)
        assert self.logs.lag(LOG, GROUP)[0].member is None


class LogCrashCases(LogCases):
    """Deaths of processes are charged to the message they died at."""

    @pytest.fixture(autouse=True)
    def _four(self, _open: None) -> None:
        self.append(*"abcd")
        self.member = self.join()
        self.version = self.poll(self.member)[0].version

    def _charge(self, offset: int = 1, *, run: int = 1, reason: str = "SIGKILL", group: str = GROUP) -> Crashes:
        return self.logs.charge(LOG, group, 0, offset, run=run, reason=reason)

    def _crashes(self, group: str = GROUP) -> dict[int, Crashes]:
        return self.logs.crashes(LOG, group, 0)

    def test_a_charge_is_counted(self) -> None:
        """Run by run, with the last reason."""
        counts = [len(self._charge(run=run)) for run in (1, 2, 3)]

        assert counts == [1, 2, 3]
        assert self._charge(run=4, reason="exit code 1").reason == "exit code 1"

    def test_a_run_is_charged_once(self) -> None:
        """However often somebody says so."""
        assert [len(self._charge(run=1)) for _ in range(3)] == [1, 1, 1]

    def test_charges_are_told_by_offset(self) -> None:
        """To whoever takes the partition."""
        self._charge(1, run=1)
        self._charge(3, run=7)
        self.member.leave()

        assert self._crashes() == {1: Crashes((1,), "SIGKILL"), 3: Crashes((7,), "SIGKILL")}

    def test_without_a_charge_there_is_none(self) -> None:
        """Most messages kill nobody."""
        assert self._crashes() == {}

    def test_a_commit_beyond_forgets_them(self) -> None:
        """The message is over."""
        self._charge(1)
        self._charge(2)

        self.member.commit([Offset(0, 2, self.version)])

        assert list(self._crashes()) == [2]

    def test_finishing_the_message_forgets_them(self) -> None:
        """Though the place is before it."""
        self._charge(1)
        self._charge(2)

        self.member.commit([Offset(0, 0, self.version, (2,))])

        assert list(self._crashes()) == [1]

    def test_a_seek_forgets_them(self) -> None:
        """Everything begins anew."""
        self._charge(1)
        self.logs.seek(LOG, GROUP, {0: 0})

        assert self._crashes() == {}

    def test_what_is_finished_is_not_charged(self) -> None:
        """It did not kill that process."""
        self.member.commit([Offset(0, 2, self.version, (3,))])

        assert [len(self._charge(offset)) for offset in (1, 3)] == [0, 0]
        assert self._crashes() == {}

    def test_each_group_has_its_own(self) -> None:
        """Another handler may live."""
        self.join("second")
        self._charge(1)

        assert self._crashes("second") == {}

    def test_charging_for_an_unknown_group_is_an_error(self) -> None:
        """Nobody could have died for it."""
        with pytest.raises(UsageError):
            self._charge(group="nobody")
