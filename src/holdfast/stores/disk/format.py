"""The bytes of the disk log, format 1: every layout drawn, with the functions that write and read it.

Little-endian throughout; a CRC is CRC-32 as zlib computes it. Positions and sizes are bytes, times ms of UTC. A parser
returns None for bytes that are not that; nothing here touches a file.

A log's directory has, for each partition, files named by the first offset they may hold::

    <base, 20 digits>.log     segment header (64) · batch · batch · … · footer (64) once sealed, or zeros
    <base, 20 digits>.idx     index entries (16 each); never synced, made again when wrong
    tail                      64 bytes: how far readers may read; never synced, made again at open

"""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

from holdfast.columns import CONTROL
from holdfast.config import BATCH_MOST

FORMAT = 1
HEADER = 64
"""Bytes of a segment's header, of a batch's, and of a footer."""
ALIGNED = 8
SEGMENT_MOST = (4 << 30) - BATCH_MOST
"""A segment is never told to be larger: positions in it are u32."""

SEGMENT_MAGIC = b"HFASTLOG"
BATCH_MAGIC_BYTES = b"\xf5hfB"
BATCH_MAGIC = int.from_bytes(BATCH_MAGIC_BYTES, "little")
FOOTER_MAGIC = int.from_bytes(b"\xf5hfSEAL\n", "little")
TAIL_MAGIC = int.from_bytes(b"\xf5hfTAIL\n", "little")
SLOT_MAGIC = int.from_bytes(b"\xf5hfG", "little")

# Attributes of a batch, beside those of holdfast.columns (bits 0-5).
CLOSED = 1 << 6
"""A mark that was written, and synced, when the partition was closed."""
PRODUCERS = 1 << 7
"""A control batch that holds the windows of producers: see :mod:`holdfast.stores.disk.producers`."""
GAP = 1 << 8
"""A control batch that stands where damaged bytes were taken out; its count is that of the offsets lost with them."""

Buffer = bytes | bytearray | memoryview

_CRC = struct.Struct("<I")
_NO_OFFSET = 0xFFFFFFFFFFFFFFFF


# -- names ----------------------------------------------------------------------------------------------------


def segment_name(base: int) -> str:
    """Return the name of the segment that begins at offset ``base``."""
    return f"{base:020d}.log"


def index_name(base: int) -> str:
    """Return the name of that segment's index."""
    return f"{base:020d}.idx"


def base_of(name: str) -> int | None:
    """Return the offset in a segment's name; None for any other file."""
    stem = name.removesuffix(".log")
    return int(stem) if len(stem) == 20 and stem.isdecimal() and len(name) == 24 else None


# -- segment header -------------------------------------------------------------------------------------------

_SEGMENT = struct.Struct("<8sHHI16sQQqI")


class SegmentHeader(NamedTuple):
    """The first 64 bytes of a segment, written and synced, with its directory, before anything follows::

         0  magic "HFASTLOG"            32  salt u64, random
         8  flags u16                   40  base offset u64
        10  format u16                  48  created i64, ms
        12  length of this header u32   56  chain of the previous segment u32 (0: there was none)
        16  uuid of the store           60  CRC of bytes 0-59

    The *chain* of a segment is the CRC over the header CRCs of its batches, in order, each as u32.
    """

    store: bytes
    salt: int
    base: int
    created: int
    previous: int = 0
    flags: int = 0

    @property
    def mark(self) -> int:
        """The low 32 bits of the salt, which every batch of this segment carries."""
        return self.salt & 0xFFFFFFFF


def pack_segment(header: SegmentHeader) -> bytes:
    """Return the 64 bytes."""
    store, salt, base, created, previous, flags = header
    return _with_crc(_SEGMENT.pack(SEGMENT_MAGIC, flags, FORMAT, HEADER, store, salt, base, created, previous))


def parse_segment(data: Buffer) -> SegmentHeader | None:
    """Return the header; None for anything else, a header of a later format too."""
    if not _crc_holds(data):
        return None
    magic, flags, version, length, store, salt, base, created, previous = _SEGMENT.unpack_from(data)
    if magic != SEGMENT_MAGIC or version != FORMAT or length != HEADER:
        return None
    return SegmentHeader(store, salt, base, created, previous, flags)


# -- batch ----------------------------------------------------------------------------------------------------

BATCH = struct.Struct("<IIIIQIIqQHHIII")
_BATCH_START = struct.Struct("<IIIIQIIqQHHII")


class BatchHeader(NamedTuple):
    """The first 64 bytes of a batch; then its packed columns (:mod:`holdfast.columns`), then zeros up to its size::

         0  magic u32                    32  append time i64, ms, never decreasing
         4  size u32: header, body       40  producer id u64 (0: none)
            and padding; multiple of 8   48  producer epoch u16
         8  low half of the salt u32     50  attributes u16
        12  own position u32             52  base sequence u32
        16  base offset u64              56  CRC of body and padding u32
        24  stable u32: how much of      60  CRC of bytes 0-59
            this segment was synced
        28  count of messages u32

    A *mark* is a batch of count 0 without a body; its base offset is the next one.
    """

    magic: int
    size: int
    salt: int
    position: int
    base: int
    stable: int
    messages: int
    time: int
    producer: int
    epoch: int
    attributes: int
    sequence: int
    body_crc: int
    crc: int

    @property
    def next(self) -> int:
        """The offset behind the last message."""
        return self.base + self.messages

    @property
    def end(self) -> int:
        """The position behind this batch."""
        return self.position + self.size


def padded(size: int) -> int:
    """Return the size of a batch whose body has ``size`` bytes."""
    return (HEADER + size + ALIGNED - 1) & -ALIGNED


def seal_batch(header: BatchHeader) -> tuple[BatchHeader, bytes]:
    """Return the header with its CRC, and its 64 bytes."""
    data = _BATCH_START.pack(*header[:13])
    crc = crc32(data)
    return BatchHeader._make((*header[:13], crc)), data + _CRC.pack(crc)


def parse_batch(data: Buffer, at: int, salt: int, position: int) -> BatchHeader | None:
    """Return the batch header at ``at`` when it is whole, of this segment, and lies where it belongs."""
    if len(data) < at + HEADER:
        return None
    fields = BATCH.unpack_from(data, at)
    size = fields[1]
    if (
        fields[0] != BATCH_MAGIC
        or fields[2] != salt
        or fields[3] != position
        or not HEADER <= size <= BATCH_MOST
        or size % ALIGNED
        or crc32(memoryview(data)[at : at + HEADER - 4]) != fields[13]
    ):
        return None
    return BatchHeader._make(fields)


def is_control(header: BatchHeader) -> bool:
    """Tell whether the batch holds no messages."""
    return bool(header.attributes & CONTROL)


# -- footer ---------------------------------------------------------------------------------------------------

_FOOTER = struct.Struct("<QQQIIqII12x")


class Footer(NamedTuple):
    """The last 64 bytes of a sealed segment::

         0  magic u64                    32  time of the last append i64
         8  position where the           40  chain u32
            batches end u64              44  CRC of the index file u32
        16  last offset u64              48  zero
        24  batches u32                  60  CRC u32 of the salt (u64) and bytes 0-59
        28  messages u32

    It lies behind the batches; where an opening found damage, or remains of an append that failed, behind those too.
    The salt in the CRC keeps a body that looks like a footer from being taken for one.
    """

    end: int
    next: int
    batches: int
    messages: int
    max_time: int
    chain: int
    index_crc: int


def pack_footer(footer: Footer, salt: int) -> bytes:
    """Return the 64 bytes that seal the segment with this salt."""
    last = (footer.next - 1) & _NO_OFFSET
    data = _FOOTER.pack(FOOTER_MAGIC, footer.end, last, *footer[2:])
    return data + _CRC.pack(crc32(data, _salted(salt)))


def parse_footer(data: Buffer, salt: int) -> Footer | None:
    """Return the footer in the last 64 bytes of a segment; None when it is not sealed."""
    if len(data) != HEADER or crc32(memoryview(data)[:60], _salted(salt)) != _CRC.unpack_from(data, 60)[0]:
        return None
    magic, end, last, *rest = _FOOTER.unpack_from(data)
    return Footer(end, (last + 1) & _NO_OFFSET, *rest) if magic == FOOTER_MAGIC else None


def _salted(salt: int) -> int:
    return crc32(salt.to_bytes(8, "little"))


# -- index ----------------------------------------------------------------------------------------------------

INDEX_STEP = 64 << 10
"""A batch has an index entry when it begins at least this far behind the last one that has."""
INDEX = struct.Struct("<IIq")


class IndexEntry(NamedTuple):
    """Where a batch begins: relative offset u32 · position u32 · append time i64."""

    offset: int
    position: int
    time: int


def pack_index(entries: list[IndexEntry]) -> bytes:
    """Return the bytes of an index file."""
    return b"".join(INDEX.pack(*entry) for entry in entries)


def parse_index(data: bytes) -> list[IndexEntry]:
    """Return the entries of an index file; a partial one at its end is left out."""
    return [IndexEntry._make(fields) for fields in INDEX.iter_unpack(data[: len(data) // INDEX.size * INDEX.size])]


# -- tail -----------------------------------------------------------------------------------------------------

_TAIL = struct.Struct("<QQQQQQQI")


class Tail(NamedTuple):
    """The file ``tail``: how far readers of all processes may read, written after every sync::

     0  magic u64                   32  next offset u64: readers may read below
     8  epoch of the writer u64     40  first offset u64 that is kept
    16  base of its segment u64     48  boot of this machine u64
    24  position there up to        56  zero
        which they may read u64     60  CRC of bytes 0-59

    """

    epoch: int
    base: int
    position: int
    next: int
    first: int
    boot: int = 0


def pack_tail(tail: Tail) -> bytes:
    """Return the 64 bytes."""
    return _with_crc(_TAIL.pack(TAIL_MAGIC, *tail, 0))


def parse_tail(data: Buffer) -> Tail | None:
    """Return the tail; None when it is torn, by a writer that is just writing it, or is none."""
    if not _crc_holds(data):
        return None
    magic, *rest, _ = _TAIL.unpack_from(data)
    return Tail(*rest) if magic == TAIL_MAGIC else None


# -- a group's place ------------------------------------------------------------------------------------------

SLOT = 4096
"""Bytes of a slot; the offset file of a group has two, written in turn."""
FINISHED_MOST = SLOT - HEADER
_SLOT = struct.Struct("<IIQQQqIQ8x")


class Slot(NamedTuple):
    """A group's place in a partition, and what was finished beyond it::

         0  magic u32                      24  next offset u64
         4  length of the list u32         32  time i64, ms
         8  version of the slot u64        40  CRC of the list u32
        16  version of the place u64       44  where reading began u64: see ``Assigned.begun``
                                           52  zero
                                           60  CRC of bytes 0-59
        64  the list, at most 4 032 bytes

    The slot with the higher version that is whole is the place.
    """

    version: int
    group_version: int
    next: int
    time: int
    finished: bytes = b""
    begun: int = 0


def pack_slot(slot: Slot) -> bytes:
    """Return the bytes of a slot, without what is free behind its list."""
    version, group_version, offset, time, finished, begun = slot
    head = _SLOT.pack(SLOT_MAGIC, len(finished), version, group_version, offset, time, crc32(finished), begun)
    return _with_crc(head) + finished


def parse_slot(data: Buffer) -> Slot | None:
    """Return the slot that begins at ``data``; None when it is none, or not whole."""
    if not _crc_holds(data):
        return None
    magic, length, version, group_version, offset, time, crc, begun = _SLOT.unpack_from(data)
    finished = bytes(data[HEADER : HEADER + length])
    if magic != SLOT_MAGIC or len(finished) != length or crc32(finished) != crc:
        return None
    return Slot(version, group_version, offset, time, finished, begun)


def _with_crc(data: bytes) -> bytes:
    return data + _CRC.pack(crc32(data))


def _crc_holds(data: Buffer) -> bool:
    """Tell whether the CRC at 60 is that of the bytes before it."""
    return len(data) >= HEADER and crc32(memoryview(data)[:60]) == _CRC.unpack_from(data, 60)[0]
