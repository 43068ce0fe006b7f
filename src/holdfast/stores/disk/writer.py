"""The segment that is written now: batches behind each other, the index beside them, a footer when it is sealed.

One thread at a time. A write that fails is taken back: the file ends where it ended before, or the segment is
``poisoned`` and nothing is ever written to it, or synced, again.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from holdfast.columns import CONTROL
from holdfast.logged import Producer
from holdfast.stores.disk.files import Buffer, Files
from holdfast.stores.disk.format import (
    ALIGNED,
    BATCH_MAGIC,
    CLOSED,
    HEADER,
    INDEX,
    BatchHeader,
    Footer,
    SegmentHeader,
    index_name,
    pack_footer,
    pack_index,
    pack_segment,
    padded,
    seal_batch,
    segment_name,
)
from holdfast.stores.disk.segment import Tally
from holdfast.stores.disk.unsure import FAILED, SURE, SYNCING, Unsure

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
AHEAD = 256 << 10
"""So many zeros, at most, are written ahead of small appends that are synced one by one: a sync of bytes that lie over
others has no new length of the file to write, and takes three quarters of the time.
"""
_AHEAD_OF_MOST = AHEAD // 32
_PAGE = 4096
_PIECES = 1000
_PIECE = 1 << 20
_NOBODY = Producer(0, 0, 0)


class Packed:
    """The body of a batch to be: ``pieces`` with their padding, and their CRC; ``size`` is that of the batch."""

    __slots__ = ("attributes", "count", "crc", "pieces", "size")

    def __init__(self, count: int, attributes: int, pieces: list[bytes]) -> None:
        body = sum(map(len, pieces))
        self.count, self.attributes = count, attributes
        self.size = padded(body)
        if fill := self.size - HEADER - body:
            pieces.append(bytes(fill))
        self.pieces = pieces
        crc = 0
        for piece in pieces:
            crc = crc32(piece, crc)
        self.crc = crc


MARK = Packed(0, CONTROL, [])
CLOSING = Packed(0, CONTROL | CLOSED, [])


class Draft:
    """Batches that will lie behind what a segment has: nothing is written, and no offset taken, until ``write``."""

    def __init__(self, segment: SegmentWriter) -> None:
        self.position, self.next = segment.position, segment.tally.next
        self.headers: list[BatchHeader] = []
        self.pieces: list[Buffer] = []
        self._salt, self._stable = segment.header.mark, segment.stable

    def add(self, packed: Packed, time: int, producer: Producer | None = None) -> int:
        """Put a batch behind the others; return the offset of its first message."""
        who, offset = producer or _NOBODY, self.next
        header, data = seal_batch(
            BatchHeader(
                BATCH_MAGIC,
                packed.size,
                self._salt,
                self.position,
                offset,
                self._stable,
                packed.count,
                time,
                who.id,
                who.epoch,
                packed.attributes,
                who.sequence,
                packed.crc,
                0,
            )
        )
        self.headers.append(header)
        self.pieces.append(data)
        self.pieces += packed.pieces
        self.position += packed.size
        self.next += packed.count
        return offset


class SegmentWriter:
    """A segment open for writing. ``position`` is where the next batch goes, ``stable`` what is synced of it."""

    def __init__(self, files: Files, directory: Path, fd: int, header: SegmentHeader, tally: Tally) -> None:
        self.files, self.directory, self.header, self.tally = files, directory, header, tally
        self.path = directory / segment_name(header.base)
        self.position = self.stable = HEADER if tally.last is None else tally.last.end
        self.poisoned = self.sealed = False
        self._fd = fd
        self._syncing = threading.Lock()
        """Held for each sync: of two at once, Linux tells only one that what both were about is lost."""
        self._index_fd: int | None = None
        self._indexed = 0
        self._ahead, self._room = AHEAD, self.position
        self.unsure: Unsure | None = None
        """Where each sync is noted, if readers see what was not synced."""

    @classmethod
    def create(cls, files: Files, directory: Path, header: SegmentHeader) -> SegmentWriter:
        """Make the segment; its header and its name are on the disk on return. What failed half-way is removed."""
        path = directory / segment_name(header.base)
        fd = files.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            write_all(files, fd, [pack_segment(header)], 0)
            files.sync(fd)
            files.sync_directory(directory)
        except BaseException:
            files.close(fd)
            files.remove(path)
            raise
        return cls(files, directory, fd, header, Tally(header.base))

    @property
    def is_over(self) -> bool:
        """Whether nothing can be written to it any more."""
        return self.poisoned or self.sealed

    def write(self, draft: Draft, *, ahead: bool = False) -> None:
        """Write a draft that was made of this segment as it is. ``OSError``: nothing is there, or ``poisoned``.

        ``ahead``: the next drafts are small too, and each is synced; behind the batches there may be zeros then.
        """
        try:
            if ahead and draft.position > self._room:
                self._make_room(draft)
            write_all(self.files, self._fd, draft.pieces, self.position)
        except OSError as error:
            self._take_back(error)
            raise
        except BaseException:  # an interrupt in the middle: nobody knows how much went
            self.poisoned = True
            raise
        self.position = draft.position
        for header in draft.headers:
            self.tally.add(header)
        self._write_index()

    def _make_room(self, draft: Draft) -> None:
        """Write zeros from here to beyond the draft, no more than lies before it; the next sync covers them."""
        if draft.position - self.position > _AHEAD_OF_MOST or not self._ahead:
            return
        begin = max(self._room, self.position)
        end = draft.position + min(self._ahead, draft.position) & -_PAGE
        if end <= draft.position:
            return
        try:
            write_all(self.files, self._fd, [bytes(end - begin)], begin)
            self._room = end
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self.trim()  # there may be enough for the draft

    def trim(self) -> bool:
        """Let the file end where its batches do, and make no more room; tell whether it was longer. Not synced."""
        self._ahead = 0
        if longer := self.files.size(self._fd) > self.position:
            self.files.truncate(self._fd, self.position)
        return longer

    def _take_back(self, error: OSError) -> None:
        """Shorten the file to what it was, for good: what a caller was told is not there must not come back."""
        if error.errno not in NO_ROOM:
            self.poisoned = True
            return
        try:
            self.files.truncate(self._fd, self.position)
            self.sync()
        except OSError:
            self.poisoned = True

    def sync(self) -> None:
        """Return once everything written before the call is on the disk. After an error the segment is poisoned."""
        with self._syncing:
            if self.poisoned:
                raise OSError(errno.EIO, "a sync of this file failed before, and is not tried again", str(self.path))
            end = self.position
            try:
                if self.unsure is not None and self.unsure.failed(self.header.base):
                    raise OSError(errno.EIO, "a sync of this file by another process failed", str(self.path))
                self._note(SYNCING)
                self.files.sync(self._fd)
            except BaseException:
                self.poisoned = True
                with suppress(OSError):
                    self._note(FAILED)
                raise
            self.stable = max(self.stable, end)
            with suppress(OSError):  # whoever looks waits, and is told that nobody knows
                self._note(SURE)

    def _note(self, state: int) -> None:
        if self.unsure is not None:
            self.unsure.note(self.header.base, state)

    def sync_again(self, end: int) -> None:
        """Return once what lies before ``end`` is on the disk, also after a sync that failed: it is written anew."""
        write_again(self.files, self._fd, self.stable, end)
        self.files.sync(self._fd)
        self.stable = end

    def seal(self) -> None:
        """Write the footer and sync the file: it never changes again.

        What it vouches for is synced before it is written: a power cut may keep the footer, and lose the rest.
        """
        if self.trim() or self.position > self.stable:
            self.sync()
        data = self._footer(self.position)
        try:
            write_all(self.files, self._fd, [data], self.position)
        except OSError as error:
            self._take_back(error)
            raise
        self.sync()
        self.sealed = True

    def abandon(self, end: int, tally: Tally) -> None:
        """End the segment at ``end`` after a failed sync, where ``tally`` does, for readers of this machine.

        Nothing is synced: after a power cut the next segment's header tells an opening where this one ends. Errors
        are left out, for the same reason.
        """
        self.tally, self.position = tally, end
        try:
            self.files.truncate(self._fd, end)
            write_all(self.files, self._fd, [self._footer(end)], end)
        except OSError:
            return
        write_index(self.files, self.path, tally)

    def close(self) -> None:
        """Let go of the file."""
        self.files.close(self._fd)
        if self._index_fd is not None:
            self.files.close(self._index_fd)

    def read(self, size: int, at: int) -> bytes:
        """Return bytes of the file."""
        return self.files.read(self._fd, size, at)

    @property
    def fd(self) -> int:
        """The descriptor, for reading what lies in the file."""
        return self._fd

    def _footer(self, end: int) -> bytes:
        return footer_of(self.tally, end, self.header.salt)

    def _write_index(self) -> None:
        """Write the entries that are new; nothing depends on it, so errors are left out and it is tried again."""
        entries = self.tally.index
        if len(entries) == self._indexed:
            return
        try:
            if self._index_fd is None:
                path = self.directory / index_name(self.header.base)
                self._index_fd = self.files.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            new = pack_index(entries[self._indexed :])
            write_all(self.files, self._index_fd, [new], self._indexed * INDEX.size)
        except OSError:
            return
        self._indexed = len(entries)


def footer_of(tally: Tally, end: int, salt: int) -> bytes:
    """Return the footer of a segment whose batches end at ``end`` and amount to ``tally``."""
    index_crc = crc32(pack_index(tally.index))
    return pack_footer(
        Footer(end, tally.next, tally.batches, tally.messages, tally.last_time or 0, tally.chain, index_crc), salt
    )


def write_stub(files: Files, directory: Path, header: SegmentHeader) -> int:
    """Make a sealed segment without batches, on the disk on return; return its size. A crash leaves all or nothing."""
    path = directory / segment_name(header.base)
    made = path.with_suffix(".tmp")
    data = pack_segment(header) + footer_of(Tally(header.base), HEADER, header.salt)
    fd = files.open(made, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        write_all(files, fd, [data], 0)
        files.sync(fd)
        files.rename(made, path)
    except BaseException:
        files.remove(made)
        raise
    finally:
        files.close(fd)
    files.sync_directory(directory)
    return len(data)


def write_index(files: Files, segment: Path, tally: Tally) -> None:
    """Write the index beside a segment anew. What cannot be written is made again by whoever needs it."""
    try:
        fd = files.open(segment.with_suffix(".idx"), os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    except OSError:
        return
    try:
        write_all(files, fd, [pack_index(tally.index)], 0)
    except OSError:
        return
    finally:
        files.close(fd)


def aligned(size: int) -> int:
    """Return the first position at ``size`` or behind it where something may begin."""
    return (size + ALIGNED - 1) & -ALIGNED


def write_all(files: Files, fd: int, pieces: Sequence[Buffer], at: int) -> None:
    """Write the pieces one behind the other from ``at`` on, finishing what a short write left."""
    todo = list(pieces)
    if len(todo) > _PIECES:
        todo = [b"".join(todo)]
    while todo:
        try:
            went = files.write(fd, todo, at)
        except InterruptedError:
            continue
        if went == 0:
            raise OSError(errno.ENOSPC, "nothing was written")
        at += went
        todo = _left(todo, went) if went < sum(map(len, todo)) else []


def write_again(files: Files, fd: int, begin: int, end: int) -> None:
    """Write these bytes of a file once more, as they are, so that its next sync is about them.

    After a failed sync Linux takes the pages for clean: who reads the file finds them, and no later sync, in whatever
    process, puts them on the disk or says that they are not there.
    """
    at = begin
    while at < end and (data := files.read(fd, min(_PIECE, end - at), at)):
        write_all(files, fd, [data], at)
        at += len(data)


def _left(pieces: list[Buffer], went: int) -> list[Buffer]:
    """Return what is to be written of the pieces when so many bytes of them went."""
    for number, piece in enumerate(pieces):
        if went < len(piece):
            return [memoryview(piece)[went:], *pieces[number + 1 :]]
        went -= len(piece)
    return []
