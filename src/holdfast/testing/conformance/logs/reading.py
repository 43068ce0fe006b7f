"""Cases of reading without a group: bounds, ends, search by time."""

from __future__ import annotations

import pytest

from holdfast.errors import OffsetGone
from holdfast.testing.conformance.logs.cases import LOG, LogCases


class LogReadCases(LogCases):
    """A read returns what lies from an offset on, and changes nothing."""

    def test_a_read_returns_what_lies_from_the_offset_on(self) -> None:
        """That one first."""
        self.append_each("a", "b", "c")

        assert self.read(1) == ["b", "c"]

    def test_a_read_can_begin_inside_an_append(self) -> None:
        """At any message."""
        self.append("a", "b", "c", "d")

        assert [self.read(offset) for offset in (1, 3)] == [["b", "c", "d"], ["d"]]

    def test_what_is_read_carries_its_offsets(self) -> None:
        """Also where an append was cut."""
        self.append("a", "b", "c", "d")

        [chunk] = self.chunks(1, limit=2)

        assert (chunk.partition, chunk.base, chunk.next, chunk.version) == (0, 1, 3, 0)

    def test_a_cut_keeps_keys_and_headers_with_their_messages(self) -> None:
        """Each its own."""
        self.append("a", "b", "c", keys=[b"1", b"2", b"3"])

        [chunk] = self.chunks(1, limit=1)

        assert [(message.key, message.body) for message in chunk] == [("2", b"b")]

    def test_a_limit_bounds_the_messages(self) -> None:
        """Across appends."""
        self.append("a", "b")
        self.append("c", "d")

        assert [self.read(limit=limit) for limit in (1, 2, 3, 9)] == [["a"], ["a", "b"], ["a", "b", "c"], [*"abcd"]]

    def test_max_bytes_bounds_the_bodies(self) -> None:
        """Across appends, and inside one."""
        self.append("x" * 10, "y" * 10)
        self.append("z" * 10)

        assert [len(self.read(max_bytes=size)) for size in (10, 19, 20, 29, 30)] == [1, 1, 2, 2, 3]

    def test_a_read_has_one_message_at_least(self) -> None:
        """However large it is, else nobody came past it."""
        self.append("x" * 1000, "y")

        assert self.read(max_bytes=1) == ["x" * 1000]

    def test_reading_at_the_end_returns_nothing(self) -> None:
        """It does not wait."""
        self.append("a")

        assert self.read(1) == []

    def test_reading_an_empty_log_returns_nothing(self) -> None:
        """Its end is 0."""
        assert self.read(0) == []

    def test_an_offset_beyond_the_end_is_gone(self) -> None:
        """It was never there; the error names what is."""
        self.append("a", "b")

        with pytest.raises(OffsetGone, match=LOG) as caught:
            self.read(3)

        error = caught.value
        assert (error.partition, error.offset, error.first, error.next) == (0, 3, 0, 2)

    def test_a_negative_offset_is_gone(self) -> None:
        """It never was one."""
        self.append("a")

        with pytest.raises(OffsetGone):
            self.read(-1)

    def test_a_read_changes_nothing(self) -> None:
        """No group knows of it."""
        self.append("a")

        assert [self.read(), self.read()] == [["a"], ["a"]]
        assert self.logs.groups(LOG) == []

    def test_many_appends_are_read_in_any_steps(self) -> None:
        """The same messages each time."""
        names = [str(number) for number in range(100)]
        for first in range(0, 100, 5):
            self.append(*names[first : first + 5])

        for step in (1, 3, 7, 100):
            found: list[str] = []
            while len(found) < 100:
                found += self.read(len(found), limit=step)
            assert found == names


class LogEndsCases(LogCases):
    """What a partition holds is known without reading it."""

    def test_an_empty_partition_begins_and_ends_at_0(self) -> None:
        """And has nothing."""
        [ends] = self.logs.ends(LOG)

        assert (ends.partition, ends.first, ends.next, ends.oldest) == (0, 0, 0, None)

    def test_ends_come_in_the_order_of_the_partitions(self) -> None:
        """Each with its own."""
        self.declare(partitions=3)
        self.append("a", "b", partition=1)
        self.append("c", partition=2)

        assert [(ends.partition, ends.next) for ends in self.logs.ends(LOG)] == [(0, 0), (1, 2), (2, 1)]

    def test_the_oldest_is_the_time_of_the_first_message(self) -> None:
        """Whatever came later."""
        self.append("a")
        self.elapse(60)
        self.append("b")

        assert self.logs.ends(LOG)[0].oldest == self.chunks()[0].time

    def test_bytes_grow_with_what_is_appended(self) -> None:
        """By no less than the bodies, uncompressed."""
        self.append("x" * 1000)
        before = self.logs.ends(LOG)[0].bytes
        self.append("x" * 1000)

        assert before >= 1000
        assert self.logs.ends(LOG)[0].bytes >= before + 1000


class LogFindCases(LogCases):
    """Messages are found by the time of their append."""

    @pytest.fixture(autouse=True)
    def _three(self, _open: None) -> None:
        self.times = []
        for names in (("a", "b"), ("c",), ("d", "e")):
            self.append(*names)
            self.times.append(self.chunks(self.logs.ends(LOG)[0].next - 1)[0].time)
            self.elapse(60)

    def test_a_time_before_all_finds_the_first(self) -> None:
        """However long before."""
        assert self.logs.find(LOG, 0, 0) == 0

    def test_the_time_of_an_append_finds_its_first_message(self) -> None:
        """Not one inside it."""
        assert [self.logs.find(LOG, 0, time) for time in self.times] == [0, 2, 3]

    def test_a_time_between_two_finds_the_later(self) -> None:
        """At that time or later."""
        assert [self.logs.find(LOG, 0, time + 1) for time in self.times[:2]] == [2, 3]

    def test_a_time_behind_all_finds_the_end(self) -> None:
        """What is appended next."""
        assert self.logs.find(LOG, 0, self.times[-1] + 1) == 5

    def test_an_empty_partition_has_its_end_only(self) -> None:
        """Nothing to find."""
        self.declare(partitions=2)

        assert self.logs.find(LOG, 1, 0) == 0

    def test_many_appends_are_searched(self) -> None:
        """Each is found by its own time."""
        self.declare("many")
        times = []
        for number in range(50):
            self.append(str(number), log="many")
            times.append(self.chunks(number, log="many")[0].time)
            self.elapse(1)

        assert [self.logs.find("many", 0, time) for time in times] == list(range(50))
