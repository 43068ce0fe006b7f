"""Cases of groups: where they begin, what they have polled, what they have committed."""

from __future__ import annotations

import pytest

from holdfast.errors import LeaseLost, OffsetGone
from holdfast.logged import Chunk, Offset, Start
from holdfast.testing.conformance.logs.cases import GROUP, LOG, OTHER, LogCases, bodies


class LogStartCases(LogCases):
    """A new group's place in every partition is fixed when its first member joins."""

    def test_a_new_group_begins_at_the_first_message(self) -> None:
        """Unless it is told otherwise."""
        self.append("a", "b")

        assert self.polled(self.join()) == ["a", "b"]

    def test_a_group_can_begin_behind_the_last(self) -> None:
        """It gets what comes."""
        self.append("old")
        member = self.join(start=Start("latest"))
        self.append("new")

        assert self.polled(member) == ["new"]

    def test_where_it_begins_is_fixed_at_the_join(self) -> None:
        """Not at the first poll, nor by the next to join."""
        self.append("old")
        self.join(start=Start("latest")).leave()
        self.append("new")

        assert self.polled(self.join(start=Start("latest"))) == ["new"]

    def test_a_group_can_begin_at_a_time(self) -> None:
        """With the first message from then on."""
        self.append("old")
        self.elapse(60)
        self.append("new")
        time = self.chunks(1)[0].time

        assert self.polled(self.join(start=Start("time", time))) == ["new"]

    def test_a_time_to_come_begins_behind_the_last(self) -> None:
        """As `latest`."""
        self.append("old")
        member = self.join(start=Start("time", self.harness.wall() + 60_000))
        self.append("new")

        assert self.polled(member) == ["new"]

    def test_a_group_can_begin_at_an_offset(self) -> None:
        """Of every partition."""
        self.declare(partitions=2)
        for partition in (0, 1):
            self.append("a", "b", "c", partition=partition)

        assert sorted(self.polled(self.join(start=Start("offset", 2)))) == ["c", "c"]

    def test_a_group_that_exists_is_not_begun_again(self) -> None:
        """Whatever the next member says."""
        self.append("a", "b", "c")
        member = self.join()
        self.commit(member, self.poll(member, 1))
        member.leave()

        assert self.polled(self.join(start=Start("latest"))) == ["b", "c"]

    def test_each_group_reads_everything(self) -> None:
        """With offsets of its own."""
        self.append("a", "b")
        one, two = self.join("one"), self.join("two")
        self.commit(one, self.poll(one))

        assert self.polled(two) == ["a", "b"]
        assert [self.place("one"), self.place("two")] == [2, 0]


class LogOffsetCases(LogCases):
    """A member polls on from where it is; the group stands where was committed."""

    def test_a_poll_goes_on_behind_the_last(self) -> None:
        """Without a commit."""
        self.append("a", "b", "c")
        member = self.join()

        assert [self.polled(member, 1) for _ in range(4)] == [["a"], ["b"], ["c"], []]

    def test_what_was_polled_is_not_committed(self) -> None:
        """That is the reader's to do."""
        self.append("a", "b")
        member = self.join()
        self.poll(member)

        assert self.place() == 0

    def test_a_commit_returns_what_is_committed(self) -> None:
        """For each partition of the call."""
        self.declare(partitions=2)
        self.append("a", "b")
        self.append("c", partition=1)
        member = self.join()

        assert self.commit(member, self.poll(member)) == {0: 2, 1: 1}

    def test_the_next_member_gets_exactly_what_was_not_committed(self) -> None:
        """In order."""
        self.append_each(*"abcde")
        first = self.join()
        self.commit(first, self.poll(first, 2))
        self.poll(first, 2)
        first.leave()

        assert self.polled(self.join(holder=OTHER)) == ["c", "d", "e"]

    def test_a_commit_can_cut_an_append(self) -> None:
        """A place is a message, not an append."""
        self.append(*"abcd")
        first = self.join()
        self.commit(first, self.poll(first, 3))
        first.leave()

        assert self.polled(self.join()) == ["d"]

    def test_part_of_what_was_polled_can_be_committed(self) -> None:
        """The rest is delivered again to the next."""
        self.append(*"abcd")
        member = self.join()
        [chunk] = self.poll(member)
        member.commit([Offset(0, 1, chunk.version)])
        member.leave()

        assert self.polled(self.join()) == ["b", "c", "d"]

    def test_a_durable_commit_is_a_commit(self) -> None:
        """It only waits for the disk."""
        self.append("a")
        member = self.join()

        assert self.commit(member, self.poll(member), durable=True) == {0: 1}
        assert self.place() == 1

    def test_a_lower_commit_changes_nothing(self) -> None:
        """And returns what is committed."""
        self.append("a", "b", "c")
        member = self.join()
        [chunk] = self.poll(member)
        self.commit(member, [chunk])

        assert member.commit([Offset(0, 1, chunk.version)]) == {0: 3}
        assert self.place() == 3

    def test_the_same_commit_may_be_repeated(self) -> None:
        """It is no error."""
        self.append("a")
        member = self.join()
        chunks = self.poll(member)

        assert [self.commit(member, chunks), self.commit(member, chunks)] == [{0: 1}, {0: 1}]

    def test_committing_nothing_is_safe(self) -> None:
        """An empty batch."""
        assert self.join().commit([]) == {}

    def test_a_commit_beyond_the_end_is_refused(self) -> None:
        """Nobody can have read that."""
        self.append("a")
        member = self.join()
        [chunk] = self.poll(member)

        with pytest.raises(OffsetGone):
            member.commit([Offset(0, 2, chunk.version)])

        assert self.place() == 0

    def test_a_member_knows_what_it_holds(self) -> None:
        """With the group's place when it took it."""
        self.declare(partitions=2)
        self.append("a", "b")
        first = self.join()
        self.commit(first, self.poll(first, 1))
        first.leave()
        member = self.join()
        chunks = self.poll(member)

        assigned = member.assigned()

        assert sorted(assigned) == [0, 1]
        assert (assigned[0].place.next, assigned[1].place.next) == (1, 0)
        assert assigned[0].place.version == chunks[0].version

    def test_a_member_holds_nothing_before_its_first_poll(self) -> None:
        """Joining takes nothing."""
        assert self.join().assigned() == {}


class LogLeaseCases(LogCases):
    """Who does not hold a partition commits nothing there."""

    def test_a_commit_without_the_partition_is_lost(self) -> None:
        """The group stays where it is."""
        self.append("a")
        first, second = self.join(), self.join(holder=OTHER)
        [chunk] = self.poll(first)

        with pytest.raises(LeaseLost, match="0"):
            second.commit([Offset(0, 1, chunk.version)])

        assert self.place() == 0

    def test_a_commit_of_an_earlier_owner_is_lost(self) -> None:
        """Its version is not that of the place any more."""
        self.append("a", "b")
        first = self.join()
        old = self.poll(first)
        first.leave()
        second = self.join(holder=OTHER)
        new = self.poll(second, 1)
        assert new[0].version != old[0].version

        with pytest.raises(LeaseLost):
            self.commit(second, old)

        assert self.place() == 0

    def test_a_commit_with_any_other_version_is_lost(self) -> None:
        """Also one that never was."""
        self.append("a")
        member = self.join()
        [chunk] = self.poll(member)

        with pytest.raises(LeaseLost):
            member.commit([Offset(0, 1, chunk.version + 1)])

    def test_the_other_partitions_of_a_lost_commit_are_committed(self) -> None:
        """The error names those that are not."""
        self.declare(partitions=2)
        for partition in (0, 1):
            self.append("a", partition=partition)
        member = self.join()
        chunks = self.poll(member)
        self.logs.seek(LOG, GROUP, {1: 0})

        with pytest.raises(LeaseLost, match="1"):
            self.commit(member, chunks)

        assert [self.place(), self.place(partition=1)] == [1, 0]

    def test_a_version_rises_with_every_owner(self) -> None:
        """It never comes again."""
        self.append("a")
        versions = []
        for _ in range(3):
            member = self.join()
            versions += [chunk.version for chunk in self.poll(member)]
            member.leave()

        assert versions == sorted(set(versions))
        assert min(versions) > 0

    def test_a_version_is_above_those_of_earlier_groups_of_its_name(self) -> None:
        """What was polled for a group that was forgotten is never committed for the one made later."""
        self.append("a", "b")
        first = self.join()
        for _ in range(3):
            self.logs.seek(LOG, GROUP, {0: 0})
        old = self.poll(first)
        self.logs.forget(LOG, GROUP)
        self.elapse(1)
        second = self.join(holder=OTHER)
        [new] = self.poll(second, 1)

        assert new.version > old[0].version
        with pytest.raises(LeaseLost):
            self.commit(second, old)

    def test_a_version_is_none_of_an_earlier_group_of_this_very_instant(self) -> None:
        """Also where the clock stands still between the two."""
        self.append("a", "b")
        olds: list[list[Chunk]] = []
        for _ in range(4):
            member = self.join()
            new = self.poll(member)
            for old in olds:
                with pytest.raises(LeaseLost):
                    self.commit(member, old)
            olds.append(new)
            self.logs.forget(LOG, GROUP)
            member.leave()


class LogFinishedCases(LogCases):
    """What was finished beyond the place is remembered."""

    def _finish(self, next_: int, *finished: int) -> None:
        """Commit with these offsets finished beyond, through a member that then leaves."""
        member = self.join()
        version = self.poll(member)[0].version
        member.commit([Offset(0, next_, version, finished)])
        member.leave()

    def _finished(self) -> tuple[int, ...]:
        """Return what the next member is told."""
        member = self.join(holder=OTHER)
        self.poll(member)
        return member.assigned()[0].place.finished

    def test_the_next_member_is_told_what_is_finished(self) -> None:
        """In order."""
        self.append(*"abcdef")

        self._finish(1, 4, 2)

        assert self._finished() == (2, 4)

    def test_what_is_finished_is_still_polled(self) -> None:
        """Skipping it is the reader's."""
        self.append(*"abc")
        self._finish(0, 1)

        assert bodies(self.poll(self.join())) == ["a", "b", "c"]

    def test_the_next_commit_replaces_what_was_finished(self) -> None:
        """At the same place too."""
        self.append(*"abcdef")
        member = self.join()
        version = self.poll(member)[0].version
        member.commit([Offset(0, 1, version, (3, 4))])
        member.commit([Offset(0, 1, version, (3, 5))])
        member.leave()

        assert self._finished() == (3, 5)

    def test_a_lower_commit_leaves_what_is_finished(self) -> None:
        """It changes nothing."""
        self.append(*"abcdef")
        member = self.join()
        version = self.poll(member)[0].version
        member.commit([Offset(0, 2, version, (4,))])
        member.commit([Offset(0, 1, version, (3,))])
        member.leave()

        assert self._finished() == (4,)

    def test_a_commit_beyond_forgets_what_it_has_passed(self) -> None:
        """It is part of the place now."""
        self.append(*"abcdef")

        self._finish(3, 1, 2, 4)

        assert self._finished() == (4,)

    def test_the_list_is_bounded(self) -> None:
        """What is dropped is delivered again; what is kept was finished."""
        self.append(*["x"] * 20_000)
        given = range(1, 20_000, 2)

        self._finish(0, *given)

        kept = self._finished()
        assert 100 <= len(kept) <= 5000
        assert set(kept) <= set(given)
