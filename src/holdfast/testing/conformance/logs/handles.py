"""Cases of several handles on the same logs, of which the first alone appends."""

from __future__ import annotations

import pytest

from holdfast.config import LogSettings
from holdfast.contract import LogBackend, LogMember
from holdfast.delivery import HolderInfo
from holdfast.errors import Closed, LeaseLost, UsageError
from holdfast.logged import Start
from holdfast.testing.conformance.cases import PATIENCE, PROMPT, beside
from holdfast.testing.conformance.logs.cases import GROUP, LOG, OTHER, PLENTY, LogCases, bodies


class Elsewhere(LogCases):
    """What the cases of several handles have in common: a second handle, which never appends."""

    promises = ("multi_process",)
    other: LogBackend

    @pytest.fixture(autouse=True)
    def _second(self, _open: None) -> None:
        self.other = self.harness.open_logs()

    def join_elsewhere(self, group: str = GROUP, *, log: str = LOG, holder: str = OTHER) -> LogMember:
        """Return a member on the other handle."""
        return self.other.join(log, group, HolderInfo(id=holder, ttl=1_000_000.0), start=Start())


class LogHandleCases(Elsewhere):
    """A further handle on the same logs sees the same."""

    def test_what_one_appends_the_other_reads(self) -> None:
        """As soon as the append has returned."""
        for name in ("a", "b"):
            self.append(name)
            last = self.other.ends(LOG)[0].next - 1

            assert bodies(self.other.read(LOG, 0, last, limit=9, max_bytes=PLENTY)) == [name]

    def test_ends_are_the_same(self) -> None:
        """On both."""
        self.append("a", "b")

        assert self.other.ends(LOG) == self.logs.ends(LOG)

    def test_the_other_finds_by_time(self) -> None:
        """As the first does."""
        self.append("a")
        self.elapse(60)
        self.append("b")
        time = self.chunks(1)[0].time

        assert [self.other.find(LOG, 0, at) for at in (0, time, time + 1)] == [0, 1, 2]

    def test_an_append_wakes_a_poll_of_the_other(self) -> None:
        """It looks, or is told."""
        member = self.join_elsewhere()
        waiting = beside(lambda: self.polled(member, wait=PATIENCE))

        self.append("a")

        assert waiting.result(PROMPT) == ["a"]

    def test_settings_are_seen_by_the_other(self) -> None:
        """The last declared."""
        self.declare(keep_for=5)

        assert self.other.logs() == {LOG: LogSettings(keep_for=5)}

    def test_new_logs_are_seen_by_the_other(self) -> None:
        """Also after it looked in vain."""
        with pytest.raises(UsageError):
            self.other.ends("late")
        self.declare("late")
        self.append("a", log="late")

        assert bodies(self.other.read("late", 0, 0, limit=9, max_bytes=PLENTY)) == ["a"]

    def test_new_partitions_are_seen_by_the_other(self) -> None:
        """And read by its members."""
        member = self.join_elsewhere()
        self.poll(member)
        self.declare(partitions=2)
        self.append("a", partition=1)

        assert self.polled(member, wait=PATIENCE) == ["a"]

    def test_a_destroyed_log_is_gone_for_the_other(self) -> None:
        """And for its members."""
        self.append("a")
        member = self.join_elsewhere()
        chunks = self.poll(member)
        self.logs.destroy(LOG)

        with pytest.raises(UsageError):
            self.other.ends(LOG)
        with pytest.raises(LeaseLost):
            self.commit(member, chunks)
        with pytest.raises(Closed):
            self.poll(member)

    def test_a_log_made_again_is_a_new_one_for_the_other(self) -> None:
        """It finds nothing old."""
        self.append("a", "b")
        self.other.read(LOG, 0, 0, limit=9, max_bytes=PLENTY)
        self.logs.destroy(LOG)
        self.declare()
        self.append("new")

        assert bodies(self.other.read(LOG, 0, 0, limit=9, max_bytes=PLENTY)) == ["new"]
        assert self.polled(self.join_elsewhere()) == ["new"]

    def test_what_retention_removed_is_gone_for_the_other(self) -> None:
        """Its reads go on behind it."""
        for name in ("a", "b", "c"):
            self.append(name)
            self.harness.seal(self.logs, LOG)
        self.other.read(LOG, 0, 0, limit=9, max_bytes=PLENTY)
        self.declare(keep_most=1)
        while self.logs.tidy().more:
            pass

        assert self.other.ends(LOG)[0].first == 2
        assert bodies(self.other.read(LOG, 0, 2, limit=9, max_bytes=PLENTY)) == ["c"]

    def test_closing_one_leaves_the_other_open(self) -> None:
        """A handle is one of its own."""
        self.append("a")
        self.other.close()

        assert self.read() == ["a"]
        with pytest.raises(Closed):
            self.other.ends(LOG)


class LogHandleGroupCases(Elsewhere):
    """Members of one group may be anywhere."""

    def test_a_group_is_the_same_on_both(self) -> None:
        """Its places and its members."""
        self.append("a", "b")
        member = self.join_elsewhere()
        self.commit(member, self.poll(member, 1), durable=True)

        assert self.place() == 1
        assert self.logs.groups(LOG)[0].members == (OTHER,)
        assert self.logs.lag(LOG, GROUP)[0].member == OTHER

    def test_no_partition_is_held_on_both(self) -> None:
        """They share as members of one handle do."""
        self.declare(partitions=4)
        for partition in range(4):
            self.append("a", partition=partition)
        mine, theirs = self.join(), self.join_elsewhere()
        for _ in range(3):
            self.poll(mine)
            self.poll(theirs)

        assert sorted([*mine.assigned(), *theirs.assigned()]) == [0, 1, 2, 3]
        assert len(mine.assigned()) == 2

    def test_a_member_that_leaves_frees_for_the_other(self) -> None:
        """At once; what was not committed comes again."""
        self.append("a", "b")
        theirs, mine = self.join_elsewhere(), self.join()
        self.commit(theirs, self.poll(theirs, 1))
        theirs.leave()

        assert self.polled(mine, wait=PATIENCE) == ["b"]

    def test_a_stand_by_takes_over_from_the_other(self) -> None:
        """While it waits."""
        self.append("a")
        theirs, mine = self.join_elsewhere(), self.join()
        self.poll(theirs)
        waiting = beside(lambda: self.polled(mine, wait=PATIENCE))

        theirs.leave()

        assert waiting.result(PROMPT) == ["a"]

    def test_closing_a_handle_frees_what_its_members_held(self) -> None:
        """They are closed with it; what they committed stays."""
        self.append("a", "b")
        theirs, mine = self.join_elsewhere(), self.join()
        self.commit(theirs, self.poll(theirs, 1))
        self.poll(theirs)
        self.other.close()

        assert self.polled(mine, wait=PATIENCE) == ["b"]

    def test_a_seek_elsewhere_wins_over_a_commit(self) -> None:
        """Whoever made it."""
        self.append("a", "b", "c")
        member = self.join()
        chunks = self.poll(member)
        self.other.seek(LOG, GROUP, {0: 1})

        with pytest.raises(LeaseLost):
            self.commit(member, chunks)

        assert self.place() == 1
        assert self.polled(member) == ["b", "c"]

    def test_a_seek_elsewhere_wakes(self) -> None:
        """There is something to read again."""
        self.append("a", "b")
        member = self.join()
        self.commit(member, self.poll(member))
        waiting = beside(lambda: self.polled(member, wait=PATIENCE))

        self.other.seek(LOG, GROUP, {0: 1})

        assert waiting.result(PROMPT) == ["b"]

    def test_a_group_forgotten_elsewhere_is_gone(self) -> None:
        """Its members lose."""
        self.append("a")
        member = self.join()
        chunks = self.poll(member)
        self.other.forget(LOG, GROUP)

        with pytest.raises(LeaseLost):
            self.commit(member, chunks)
        with pytest.raises(Closed):
            self.poll(member)

    def test_charges_are_seen_by_both(self) -> None:
        """They are the group's."""
        self.append("a")
        self.poll(self.join())
        self.other.charge(LOG, GROUP, 0, 0, run=1, reason="SIGKILL")
        again = self.logs.charge(LOG, GROUP, 0, 0, run=2, reason="SIGKILL")

        assert len(again) == 2
        assert self.other.crashes(LOG, GROUP, 0) == {0: again}

    def test_members_on_both_read_everything_once(self) -> None:
        """While it is written."""
        self.declare(partitions=2)
        names = [f"{number}" for number in range(100)]
        done: list[str] = []

        def read(member: LogMember) -> None:
            while len(done) < len(names):
                chunks = self.poll(member, 7, wait=0.05)
                self.commit(member, chunks)
                done.extend(bodies(chunks))

        readers = [beside(lambda: read(self.join())), beside(lambda: read(self.join_elsewhere()))]
        for number, name in enumerate(names):
            self.append(name, partition=number % 2)
        for reader in readers:
            reader.result(PATIENCE)

        assert sorted(done, key=int) == names
