"""Cases of streams that others fill: what members are given, who has it, and what becomes of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import pytest

from holdfast.capabilities import ForeignStreams
from holdfast.contract import EntriesLost, LogMember, QueueBackend, StreamGroups, StreamReading
from holdfast.delivery import HolderInfo
from holdfast.entries import NO_FIELD, PARTITION, Shape, entry_at
from holdfast.errors import Closed, LeaseLost, UsageError
from holdfast.logged import Chunk, Lag, Offset, Start
from holdfast.testing.conformance.cases import LONG, OTHER, PATIENCE, WORKER, Cases, beside
from holdfast.testing.conformance.harness import Owner

STREAM, GROUP = "orders", "billing"
SHORT = 10.0
"""The ttl of a holder that is to fall silent."""


class _Store(QueueBackend, ForeignStreams, Protocol): ...


class StreamCases(Cases):
    """The base: a stream whose entries have a field ``n``, which is the body of their messages."""

    needs = (ForeignStreams,)
    store: _Store
    owner: Owner
    streams: StreamGroups

    @pytest.fixture(autouse=True)
    def _beside(self, _open: None) -> Iterator[None]:
        self.owner, self.streams = self.harness.owner(), self.store.open_streams()
        self._members = list[LogMember]()
        yield
        for member in self._members:
            member.leave()

    def add(self, *bodies: str, stream: str = STREAM) -> list[str]:
        """Add an entry for each; return their ids."""
        return [self.owner.add(stream, {"n": body}) for body in bodies]

    def join(
        self,
        holder: str = WORKER,
        *,
        stream: str = STREAM,
        group: str = GROUP,
        start: Start | None = None,
        shape: Shape | None = None,
        **reading: Any,
    ) -> LogMember:
        """Return a new member, which leaves with the case."""
        how = StreamReading(shape or Shape("n"), **reading)
        member = self.streams.join(stream, group, HolderInfo(id=holder, ttl=LONG), start=start or Start(), reading=how)
        self._members.append(member)
        return member

    def poll(self, member: LogMember, limit: int = 100, *, wait: float = 0, **options: Any) -> list[Chunk]:
        """Poll until ``limit`` entries are there, or a poll has none."""
        found = list[Chunk]()
        while len(found) < limit and (more := member.poll(limit=limit - len(found), wait=wait, **options)):
            found += more
        assert all(len(chunk) == 1 for chunk in found), "a chunk is one entry"
        return found

    def polled(self, member: LogMember, limit: int = 100, *, wait: float = 0, **options: Any) -> list[str]:
        """Poll, and return the bodies."""
        return bodies(self.poll(member, limit, wait=wait, **options))

    def commit(self, member: LogMember, chunks: Sequence[Chunk]) -> None:
        """Commit these entries."""
        place = member.assigned()[PARTITION].place
        member.commit([Offset(PARTITION, 0, place.version, tuple(chunk.base for chunk in chunks))], durable=True)

    def lag(self, group: str = GROUP) -> list[Lag]:
        """Return how far a group is behind."""
        return self.streams.lag(STREAM, group)

    def silent(self, holder: str = OTHER) -> tuple[LogMember, list[Chunk]]:
        """Let a holder poll all there is, and fall silent; return its member and what that polled."""
        self.beat(holder, ttl=SHORT)
        member = self.join(holder)
        chunks = self.poll(member)
        self.elapse(SHORT + 1)
        return member, chunks


def bodies(chunks: Sequence[Chunk]) -> list[str]:
    """Return the bodies of entries, in their order."""
    return [chunk.bodies[0].decode() for chunk in chunks]


class StreamReadCases(StreamCases):
    """What a member is given."""

    def test_an_entry_is_a_message_whose_offset_is_its_id(self) -> None:
        """So everything that is said of it names the entry."""
        [entry] = self.add("a")
        [chunk] = self.poll(self.join())

        assert (entry_at(chunk.base), chunk.partition, chunk.again) == (entry, PARTITION, False)
        assert chunk.time == int(entry.partition("-")[0])

    def test_entries_come_in_the_order_of_their_ids(self) -> None:
        """Of one member, as long as nobody dies."""
        self.add("a", "b", "c")

        assert self.polled(self.join()) == ["a", "b", "c"]

    def test_ids_of_any_size_are_kept_to_the_last_digit(self) -> None:
        """Whoever adds an entry may choose its id: two numbers of 64 bits."""
        entry = f"{(1 << 64) - 2}-{(1 << 64) - 3}"
        self.owner.add(STREAM, {"n": "a"}, entry)
        member = self.join()
        chunks = self.poll(member)
        self.commit(member, chunks)

        assert [entry_at(chunk.base) for chunk in chunks] == [entry]
        assert [one.messages for one in self.lag()] == [0]

    def test_a_message_may_be_all_fields(self) -> None:
        """As a document of texts."""
        self.owner.add(STREAM, {"id": "7", "name": "ana"})
        [chunk] = self.poll(self.join(shape=Shape()))

        assert json.loads(chunk.bodies[0]) == {"id": "7", "name": "ana"}

    def test_the_value_of_a_field_may_be_the_key(self) -> None:
        """By which entries are kept in order."""
        self.owner.add(STREAM, {"n": "a", "customer": "ana"})
        [chunk] = self.poll(self.join(shape=Shape("n", "customer")))

        assert chunk.keys == [b"ana"]

    def test_an_entry_without_the_field_says_so_and_loses_nothing(self) -> None:
        """It is to be a dead letter with all that it has."""
        self.owner.add(STREAM, {"other": "1"})
        [chunk] = self.poll(self.join())

        assert chunk.message(0).headers == {NO_FIELD: "n"}
        assert json.loads(chunk.bodies[0]) == {"other": "1"}

    def test_no_more_than_the_limit_is_returned(self) -> None:
        """What a member has is kept from all others."""
        self.add("a", "b", "c")
        member = self.join()

        assert bodies(member.poll(limit=2, wait=0)) == ["a", "b"]
        assert bodies(member.poll(limit=2, wait=0)) == ["c"]

    def test_an_entry_that_is_added_ends_the_wait_for_one(self) -> None:
        """Also where the stream was not there."""
        member = self.join()
        waiting = beside(lambda: self.polled(member, 1, wait=PATIENCE))
        self.add("a")

        assert waiting.result(PATIENCE) == ["a"]

    def test_a_poll_is_ended_by_an_interrupt(self) -> None:
        """By that which comes while it waits, or before."""
        member, begun = self.join(), threading.Event()

        def wait() -> list[Chunk]:
            begun.set()
            return member.poll(limit=1, wait=LONG)

        waiting = beside(wait)
        begun.wait(PATIENCE)
        member.interrupt()

        assert waiting.result(PATIENCE) == []

    def test_nothing_is_returned_of_a_stream_that_is_to_be_left_out(self) -> None:
        """Who has no room for more leaves it to others."""
        self.add("a")
        member, other = self.join(), self.join(OTHER)
        self.beat(OTHER)

        assert self.polled(member, without={PARTITION}) == []
        assert self.polled(other) == ["a"]


class StreamGroupCases(StreamCases):
    """Groups: where they begin, and that each has every entry."""

    def test_a_new_group_begins_at_the_first_entry(self) -> None:
        """If nothing else is said."""
        self.add("a")
        member = self.join()
        self.add("b")

        assert self.polled(member) == ["a", "b"]

    def test_a_new_group_may_begin_at_what_comes_after_it(self) -> None:
        """What was there before is not for it."""
        self.add("a")
        member = self.join(start=Start("latest"))
        self.add("b")

        assert self.polled(member) == ["b"]

    def test_a_new_group_may_begin_at_a_time(self) -> None:
        """At the first entry of that ms."""
        for ms in (1000, 2000, 3000):
            self.owner.add(STREAM, {"n": str(ms)}, f"{ms}-0")

        assert self.polled(self.join(start=Start("time", 2000))) == ["2000", "3000"]

    def test_a_group_begins_at_no_offset(self) -> None:
        """Nobody can know one."""
        with pytest.raises(UsageError, match="time"):
            self.join(start=Start("offset", 7))

    def test_a_group_that_is_there_goes_on_where_it_is(self) -> None:
        """Wherever its next member would like to begin."""
        self.add("a")
        first = self.join()
        self.commit(first, self.poll(first))
        first.leave()
        self.add("b")

        assert self.polled(self.join(start=Start("latest"))) == ["b"]

    def test_each_group_has_every_entry(self) -> None:
        """None knows of another."""
        self.add("a", "b")

        assert [self.polled(self.join(group=group)) for group in ("billing", "shipping")] == [["a", "b"]] * 2

    def test_an_entry_is_one_members(self) -> None:
        """As long as its holder lives."""
        self.add("a", "b", "c")
        self.beat(OTHER)
        one, other = self.join(), self.join(OTHER)

        assert (self.polled(one, 2), self.polled(other), self.polled(one)) == (["a", "b"], ["c"], [])

    def test_a_group_that_was_removed_is_made_again_and_passes_nothing_over(self) -> None:
        """Whoever removed it; what was in hand comes again."""
        self.add("a", "b")
        member = self.join()
        self.commit(member, self.poll(member, 1))
        self.poll(member)
        self.owner.remove(STREAM, GROUP)
        self.add("c")
        with pytest.raises(Closed):
            self.poll(member)
        member.leave()

        assert self.polled(self.join())[-2:] == ["b", "c"]


class StreamCommitCases(StreamCases):
    """Commits: of each entry for itself, while it is the member's."""

    def test_what_is_committed_comes_to_nobody_again(self) -> None:
        """Neither to this member nor to the next."""
        self.add("a", "b")
        member = self.join()
        self.commit(member, self.poll(member))
        member.leave()

        assert self.polled(self.join()) == []

    def test_entries_are_committed_in_any_order(self) -> None:
        """A group has no place that would have to wait for the first."""
        self.add("a", "b", "c")
        member = self.join()
        _, second, third = self.poll(member)
        self.commit(member, [third, second])
        member.leave()

        assert self.polled(self.join()) == ["a"]

    def test_what_is_not_committed_comes_to_its_holder_again_under_a_higher_version(self) -> None:
        """First of all, and marked: a death may have to be charged to it."""
        self.add("a")
        member = self.join()
        [before] = self.poll(member)
        member.leave()
        self.add("b")
        again, new = self.poll(self.join())

        assert (bodies([again, new]), again.again, new.again) == (["a", "b"], True, False)
        assert again.version > before.version

    def test_a_commit_may_be_repeated(self) -> None:
        """Its answer may have been lost."""
        self.add("a")
        member = self.join()
        chunks = self.poll(member)
        self.commit(member, chunks)
        self.commit(member, chunks)

        assert [one.messages for one in self.lag()] == [0]

    @pytest.mark.parametrize("delete", [False, True])
    def test_an_entry_is_deleted_only_if_that_is_asked_for(self, delete: bool) -> None:
        """The stream is its owners'; and never before it is finished."""
        entries = self.add("a", "b")
        member = self.join(delete=delete)
        first, _ = self.poll(member)
        self.commit(member, [first])

        assert self.owner.entries(STREAM) == entries[1 if delete else 0 :]

    def test_what_another_has_by_now_is_told_as_lost_and_stays_his(self) -> None:
        """The rest of the commit counts."""
        self.add("a")
        silent, [lost] = self.silent()
        self.polled(self.join())
        self.add("b")
        self.beat(OTHER)
        [kept] = self.poll(silent)

        with pytest.raises(EntriesLost) as error:
            self.commit(silent, [lost, kept])
        assert set(error.value.offsets) == {lost.base}
        assert [(one.member, one.messages) for one in self.lag()[1:]] == [(WORKER, 1)]

    def test_an_entry_that_is_deleted_while_somebody_has_it_comes_no_more(self) -> None:
        """Nor is it left on a list for ever."""
        gone, _ = self.add("a", "b")
        member = self.join()
        self.poll(member)
        self.owner.delete(STREAM, gone)
        member.leave()
        member = self.join()
        chunks = self.poll(member)
        self.commit(member, chunks)

        assert bodies(chunks) == ["b"]
        assert [one.messages for one in self.lag()] == [0]


class StreamTakeoverCases(StreamCases):
    """What becomes of the entries of those who die."""

    def test_what_a_silent_holder_had_is_anothers(self) -> None:
        """Marked, as the death may have to be charged to it."""
        self.add("a", "b")
        _, had = self.silent()
        self.add("c")
        taken = self.poll(self.join())

        assert [(body, chunk.again) for body, chunk in zip(bodies(taken), taken, strict=True)] == [
            ("a", True),
            ("b", True),
            ("c", False),
        ]
        assert all(chunk.version > before.version for chunk, before in zip(taken, had, strict=False))

    def test_what_a_retired_holder_had_is_anothers_at_once(self) -> None:
        """Nobody waits for its ttl."""
        self.add("a")
        self.beat(OTHER)
        member = self.join(OTHER)
        self.poll(member)
        member.leave()
        self.store.retire(OTHER, "its process died")

        assert self.polled(self.join()) == ["a"]

    def test_what_a_living_holder_has_stays_his_however_long(self) -> None:
        """A handler may run for hours: his heartbeat counts, and not how long an entry has lain."""
        self.add("a")
        self.beat(OTHER)
        self.poll(self.join(OTHER))
        self.elapse(86_400)

        assert self.polled(self.join()) == []

    def test_what_was_deleted_since_is_not_taken_over(self) -> None:
        """There is nothing to be done any more, and nothing stays on a list."""
        gone, _ = self.add("a", "b")
        self.silent()
        self.owner.delete(STREAM, gone)
        member = self.join()
        chunks = self.poll(member)
        self.commit(member, chunks)

        assert bodies(chunks) == ["b"]
        assert [one.messages for one in self.lag()] == [0]

    def test_a_holder_that_has_ended_is_given_nothing(self) -> None:
        """Its entries would be nobody's."""
        self.beat(OTHER, ttl=SHORT)
        member = self.join(OTHER)
        self.elapse(SHORT + 1)
        self.add("a")

        with pytest.raises(LeaseLost):
            self.poll(member)
        assert self.polled(self.join()) == ["a"]


class StreamLagCases(StreamCases):
    """How far groups are, as operators see it."""

    def test_what_nobody_was_given_and_what_each_has_is_told_apart(self) -> None:
        """The oldest of each with its age."""
        self.add("a", "b", "c")
        [taken] = self.poll(self.join(), 1)
        waiting, its = self.lag()

        assert waiting.more or waiting.messages == 2
        assert (waiting.member, its.member, its.messages, its.next) == (None, WORKER, 1, taken.base)
        assert waiting.age is not None
        assert its.age is not None

    def test_a_group_that_has_finished_everything_is_not_behind(self) -> None:
        """What others do with the stream is not its affair."""
        self.add("a")
        member = self.join()
        self.commit(member, self.poll(member))

        assert [(one.messages, one.more, one.age) for one in self.lag()] == [(0, False, None)]

    def test_some_are_told_of_where_nobody_knows_how_many(self) -> None:
        """Never none, so that nobody takes a group for finished."""
        _, gone, _ = self.add("a", "b", "c")
        self.join()
        self.owner.delete(STREAM, gone)
        [waiting] = self.lag()

        assert waiting.messages == 2 or (waiting.messages >= 1 and waiting.more)

    def test_a_group_that_is_not_there_is_an_error(self) -> None:
        """That names the nearest."""
        self.join()

        with pytest.raises(UsageError, match=GROUP):
            self.lag(GROUP[:-1])

    def test_groups_are_listed_with_the_holders_that_live(self) -> None:
        """One that is silent has left, whatever it still has."""
        self.add("a")
        self.silent()
        self.poll(self.join(group="shipping"))

        assert {one.name: one.members for one in self.streams.groups(STREAM)} == {GROUP: (), "shipping": (WORKER,)}

    def test_a_stream_that_is_not_there_has_no_groups(self) -> None:
        """To look makes nothing."""
        assert self.streams.groups("no such stream") == []
        assert self.owner.entries("no such stream") == []


class StreamCrashCases(StreamCases):
    """Deaths of processes, noted at the entries that they had."""

    def test_a_death_counts_once_a_run(self) -> None:
        """However often it is charged."""
        self.add("a")
        [chunk] = self.poll(self.join())
        for run in (1 << 62, 1 << 62, (1 << 62) + 1):
            self.charge(chunk.base, run)

        [crashes] = self.streams.crashes(STREAM, GROUP, PARTITION).values()
        assert (crashes.runs, crashes.reason) == ((1 << 62, (1 << 62) + 1), "SIGKILL")

    def test_deaths_stay_with_an_entry_that_is_taken_over(self) -> None:
        """Its next owner is to know."""
        self.add("a")
        _, [chunk] = self.silent()
        self.charge(chunk.base, 1)
        self.poll(self.join())

        assert list(self.streams.crashes(STREAM, GROUP, PARTITION)) == [chunk.base]

    def test_an_entry_that_is_finished_is_not_charged(self) -> None:
        """It killed nobody."""
        self.add("a")
        member = self.join()
        chunks = self.poll(member)
        self.commit(member, chunks)

        assert len(self.charge(chunks[0].base, 1)) == 0
        assert self.streams.crashes(STREAM, GROUP, PARTITION) == {}

    def test_deaths_are_forgotten_with_the_commit(self) -> None:
        """Nothing is kept of what is over."""
        self.add("a")
        member = self.join()
        chunks = self.poll(member)
        self.charge(chunks[0].base, 1)
        self.commit(member, chunks)

        assert self.streams.crashes(STREAM, GROUP, PARTITION) == {}

    def charge(self, offset: int, run: int) -> Any:
        """Charge an entry with a death."""
        return self.streams.charge(STREAM, GROUP, PARTITION, offset, run=run, reason="SIGKILL")
