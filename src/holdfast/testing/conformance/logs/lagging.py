"""Cases of looking at groups: how far they are behind, who reads, who is forgotten."""

from __future__ import annotations

import pytest

from holdfast.errors import Closed, LeaseLost
from holdfast.logged import GroupInfo, Lag, Start
from holdfast.testing.conformance.logs.cases import GROUP, LOG, OTHER, READER, LogCases


class LogLagCases(LogCases):
    """A group's lag is known in messages and seconds, partition by partition (I-W18, I-W19, I-W24)."""

    def lag(self, partition: int = 0, group: str = GROUP) -> Lag:
        """Return the lag in a partition."""
        return self.logs.lag(LOG, group)[partition]

    def test_a_group_that_has_read_nothing_is_behind_by_all(self) -> None:
        """It began at the first."""
        self.append("a", "b", "c")
        self.join()

        assert (self.lag().next, self.lag().messages) == (0, 3)

    def test_what_is_committed_is_no_lag(self) -> None:
        """What is only polled still is."""
        self.append("a", "b", "c")
        member = self.join()
        self.commit(member, self.poll(member, 2))
        self.poll(member)

        assert (self.lag().next, self.lag().messages) == (2, 1)

    def test_a_group_that_has_read_all_is_not_behind(self) -> None:
        """Neither in messages nor in seconds."""
        self.append("a", "b")
        member = self.join()
        self.commit(member, self.poll(member))
        self.elapse(60)

        assert (self.lag().messages, self.lag().age) == (0, None)

    def test_an_empty_log_has_no_lag(self) -> None:
        """There is nothing to read."""
        self.join()

        assert (self.lag().messages, self.lag().age, self.lag().gone) == (0, None, False)

    def test_a_group_that_begins_at_the_end_is_not_behind(self) -> None:
        """It never wanted the rest."""
        self.append("a")
        self.join(start=Start("latest"))

        assert self.lag().messages == 0

    def test_each_partition_has_its_own(self) -> None:
        """In their order."""
        self.declare(partitions=3)
        self.append("a", partition=1)
        self.append("a", "b", partition=2)
        self.join()

        lags = self.logs.lag(LOG, GROUP)

        assert [(lag.partition, lag.messages) for lag in lags] == [(0, 0), (1, 1), (2, 2)]

    def test_each_group_has_its_own(self) -> None:
        """They know nothing of each other."""
        self.append("a", "b")
        fast = self.join("fast")
        self.join("slow")
        self.commit(fast, self.poll(fast))

        assert (self.lag(group="fast").messages, self.lag(group="slow").messages) == (0, 2)

    def test_the_age_is_that_of_the_oldest_unread(self) -> None:
        """In seconds."""
        self.append("a")
        self.elapse(60)
        self.append("b")
        self.elapse(30)
        member = self.join()
        before = self.lag().age
        self.commit(member, self.poll(member, 1))
        after = self.lag().age

        assert before is not None
        assert 90 <= before < 95
        assert after is not None
        assert 30 <= after < 35

    def test_it_tells_who_reads(self) -> None:
        """Whoever holds the partition now."""
        member = self.join()
        before = self.lag().member
        self.poll(member)
        held = self.lag().member
        member.leave()

        assert (before, held, self.lag().member) == (None, READER, None)

    def test_looking_changes_nothing(self) -> None:
        """Neither places nor versions."""
        self.append("a")
        member = self.join()
        chunks = self.poll(member)
        self.logs.lag(LOG, GROUP)
        self.logs.groups(LOG)

        assert self.commit(member, chunks) == {0: 1}


class LogGroupCases(LogCases):
    """Groups are listed, and forgotten."""

    def groups(self) -> dict[str, GroupInfo]:
        """Return the groups by name."""
        return {info.name: info for info in self.logs.groups(LOG)}

    def test_a_group_is_there_from_the_first_join_on(self) -> None:
        """Not before."""
        before = self.groups()
        self.join("one")
        self.join("two")

        assert (before, set(self.groups())) == ({}, {"one", "two"})

    def test_a_group_stays_when_its_members_have_left(self) -> None:
        """With its places."""
        self.append("a")
        member = self.join()
        self.commit(member, self.poll(member))
        member.leave()

        assert self.groups()[GROUP].members == ()
        assert self.place() == 1

    def test_groups_tell_their_members(self) -> None:
        """By holder."""
        self.join(), self.join(holder=OTHER)

        info = self.groups()[GROUP]

        assert (info.log, sorted(info.members)) == (LOG, [OTHER, READER])

    def test_groups_of_other_logs_are_not_listed(self) -> None:
        """Each log has its own."""
        self.declare("other")
        self.join(log="other")

        assert self.groups() == {}

    def test_a_group_tells_how_long_it_is_idle(self) -> None:
        """Since somebody read, or committed."""
        self.append("a")
        member = self.join()
        self.commit(member, self.poll(member))
        member.leave()
        self.elapse(60)
        left = self.groups()[GROUP].idle
        again = self.join()
        self.poll(again)

        assert 60 <= left < 65
        assert self.groups()[GROUP].idle < 5

    def test_forgetting_tells_whether_there_was_one(self) -> None:
        """It may be repeated."""
        self.join()

        assert [self.logs.forget(LOG, GROUP), self.logs.forget(LOG, GROUP)] == [True, False]
        assert self.groups() == {}

    def test_a_forgotten_group_begins_anew(self) -> None:
        """Where it is told to."""
        self.append("a", "b")
        member = self.join()
        self.commit(member, self.poll(member))
        member.leave()
        self.logs.forget(LOG, GROUP)

        assert self.polled(self.join()) == ["a", "b"]

    def test_members_of_a_forgotten_group_lose(self) -> None:
        """Also when there is one of that name again."""
        self.append("a")
        member = self.join()
        chunks = self.poll(member)
        self.logs.forget(LOG, GROUP)
        self.join(holder=OTHER)

        with pytest.raises(LeaseLost):
            self.commit(member, chunks)
        with pytest.raises(Closed):
            self.poll(member)
        assert self.place() == 0

    def test_a_forgotten_group_can_be_left(self) -> None:
        """A late goodbye harms nobody."""
        member = self.join()
        self.poll(member)
        self.logs.forget(LOG, GROUP)

        member.leave()

        assert self.groups() == {}

    def test_other_groups_stay(self) -> None:
        """With their places."""
        self.append("a")
        other = self.join("other")
        self.commit(other, self.poll(other))
        self.join()
        self.logs.forget(LOG, GROUP)

        assert self.place("other") == 1
