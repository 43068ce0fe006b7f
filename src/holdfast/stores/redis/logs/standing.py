"""Where a member stands, as the log's slot answered, and what it is to do about it: values."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from holdfast.logged import Assigned, Offset

_decode_finished = msgspec.json.Decoder(tuple[int, ...]).decode


class Standing(msgspec.Struct, frozen=True):
    """What a member holds, as of ``changes``; the other members by number, and how many partitions and free ones.

    It is not ``registered`` when others have taken it for dead.
    """

    changes: int
    registered: bool
    partitions: int
    free: int
    others: dict[int, str]
    held: dict[int, Assigned]

    @property
    def share(self) -> int:
        """How many partitions a member holds at the most."""
        return -(-self.partitions // (len(self.others) + 1))

    def has_surplus(self, busy: Collection[int]) -> bool:
        """Tell whether it is to let go of a partition now."""
        return len(self.held) > self.share and not set(self.held).issubset(busy)

    def is_lacking(self) -> bool:
        """Tell whether it is to take a partition now."""
        return self.free > 0 and len(self.held) < self.share


def standing(reply: list[Any]) -> Standing:
    """Return what ``share.lua`` answered."""
    changes, _, registered, partitions, free, others, *rest = reply
    members, held = rest[: 2 * others], rest[2 * others :]
    return Standing(
        changes,
        bool(registered),
        partitions,
        free,
        {number: holder.decode() for number, holder in zip(members[::2], members[1::2], strict=True)},
        {one[0]: _assigned(*one) for one in zip(*(held[i::5] for i in range(5)), strict=True)},
    )


def _assigned(partition: int, next_: int, version: int, finished: bytes, begun: int) -> Assigned:
    return Assigned(Offset(partition, next_, version, finished_of(finished)), begun)


def finished_of(text: bytes) -> tuple[int, ...]:
    """Return the offsets that are finished beyond a place, as they are kept."""
    return _decode_finished(text) if text else ()
