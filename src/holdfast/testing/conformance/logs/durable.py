"""Cases of stores that keep logs when they are closed."""

from __future__ import annotations

import pytest

from holdfast.config import LogSettings
from holdfast.errors import UsageError
from holdfast.logged import Offset, Producer, written_headers
from holdfast.message import Level
from holdfast.testing.conformance.logs.cases import GROUP, LOG, LogCases
from holdfast.testing.conformance.logs.producing import COMPRESSIONS


class Reopened(LogCases):
    """What the cases of durable stores have in common."""

    promises = ("durable",)

    def reopen(self) -> None:
        """Close the store and open it again."""
        self.logs = self.harness.reopen()


class LogDurableCases(Reopened):
    """What an append was told of is there after the store was opened again."""

    def test_messages_are_there(self) -> None:
        """In every partition, with keys, headers and times."""
        self.declare(partitions=2)
        self.append("a", "b", keys=[b"k", None], headers=[None, written_headers({"x": "y"})])
        self.append("c", partition=1)
        before = [self.chunks(), self.chunks(partition=1)]

        self.reopen()

        after = [self.chunks(), self.chunks(partition=1)]
        assert [[message for chunk in one for message in chunk] for one in after] == [
            [message for chunk in one for message in chunk] for one in before
        ]

    def test_offsets_go_on(self) -> None:
        """No offset is used twice."""
        self.append("a", "b")
        self.reopen()

        assert self.append("c").offset == 2
        assert self.read_all() == ["a", "b", "c"]

    def test_opening_again_and_again_changes_nothing(self) -> None:
        """Also with nothing appended between."""
        for number in range(4):
            self.reopen()
            self.append(str(number))
            self.reopen()

        assert self.read_all() == ["0", "1", "2", "3"]

    def test_settings_are_there(self) -> None:
        """As last declared."""
        self.declare(partitions=3, keep_for=5, labels={"team": "a"})
        self.reopen()

        assert self.logs.logs() == {LOG: LogSettings(partitions=3, keep_for=5, labels={"team": "a"})}

    def test_ends_are_the_same(self) -> None:
        """Sizes may differ."""
        self.append("a", "b")
        [before] = self.logs.ends(LOG)
        self.reopen()
        [after] = self.logs.ends(LOG)

        assert (after.first, after.next, after.oldest) == (before.first, before.next, before.oldest)

    def test_messages_are_found_by_time(self) -> None:
        """As before."""
        times = []
        for number in range(5):
            self.append(str(number))
            times.append(self.chunks(number)[0].time)
            self.elapse(60)
        self.reopen()

        assert [self.logs.find(LOG, 0, time) for time in times] == list(range(5))

    def test_times_do_not_fall(self) -> None:
        """Though the wall clock was set back while the store was closed."""
        self.append("a")
        self.harness.set_wall(-3600)
        self.reopen()
        self.append("b")

        first, second = [message.time for chunk in self.chunks() for message in chunk]
        assert second >= first

    def test_what_went_stays_away(self) -> None:
        """And offsets stay used."""
        for name in ("a", "b"):
            self.append(name)
            self.harness.seal(self.logs, LOG)
        self.elapse(100)
        self.declare(keep_for=50)
        while self.logs.tidy().more:
            pass
        self.reopen()

        assert self.logs.ends(LOG)[0].first == 2
        assert self.append("c").offset == 2

    def test_a_destroyed_log_stays_destroyed(self) -> None:
        """It does not come back (I-W21)."""
        self.append("a")
        self.join()
        self.logs.destroy(LOG)
        self.reopen()

        assert self.logs.logs() == {}
        with pytest.raises(UsageError):
            self.read()

    def test_a_log_made_again_stays_new(self) -> None:
        """Nothing of the old one comes back."""
        self.append("old", "old")
        self.logs.destroy(LOG)
        self.declare()
        self.append("new")
        self.reopen()

        assert self.read_all() == ["new"]
        assert self.logs.groups(LOG) == []

    @pytest.mark.parametrize("compression", COMPRESSIONS)
    def test_compressed_messages_are_there(self, compression: str) -> None:
        """Whatever is set later."""
        self.declare(compression=compression)
        self.append("x" * 10_000, "b")
        self.reopen()
        self.declare()

        assert self.read_all() == ["x" * 10_000, "b"]

    def test_a_repeated_append_is_recognised(self) -> None:
        """Its producer may have waited for the answer."""
        for sequence in range(3):
            self.append(str(sequence), producer=Producer(7, 1, sequence))
        self.reopen()

        again = [self.append("x", producer=Producer(7, 1, sequence)) for sequence in (1, 2)]

        assert [(one.offset, one.duplicate) for one in again] == [(1, True), (2, True)]
        with pytest.raises(UsageError):
            self.append("x", producer=Producer(7, 0, 3))
        assert not self.append("3", producer=Producer(7, 1, 3)).duplicate

    def test_flush_reaches_the_disk(self) -> None:
        """As far as a store can say."""
        self.append("a")

        assert self.logs.flush(LOG) in (Level.SYNCED, Level.REPLICATED, self.logs.features.level)


class LogDurableGroupCases(Reopened):
    """Groups are there with their places."""

    def test_what_was_committed_is_there(self) -> None:
        """Closing writes down what was not durable yet."""
        self.append("a", "b", "c")
        member = self.join()
        self.commit(member, self.poll(member, 2))
        self.reopen()

        assert self.place() == 2
        assert self.polled(self.join()) == ["c"]

    def test_where_a_group_begins_is_there(self) -> None:
        """Though nothing was committed."""
        self.append("a", "b")
        self.logs.seek(LOG, "sought", {0: 1})
        self.join("joined")
        self.reopen()

        assert (self.place("sought"), self.place("joined")) == (1, 0)

    def test_what_was_finished_is_there(self) -> None:
        """The next member skips it."""
        self.append(*"abcdef")
        member = self.join()
        version = self.poll(member)[0].version
        member.commit([Offset(0, 1, version, (3, 5))], durable=True)
        self.reopen()
        again = self.join()
        self.poll(again)

        assert again.assigned()[0].place.finished == (3, 5)

    def test_versions_go_on(self) -> None:
        """None comes twice."""
        self.append("a")
        before = self.poll(self.join())[0].version
        self.reopen()

        assert self.poll(self.join())[0].version > before

    def test_charges_are_there(self) -> None:
        """Poison kills again otherwise."""
        self.append("a", "b")
        self.poll(self.join())
        charged = self.logs.charge(LOG, GROUP, 0, 1, run=7, reason="SIGKILL")
        self.reopen()

        assert self.logs.crashes(LOG, GROUP, 0) == {1: charged}

    def test_a_forgotten_group_stays_forgotten(self) -> None:
        """It pins nothing any more."""
        self.join()
        self.logs.forget(LOG, GROUP)
        self.reopen()

        assert self.logs.groups(LOG) == []

    def test_members_of_before_are_no_members(self) -> None:
        """They were closed with the store."""
        self.append("a")
        self.poll(self.join())
        self.reopen()

        assert self.logs.groups(LOG)[0].members == ()
        assert self.polled(self.join()) == ["a"]
