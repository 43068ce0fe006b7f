"""What a partition is told, and what it tells: values, no I/O."""

from __future__ import annotations

from typing import Literal

import msgspec

from holdfast.config import BATCH_MOST, Compression
from holdfast.errors import ConfigError
from holdfast.message import Level
from holdfast.stores.disk.format import SEGMENT_MOST

Sync = Literal["always", "interval", "os"]


class PartitionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a partition is written. Lengths are seconds, sizes bytes.

    ``sync``: *always* returns from an append when it is on the disk; *interval* syncs every ``interval``, and when
    ``interval_bytes`` are not; *os* when a segment is sealed, and at close. ``linger`` (at most 5 ms) is how long an
    append that finds nobody at the disk waits for others. ``reserve_bytes`` are kept in a file of their own, to be
    able to end a segment on a full disk. A partition that was idle for ``idle_mark`` writes a mark, which lets an
    opening tell rot in what was appended last from an append that a power cut tore. A partition that does not
    ``go_on`` refuses everything after a failed sync, until it is opened again.
    """

    sync: Sync = "always"
    interval: float = 0.1
    interval_bytes: int = 1 << 20
    segment_bytes: int = 256 << 20
    linger: float = 0.0
    compression: Compression = "none"
    reserve_bytes: int = 16 << 20
    idle_mark: float = 0.2
    go_on: bool = True

    def __post_init__(self) -> None:
        for name, low, high in (
            ("interval", 0.001, 60.0),
            ("interval_bytes", 1, 1 << 40),
            ("segment_bytes", 4096, SEGMENT_MOST),
            ("linger", 0.0, 0.005),
            ("reserve_bytes", 0, 1 << 40),
            ("idle_mark", 0.001, 3600.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} of a partition must be from {low} to {high}, not {value!r}")
        if self.sync not in ("always", "interval", "os"):
            raise ConfigError(f"sync must be always, interval or os, not {self.sync!r}")

    @property
    def level(self) -> Level:
        """How safe an append is when it returns."""
        return Level.SYNCED if self.sync == "always" else Level.WRITTEN


class Placed(msgspec.Struct, frozen=True, gc=False):
    """Where an append lies: the offset of its first message, how safe it is, whether it had been there already."""

    offset: int
    level: Level
    duplicate: bool = False


class SegmentInfo(msgspec.Struct, frozen=True, gc=False):
    """A segment: the offsets from ``base`` on and below ``next``, its file's size, the times (ms) of its first and last
    append, None when it has none. ``messages`` are fewer than the offsets when some are lost.
    """

    base: int
    next: int
    bytes: int
    first_time: int | None
    last_time: int | None
    sealed: bool
    messages: int = 0


class Damage(msgspec.Struct, frozen=True, gc=False):
    """A range that was durable and is no longer what was written: bytes and offsets, the ends not included."""

    begin: int
    end: int
    first: int
    next: int


Happening = Literal["torn", "damage", "chain", "gone", "failed sync", "full", "resumed"]


class Report(msgspec.Struct, frozen=True):
    """Something that the operator should know: ``what`` happened, in which file, told in ``text``.

    *torn*: the end of an append that was never acknowledged was cut off. *damage*: see :class:`Damage`. *chain*: a
    segment does not follow the one before. *gone*: readers had been shown more than there is. *failed sync*: a new
    segment was begun. *full*, *resumed*: appends.
    ``size`` counts bytes; offsets from ``first`` on and below ``next`` are concerned.
    """

    what: Happening
    path: str
    text: str
    size: int = 0
    first: int = 0
    next: int = 0


MESSAGES_MOST = BATCH_MOST // 4
"""An append has never more messages: each takes four bytes at least."""
