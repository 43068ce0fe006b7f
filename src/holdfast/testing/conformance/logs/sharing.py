"""Cases of members that share the partitions of a log."""

from __future__ import annotations

import threading

import pytest

from holdfast.contract import LogMember
from holdfast.errors import Closed, LeaseLost
from holdfast.logged import Offset
from holdfast.testing.conformance.cases import PATIENCE, PROMPT, at_once, beside
from holdfast.testing.conformance.logs.cases import OTHER, READER, LogCases, bodies

THIRD = "third#1"


class FourPartitions(LogCases):
    """What the cases of sharing have in common: four partitions with a message each."""

    @pytest.fixture(autouse=True)
    def _four(self, _open: None) -> None:
        self.declare(partitions=4)
        for partition in range(4):
            self.append(f"{partition}", partition=partition)

    def settled(self, *members: LogMember) -> list[list[int]]:
        """Let all members poll, in turn, until nothing moves any more; return what each holds."""
        held: list[list[int]] = []
        for _ in range(2 * len(members)):
            for member in members:
                self.poll(member)
            held = [sorted(member.assigned()) for member in members]
        return held


class LogShareCases(FourPartitions):
    """Partitions are shared by as many as live."""

    def test_one_member_holds_all(self) -> None:
        """There is nobody else."""
        assert self.settled(self.join()) == [[0, 1, 2, 3]]

    def test_two_members_hold_half_each(self) -> None:
        """No partition twice, none left out."""
        one, two = self.settled(self.join(), self.join(holder=OTHER))

        assert (len(one), len(two)) == (2, 2)
        assert sorted(one + two) == [0, 1, 2, 3]

    def test_no_member_holds_more_than_its_share(self) -> None:
        """Their number by that of the members, rounded up."""
        held = self.settled(self.join(), self.join(holder=OTHER), self.join(holder=THIRD))

        assert max(map(len, held)) <= 2
        assert sorted(number for one in held for number in one) == [0, 1, 2, 3]

    def test_members_beyond_the_partitions_stand_by(self) -> None:
        """They hold nothing and get nothing."""
        members = [self.join(holder=f"reader {number}#1") for number in range(5)]

        assert sorted(map(len, self.settled(*members))) == [0, 1, 1, 1, 1]

    def test_a_member_keeps_what_it_has(self) -> None:
        """What moves is done twice: only the surplus goes."""
        first = self.join()
        [before] = self.settled(first)
        second = self.join(holder=OTHER)
        after, _ = self.settled(first, second)
        again, _ = self.settled(first, second)

        assert set(after) <= set(before)
        assert again == after

    def test_a_member_polls_on_where_it_was_in_what_it_keeps(self) -> None:
        """Nothing is delivered again to it."""
        first, second = self.join(), self.join(holder=OTHER)
        self.settled(first, second)
        for partition in range(4):
            self.append(f"{partition} new", partition=partition)

        mine = sorted(self.polled(first) + self.polled(second))

        assert mine == [f"{partition} new" for partition in range(4)]

    def test_surplus_is_let_go_at_the_next_poll(self) -> None:
        """What was polled before is taken to be over; what was not committed comes again."""
        first = self.join()
        self.poll(first)
        second = self.join(holder=OTHER)
        assert self.polled(second) == []

        self.poll(first)

        assert sorted(self.polled(second)) == [str(partition) for partition in sorted(second.assigned())]
        assert len(second.assigned()) == 2

    def test_what_a_member_is_busy_with_is_not_let_go(self) -> None:
        """Not before it is done."""
        first = self.join()
        self.poll(first)
        second = self.join(holder=OTHER)
        self.poll(first, busy=(0, 1, 2, 3))
        assert (len(first.assigned()), self.polled(second)) == (4, [])

        self.poll(first, busy=(1, 3))
        self.poll(second)

        assert (sorted(first.assigned()), sorted(second.assigned())) == ([1, 3], [0, 2])

    def test_what_is_let_go_can_no_longer_be_committed(self) -> None:
        """It is another's."""
        first = self.join()
        before = self.poll(first)
        second = self.join(holder=OTHER)
        self.poll(first)
        self.poll(second)

        with pytest.raises(LeaseLost):
            self.commit(first, before)

        assert {number: self.place(partition=number) for number in range(4)} == {
            number: int(number in first.assigned()) for number in range(4)
        }

    def test_a_member_that_left_leaves_a_larger_share(self) -> None:
        """To those that stay."""
        first, second = self.join(), self.join(holder=OTHER)
        self.settled(first, second)
        first.leave()

        assert self.settled(second) == [[0, 1, 2, 3]]

    def test_new_partitions_are_shared_too(self) -> None:
        """By those that are there."""
        first, second = self.join(), self.join(holder=OTHER)
        self.settled(first, second)
        self.declare(partitions=8)

        assert list(map(len, self.settled(first, second))) == [4, 4]

    def test_groups_do_not_share(self) -> None:
        """Each has all partitions."""
        one, two = self.join("one"), self.join("two", holder=OTHER)

        assert self.settled(one, two) == [[0, 1, 2, 3], [0, 1, 2, 3]]

    def test_members_of_one_holder_share_as_others_do(self) -> None:
        """One holder may have several, of the same group."""
        assert list(map(len, self.settled(self.join(), self.join()))) == [2, 2]

    def test_a_member_for_each_thread_loses_and_doubles_nothing(self) -> None:
        """However they poll beside each other."""
        total = 4 + 4 * 30
        for number in range(30):
            for partition in range(4):
                self.append(f"{partition}/{number}", partition=partition)
        done: list[str] = []
        finished = threading.Event()

        def read(_: int) -> None:
            member = self.join()
            while not finished.is_set():
                chunks = self.poll(member, 7, wait=0.05)
                self.commit(member, chunks)
                done.extend(bodies(chunks))
                if len(done) >= total:
                    finished.set()
            member.leave()

        at_once(3, read)

        assert len(done) == len(set(done)) == total


class LogStandbyCases(FourPartitions):
    """Whoever stands by takes over; whoever loses a race harms nobody (I-W16, I-W17)."""

    @pytest.fixture(autouse=True)
    def _one(self, _four: None) -> None:
        self.declare("single")
        self.append("a", "b", log="single")

    def single(self, holder: str = READER) -> LogMember:
        """Return a member of a log with one partition."""
        return self.join(holder=holder, log="single")

    def test_leaving_frees_at_once(self) -> None:
        """The next poll of another takes it."""
        first, second = self.single(), self.single(OTHER)
        self.commit(first, self.poll(first, 1))

        first.leave()

        assert self.polled(second) == ["b"]

    def test_a_stand_by_that_waits_takes_over(self) -> None:
        """Within a second of the other's leaving."""
        first, second = self.single(), self.single(OTHER)
        self.poll(first)
        waiting = beside(lambda: self.polled(second, wait=PATIENCE))

        first.leave()

        assert waiting.result(PROMPT) == ["a", "b"]

    def test_a_stand_by_gets_nothing_of_what_another_holds(self) -> None:
        """However often it polls."""
        first, second = self.single(), self.single(OTHER)
        self.poll(first)

        assert [self.polled(second) for _ in range(3)] == [[], [], []]
        assert second.assigned() == {}

    def test_losing_a_race_frees_nothing(self) -> None:
        """Neither polling in vain nor leaving."""
        first, second = self.single(), self.single(OTHER)
        chunks = self.poll(first)
        self.poll(second)
        second.leave()

        assert self.polled(self.single(THIRD)) == []
        assert self.commit(first, chunks) == {0: 2}

    def test_of_many_that_race_one_wins(self) -> None:
        """And all get each message once."""
        members = [self.single(f"reader {number}#1") for number in range(4)]

        polled = at_once(4, lambda number: self.polled(members[number]))

        assert sorted(polled) == [[], [], [], ["a", "b"]]

    def test_a_lost_commit_frees_nothing(self) -> None:
        """The holder reads on."""
        first, second = self.single(), self.single(OTHER)
        chunks = self.poll(first)
        with pytest.raises(LeaseLost):
            second.commit([Offset(0, 1, chunks[0].version)])

        assert self.commit(first, chunks) == {0: 2}

    def test_a_member_that_left_is_closed(self) -> None:
        """Leaving again is safe."""
        member = self.single()
        chunks = self.poll(member)
        member.leave()
        member.leave()

        with pytest.raises(Closed):
            self.poll(member)
        with pytest.raises(Closed):
            self.commit(member, chunks)

    def test_leaving_twice_frees_nothing_of_the_next(self) -> None:
        """Who came after holds on."""
        first = self.single()
        self.poll(first)
        first.leave()
        second = self.single(OTHER)
        chunks = self.poll(second)
        first.leave()

        assert self.polled(self.single(THIRD)) == []
        assert self.commit(second, chunks) == {0: 2}

    def test_leaving_keeps_what_was_committed(self) -> None:
        """For whoever comes."""
        first = self.single()
        self.commit(first, self.poll(first, 1))
        first.leave()

        assert self.place(log="single") == 1
