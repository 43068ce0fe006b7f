"""What a poll or a read returns: messages made when they are looked at, and where to go on behind them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, chain
from typing import overload

from holdfast.errors import UsageError
from holdfast.logged import Chunk, LogMessage, Offset


class NextOffsets(Mapping[int, int]):
    """The offset to go on at, by partition; ``places`` have the versions too, by which a commit is judged."""

    def __init__(self, places: Mapping[int, Offset]) -> None:
        self._places = places

    @property
    def places(self) -> tuple[Offset, ...]:
        """What is committed."""
        return tuple(self._places.values())

    def __getitem__(self, partition: int) -> int:
        return self._places[partition].next

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return repr(dict(self))


class Batch(Sequence[LogMessage]):
    """Messages of one poll or read, in order for each partition. Empty, and false, when there were none.

    A :class:`LogMessage` is made when it is asked for; ``bodies``, and the columns in ``chunks``, cost less.
    """

    def __init__(self, chunks: Sequence[Chunk] = ()) -> None:
        self.chunks = tuple(chunks)

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(map(len, self.chunks)))

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of all messages."""
        return list(chain.from_iterable(chunk.bodies for chunk in self.chunks))

    @property
    def next_offsets(self) -> NextOffsets:
        """Where to go on behind this batch in each of its partitions: ``member.commit(batch.next_offsets)``."""
        return NextOffsets(
            {chunk.partition: Offset(chunk.partition, chunk.next, chunk.version) for chunk in self.chunks}
        )

    def __len__(self) -> int:
        return self._ends[-1] if self.chunks else 0

    def __iter__(self) -> Iterator[LogMessage]:
        return chain.from_iterable(self.chunks)

    @overload
    def __getitem__(self, index: int) -> LogMessage: ...
    @overload
    def __getitem__(self, index: slice) -> Batch: ...
    def __getitem__(self, index: int | slice) -> LogMessage | Batch:
        if isinstance(index, slice):
            return self._part(*index.indices(len(self)))
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"this batch has {len(self)} messages, and none at {index}")
        number = bisect_right(self._ends, at)
        return self.chunks[number].message(at - self._ends[number] + len(self.chunks[number]))

    def _part(self, first: int, end: int, step: int) -> Batch:
        """Return a part as a batch, so that it can be committed by itself."""
        if step != 1:
            raise UsageError("a part of a batch is of messages side by side; for others take list(batch)")
        cut = (
            chunk.between(chunk.base + first - behind + len(chunk), chunk.base + end - behind + len(chunk))
            for chunk, behind in zip(self.chunks, self._ends, strict=True)
        )
        return Batch([chunk for chunk in cut if len(chunk)])

    def __repr__(self) -> str:
        return f"<Batch of {len(self)} messages, next {self.next_offsets!r}>"
