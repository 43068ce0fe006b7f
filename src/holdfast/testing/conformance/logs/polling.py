"""Cases of polling: bounds, what wakes it, what ends it."""

from __future__ import annotations

import queue
import time
from functools import partial

from holdfast.testing.conformance.cases import PATIENCE, PROMPT, beside
from holdfast.testing.conformance.logs.cases import LOG, OTHER, PLENTY, LogCases, bodies
from holdfast.testing.conformance.waiting import SHORT

ROUNDS = 100


class LogPollCases(LogCases):
    """A poll returns some of what is next."""

    def test_a_limit_bounds_a_poll(self) -> None:
        """Inside an append too."""
        self.append(*"abc")
        member = self.join()

        assert [self.polled(member, 2), self.polled(member, 2)] == [["a", "b"], ["c"]]

    def test_a_limit_holds_for_all_partitions_together(self) -> None:
        """And nothing is lost between."""
        self.declare(partitions=3)
        for partition in range(3):
            self.append(f"{partition}a", f"{partition}b", partition=partition)
        member = self.join()

        polls = [self.polled(member, 4), self.polled(member, 4)]

        assert [len(one) for one in polls] == [4, 2]
        assert sorted(polls[0] + polls[1]) == ["0a", "0b", "1a", "1b", "2a", "2b"]

    def test_max_bytes_bounds_a_poll(self) -> None:
        """Of all partitions together."""
        self.declare(partitions=2)
        for partition in (0, 1):
            self.append("x" * 10, "y" * 10, partition=partition)
        member = self.join()

        sizes = [len(self.polled(member, max_bytes=25)) for _ in range(3)]

        assert sizes == [2, 2, 0]

    def test_a_poll_has_one_message_at_least(self) -> None:
        """However large."""
        self.append("x" * 1000, "y")
        member = self.join()

        assert self.polled(member, max_bytes=1) == ["x" * 1000]

    def test_no_partition_starves_beside_a_full_one(self) -> None:
        """Small polls go round."""
        self.declare(partitions=2)
        self.append(*["x"] * 1000)
        self.append("y", partition=1)
        member = self.join()

        assert "y" in [body for _ in range(4) for body in self.polled(member, 10)]

    def test_chunks_of_a_partition_come_in_order(self) -> None:
        """Whatever the others do."""
        self.declare(partitions=2)
        for number in range(50):
            self.append(str(number), partition=number % 2)
        member = self.join()

        chunks = [chunk for _ in range(25) for chunk in self.poll(member, 3)]

        for partition in (0, 1):
            mine = [chunk for chunk in chunks if chunk.partition == partition]
            assert bodies(mine) == [str(number) for number in range(partition, 50, 2)]
            assert [chunk.next for chunk in mine[:-1]] == [chunk.base for chunk in mine[1:]]

    def test_a_poll_without_wait_returns_at_once(self) -> None:
        """With nothing."""
        began = time.monotonic()

        assert self.polled(self.join()) == []
        assert time.monotonic() - began < PROMPT

    def test_a_poll_waits_no_longer_than_it_is_told(self) -> None:
        """Then it returns nothing."""
        member = self.join()
        began = time.monotonic()

        assert self.polled(member, wait=SHORT) == []
        assert SHORT <= time.monotonic() - began + 0.005 < PROMPT

    def test_a_poll_with_something_there_does_not_wait(self) -> None:
        """Not for more either."""
        self.append("a")
        began = time.monotonic()

        assert self.polled(self.join(), wait=PATIENCE) == ["a"]
        assert time.monotonic() - began < PROMPT

    def test_a_poll_that_waited_for_more_returns_what_there_is(self) -> None:
        """When its time is over."""
        self.append("a")

        assert self.polled(self.join(), wait=SHORT, min_bytes=1000) == ["a"]

    def test_a_poll_at_its_limit_waits_for_no_more(self) -> None:
        """It could not return it."""
        self.append("a", "b")
        began = time.monotonic()

        assert self.polled(self.join(), 2, wait=PATIENCE, min_bytes=1000) == ["a", "b"]
        assert time.monotonic() - began < PROMPT


class LogWakeCases(LogCases):
    """Whoever waits is woken by what comes (I-W6)."""

    def test_an_append_wakes(self) -> None:
        """A poll that waits."""
        member = self.join()
        waiting = beside(lambda: self.polled(member, wait=PATIENCE))

        self.append("a")

        assert waiting.result(PROMPT) == ["a"]

    def test_an_append_to_any_partition_wakes(self) -> None:
        """That the member holds."""
        self.declare(partitions=3)
        member = self.join()
        waiting = beside(lambda: self.polled(member, wait=PATIENCE))

        self.append("a", partition=2)

        assert waiting.result(PROMPT) == ["a"]

    def test_an_empty_body_wakes(self) -> None:
        """It is a message as well."""
        member = self.join()
        waiting = beside(lambda: self.polled(member, wait=PATIENCE))

        self.append("")

        assert waiting.result(PROMPT) == [""]

    def test_every_group_is_woken(self) -> None:
        """Each reads everything."""
        members = [self.join(str(number)) for number in range(3)]
        waiting = [beside(partial(self.polled, member, wait=PATIENCE)) for member in members]

        self.append("a")

        assert [one.result(PROMPT) for one in waiting] == [["a"]] * 3

    def test_a_poll_waits_for_enough(self) -> None:
        """With `min_bytes` a few small ones do not end it."""
        member = self.join()
        waiting = beside(lambda: self.polled(member, wait=PATIENCE, min_bytes=1000))

        self.append("a")
        self.append("b", "x" * 1000)

        assert waiting.result(PROMPT) == ["a", "b", "x" * 1000]

    def test_another_log_does_not_wake(self) -> None:
        """It was not asked for."""
        self.declare("other")
        member = self.join()
        waiting = beside(lambda: self.polled(member, wait=10 * SHORT))

        self.append("a", log="other")

        assert waiting.result(PROMPT) == []

    def test_new_partitions_are_waited_for_too(self) -> None:
        """From their first message on."""
        member = self.join()
        waiting = beside(lambda: self.polled(member, wait=PATIENCE))

        self.declare(partitions=2)
        self.append("a", partition=1)

        assert waiting.result(PROMPT) == ["a"]

    def test_an_interrupt_ends_a_poll(self) -> None:
        """From another thread, with nothing."""
        member = self.join()
        waiting = beside(lambda: self.polled(member, wait=PATIENCE))

        member.interrupt()

        assert waiting.result(PROMPT) == []

    def test_an_interrupt_ends_the_next_poll_when_none_is_going_on(self) -> None:
        """It is not lost between two."""
        member = self.join()
        member.interrupt()
        began = time.monotonic()

        assert self.polled(member, wait=PATIENCE) == []
        assert time.monotonic() - began < PROMPT

    def test_an_interrupt_ends_one_poll_only(self) -> None:
        """The one after it waits again."""
        member = self.join()
        member.interrupt()
        self.polled(member, wait=PATIENCE)
        waiting = beside(lambda: self.polled(member, wait=PATIENCE))

        self.append("a")

        assert waiting.result(PROMPT) == ["a"]

    def test_an_interrupt_is_for_one_member(self) -> None:
        """The others wait on."""
        self.declare(partitions=2)
        one, two = self.join("one"), self.join("two", holder=OTHER)
        waiting = beside(lambda: self.polled(two, wait=PATIENCE))

        one.interrupt()
        self.append("a")

        assert waiting.result(PROMPT) == ["a"]

    def test_no_wake_up_is_lost(self) -> None:
        """Append for append, each answered by the reader before the next."""
        member = self.join()
        seen: queue.Queue[str] = queue.Queue()

        def read() -> int:
            count = 0
            while count < ROUNDS:
                for body in self.polled(member, wait=PATIENCE):
                    count += 1
                    seen.put(body)
            return count

        reading = beside(read)
        for number in range(ROUNDS):
            self.append(str(number))
            assert seen.get(timeout=PROMPT) == str(number)

        assert reading.result(PROMPT) == ROUNDS

    def test_readers_keep_up_with_writers(self) -> None:
        """Nothing is missed, nothing comes twice."""
        member = self.join()

        def read() -> list[str]:
            found: list[str] = []
            while len(found) < 3 * ROUNDS:
                found += self.polled(member, PLENTY, wait=PATIENCE)
            return found

        reading = beside(read)
        writers = [beside(partial(self.append_each, *[f"{name}{count}" for count in range(ROUNDS)])) for name in "abc"]
        for writer in writers:
            writer.result(PATIENCE)

        assert reading.result(PATIENCE) == self.read_all(log=LOG)
