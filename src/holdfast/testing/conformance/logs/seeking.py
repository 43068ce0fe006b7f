"""Cases of seeking, and of offsets that are gone."""

from __future__ import annotations

from typing import Literal

import pytest

from holdfast.contract import LogMember
from holdfast.errors import LeaseLost, OffsetGone
from holdfast.logged import Offset
from holdfast.testing.conformance.cases import PATIENCE, PROMPT, beside
from holdfast.testing.conformance.logs.cases import GROUP, LOG, OTHER, LogCases, bodies


class Sought(LogCases):
    """What the cases of seeking have in common: four messages and a member."""

    @pytest.fixture(autouse=True)
    def _four(self, _open: None) -> None:
        self.append_each(*"abcd")
        self.member = self.join()

    def _seek(self, **offsets: int) -> None:
        self.logs.seek(LOG, GROUP, {int(partition[1:]): offset for partition, offset in offsets.items()})


class LogSeekCases(Sought):
    """A group can be set anywhere."""

    def test_a_group_can_be_set_back(self) -> None:
        """What it has read is read again."""
        self.commit(self.member, self.poll(self.member))

        self._seek(p0=1)

        assert self.place() == 1
        assert self.polled(self.member) == ["b", "c", "d"]

    def test_a_group_can_be_set_on(self) -> None:
        """What lies between is skipped."""
        self._seek(p0=3)

        assert self.polled(self.member) == ["d"]

    def test_a_group_can_be_set_to_its_end(self) -> None:
        """It gets what comes."""
        self._seek(p0=4)
        self.append("e")

        assert self.polled(self.member) == ["e"]

    def test_a_group_can_be_set_to_a_time(self) -> None:
        """The offset is found first."""
        self.elapse(60)
        self.append("e")
        time = self.chunks(4)[0].time

        self._seek(p0=self.logs.find(LOG, 0, time))

        assert self.polled(self.member) == ["e"]

    def test_a_member_without_a_poll_between_begins_there(self) -> None:
        """Whoever takes the partition next."""
        self._seek(p0=2)

        assert self.polled(self.join("later")) == [*"abcd"]
        assert self.polled(self.member) == ["c", "d"]

    def test_other_partitions_are_untouched(self) -> None:
        """They poll and commit on."""
        self.declare(partitions=2)
        self.append("x", "y", partition=1)
        chunks = [chunk for chunk in self.poll(self.member) if chunk.partition == 1]
        self._seek(p0=0)

        assert self.commit(self.member, chunks) == {1: 2}

    def test_other_groups_are_untouched(self) -> None:
        """Each has its own places."""
        other = self.join("other")
        chunks = self.poll(other)
        self._seek(p0=4)

        assert self.commit(other, chunks) == {0: 4}

    def test_a_seek_makes_the_group(self) -> None:
        """Before anybody joins."""
        self.logs.seek(LOG, "new", {0: 2})

        assert self.place("new") == 2
        assert self.polled(self.join("new")) == ["c", "d"]

    @pytest.mark.parametrize("offset", [-1, 5, 1_000_000])
    def test_an_offset_beside_the_ends_is_refused(self, offset: int) -> None:
        """And nothing is changed."""
        self.commit(self.member, self.poll(self.member, 2))

        with pytest.raises(OffsetGone):
            self._seek(p0=offset)

        assert self.place() == 2
        assert self.polled(self.member) == ["c", "d"]

    def test_one_wrong_offset_refuses_the_whole_seek(self) -> None:
        """No partition moves."""
        self.declare(partitions=2)

        with pytest.raises(OffsetGone):
            self._seek(p0=3, p1=1)

        assert self.place() == 0

    def test_a_seek_wakes_a_poll(self) -> None:
        """There is something to read again."""
        self.commit(self.member, self.poll(self.member))
        waiting = beside(lambda: self.polled(self.member, wait=PATIENCE))

        self._seek(p0=2)

        assert waiting.result(PROMPT) == ["c", "d"]

    def test_seek_after_seek_the_last_counts(self) -> None:
        """Whatever was polled between."""
        self._seek(p0=3)
        self.poll(self.member)
        self._seek(p0=1)

        assert self.polled(self.member) == ["b", "c", "d"]

    def test_the_lag_after_a_seek_is_right(self) -> None:
        """Also back at the end (I-W18)."""
        self.commit(self.member, self.poll(self.member))
        self._seek(p0=1)
        behind = self.logs.lag(LOG, GROUP)[0].messages
        self._seek(p0=4)

        assert (behind, self.logs.lag(LOG, GROUP)[0].messages) == (3, 0)


class LogVersionCases(Sought):
    """What was polled before a seek counts no more (I15)."""

    def test_a_commit_of_what_was_polled_before_loses(self) -> None:
        """The seek is the newer word."""
        before = self.poll(self.member)
        self._seek(p0=1)

        with pytest.raises(LeaseLost):
            self.commit(self.member, before)

        assert self.place() == 1

    def test_a_commit_loses_also_after_the_next_poll(self) -> None:
        """Its version stays old."""
        before = self.poll(self.member, 3)
        self._seek(p0=0)
        self.poll(self.member, 1)

        with pytest.raises(LeaseLost):
            self.commit(self.member, before)

    def test_what_is_polled_after_a_seek_can_be_committed(self) -> None:
        """It has the new version."""
        old = self.poll(self.member)
        self._seek(p0=1)
        new = self.poll(self.member)

        assert new[0].version > old[0].version
        assert self.commit(self.member, new) == {0: 4}

    def test_a_seek_to_where_the_group_stands_raises_the_version_too(self) -> None:
        """In-flight work is void all the same."""
        before = self.poll(self.member)
        self._seek(p0=0)

        with pytest.raises(LeaseLost):
            self.commit(self.member, before)

    def test_a_seek_forgets_what_was_finished(self) -> None:
        """Everything from there on is read again."""
        [chunk, *_] = self.poll(self.member)
        self.member.commit([Offset(0, 1, chunk.version, (2, 3))])
        self._seek(p0=0)
        self.poll(self.member)

        assert self.member.assigned()[0].place.finished == ()

    def test_a_member_is_told_of_its_new_place(self) -> None:
        """By `assigned`, after its next poll."""
        self.poll(self.member)
        self._seek(p0=2)
        version = self.poll(self.member)[0].version

        place = self.member.assigned()[0].place

        assert (place.next, place.version) == (2, version)

    def test_whoever_goes_on_from_a_place_began_where_its_owners_before_did(self) -> None:
        """However far they came: what they left half done is done in the same reading."""
        self.commit(self.member, self.poll(self.member, 1))
        begun = self._begun(self.member)
        self.member.leave()

        assert self._begun(self.join()) == begun

    def test_a_seek_begins_anew_each_time(self) -> None:
        """Also to where the group stands, also twice without a poll between, and for the owners to come."""
        begun = [self._begun(self.member)]
        for _ in range(2):
            self._seek(p0=0)
            begun.append(self._begun(self.member))
        self._seek(p0=0)
        self._seek(p0=0)
        begun.append(self._begun(self.member))
        self.member.leave()

        assert len(set(begun)) == 4
        assert self._begun(self.join()) == begun[-1]

    def test_a_group_that_is_made_again_begins_anew(self) -> None:
        """Nothing is left of the one before."""
        before = self._begun(self.member)
        self._seek(p0=0)
        sought = self._begun(self.member)
        self.logs.forget(LOG, GROUP)

        assert self._begun(self.join()) not in {before, sought}

    def _begun(self, member: LogMember) -> int:
        self.poll(member, 1)
        return member.assigned()[0].begun


class LogGoneCases(LogCases):
    """What retention removed is an error or a jump, as the member says, and never a silent one."""

    def _outrun(self, when_gone: Literal["error", "earliest", "latest"], partitions: int = 1) -> LogMember:
        """Return a member whose next two of four messages retention has removed, in the first partition."""
        member = self.join(when_gone=when_gone)
        self.append_each("a", "b")
        self.harness.seal(self.logs, LOG)
        self.elapse(100)
        self.append_each("c", "d")
        self.declare(partitions=partitions, keep_for=50)
        while self.logs.tidy().more:
            pass
        assert self.logs.ends(LOG)[0].first == 2
        return member

    def test_what_is_gone_is_an_error_by_default(self) -> None:
        """It names what is there."""
        member = self._outrun("error")

        with pytest.raises(OffsetGone, match=LOG) as caught:
            self.poll(member)

        assert (caught.value.offset, caught.value.first, caught.value.next) == (0, 2, 4)

    def test_what_is_gone_in_one_partition_keeps_no_other_back(self) -> None:
        """It is an error when the others have nothing."""
        self.declare(partitions=2)
        member = self._outrun("error", partitions=2)
        self.append_each("x", "y", partition=1)

        assert [self.polled(member, 1) for _ in range(2)] == [["x"], ["y"]]
        with pytest.raises(OffsetGone) as caught:
            self.poll(member, wait=PATIENCE)
        assert caught.value.partition == 0

    def test_a_partition_can_be_left_out(self) -> None:
        """The others are waited for; when it is sought, it is the member's choice to look again."""
        self.declare(partitions=2)
        member = self._outrun("error", partitions=2)
        assert self.polled(member, without={0}) == []
        waiting = beside(lambda: self.polled(member, wait=PATIENCE, without={0}))
        self.append("x", partition=1)
        assert waiting.result(PROMPT) == ["x"]

        self.logs.seek(LOG, GROUP, {0: 3})

        assert self.polled(member, without={0, 1}) == []
        assert member.assigned()[0].place.next == 3
        assert self.polled(member) == ["d"]

    def test_the_error_stays_until_somebody_decides(self) -> None:
        """The group does not move."""
        member = self._outrun("error")

        for _ in range(2):
            with pytest.raises(OffsetGone):
                self.poll(member)

        assert self.place() == 0

    def test_a_seek_decides(self) -> None:
        """The member polls from there."""
        member = self._outrun("error")
        with pytest.raises(OffsetGone):
            self.poll(member)

        self.logs.seek(LOG, GROUP, {0: 3})

        assert self.polled(member) == ["d"]

    def test_a_member_can_go_on_with_the_first_there_is(self) -> None:
        """And commit it."""
        member = self._outrun("earliest")
        chunks = self.poll(member)

        assert bodies(chunks) == ["c", "d"]
        assert self.commit(member, chunks) == {0: 4}

    def test_a_member_can_go_on_at_the_end(self) -> None:
        """With what comes."""
        member = self._outrun("latest")
        before = self.polled(member)
        self.append("e")

        assert (before, self.polled(member)) == ([], ["e"])

    def test_the_lag_tells_of_it(self) -> None:
        """And counts what is there."""
        self._outrun("error")

        [lag] = self.logs.lag(LOG, GROUP)

        assert (lag.gone, lag.next, lag.messages) == (True, 0, 2)

    def test_reading_what_is_gone_is_an_error(self) -> None:
        """Below the first as beyond the end."""
        self._outrun("error")

        with pytest.raises(OffsetGone):
            self.read(1)

        assert self.read(2) == ["c", "d"]

    def test_a_member_that_has_read_it_goes_on(self) -> None:
        """Only what is next counts."""
        self.append_each("a", "b")
        member = self.join("fast", holder=OTHER)
        self.poll(member)
        self.harness.seal(self.logs, LOG)
        self.elapse(100)
        self.append("c")
        self.declare(keep_for=50)
        self.logs.tidy()

        assert self.polled(member) == ["c"]
