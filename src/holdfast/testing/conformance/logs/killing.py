"""Cases of members whose process is killed."""

from __future__ import annotations

import time

from holdfast.testing.conformance.cases import PATIENCE, beside
from holdfast.testing.conformance.logs.cases import GROUP, LOG, LogCases

TAKEN_OVER = 5.0
"""It takes a second at the most; the rest is for a loaded machine."""


class LogKillCases(LogCases):
    """A process killed with SIGKILL holds nothing any more, and what it had not committed is delivered again."""

    promises = ("multi_process",)

    def test_what_a_killed_member_held_is_taken_over(self) -> None:
        """Within a second, whatever its ttl; exactly what was not committed, in order."""
        self.append_each(*"abcde")
        with self.harness.member("hold") as child:
            told = child.lines(5)
            member = self.join()
            before = self.polled(member)
            waiting = beside(lambda: (self.polled(member, wait=PATIENCE), time.monotonic()))
            child.kill()
            killed = time.monotonic()
            polled, ended = waiting.result(2 * PATIENCE)

        assert (told, before, polled) == ([*"abcde"], [], [*"abcde"])
        assert ended - killed < TAKEN_OVER

    def test_what_a_killed_member_committed_stays_committed(self) -> None:
        """A durable commit is one; at most the message in hand comes again."""
        names = [str(number) for number in range(300)]
        self.append(*names)
        with self.harness.member("consume") as child:
            told = child.lines(10)
            told += child.kill()

        left = self.polled(self.join(), wait=PATIENCE)

        assert told == names[: len(told)]
        assert left in (names[len(told) :], names[len(told) + 1 :])

    def test_a_killed_member_is_no_member_any_more(self) -> None:
        """Neither is it listed nor does it count for shares."""
        self.declare(partitions=2)
        self.append("a")
        self.append("b", partition=1)
        with self.harness.member("hold") as child:
            child.lines(2)
            listed = self.logs.groups(LOG)[0].members
            child.kill()

        member = self.join()
        polled = self.polled(member, wait=PATIENCE)
        while len(polled) < 2:
            polled += self.polled(member, wait=PATIENCE)

        assert listed == ("child#1",)
        assert [info.members for info in self.logs.groups(LOG)] == [("reader#1",)]
        assert {lag.member for lag in self.logs.lag(LOG, GROUP)} == {"reader#1"}

    def test_a_member_in_another_process_is_woken(self) -> None:
        """By an append here."""
        self.append("first")
        with self.harness.member("consume") as child:
            began = [*child.lines(1)]
            self.append("second")
            told = child.lines(1)

        assert began + told == ["first", "second"]

    def test_a_seek_here_reaches_a_member_in_another_process(self) -> None:
        """It reads again."""
        self.append("a", "b")
        with self.harness.member("consume") as child:
            first = child.lines(2)
            self.logs.seek(LOG, GROUP, {0: 1})
            again = child.lines(1)

        assert (first, again) == (["a", "b"], ["b"])
