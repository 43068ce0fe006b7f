"""Opening a partition for writing: every segment looked at, the last one mended, what is known of each returned."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from holdfast.stores.disk.files import Files
from holdfast.stores.disk.format import HEADER, SegmentHeader, base_of, index_name, segment_name
from holdfast.stores.disk.options import Damage, Happening, Report, SegmentInfo
from holdfast.stores.disk.producers import Windows
from holdfast.stores.disk.recovery import Judge, Judgement, keep_torn
from holdfast.stores.disk.segment import Edges, Opened, guess_salt, opened, read_edges
from holdfast.stores.disk.writer import SegmentWriter, aligned, footer_of, write_again, write_all, write_index


class Found(NamedTuple):
    """What an opening found. ``live`` is the segment to go on with; None when a new one must be begun at ``next``."""

    sealed: list[SegmentInfo]
    live: SegmentWriter | None
    next: int
    windows: Windows
    chain: int
    time: int
    """The largest append time seen."""


class _Segment(NamedTuple):
    base: int
    edges: Edges


class Opening:
    """One opening of the partition in ``directory``, by its only writer. ``OSError`` is raised as it comes."""

    def __init__(self, files: Files, directory: Path, store: bytes, report: Callable[[Report], None]) -> None:
        self._files, self._directory, self._store, self._report = files, directory, store, report
        self._sealed: list[SegmentInfo] = []
        self._windows = Windows()
        self._chain = self._next = self._time = 0

    def run(self) -> Found:
        """Do it: what was torn is cut off, and the cut is on the disk, on return."""
        segments = self._list()
        while segments and never_began(self._files, self._directory, *segments[-1]):
            self._take_last(segments.pop())  # which removes it: what lies before it is the last one
        self._check_chain(segments)
        live = None
        for number, segment in enumerate(segments):
            last = number == len(segments) - 1
            if segment.edges.footer is not None:
                self._take_sealed(segment, last=last)
            elif last:
                live = self._take_last(segment)
            else:
                self._take_older(segment, segments[number + 1])
        return Found(self._sealed, live, self._next, self._windows, self._chain, self._time)

    def _list(self) -> list[_Segment]:
        bases = []
        for name in self._files.list(self._directory):
            if name.endswith(".tmp"):
                self._files.remove(self._directory / name)
            elif (base := base_of(name)) is not None:
                bases.append(base)
        found = []
        for base in bases:
            with opened(self._files, self._directory, base) as fd:
                edges = read_edges(self._files, fd, base)
            found.append(_Segment(base, edges))
        return found

    def _check_chain(self, segments: list[_Segment]) -> None:
        for before, segment in pairwise(segments):
            header, footer = segment.edges.header, before.edges.footer
            if header is None or footer is None:
                continue
            is_stub = not footer.batches  # what the header behind it tells of may have been dropped
            if not (is_stub or header.previous in (0, footer.chain)) or footer.next > segment.base:
                self._tell("chain", segment.base, f"does not follow {segment_name(before.base)}")
            if header.store != self._store:
                self._tell("chain", segment.base, f"is of another store, {header.store.hex()}")

    def _take_sealed(self, segment: _Segment, *, last: bool) -> None:
        base, edges = segment
        footer = edges.footer
        assert footer is not None
        last_time = footer.max_time if footer.batches else None
        info = SegmentInfo(base, footer.next, edges.size, edges.first_time, last_time, True, footer.messages)
        self._keep(info, footer.chain)
        if last:  # a crash came before the next one was begun, which needs a name of its own
            self._windows = self._last_windows()
            self._next = max(self._next, base + 1)

    def _take_older(self, segment: _Segment, following: _Segment) -> None:
        with Opened(self._files, self._path(segment), os.O_RDWR) as fd:
            salt = self._salt(segment, fd, following.base)
            judge = Judge(self._files, fd, segment.edges.size, salt, segment.base)
            after = following.edges.header or SegmentHeader(b"", 0, following.base, 0)
            found = judge.older(after)
            self._tell_damages(segment, found.damages)
            self._seal(segment, fd, found, keep=True)

    def _take_last(self, segment: _Segment) -> SegmentWriter | None:
        header, base = segment.edges.header, segment.base
        fd = self._files.open(self._path(segment), os.O_RDWR)
        live: SegmentWriter | None = None
        try:
            salt = self._salt(segment, fd, None)
            found = Judge(self._files, fd, segment.edges.size, salt, base).last()
            self._windows = found.windows
            if found.clean and header is not None:
                write_again(self._files, fd, found.sure, found.end)  # the mark, whose sync may have failed
                live = SegmentWriter(self._files, self._directory, fd, header, found.tally)
                live.stable = found.sure
                self._next, self._time = max(self._next, found.tally.next), max(self._time, found.tally.max_time)
                return live
            goes = self._mend(segment, fd, found)
        finally:
            if live is None:
                self._files.close(fd)
        if goes:
            self._files.remove(self._directory / index_name(base))
            self._files.remove(self._path(segment))
            self._files.sync_directory(self._directory)
            self._next = max(self._next, found.above, base)
            if not len(self._windows):  # the power cut took them with the segment
                self._windows = self._last_windows()
        else:
            self._next = max(self._next, found.above, base + 1)
        return None

    def _last_windows(self) -> Windows:
        """Return the windows of producers as they are behind the last sealed segment, which is read through.

        One that has no batches was given up, and says nothing of them: the one before it does.
        """
        base = next((info.base for info in reversed(self._sealed) if info.last_time is not None), None)
        if base is None:
            return Windows()
        with opened(self._files, self._directory, base) as fd:
            _, header, footer, _ = read_edges(self._files, fd, base)
            if header is None or footer is None:
                return Windows()
            return Judge(self._files, fd, footer.end, header.mark, base).last().windows

    def _mend(self, segment: _Segment, fd: int, found: Judgement) -> bool:
        """Cut off what is torn, and seal the segment; or tell that it is to be removed."""
        base, path = segment.base, self._path(segment)
        if found.torn:
            kept = keep_torn(self._files, path, fd, found.end, found.end + found.torn)
            self._files.sync_directory(self._directory)
            offsets = (found.tally.next, max(found.above, found.tally.next))
            text = f"{found.torn} bytes behind {found.end} were never acknowledged; kept in {kept.name}"
            self._tell("torn", base, text, found.torn, offsets)
        self._tell_damages(segment, found.damages)
        if self._goes(segment, found):
            return True
        # The headers behind damage are what proves that it is damage: they stay until a footer says so.
        keep = bool(found.damages)
        if segment.edges.size > found.end and not keep:  # by what is torn, by room that was made ahead
            self._files.truncate(fd, found.end)
            self._files.sync(fd)
        self._seal(segment, fd, found, keep=keep)
        return False

    def _goes(self, segment: _Segment, found: Judgement) -> bool:
        """Tell whether it is removed: it never had a message, as far as anybody can know.

        The only one stays, unless it begins the log: its name alone tells which offsets were given away.
        """
        is_empty = not found.damages and found.tally.next == found.tally.base
        return is_empty and (bool(self._sealed) or not segment.base or segment.edges.header is None)

    def _seal(self, segment: _Segment, fd: int, found: Judgement, *, keep: bool) -> None:
        """Write the footer behind the batches, or with ``keep`` behind all that the file has."""
        base, tally, header = segment.base, found.tally, segment.edges.header
        size = segment.edges.size
        if header is not None:  # without its salt no footer would be found: then every opening looks again
            # Whoever died here may have synced nothing, or failed to: a footer comes after what it is about.
            write_again(self._files, fd, found.sure, found.end)
            self._files.sync(fd)
            at = aligned(segment.edges.size) if keep else found.end
            write_all(self._files, fd, [footer_of(tally, found.end, header.salt)], at)
            self._files.sync(fd)
            size = at + HEADER
        write_index(self._files, self._path(segment), tally)
        info = SegmentInfo(base, tally.next, size, tally.first_time, tally.last_time, True, tally.messages)
        self._keep(info, tally.chain)

    def _keep(self, info: SegmentInfo, chain: int) -> None:
        self._sealed.append(info)
        self._chain, self._next = chain, max(self._next, info.next)
        self._time = max(self._time, info.last_time or 0)

    def _salt(self, segment: _Segment, fd: int, limit: int | None) -> int:
        """Return the half of the salt that batches carry, from themselves if the header is damaged."""
        if segment.edges.header is not None:
            return segment.edges.header.mark
        salt = guess_salt(self._files, fd, segment.edges.size, segment.base, limit)
        if salt:
            self._tell_damages(segment, [Damage(0, HEADER, segment.base, segment.base)])
        return salt

    def _tell_damages(self, segment: _Segment, damages: list[Damage]) -> None:
        for damage in damages:
            text = f"bytes {damage.begin} to {damage.end}, offsets {damage.first} to {damage.next}, are damaged"
            offsets = (damage.first, damage.next)
            self._tell("damage", segment.base, text, damage.end - damage.begin, offsets)

    def _tell(self, what: Happening, base: int, text: str, size: int = 0, offsets: tuple[int, int] = (0, 0)) -> None:
        path = self._directory / segment_name(base)
        self._report(Report(what, str(path), f"{path}: {text}", size, *offsets))

    def _path(self, segment: _Segment) -> Path:
        return self._directory / segment_name(segment.base)


def never_began(files: Files, directory: Path, base: int, edges: Edges) -> bool:
    """Tell whether the power was cut between the making of a segment and the sync of its header."""
    if edges.header is not None:
        return False
    with opened(files, directory, base) as fd:
        return not guess_salt(files, fd, edges.size, base, None)
