"""Cases of appending: order, whole appends, times, sizes, many threads."""

from __future__ import annotations

import pytest

from holdfast.errors import BodyTooLarge, UsageError
from holdfast.logged import Columns, LogMessage, written_headers
from holdfast.testing.conformance.cases import at_once
from holdfast.testing.conformance.logs.cases import LOG, LogCases, bodies

THREADS = 4
EACH = 50


class LogAppendCases(LogCases):
    """What is appended lies where it was said, whole and in order."""

    def test_offsets_rise_by_one_a_message_from_0(self) -> None:
        """An append is told the place of its first."""
        places = [self.append("a").offset, self.append("b", "c", "d").offset, self.append("e").offset]

        assert places == [0, 1, 4]

    def test_an_append_is_told_where_it_lies(self) -> None:
        """And how safe it is."""
        self.declare(partitions=2)

        stored = self.append("a", partition=1)

        assert (stored.log, stored.partition, stored.offset, stored.duplicate) == (LOG, 1, 0, False)
        assert stored.level == self.logs.features.level

    def test_messages_lie_in_the_order_of_their_append(self) -> None:
        """Within a call and from call to call."""
        self.append("a", "b")
        self.append("c")

        assert self.read() == ["a", "b", "c"]

    def test_each_partition_has_its_own_offsets(self) -> None:
        """Nothing goes across."""
        self.declare(partitions=2)
        self.append("a", "b")

        assert self.append("c", partition=1).offset == 0

    def test_each_log_has_its_own_offsets(self) -> None:
        """They know nothing of each other."""
        self.declare("other")
        self.append("a", "b")

        assert self.append("c", log="other").offset == 0

    def test_any_bytes_come_back_as_they_were(self) -> None:
        """Also none."""
        given = [b"", bytes(range(256)), b"\0" * 1000, b"", "ä\U0001f600".encode()]
        self.append(*given)

        assert [body for chunk in self.chunks() for body in chunk.bodies] == given

    def test_an_append_of_empty_bodies_alone_is_one(self) -> None:
        """Each has an offset."""
        self.append("", "")

        assert self.append("").offset == 2
        assert self.read() == ["", "", ""]

    def test_keys_and_headers_come_back(self) -> None:
        """Where a message has none, None and nothing."""
        headers = written_headers({"trace": "1", "ä": ""})
        self.append("a", "b", "c", keys=[b"k", None, b""], headers=[None, headers, None])

        messages = [message for chunk in self.chunks() for message in chunk]

        assert [message.key for message in messages] == ["k", None, ""]
        assert [dict(message.headers) for message in messages] == [{}, {"trace": "1", "ä": ""}, {}]

    def test_keys_without_headers_come_back(self) -> None:
        """And headers without keys."""
        self.append("a", keys=[b"k"])
        self.append("b", headers=[written_headers({"x": "y"})])

        assert [(one.key, dict(one.headers)) for one in self._messages()] == [("k", {}), (None, {"x": "y"})]

    def _messages(self) -> list[LogMessage]:
        return [message for chunk in self.chunks() for message in chunk]

    def test_a_message_knows_its_place(self) -> None:
        """Partition and offset."""
        self.declare(partitions=2)
        self.append_each("a", "b", partition=1)

        messages = [message for chunk in self.chunks(partition=1) for message in chunk]

        assert [(message.partition, message.offset) for message in messages] == [(1, 0), (1, 1)]

    def test_changing_a_list_after_the_append_changes_nothing(self) -> None:
        """What was appended is the store's."""
        given = [b"a", b"b"]
        self.logs.append(LOG, 0, Columns(given))
        given[0] = b"x"

        assert self.read() == ["a", "b"]

    def test_flush_tells_how_safe_everything_is(self) -> None:
        """No less than an append did."""
        stored = self.append("a")

        levels = list(type(stored.level))
        assert levels.index(self.logs.flush(LOG)) >= levels.index(stored.level)

    def test_flushing_an_empty_log_is_safe(self) -> None:
        """There is nothing to do."""
        self.logs.flush(LOG)

        assert self.read() == []


class LogRefusalCases(LogCases):
    """An append that is refused stores nothing."""

    def test_a_body_above_the_limit_is_refused(self) -> None:
        """Before anything is written."""
        self.declare(max_body=10)

        with pytest.raises(BodyTooLarge, match=LOG):
            self.append("x" * 11)

        assert self.read() == []

    def test_one_large_body_refuses_the_whole_append(self) -> None:
        """Together or not at all."""
        self.declare(max_body=10)

        with pytest.raises(BodyTooLarge):
            self.append("a", "x" * 11, "b")

        assert self.append("c").offset == 0

    def test_a_body_of_just_the_limit_is_stored(self) -> None:
        """The limit is the largest that is taken."""
        self.declare(max_body=10)

        self.append("x" * 10)

        assert self.read() == ["x" * 10]

    def test_an_append_above_64_mib_is_refused(self) -> None:
        """Whatever its messages are."""
        body = b"x" * (1 << 20)

        with pytest.raises(BodyTooLarge):
            self.append(*[body] * 64)

        assert self.logs.ends(LOG)[0].next == 0

    def test_an_append_of_nothing_is_refused(self) -> None:
        """It would have no place."""
        with pytest.raises(UsageError):
            self.append()

    def test_columns_of_different_lengths_are_refused(self) -> None:
        """Whose key would it be?"""
        with pytest.raises(UsageError):
            self.append("a", "b", keys=[b"k"])

        assert self.read() == []


class LogTimeCases(LogCases):
    """Times are the store's, and never fall."""

    def _times(self) -> list[int]:
        return [chunk.time for chunk in self.chunks()]

    def test_a_message_has_the_time_of_its_append(self) -> None:
        """In ms of UTC."""
        before = self.harness.wall()
        self.append("a")
        self.elapse(60)
        self.append("b")
        after = self.harness.wall()

        first, second = self._times()
        assert before <= first <= second - 60_000
        assert second <= after

    def test_times_never_fall_when_the_wall_clock_does(self) -> None:
        """Else a search by time would miss messages."""
        self.append("a")
        self.harness.set_wall(-3600)
        self.append("b")

        first, second = self._times()
        assert second >= first

    def test_times_go_on_when_the_wall_clock_has_caught_up(self) -> None:
        """They do not stand still for ever."""
        self.append("a")
        self.harness.set_wall(-60)
        self.elapse(180)
        self.append("b")

        first, second = self._times()
        assert second >= first + 60_000


class LogThreadCases(LogCases):
    """Any number of threads may append (I-W26)."""

    def test_threads_lose_and_mix_nothing(self) -> None:
        """Each call's messages lie side by side, where it was told."""
        placed = at_once(THREADS, self._append_pairs)

        found = self.read_all()
        assert len(found) == THREADS * EACH * 2
        told = {name: offset for one in placed for name, offset in one.items()}
        assert {name: found[offset : offset + 2] for name, offset in told.items()} == {
            name: [f"{name} a", f"{name} b"] for name in told
        }

    def _append_pairs(self, number: int) -> dict[str, int]:
        names = [f"{number}/{count}" for count in range(EACH)]
        return {name: self.append(f"{name} a", f"{name} b").offset for name in names}

    def test_each_thread_keeps_its_order(self) -> None:
        """What one thread appends later lies later."""
        at_once(THREADS, lambda number: self.append_each(*[f"{number}/{count}" for count in range(EACH)]))

        found = self.read_all()
        for number in range(THREADS):
            mine = [body for body in found if body.startswith(f"{number}/")]
            assert mine == [f"{number}/{count}" for count in range(EACH)]

    def test_threads_at_several_partitions_and_logs_lose_nothing(self) -> None:
        """Each finds its own."""
        self.declare(partitions=2)
        self.declare("other", partitions=2)
        places = [(LOG, 0), (LOG, 1), ("other", 0), ("other", 1)]

        def append(number: int) -> None:
            log, partition = places[number]
            self.append_each(*map(str, range(EACH)), log=log, partition=partition)

        at_once(len(places), append)

        assert all(self.read_all(log=log, partition=one) == list(map(str, range(EACH))) for log, one in places)

    def test_readers_beside_writers_see_whole_appends_in_order(self) -> None:
        """Never half of one, never a gap."""

        def run(number: int) -> bool:
            if number:
                return bool(self._append_pairs(number))
            seen = 0
            while seen < (THREADS - 1) * EACH * 2:
                chunks = self.chunks(seen)
                found = bodies(chunks)
                assert [one[:-1] for one in found[::2]] == [one[:-1] for one in found[1::2]]
                seen = chunks[-1].next if chunks else seen
            return True

        assert all(at_once(THREADS, run))
