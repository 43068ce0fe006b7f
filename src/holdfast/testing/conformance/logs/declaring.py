"""Cases of logs as places: declared, named, destroyed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.config import LogSettings
from holdfast.contract import LogBackend
from holdfast.delivery import HolderInfo
from holdfast.errors import Closed, LeaseLost, UsageError
from holdfast.logged import Columns, Producer, Start
from holdfast.testing.conformance.logs.cases import GROUP, LOG, READER, LogCases, bodies

NAMES = [
    "a-b",
    "a/b",
    "../up",
    ".",
    "..",
    ".hidden",
    "a b",
    "a.b",
    "con",
    "a%2Fb",
    "a\\b",
    "ä",
    "日本",
    "A",
    "a",
    "-",
    "~",
]
UNKNOWN: dict[str, Callable[[LogBackend, str], object]] = {
    "append": lambda logs, log: logs.append(log, 0, Columns([b""])),
    "read": lambda logs, log: logs.read(log, 0, 0, limit=1, max_bytes=1),
    "ends": lambda logs, log: logs.ends(log),
    "find": lambda logs, log: logs.find(log, 0, 0),
    "flush": lambda logs, log: logs.flush(log),
    "groups": lambda logs, log: logs.groups(log),
    "lag": lambda logs, log: logs.lag(log, GROUP),
    "seek": lambda logs, log: logs.seek(log, GROUP, {0: 0}),
    "join": lambda logs, log: logs.join(log, GROUP, HolderInfo(id=READER, ttl=10), start=Start()),
    "charge": lambda logs, log: logs.charge(log, GROUP, 0, 0, run=1, reason="died"),
    "crashes": lambda logs, log: logs.crashes(log, GROUP, 0),
}


class LogDeclareCases(LogCases):
    """A log exists from its declaration on, with the settings last declared."""

    def test_a_declared_log_is_listed_with_its_settings(self) -> None:
        """As they were declared."""
        settings = LogSettings(partitions=3, keep_for=60.0, keep_bytes=5000, until_consumed=True, labels={"team": "a"})
        self.logs.declare("orders", settings)

        assert self.logs.logs()["orders"] == settings

    def test_the_last_settings_win(self) -> None:
        """Declaring may be repeated."""
        self.declare(keep_for=10)
        self.declare(keep_for=20)

        assert self.logs.logs() == {LOG: LogSettings(keep_for=20)}

    def test_declaring_again_keeps_what_is_there(self) -> None:
        """Every program declares at its start."""
        self.append("a", "b")

        self.declare(keep_for=20)

        assert self.read() == ["a", "b"]

    def test_partitions_can_grow(self) -> None:
        """The old ones keep their messages."""
        self.append("a")
        self.declare(partitions=3)
        self.append("b", partition=2)

        assert [self.read(partition=number) for number in range(3)] == [["a"], [], ["b"]]

    def test_partitions_never_shrink(self) -> None:
        """Messages would be lost; nothing else is changed either."""
        self.declare(partitions=3)

        with pytest.raises(UsageError, match=LOG):
            self.declare(partitions=2, keep_for=5)

        assert self.logs.logs()[LOG] == LogSettings(partitions=3)

    def test_a_group_begins_a_new_partition_at_its_first_message(self) -> None:
        """Also one that began at the end of the others."""
        self.append("old")
        member = self.join(start=Start("latest"))
        self.declare(partitions=2)
        self.append("new", partition=1)

        assert self.polled(member) == ["new"]

    @pytest.mark.parametrize("call", UNKNOWN.values(), ids=UNKNOWN.keys())
    def test_an_unknown_log_is_named(self, call: Callable[[LogBackend, str], object]) -> None:
        """With those that there are; a typo must not make a log."""
        with pytest.raises(UsageError, match=f"'evnts'.*{LOG}"):
            call(self.logs, "evnts")

        assert list(self.logs.logs()) == [LOG]

    @pytest.mark.parametrize("partition", [-1, 1, 4096])
    def test_an_unknown_partition_is_named(self, partition: int) -> None:
        """With what there is."""
        with pytest.raises(UsageError, match=f"{partition}"):
            self.append("a", partition=partition)
        with pytest.raises(UsageError, match=f"{partition}"):
            self.read(partition=partition)

    def test_looking_for_an_unknown_group_names_it(self) -> None:
        """And those that there are."""
        self.join("readers")

        with pytest.raises(UsageError, match=r"'raeders'.*readers"):
            self.logs.lag(LOG, "raeders")


class LogDestroyCases(LogCases):
    """A destroyed log leaves nothing behind."""

    def test_destroying_tells_how_many_messages_went(self) -> None:
        """Of all partitions; again there is nothing."""
        self.declare(partitions=2)
        self.append("a", "b")
        self.append("c", partition=1)

        assert self.logs.destroy(LOG) == 3
        assert self.logs.destroy(LOG) == 0
        assert self.logs.logs() == {}

    def test_destroying_what_never_was_returns_0(self) -> None:
        """It may be repeated."""
        assert self.logs.destroy("nothing") == 0

    def test_a_destroyed_log_is_unknown(self) -> None:
        """Until it is declared again."""
        self.logs.destroy(LOG)

        with pytest.raises(UsageError):
            self.append("a")
        with pytest.raises(UsageError):
            self.read()

    def test_a_log_made_again_finds_nothing_old(self) -> None:
        """Neither messages nor settings nor groups; offsets begin at 0 (I-W21)."""
        self.declare(partitions=2, keep_for=5)
        self.append("a", "b")
        member = self.join()
        self.commit(member, self.poll(member))
        self.logs.destroy(LOG)
        self.declare()

        assert self.logs.groups(LOG) == []
        assert self.read() == []
        assert self.append("new").offset == 0
        assert self.polled(self.join()) == ["new"]

    def test_what_a_destroyed_log_remembered_of_producers_is_gone(self) -> None:
        """The same append is a new one."""
        producer = Producer(7, 0, 0)
        self.append("a", producer=producer)
        self.logs.destroy(LOG)
        self.declare()

        assert not self.append("a", producer=producer).duplicate

    def test_members_of_a_destroyed_log_lose(self) -> None:
        """Their commits, and their polls end, also when a log of that name is there again."""
        self.append("a")
        member = self.join()
        chunks = self.poll(member)
        self.logs.destroy(LOG)
        self.declare()
        self.append("b")

        with pytest.raises(LeaseLost):
            self.commit(member, chunks)
        with pytest.raises(Closed):
            self.poll(member)
        assert self.place_of_new_group() == 0

    def place_of_new_group(self) -> int:
        """Return where a group of the old name stands."""
        self.join()
        return self.place()

    def test_other_logs_stay(self) -> None:
        """With their groups."""
        self.declare("other")
        self.append("a", log="other")
        self.join(log="other")

        self.logs.destroy(LOG)

        assert self.read(log="other") == ["a"]
        assert [group.name for group in self.logs.groups("other")] == [GROUP]


class LogNameCases(LogCases):
    """Names are any text; no two are ever mixed up (I-W25)."""

    def test_any_name_is_a_log_of_its_own(self) -> None:
        """Whatever a file system thinks of it."""
        for name in NAMES:
            self.declare(name)
            self.append(name, log=name)

        assert {name: self.read(log=name) for name in NAMES} == {name: [name] for name in NAMES}
        assert set(self.logs.logs()) == {LOG, *NAMES}

    def test_any_name_is_a_group_of_its_own(self) -> None:
        """Each with its own offsets."""
        self.append(*map(str, range(len(NAMES))))
        for count, name in enumerate(NAMES):
            member = self.join(name)
            self.commit(member, self.poll(member, count) if count else [])
            member.leave()

        assert {name: self.place(name) for name in NAMES} == {name: count for count, name in enumerate(NAMES)}
        assert {group.name for group in self.logs.groups(LOG)} == set(NAMES)

    @pytest.mark.parametrize(("one", "two"), [(("a-b", "c"), ("a", "b-c")), (("a/b", "c"), ("a", "b/c"))])
    def test_names_that_join_to_the_same_text_are_two(self, one: tuple[str, str], two: tuple[str, str]) -> None:
        """A log `a-b` with group `c` is none `a` with group `b-c`."""
        for log in (one[0], two[0]):
            self.declare(log)
            self.append("x", log=log)
        member = self.join(one[1], log=one[0])
        self.commit(member, self.poll(member))

        assert self.place(one[1], log=one[0]) == 1
        assert bodies(self.poll(self.join(two[1], log=two[0]))) == ["x"]

    def test_names_may_be_255_characters(self) -> None:
        """As those of queues."""
        name = "x" * 255
        self.declare(name)
        self.append("a", log=name)

        assert self.polled(self.join(name, log=name)) == ["a"]
