"""Keeping the journal short: snapshots, and copies of what its oldest segments have that is still needed.

Segments go from the front, once nothing in them is needed. So that a job which waits for long does not keep all that
is behind it, its paper is copied to the end, by a command like all others; the segment goes with a later snapshot.
"""

from __future__ import annotations

import heapq
import threading
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from holdfast.errors import HoldfastError
from holdfast.stores.disk.queue.journal import Journal
from holdfast.stores.disk.queue.papers import JournalPapers
from holdfast.stores.disk.queue.snapshots import Snapshots, encoded
from holdfast.stores.engine import Engine
from holdfast.stores.engine.papers import Unreadable

LEAST = 16 << 20
"""A snapshot is due when the journal has grown by as much as the last one has bytes, and by this at least."""
LIVE_SHARE = 4
"""A segment is copied from when less than one in so many of its bytes is needed, or of those of the journal."""
LOOKED_AT = 10_000
"""Papers that are considered for copying after one snapshot, or an eighth of all."""
BATCH_PAPERS, BATCH_BYTES = 1000, 4 << 20
"""What one tidying copies, at the most; or one paper."""


class Picture(NamedTuple):
    """What was in memory when the journal was at ``number``: its body, the papers that are needed, where some are."""

    number: int
    body: bytes
    needed: Sequence[int]
    moved: dict[int, int]
    first: int

    @property
    def most(self) -> int:
        """How many papers are looked at, at the most."""
        return max(LOOKED_AT, len(self.needed) // 8)

    def front(self) -> list[tuple[int, int]]:
        """Return the first papers that are needed, in the order of their places: place and handle.

        One that lies before the ``first`` number of the journal is gone, and keeps nothing.
        """
        places = ((self.moved.get(one, one), one) for one in self.needed)
        return heapq.nsmallest(self.most, (place for place in places if place[0] >= self.first))


class Space:
    """The snapshots of one store, and what is to be copied. One thread at a time takes a picture and keeps it."""

    def __init__(self, snapshots: Snapshots, engine: Engine, papers: JournalPapers) -> None:
        self._snapshots, self._engine, self._papers = snapshots, engine, papers
        self._busy = threading.Lock()
        self._batches: deque[list[int]] = deque()
        self.last_bytes = 0
        """Those of the last snapshot."""
        self.trouble = ""
        """Why the last snapshot could not be written, if it could not."""

    def is_due(self, journal: Journal) -> bool:
        """Tell whether a snapshot is to be written."""
        return journal.written >= max(LEAST, self.last_bytes)

    def take(self, journal: Journal) -> Picture | None:
        """Return what is to be kept, or None when another thread is at it; ``keep`` it then. Call with the store held.

        It takes a second or so for a million jobs; what is slow comes after the store is let go.
        """
        if not self._busy.acquire(blocking=False):
            return None
        try:
            journal.written = 0
            needed, moved = array("Q", self._needed()), self._papers.moved
            return Picture(journal.next, encoded(self._engine, moved), needed, dict(moved), journal.first)
        except BaseException:
            self._busy.release()
            raise

    def _needed(self) -> Iterator[int]:
        handles = (handle for place in self._engine.places.values() for handle in place.handles())
        lost = self._papers.lost
        return (handle for handle in handles if handle not in lost) if lost else handles

    def keep(self, journal: Journal, picture: Picture) -> None:
        """Write a picture down, drop what nobody needs any more, and plan what to copy. The store need not be held."""
        try:
            journal.flush()  # the snapshot must never know more than the journal
            self.last_bytes = self._snapshots.write(picture.number, picture.body)
            front = picture.front()
            journal.drop_until(min(self._snapshots.numbers()[0], front[0][0] if front else picture.number))
            self._batches = deque(self._plan(journal, picture, front))
            self.trouble = ""
        except (OSError, HoldfastError) as error:  # the journal has everything, and whoever called got what he asked
            self.trouble = str(error)
        finally:
            self._busy.release()

    def rest(self) -> None:
        """Return when no snapshot is being written."""
        with self._busy:
            self._batches.clear()

    def hold(self) -> None:
        """Keep snapshots from being written, while the process forks."""
        self._busy.acquire()

    def let_in(self) -> None:
        """Allow them again."""
        self._busy.release()

    # -- copies ---------------------------------------------------------------------------------------------------

    def batch(self) -> list[int]:
        """Return the handles of papers that are to be copied now, and forget that they are."""
        return self._batches.popleft() if self._batches else []

    @property
    def has_more(self) -> bool:
        """Whether there is more to copy."""
        return bool(self._batches)

    def _plan(self, journal: Journal, picture: Picture, front: list[tuple[int, int]]) -> Iterator[list[int]]:
        segments, needed = journal.segments(), len(picture.needed)
        total, seen, size = sum(one.bytes for one in segments), 0, 0
        for segment in segments[:-1]:
            if segment.next > picture.number:
                return
            papers = [(place, handle) for place, handle in front if segment.base <= place < segment.next]
            sizes = [_size(paper) for paper in _read(journal, [place for place, _ in papers])]
            seen, size = seen + len(sizes), size + sum(sizes)
            is_whole = len(front) < picture.most or front[-1][0] >= segment.next
            is_crowded = not is_whole or sum(sizes) * LIVE_SHARE >= segment.bytes
            if is_crowded and size * needed // max(seen, 1) * LIVE_SHARE >= total:
                return  # segments go from the front: what is behind this one cannot go before it
            yield from _batches([handle for _, handle in papers], sizes)
            if not is_whole:
                return


def _read(journal: Journal, places: Sequence[int]) -> Iterator[bytes | Unreadable]:
    """Yield papers, of which few are in memory at a time."""
    for begin in range(0, len(places), 100):
        yield from journal.read(places[begin : begin + 100])


def _size(paper: bytes | Unreadable) -> int:
    return 0 if isinstance(paper, Unreadable) else len(paper)


def _batches(handles: Sequence[int], sizes: Sequence[int]) -> Iterator[list[int]]:
    batch, total = list[int](), 0
    for handle, size in zip(handles, sizes, strict=True):
        if batch and (len(batch) == BATCH_PAPERS or total + size > BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(handle)
        total += size
    if batch:
        yield batch
