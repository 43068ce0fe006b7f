"""What a log holds, and where its readers stand: values, no I/O.

A log is kept and handed on in columns, because work for each single message is what an interpreter is slow at: a
:class:`Columns` is what is appended, a :class:`Chunk` what is read. A :class:`LogMessage` is made of a chunk only for
who asks for one. Keys travel as UTF-8, headers as one packed mapping a message, both None where a message has none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Self

import msgspec

from holdfast.message import NO_HEADERS, Level

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(dict[str, str]).decode


class Columns(msgspec.Struct, frozen=True):
    """Messages to be appended together, at least one. A column that has nothing is None, else as long as ``bodies``."""

    bodies: Sequence[bytes]
    keys: Sequence[bytes | None] | None = None
    headers: Sequence[bytes | None] | None = None

    def __len__(self) -> int:
        return len(self.bodies)


class Producer(msgspec.Struct, frozen=True):
    """Who appends, for recognising repeats: ``sequence`` is the number of the first message of this append.

    Of one id the newest ``epoch`` counts; an older one is refused. Sequences rise by one a message within an epoch.
    """

    id: int
    epoch: int
    sequence: int


class StoredAt(msgspec.Struct, frozen=True, gc=False):
    """What an append returns: the place of its first message, how safe it is, whether it had been there already."""

    log: str
    partition: int
    offset: int
    level: Level
    duplicate: bool = False


class LogMessage(msgspec.Struct, frozen=True, gc=False):
    """One message of a log, and its place. ``time`` is the ms (UTC) of its append."""

    partition: int
    offset: int
    time: int
    body: bytes
    key: str | None = None
    headers: Mapping[str, str] = NO_HEADERS


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Consecutive messages of one partition, from offset ``base`` on, that were appended at ``time`` (ms).

    ``version`` is that of the group's place in this partition when a member polled it; 0 without a group. ``again`` is
    for entries of streams: somebody else had them before, who has died, and whose death may be charged to them.
    """

    partition: int
    base: int
    time: int
    bodies: Sequence[bytes]
    keys: Sequence[bytes | None] | None = None
    headers: Sequence[bytes | None] | None = None
    version: int = 0
    again: bool = False

    def __len__(self) -> int:
        return len(self.bodies)

    @property
    def next(self) -> int:
        """The offset behind the last message."""
        return self.base + len(self.bodies)

    def __iter__(self) -> Iterator[LogMessage]:
        return map(self.message, range(len(self.bodies)))

    def message(self, index: int) -> LogMessage:
        """Return the message at ``index``; of headers that are damaged it has none."""
        key = self.keys[index] if self.keys is not None else None
        headers = self.headers[index] if self.headers is not None else None
        return LogMessage(
            self.partition,
            self.base + index,
            self.time,
            self.bodies[index],
            None if key is None else read_key(key),
            NO_HEADERS if headers is None else read_headers(headers),
        )

    def between(self, first: int, end: int = sys.maxsize) -> Self:
        """Return what lies at the offsets from ``first`` on and below ``end``; itself if that is all."""
        if first <= self.base and self.next <= end:
            return self
        part = slice(max(0, first - self.base), max(0, end - self.base))
        return msgspec.structs.replace(
            self,
            base=max(self.base, first),
            bodies=self.bodies[part],
            keys=None if self.keys is None else self.keys[part],
            headers=None if self.headers is None else self.headers[part],
        )


def written_key(key: str) -> bytes:
    """Return a key as a log keeps it."""
    return key.encode("utf-8", "surrogateescape")


def read_key(key: bytes) -> str:
    """Return a key as users see it; one that is no UTF-8, written by others, comes back as the same bytes."""
    return key.decode("utf-8", "surrogateescape")


def written_headers(headers: Mapping[str, str]) -> bytes | None:
    """Return headers as a log keeps them."""
    return _pack(dict(headers)) if headers else None


def read_headers(headers: bytes) -> Mapping[str, str]:
    """Return headers as users see them."""
    return _unpack(headers)


# -- groups ---------------------------------------------------------------------------------------------------


class Start(msgspec.Struct, frozen=True):
    """Where a new group begins in each partition: at an end, at the first message from a ``time`` (ms) on, or an
    ``offset``, both in ``value``.
    """

    at: Literal["earliest", "latest", "time", "offset"] = "earliest"
    value: int = 0


WhenGone = Literal["error", "earliest", "latest"]
"""What a member does when retention removed what its group was to read next: raise ``OffsetGone``, or jump."""


class Offset(msgspec.Struct, frozen=True):
    """A group's place in a partition: ``next`` is the offset to be read next, ``finished`` those done beyond it.

    ``version`` is that of the place it was read at: see ``LogMember.commit``.
    """

    partition: int
    next: int
    version: int
    finished: tuple[int, ...] = ()


class Assigned(msgspec.Struct, frozen=True):
    """A partition that a member holds: the group's ``place`` when it was taken.

    ``begun`` tells one reading of the partition from another: all owners that go on from one to the next have the same,
    and after a seek, and in a group that was made again, it is one that was never there before.
    """

    place: Offset
    begun: int = 0


class Crashes(msgspec.Struct, frozen=True):
    """The deaths of processes at one message: the ``runs`` in which they died, and the ``reason`` of the last."""

    runs: tuple[int, ...] = ()
    reason: str = ""

    def __len__(self) -> int:
        return len(self.runs)

    def charged(self, run: int, reason: str) -> Crashes:
        """Return it with that death too; itself when that run was counted before."""
        return self if run in self.runs else Crashes((*self.runs, run), reason)


class Ends(msgspec.Struct, frozen=True):
    """What a partition holds: offsets from ``first`` on and below ``next``, in ``bytes``; ``oldest`` is the ms of the
    first, None when there is none. Only what is durable at the log's level counts.
    """

    partition: int
    first: int
    next: int
    bytes: int = 0
    oldest: int | None = None


class Lag(msgspec.Struct, frozen=True):
    """How far a group is behind in a partition: ``messages`` not yet committed, the oldest of them ``age`` seconds old.

    ``member`` is the holder that reads it now, None for nobody. ``gone`` tells that retention removed messages from
    ``next`` on, which are not counted. ``more`` tells that there may be more than ``messages``, and nobody
    knows how many: of a stream of others the server does not always.
    """

    partition: int
    next: int
    messages: int
    age: float | None = None
    member: str | None = None
    gone: bool = False
    more: bool = False


class GroupInfo(msgspec.Struct, frozen=True):
    """A group of a log. ``members`` are the holders that live; ``idle`` the seconds since one of them was seen or
    anything was committed; ``pins`` the bytes that are kept for this group alone (``until_consumed``).
    """

    log: str
    name: str
    members: tuple[str, ...] = ()
    idle: float = 0.0
    pins: int = 0


class LogTidied(msgspec.Struct, frozen=True):
    """What a round of housekeeping did: messages and bytes dropped by retention, groups expired; ``more`` is to do."""

    messages: int = 0
    bytes: int = 0
    groups: tuple[tuple[str, str], ...] = ()
    more: bool = False

    def __add__(self, other: LogTidied) -> LogTidied:
        return LogTidied(
            self.messages + other.messages,
            self.bytes + other.bytes,
            self.groups + other.groups,
            self.more or other.more,
        )


# -- verifying ------------------------------------------------------------------------------------------------


class DamagedRange(msgspec.Struct, frozen=True):
    """What was durable and is no longer what was written: bytes of a file, and the offsets they held; ends excluded."""

    partition: int
    path: str
    begin: int
    end: int
    first: int
    next: int


class Verified(msgspec.Struct, frozen=True):
    """What reading a whole log found: how much there is, what is damaged, and ``notes`` on what does not matter.

    After a repair the ``damages`` are those that were taken out, and ``kept`` the files with their bytes.
    """

    messages: int = 0
    bytes: int = 0
    damages: tuple[DamagedRange, ...] = ()
    notes: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
