"""Cases of producers whose appends are recognised, and of compression."""

from __future__ import annotations

import pytest

from holdfast.config import Compression
from holdfast.errors import UsageError
from holdfast.logged import Producer
from holdfast.testing.conformance.cases import at_once
from holdfast.testing.conformance.logs.cases import LogCases

COMPRESSIONS: tuple[Compression, ...] = ("none", "lz4", "zstd")


class LogProducerCases(LogCases):
    """An append made again by its producer is stored once."""

    def test_a_repeated_append_returns_the_first_place(self) -> None:
        """And says that it is a duplicate."""
        self.append("before")
        first = self.append("a", "b", producer=Producer(7, 0, 0))

        again = self.append("a", "b", producer=Producer(7, 0, 0))

        assert (again.offset, again.duplicate) == (first.offset, True)
        assert self.read() == ["before", "a", "b"]

    def test_the_next_append_goes_on_behind(self) -> None:
        """A sequence counts messages."""
        self.append("a", "b", producer=Producer(7, 0, 0))

        assert not self.append("c", producer=Producer(7, 0, 2)).duplicate
        assert self.read() == ["a", "b", "c"]

    def test_the_last_five_appends_are_recognised(self) -> None:
        """In any order."""
        for sequence in range(8):
            self.append(str(sequence), producer=Producer(7, 0, sequence))

        again = [self.append("x", producer=Producer(7, 0, sequence)) for sequence in (3, 7, 5, 4, 6)]

        assert [(one.offset, one.duplicate) for one in again] == [(at, True) for at in (3, 7, 5, 4, 6)]
        assert self.logs.ends("events")[0].next == 8

    def test_a_gap_in_the_sequence_is_refused(self) -> None:
        """Something before it was lost."""
        self.append("a", producer=Producer(7, 0, 0))

        with pytest.raises(UsageError):
            self.append("c", producer=Producer(7, 0, 2))

        assert self.read() == ["a"]

    def test_an_older_epoch_is_refused(self) -> None:
        """Somebody else has taken the producer's place."""
        self.append("a", producer=Producer(7, 1, 0))

        with pytest.raises(UsageError):
            self.append("b", producer=Producer(7, 0, 1))

        assert self.read() == ["a"]

    def test_a_new_epoch_begins_again(self) -> None:
        """Its sequence too; what the old one appended is no repeat of it."""
        self.append("a", "b", producer=Producer(7, 0, 0))

        assert not self.append("c", producer=Producer(7, 1, 0)).duplicate
        assert self.append("c", producer=Producer(7, 1, 0)).duplicate
        assert self.read() == ["a", "b", "c"]

    def test_producers_do_not_know_each_other(self) -> None:
        """Nor those without an id."""
        self.append("a", producer=Producer(7, 0, 0))
        self.append("b", producer=Producer(8, 0, 0))
        self.append("c")

        assert self.read() == ["a", "b", "c"]

    def test_each_partition_has_its_own_sequence(self) -> None:
        """A producer counts for each."""
        self.declare(partitions=2)
        self.append("a", producer=Producer(7, 0, 0))

        assert not self.append("b", partition=1, producer=Producer(7, 0, 0)).duplicate

    def test_large_ids_are_taken(self) -> None:
        """Up to 64 bits."""
        producer = Producer((1 << 64) - 1, (1 << 16) - 1, 0)
        self.append("a", producer=producer)

        assert self.append("a", producer=producer).duplicate

    def test_of_the_same_append_made_at_once_one_is_stored(self) -> None:
        """Whichever comes first."""
        stored = at_once(4, lambda _: self.append("a", "b", producer=Producer(7, 0, 0)))

        assert sorted(one.duplicate for one in stored) == [False, True, True, True]
        assert {one.offset for one in stored} == {0}
        assert self.read() == ["a", "b"]


class LogCompressionCases(LogCases):
    """How messages are compressed is nobody's business but the store's (I-W14)."""

    @pytest.mark.parametrize("compression", COMPRESSIONS)
    def test_compressed_messages_come_back(self, compression: Compression) -> None:
        """With keys and headers, large and empty."""
        self.declare(compression=compression)
        self.append("", "x" * 100_000, "b", keys=[None, b"k", b""], headers=[b"\x80", None, None])

        messages = [message for chunk in self.chunks() for message in chunk]

        assert [message.body for message in messages] == [b"", b"x" * 100_000, b"b"]
        assert [message.key for message in messages] == [None, "k", ""]

    def test_changing_the_compression_hurts_no_old_message(self) -> None:
        """It is recorded with them."""
        for compression in (*COMPRESSIONS, *COMPRESSIONS):
            self.declare(compression=compression)
            self.append(f"{compression} a", f"{compression} b")

        assert self.read() == [f"{one} {name}" for one in (*COMPRESSIONS, *COMPRESSIONS) for name in "ab"]

    @pytest.mark.parametrize("compression", COMPRESSIONS)
    def test_a_compressed_append_can_be_cut(self, compression: Compression) -> None:
        """By a read that begins or ends inside."""
        self.declare(compression=compression)
        self.append(*map(str, range(10)))

        assert self.read(4, limit=3) == ["4", "5", "6"]

    @pytest.mark.parametrize("compression", COMPRESSIONS)
    def test_limits_count_bodies_as_they_were_given(self, compression: Compression) -> None:
        """However small they became."""
        self.declare(compression=compression, max_body=1000)
        self.append(*["x" * 1000] * 10)

        assert len(self.read(max_bytes=3500)) == 3
