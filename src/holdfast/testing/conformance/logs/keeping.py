"""Cases of retention: what goes, what stays, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.contract import LogMember
from holdfast.errors import BodyTooLarge, OffsetGone, QueueFull
from holdfast.logged import LogTidied, Producer, Start
from holdfast.testing.conformance.logs.cases import GROUP, LOG, LogCases

BODY = "x" * 1000


class Kept(LogCases):
    """What the cases of retention have in common: every append is a piece that can go."""

    def append_sealed(self, *bodies: str, partition: int = 0, log: str = LOG) -> None:
        """Append these in one call, as a piece of their own."""
        self.append(*bodies, partition=partition, log=log)
        self.harness.seal(self.logs, log)

    def keep(self, **settings: Any) -> LogTidied:
        """Declare the log anew, tidy until there is nothing to do; return what was done."""
        self.logs.declare(LOG, self._changed(settings))
        return self.tidy_all()

    def _changed(self, settings: dict[str, Any]) -> Any:
        known = self.logs.logs()[LOG]
        return type(known)(**{name: getattr(known, name) for name in known.__struct_fields__} | settings)

    def tidy_all(self) -> LogTidied:
        """Tidy until there is nothing more to do; return what was done."""
        done = self.logs.tidy()
        while done.more:
            done = LogTidied(done.messages, done.bytes, done.groups) + self.logs.tidy()
        return done

    def first(self, partition: int = 0) -> int:
        """Return the lowest offset that is kept."""
        return self.logs.ends(LOG)[partition].first

    def read_on(self, member: LogMember, limit: int) -> None:
        """Read and commit so many messages."""
        self.commit(member, self.poll(member, limit))


class LogRetentionCases(Kept):
    """Messages go when they are old or too many, oldest first, and not otherwise."""

    def test_old_messages_go(self) -> None:
        """Those older than `keep_for`."""
        self.append_sealed("old")
        self.elapse(100)
        self.append_sealed("young")

        self.keep(keep_for=50)

        assert (self.first(), self.read_all()) == (1, ["young"])

    def test_young_messages_stay(self) -> None:
        """To the second."""
        self.append_sealed("a")
        self.elapse(100)

        self.keep(keep_for=110)

        assert self.read_all() == ["a"]

    def test_without_limits_everything_stays(self) -> None:
        """For ever."""
        self.append_sealed("a")
        self.elapse(100_000_000)

        assert self.keep(keep_for=None).messages == 0
        assert self.read_all() == ["a"]

    def test_too_many_messages_go(self) -> None:
        """Down to `keep_most`, the newest stay."""
        for number in range(10):
            self.append_sealed(str(number))

        self.keep(keep_most=4)

        assert self.read_all() == ["6", "7", "8", "9"]

    def test_whole_appends_go_and_never_too_much(self) -> None:
        """What is left is no less than is to be kept."""
        for number in range(3):
            self.append_sealed(f"{number}a", f"{number}b", f"{number}c")

        self.keep(keep_most=4)

        assert self.read_all() == ["1a", "1b", "1c", "2a", "2b", "2c"]

    def test_too_many_bytes_go(self) -> None:
        """Down to `keep_bytes`, the newest stay."""
        for number in range(10):
            self.append_sealed(f"{number}{BODY}")
        size = self.logs.ends(LOG)[0].bytes // 10

        self.keep(keep_bytes=4 * size)

        assert [body[0] for body in self.read_all()] in ([*"6789"], [*"56789"])

    def test_the_oldest_of_all_partitions_go_first(self) -> None:
        """The limits are the log's."""
        self.declare(partitions=2)
        for partition, name in ((0, "a"), (1, "b"), (0, "c"), (1, "d")):
            self.append_sealed(name, partition=partition)
            self.elapse(1)

        self.keep(keep_most=2)

        assert [self.read_all(partition=0), self.read_all(partition=1)] == [["c"], ["d"]]

    def test_everything_can_go(self) -> None:
        """Offsets go on behind it."""
        self.append_sealed("a", "b")
        self.elapse(100)
        self.keep(keep_for=50)

        ends = self.logs.ends(LOG)[0]

        assert (ends.first, ends.next, ends.oldest) == (2, 2, None)
        assert self.append("c").offset == 2
        assert self.read_all() == ["c"]

    def test_tidying_tells_what_went(self) -> None:
        """Messages and bytes."""
        self.append_sealed("a", BODY)
        self.append_sealed("b")
        self.elapse(100)

        done = self.keep(keep_for=50)

        assert done.messages == 3
        assert done.bytes >= 1000
        assert self.tidy_all() == LogTidied()

    def test_small_rounds_come_to_the_same(self) -> None:
        """Each does its part."""
        for number in range(10):
            self.append_sealed(str(number))
        self.logs.declare(LOG, self._changed({"keep_most": 3}))

        for _ in range(100):
            if not self.logs.tidy(limit=1).more:
                break

        assert self.read_all() == ["7", "8", "9"]

    def test_nothing_goes_without_a_tidy_or_an_append(self) -> None:
        """Reading removes nothing."""
        self.append_sealed("a")
        self.elapse(100)
        self.logs.declare(LOG, self._changed({"keep_for": 50}))

        assert self.read() == ["a"]

    def test_other_logs_keep_theirs(self) -> None:
        """Settings are a log's own."""
        self.declare("other")
        self.append_sealed("a", log="other")
        self.elapse(100)
        self.keep(keep_for=50)

        assert self.read_all(log="other") == ["a"]

    def test_messages_can_be_found_by_time_after_some_went(self) -> None:
        """The first that is left, and later ones."""
        times = []
        for number in range(6):
            self.append_sealed(str(number))
            times.append(self.chunks(number)[0].time)
            self.elapse(10)
        self.keep(keep_most=3)

        assert [self.logs.find(LOG, 0, time) for time in times] == [3, 3, 3, 3, 4, 5]

    def test_a_new_group_begins_with_what_is_left(self) -> None:
        """Not with an error."""
        self.append_sealed("a")
        self.append_sealed("b")
        self.keep(keep_most=1)

        assert self.polled(self.join()) == ["b"]

    def test_a_new_group_cannot_begin_at_what_is_gone(self) -> None:
        """It would miss what it asked for."""
        self.append_sealed("a")
        self.append_sealed("b")
        self.keep(keep_most=1)

        with pytest.raises(OffsetGone):
            self.join(start=Start("offset", 0))


class LogConsumedCases(Kept):
    """With `until_consumed` nothing goes that a group has not read (I-W10)."""

    @pytest.fixture(autouse=True)
    def _groups(self, _open: None) -> None:
        self.slow, self.fast = self.join("slow"), self.join("fast")
        for number in range(4):
            self.append_sealed(f"{number}{BODY}")
        self.read_on(self.fast, 4)

    def pins(self) -> dict[str, int]:
        """Return the bytes that are kept for each group alone."""
        return {info.name: info.pins for info in self.logs.groups(LOG)}

    def test_what_a_slow_group_needs_stays(self) -> None:
        """Whatever the other limits say."""
        self.elapse(100)

        self.keep(until_consumed=True, keep_for=1, keep_most=0, keep_bytes=0)

        assert self.first() == 0
        assert len(self.polled(self.slow)) == 4

    def test_what_every_group_has_read_goes(self) -> None:
        """As far as the slowest."""
        self.read_on(self.slow, 2)

        self.keep(until_consumed=True, keep_most=0)

        assert self.first() == 2
        assert [body[0] for body in self.polled(self.slow)] == ["2", "3"]

    def test_what_is_read_stays_as_long_as_the_limits_say(self) -> None:
        """Reading removes nothing by itself."""
        self.read_on(self.slow, 4)

        self.keep(until_consumed=True, keep_most=3)

        assert self.first() == 1

    def test_what_is_only_polled_stays(self) -> None:
        """It is not read before it is committed."""
        self.poll(self.slow)

        self.keep(until_consumed=True, keep_most=0)

        assert self.first() == 0

    def test_without_it_unread_messages_go(self) -> None:
        """And the group hears of it."""
        self.keep(keep_most=1)

        assert self.logs.lag(LOG, "slow")[0].gone
        with pytest.raises(OffsetGone):
            self.poll(self.slow)

    def test_without_a_group_the_limits_hold(self) -> None:
        """Nobody needs it."""
        self.logs.forget(LOG, "slow")
        self.logs.forget(LOG, "fast")

        self.keep(until_consumed=True, keep_most=1)

        assert self.first() == 3

    def test_a_group_that_pins_data_is_reported(self) -> None:
        """With the bytes that are kept for it alone."""
        self.keep(until_consumed=True, keep_most=0)

        pins = self.pins()

        assert pins["slow"] >= 4000
        assert pins["fast"] == 0

    def test_what_the_limits_keep_anyway_is_pinned_by_nobody(self) -> None:
        """It would be there without the group."""
        self.keep(until_consumed=True, keep_most=100)

        assert self.pins() == {"slow": 0, "fast": 0}

    def test_forgetting_the_group_frees_what_it_pinned(self) -> None:
        """At the next tidy."""
        self.keep(until_consumed=True, keep_most=0)
        self.logs.forget(LOG, "slow")
        self.tidy_all()

        assert self.first() == 4

    def test_a_group_that_nobody_reads_expires(self) -> None:
        """By policy; then what it pinned goes."""
        self.slow.leave()
        self.elapse(100)
        self.read_on(self.fast, 1)

        done = self.keep(until_consumed=True, keep_most=0, group_expiry=50)

        assert done.groups == ((LOG, "slow"),)
        assert [info.name for info in self.logs.groups(LOG)] == ["fast"]
        assert self.first() == 4

    def test_a_group_that_is_read_does_not_expire(self) -> None:
        """However slow."""
        self.elapse(100)
        self.read_on(self.slow, 1)
        self.fast.leave()
        self.elapse(30)

        done = self.keep(until_consumed=True, keep_most=0, group_expiry=50)

        assert "slow" in [info.name for info in self.logs.groups(LOG)]
        assert (LOG, "slow") not in done.groups
        assert self.first() == 1

    def test_without_an_expiry_a_group_stays_for_ever(self) -> None:
        """It is never removed silently."""
        self.slow.leave()
        self.elapse(100_000_000)

        done = self.keep(until_consumed=True, keep_most=0)

        assert done.groups == ()
        assert self.first() == 0

    def test_an_expired_group_begins_anew(self) -> None:
        """As one that never was."""
        self.slow.leave()
        self.elapse(100)
        self.keep(group_expiry=50, keep_for=None)

        assert len(self.polled(self.join("slow"))) == 4


class LogLimitCases(Kept):
    """At `limit_bytes` appends are refused until something goes."""

    @pytest.fixture(autouse=True)
    def _limited(self, _open: None) -> None:
        self.declare(limit_bytes=30_000, keep_bytes=0, until_consumed=True)
        self.member = self.join()

    def fill(self) -> int:
        """Append until it is refused; return how many there are then."""
        for count in range(100):
            try:
                self.append_sealed(BODY)
            except QueueFull:
                return count
        raise AssertionError("the limit was never reached")

    def test_appends_beyond_the_limit_are_refused(self) -> None:
        """Near it, with nothing stored."""
        count = self.fill()

        assert 10 < count < 31
        with pytest.raises(QueueFull, match=LOG):
            self.append(BODY)
        assert self.logs.ends(LOG)[0].next == count

    def test_what_can_never_fit_is_refused_for_good(self) -> None:
        """Whoever is told to try again later would do so for ever."""
        with pytest.raises(BodyTooLarge, match="limit_bytes"):
            self.append(*[BODY] * 31)
        assert self.logs.ends(LOG)[0].next == 0

        count = self.fill()
        with pytest.raises(BodyTooLarge, match="limit_bytes"):
            self.append(*[BODY] * 31)
        assert self.logs.ends(LOG)[0].next == count

    def test_a_refusal_says_when_to_try_again(self) -> None:
        """In seconds."""
        self.fill()

        with pytest.raises(QueueFull) as caught:
            self.append(BODY)

        assert caught.value.retry_after > 0

    def test_a_full_log_is_read_and_committed(self) -> None:
        """That is how it becomes empty."""
        count = self.fill()

        assert self.commit(self.member, self.poll(self.member)) == {0: count}

    def test_appends_go_on_when_groups_have_read_on(self) -> None:
        """And what they have read has gone."""
        count = self.fill()
        self.read_on(self.member, count)
        self.tidy_all()

        assert self.append(BODY).offset == count

    def test_what_all_groups_have_read_makes_room_whatever_is_to_be_kept(self) -> None:
        """Or a log that keeps things for a week would be full for a week."""
        self.declare(limit_bytes=30_000, keep_for=None, keep_bytes=None, until_consumed=True)
        count = self.fill()
        self.read_on(self.member, count)
        self.tidy_all()

        assert self.append(BODY).offset == count
        assert 0 < self.first() < count

    def test_without_a_group_nothing_makes_room(self) -> None:
        """Who will read it may come later."""
        self.logs.forget(LOG, GROUP)
        self.declare(limit_bytes=30_000, keep_for=None, keep_bytes=None, until_consumed=True)
        self.fill()
        self.tidy_all()

        assert self.first() == 0

    def test_nothing_unread_goes_for_room(self) -> None:
        """Full is better than lost."""
        count = self.fill()
        self.tidy_all()

        assert self.first() == 0
        assert len(self.polled(self.member)) == count

    def test_all_partitions_count(self) -> None:
        """The limit is the log's."""
        self.declare(limit_bytes=30_000, keep_bytes=0, until_consumed=True, partitions=2)
        self.fill()

        with pytest.raises(QueueFull):
            self.append(BODY, partition=1)

    def test_other_logs_are_not_full(self) -> None:
        """Each has its own limit."""
        self.declare("other")
        self.fill()

        assert self.append(BODY, log="other").offset == 0

    def test_a_higher_limit_lets_appends_go_on(self) -> None:
        """From its declaration on."""
        count = self.fill()
        self.declare(limit_bytes=300_000)

        assert self.append(BODY).offset == count

    def test_a_repeated_append_is_recognised_in_a_full_log(self) -> None:
        """It needs no room."""
        producer = Producer(7, 0, 0)
        self.append(BODY, producer=producer)
        self.fill()

        assert self.append(BODY, producer=producer).duplicate

    def test_the_group_that_keeps_it_full_is_seen(self) -> None:
        """By what it pins."""
        self.fill()

        assert {info.name: info.pins > 0 for info in self.logs.groups(LOG)} == {GROUP: True}
