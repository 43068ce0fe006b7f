"""What an opening finds, and what it makes of it: torn ends are cut off, damage is never.

The rules, by what a power cut can leave behind and what it cannot:

1. A sealed segment is taken at its footer's word; reads and ``verify`` look at its batches.
2. One that is not sealed is read through. *hi* is how much of it was certainly on the disk once: the highest
   ``stable`` of any batch header in it.
3. At bytes that are no batch the search goes on behind them, for any header of this segment, and *hi* with it.
4. Such bytes below *hi* were durable: damage. It stays where it is, its neighbours are served.
5. Such bytes at *hi* or above it are the remains of an append that was never acknowledged, and so is everything
   behind them: unsynced appends come back in any order, or not at all. They are copied to a ``.torn`` file, cut off.
   Zeros from there to the end of the file are room that was made ahead of appends: cut off, and nothing is torn.
6. Rot in what was synced last, with nothing behind it, cannot be told from that; a mark is written when idle.

"The first garbage is the end" would destroy what rule 4 keeps; "data behind garbage is corruption" would call what
rule 5 finds, and every power cut may leave, a damage.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from holdfast.stores.disk.files import Files
from holdfast.stores.disk.format import ALIGNED, CLOSED, HEADER, PRODUCERS, BatchHeader, SegmentHeader
from holdfast.stores.disk.options import Damage
from holdfast.stores.disk.producers import Windows
from holdfast.stores.disk.segment import Tally, remember, search, walk, written_end
from holdfast.stores.disk.writer import write_all

TORN_MOST = 16 << 20
"""No more than this of a torn end is kept."""


class Judgement(NamedTuple):
    """What is to be made of a segment: batches up to ``end``, which amount to ``tally``, but for the ``damages``.

    Up to ``sure`` they are on the disk; behind it, for all anybody knows, only in the system's memory. ``torn`` bytes
    lie behind them. ``above`` is beyond every offset seen anywhere in it. ``clean``: it ends as a partition
    that was closed leaves it.
    """

    tally: Tally
    windows: Windows
    end: int
    sure: int
    damages: list[Damage]
    torn: int
    above: int
    clean: bool


class _Bad(NamedTuple):
    """Bytes that are no batch, with what lies before them; ``next`` is the offset of what lies behind."""

    begin: int
    end: int
    next: int
    tally: Tally
    windows: Windows


class Judge:
    """Reads one segment that has no footer, and applies the rules above."""

    def __init__(self, files: Files, fd: int, size: int, salt: int, base: int) -> None:
        self._files, self._fd, self._size, self._salt = files, fd, size, salt
        self._tally, self._windows = Tally(base), Windows()
        self._bad: list[_Bad] = []
        self._hi, self._hi_next = HEADER, base
        self._above = base
        self._at, self._limit = HEADER, sys.maxsize

    def last(self) -> Judgement:
        """Judge the newest segment."""
        self._read(None)
        for number, bad in enumerate(self._bad):
            if bad.begin >= self._hi:
                return self._cut(bad, self._damages(number), bad.begin, bad.tally.next)
            if bad.end > self._hi:
                damage = Damage(bad.begin, self._hi, bad.tally.next, max(self._hi_next, bad.tally.next))
                return self._cut(bad, [*self._damages(number), damage], self._hi, damage.next)
        clean = not self._bad and self._tally.last is not None and bool(self._tally.last.attributes & CLOSED)
        return Judgement(self._tally, self._windows, self._at, self._hi, self._damages(None), 0, self._above, clean)

    def older(self, following: SegmentHeader) -> Judgement:
        """Judge a segment that another follows: it ends where the chain in that one's header says.

        If the chain leads nowhere, something in it is damaged, and everything that is no batch counts as that. One
        that had no batch when it ended, because its first sync failed, ends at its front, whatever came back. The
        offsets of the one that follows are never in it: the segment that told of the chain may have been dropped.
        """
        self._limit = following.base
        self._read(following.previous)
        if not following.previous and following.created and self._hi == HEADER:
            return Judgement(Tally(self._tally.base), Windows(), HEADER, HEADER, [], 0, self._above, False)
        end = self._at
        if not self._matched(following.previous) and self._tally.next < following.base:
            end = max(self._size, self._at)
            self._note(end, following.base)
            self._tally.next = following.base
        return Judgement(self._tally, self._windows, end, end, self._damages(None), 0, self._above, False)

    def _matched(self, chain: int) -> bool:
        return bool(chain) and self._tally.chain == chain

    def _read(self, chain: int | None) -> None:
        """Go through the whole segment, or to where its chain is ``chain``, from one run of batches to the next."""
        while self._walk(chain) and self._at < self._size:
            begin, found = self._at, self._resume()
            if found is None:
                if chain is None:
                    self._size = written_end(self._files, self._fd, begin, self._size)
                if chain is None and begin < self._size:
                    self._note(self._size, self._tally.next)
                return
            self._note(found.position, found.base)
            self._at = found.position
            assert self._at > begin

    def _walk(self, chain: int | None) -> bool:
        """Take the batches that follow each other; False when the chain was reached."""
        tally = self._tally
        for header, body in walk(self._files, self._fd, self._salt, self._at, self._size):
            if not tally.next <= header.base <= self._limit - header.messages:
                break
            tally.add(header)
            if header.producer or header.attributes & PRODUCERS:
                self._windows = remember(self._windows, header, body)
            if header.stable > self._hi:
                self._hi, self._hi_next = header.stable, header.base
            if chain and tally.chain == chain:
                break
        if tally.last is not None:
            self._at, self._above = tally.last.end, max(self._above, tally.next)
        return not (chain and tally.chain == chain)

    def _resume(self) -> BatchHeader | None:
        """Return the next batch that is whole, learning from every header on the way."""
        at = self._at
        while (header := search(self._files, self._fd, self._salt, at, self._size)) is not None:
            self._see(header)
            follows = header.position > self._at and self._tally.next <= header.base <= header.next <= self._limit
            if follows and self._is_whole(header):
                return header
            at = header.position + ALIGNED
        return None

    def _is_whole(self, header: BatchHeader) -> bool:
        end = min(header.end, self._size)
        return next(walk(self._files, self._fd, self._salt, header.position, end), None) is not None

    def _see(self, header: BatchHeader) -> None:
        if header.stable > self._hi:
            self._hi, self._hi_next = header.stable, header.base
        self._above = max(self._above, header.base + header.messages)

    def _note(self, end: int, following: int) -> None:
        self._bad.append(_Bad(self._at, end, following, self._tally.copy(), self._windows.copy()))

    def _damages(self, number: int | None) -> list[Damage]:
        return [Damage(bad.begin, bad.end, bad.tally.next, bad.next) for bad in self._bad[:number]]

    def _cut(self, bad: _Bad, damages: list[Damage], end: int, following: int) -> Judgement:
        bad.tally.next = following
        return Judgement(bad.tally, bad.windows, end, self._hi, damages, self._size - end, self._above, False)


def keep_torn(files: Files, path: Path, fd: int, begin: int, end: int) -> Path:
    """Copy what will be cut off, up to 16 MiB of it, to a file beside the segment; it is on the disk on return."""
    kept = path.with_name(f"{path.stem}-{begin}.torn")
    copy_range(files, fd, kept, begin, min(end, begin + TORN_MOST))
    return kept


def copy_range(files: Files, fd: int, kept: Path, begin: int, end: int) -> None:
    """Copy bytes of a file to a new one; on the disk on return, its name with the next sync of the directory."""
    copy = files.open(kept, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        at = begin
        while at < end and (data := files.read(fd, min(1 << 20, end - at), at)):
            write_all(files, copy, [data], at - begin)
            at += len(data)
        files.sync(copy)
    finally:
        files.close(copy)
