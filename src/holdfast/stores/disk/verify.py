"""Reading every byte of a partition to see whether it is what was written, and taking out for good what is not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import msgspec

from holdfast.columns import CONTROL
from holdfast.config import BATCH_MOST
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.format import (
    ALIGNED,
    BATCH_MAGIC,
    FOOTER_MAGIC,
    GAP,
    HEADER,
    BatchHeader,
    Footer,
    SegmentHeader,
    base_of,
    index_name,
    pack_footer,
    pack_index,
    pack_segment,
    parse_segment,
    seal_batch,
    segment_name,
)
from holdfast.stores.disk.opening import Opening
from holdfast.stores.disk.options import Damage, Report
from holdfast.stores.disk.readable import Readable
from holdfast.stores.disk.reading import PartitionReader
from holdfast.stores.disk.recovery import copy_range
from holdfast.stores.disk.segment import Opened, Tally, opened, read_edges, walk
from holdfast.stores.disk.writer import aligned, write_all, write_index

Progress = Callable[[int, int], None]
"""Called now and then with the bytes that were read and those there are."""


class Damaged(msgspec.Struct, frozen=True):
    """Damage, and the file it is in; of a file that is missing, no bytes of it."""

    path: str
    damage: Damage


class Findings(msgspec.Struct, frozen=True):
    """What ``verify`` saw: how much there is, what of it is damaged, and what is only worth knowing."""

    segments: int
    batches: int
    messages: int
    bytes: int
    damages: tuple[Damaged, ...] = ()
    notes: tuple[str, ...] = ()


class Repaired(msgspec.Struct, frozen=True):
    """What ``repair`` took out: the ranges, the files they were copied to, how many offsets and bytes went."""

    damages: tuple[Damaged, ...] = ()
    kept: tuple[str, ...] = ()
    offsets: int = 0
    bytes: int = 0


def verify(directory: Path, files: Files, progress: Progress | None = None) -> Findings:
    """Read all that readers may read of the partition and check it. Changes nothing; the writer may be at work."""
    reader = PartitionReader(directory, files)
    try:
        counted, damages, notes = _Counted(progress), list[Damaged](), list[str]()
        total, segments = reader.ends().bytes, 0
        for segment in reader.segments():
            segments += 1
            tally, found, gaps = _check(segment, counted, total)
            damages += [Damaged(str(segment.path), damage) for damage in found]
            if segment.edges.header is None:
                damages.append(Damaged(str(segment.path), Damage(0, HEADER, segment.base, segment.base)))
            if (missing := reader.missing(segment)) is not None:
                damages.append(Damaged(str(directory / segment_name(missing.first)), missing))
            notes += _notes(files, segment, tally, exact=not found and not gaps)
            counted.batches += tally.batches
            counted.messages += tally.messages
        return Findings(segments, counted.batches, counted.messages, counted.read, tuple(damages), tuple(notes))
    finally:
        reader.close()


class _Counted:
    def __init__(self, progress: Progress | None) -> None:
        self.batches = self.messages = self.read = 0
        self._progress, self._told = progress, 0

    def add(self, size: int, total: int) -> None:
        self.read += size
        if self._progress is not None and self.read - self._told >= 8 << 20:
            self._told = self.read
            self._progress(self.read, total)


def _check(segment: Readable, counted: _Counted, total: int) -> tuple[Tally, list[Damage], bool]:
    """Read a whole segment; return what its good batches amount to, what is damaged, whether gaps were found."""
    tally, damages, gaps = Tally(segment.base), list[Damage](), False
    counted.add(HEADER, total)
    for found in segment.everything():
        counted.add(found.end - (found.begin if isinstance(found, Damage) else found.position), total)
        if isinstance(found, Damage):
            damages.append(found)
        else:
            tally.add(found)
            gaps = gaps or bool(found.attributes & GAP)
    return tally, damages, gaps


def _notes(files: Files, segment: Readable, tally: Tally, *, exact: bool) -> Iterator[str]:
    footer = segment.edges.footer
    if footer is None:
        return
    if exact and (tally.chain, tally.batches, tally.next) != (footer.chain, footer.batches, footer.next):
        yield f"{segment.path}: its footer is of other batches than it has"
    index = segment.path.with_name(index_name(segment.base))
    if crc32(_content(files, index)) != footer.index_crc:
        yield f"{index}: is not the index of its segment; readers make their own"


def _content(files: Files, path: Path) -> bytes:
    try:
        with Opened(files, path) as fd:
            return files.read(fd, files.size(fd), 0)
    except FileNotFoundError:
        return b""


# -- repair ---------------------------------------------------------------------------------------------------


def repair(
    directory: Path,
    files: Files,
    *,
    store: bytes,
    report: Callable[[Report], None],
    progress: Progress | None = None,
) -> Repaired:
    """Take out everything that is damaged, so that readers go on behind it; return what went.

    The bytes are copied to ``.damaged`` files first. In their place comes a record of the gap: offsets stay what they
    are. A segment behind one that is missing says that it follows the one before that. Nobody may have the partition
    open for writing; it is opened as after a crash first, ``report`` as there. All is on the disk on return; it may be
    repeated after a crash.
    """
    live = Opening(files, directory, store, report).run().live
    if live is not None:
        live.close()
    damages = verify(directory, files, progress).damages
    there = [damaged for damaged in damages if damaged.damage.end]
    kept = tuple(str(_keep(files, damaged)) for damaged in there)
    if kept:
        files.sync_directory(directory)
    for path in dict.fromkeys(damaged.path for damaged in there):
        _mend(files, Path(path), store)
    for damaged in damages:
        if not damaged.damage.end:
            _go_on_without(files, directory, damaged.damage.next)
    offsets = sum(damaged.damage.next - damaged.damage.first for damaged in damages)
    return Repaired(damages, kept, offsets, sum(damaged.damage.end - damaged.damage.begin for damaged in damages))


def _keep(files: Files, damaged: Damaged) -> Path:
    path, damage = Path(damaged.path), damaged.damage
    kept = path.with_name(f"{path.stem}-{damage.begin}.damaged")
    with Opened(files, path) as fd:
        copy_range(files, fd, kept, damage.begin, damage.end)
    return kept


def _go_on_without(files: Files, directory: Path, base: int) -> None:
    """Let a segment follow the one that is there: the offsets between are jumped over from now on."""
    bases = [one for name in files.list(directory) if (one := base_of(name)) is not None and one < base]
    with opened(files, directory, bases[-1]) as fd:
        footer = read_edges(files, fd, bases[-1]).footer
    with Opened(files, directory / segment_name(base), os.O_RDWR) as fd:
        header = parse_segment(files.read(fd, HEADER, 0))
        if header is not None and footer is not None:
            write_all(files, fd, [pack_segment(header._replace(previous=footer.chain))], 0)
            files.sync(fd)


def _mend(files: Files, path: Path, store: bytes) -> None:
    """Write gaps over what is damaged in a segment, then a header and a footer that go with them."""
    reader = PartitionReader(path.parent, files)
    try:
        base = int(path.stem)
        segment = reader.segment(base)
        header, chain = segment.edges.header, reader.chain_of(base)
        with Opened(files, path, os.O_RDWR) as fd:
            end = _write_gaps(files, fd, segment)
            if header is None:
                header = SegmentHeader(store, segment.salt, base, 0)
                write_all(files, fd, [pack_segment(header)], 0)
            files.sync(fd)
            _seal_again(files, fd, header, Footer(end, segment.next, 0, 0, 0, chain, 0), path)
    finally:
        reader.close()


def _write_gaps(files: Files, fd: int, segment: Readable) -> int:
    """Return where the segment ends then. Only behind its last batch may there be less room than a gap takes: where
    offsets are lost with it, as in a file that got shorter, the gap makes the file longer; else it is left out.
    """
    time, end = 0, segment.end
    for found in segment.everything():
        if not isinstance(found, Damage):
            time = found.time
            continue
        left = found.end - found.begin & -ALIGNED
        at, offset, messages = found.begin, found.first, found.next - found.first
        if left < HEADER and messages:
            left = HEADER
        if found.end == segment.end:
            end = at + left if left >= HEADER else at
        while left >= HEADER:
            size = left if left <= BATCH_MOST else min(BATCH_MOST, left - HEADER)
            body = bytes(size - HEADER)
            header = BatchHeader(
                BATCH_MAGIC,
                size,
                segment.salt & 0xFFFFFFFF,
                at,
                offset,
                at,
                messages,
                time,
                0,
                0,
                CONTROL | GAP,
                0,
                crc32(body),
                0,
            )
            write_all(files, fd, [seal_batch(header)[1], body], at)
            at, left, offset, messages = at + size, left - size, found.next, 0
    return end


def _seal_again(files: Files, fd: int, header: SegmentHeader, footer: Footer, path: Path) -> None:
    """Write the footer where the old one is, or behind everything; and the index that goes with it."""
    tally = Tally(header.base)
    for batch, _ in walk(files, fd, header.mark, HEADER, footer.end):
        tally.add(batch)
    write_index(files, path, tally)
    footer = footer._replace(
        batches=tally.batches,
        messages=tally.messages,
        max_time=tally.last_time or 0,
        chain=footer.chain or tally.chain,
        index_crc=crc32(pack_index(tally.index)),
    )
    size = files.size(fd)
    has_one = files.read(fd, 8, size - HEADER) == FOOTER_MAGIC.to_bytes(8, "little")
    write_all(files, fd, [pack_footer(footer, header.salt)], size - HEADER if has_one else aligned(size))
    files.sync(fd)
