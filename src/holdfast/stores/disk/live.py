"""The segments of a partition that is open for writing: the one written now, its succession, what readers are shown."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from holdfast.clock import Clock
from holdfast.columns import CONTROL
from holdfast.errors import BackendError
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.format import (
    CLOSED,
    HEADER,
    PRODUCERS,
    SegmentHeader,
    Tail,
    is_control,
)
from holdfast.stores.disk.opening import Found, Opening
from holdfast.stores.disk.options import Happening, PartitionOptions, Report, SegmentInfo
from holdfast.stores.disk.producers import Windows
from holdfast.stores.disk.removal import Removal
from holdfast.stores.disk.reserve import Reserve
from holdfast.stores.disk.segment import Tally, remember, walk
from holdfast.stores.disk.tail import TailReader, TailWriter, this_boot
from holdfast.stores.disk.unsure import Unsure, forget
from holdfast.stores.disk.writer import CLOSING, MARK, NO_ROOM, Draft, Packed, SegmentWriter, write_stub

_random = random.SystemRandom()


class Place(NamedTuple):
    """How far a segment was written at some instant."""

    segment: SegmentWriter
    position: int
    next: int


class Losses:
    """What failed syncs took, and those who wrote it were not told: it is told once, to whoever calls next."""

    def __init__(self) -> None:
        self._lost = ""

    def lose(self, path: Path) -> None:
        """Note that what was written to a segment without waiting for a sync is lost."""
        self._lost = f"a sync of {path} failed: what was written without waiting for it is lost"

    def tell(self) -> None:
        """Raise ``BackendError`` when there is anything to tell."""
        text, self._lost = self._lost, ""
        if text:
            raise BackendError(text, retryable=True, outcome_unknown=True)


class Live:
    """Everything but the locks: whoever calls holds them. ``shown`` is what readers were told last."""

    segment: SegmentWriter

    def __init__(
        self,
        directory: Path,
        files: Files,
        options: PartitionOptions,
        *,
        store: bytes,
        epoch: int,
        clock: Clock,
        report: Callable[[Report], None],
    ) -> None:
        self.directory, self.options = directory, options
        self.windows = Windows()
        self._at_front = Windows()
        """The windows as they were when the segment was begun."""
        self.shown = Tail(epoch, 0, 0, 0, 0, this_boot())
        self._files, self._store, self._clock, self._report = files, store, clock, report
        self._sealed: list[SegmentInfo] = []
        self._time = 0
        self._fresh = HEADER
        self._loose = 0
        """Behind the last offset that nobody waits for: see ``Partition.write``."""
        self._beyond = 0
        """Behind the last offset that was lost with a failed sync, and must not come back."""
        self.losses = Losses()
        self._unsure: Unsure | None = None
        self._is_full = self._reopened = False
        self._showing = threading.Lock()
        self._reserve = Reserve(files, directory, options.reserve_bytes)
        self.removal = Removal(files, directory)

    def open(self, opening: Opening) -> None:
        """Open what there is, or begin it. ``OSError`` as it comes."""
        files, directory = self._files, self.directory
        if not directory.exists():
            files.make_directory(directory)
            files.sync_directory(directory.parent)
        seen = TailReader(files, directory)
        try:
            before = seen.read()
        finally:
            seen.close()
        # Nobody is to meet an offset a second time, not even one that was shown, but not synced, before a power cut.
        self._beyond = 0 if before is None else before.next
        self._tail, found = TailWriter(files, directory), None
        try:
            found = opening.run()
            forget(files, directory)
            if self.options.sync != "always":
                self._unsure = Unsure(files, directory)
            self._sealed, self.windows, self._time = found.sealed, found.windows, found.time
            self._begin_again(found)
            if before is not None:
                self._tell_what_is_gone(found, before)
        except BaseException:
            self._close_notes()
            if found is not None and found.live is not None:
                found.live.close()
            raise
        self._reserve.keep()
        self.show(self.place)

    def _tell_what_is_gone(self, found: Found, shown: Tail) -> None:
        ends = [found.live.tally.next] if found.live is not None else [info.next for info in found.sealed[-1:]]
        end = max([shown.first, *ends])
        if end < shown.next:
            text = (
                f"offsets {end} to {shown.next} (not included) could be read before, and are not there: the power was "
                "cut, or a sync failed, before they were on the disk; or something but Holdfast made a file shorter"
            )
            self._report(Report("gone", str(self.segment.path), f"{self.directory}: {text}", 0, end, shown.next))

    def _begin_again(self, found: Found) -> None:
        if found.live is None:
            self._begin(found.chain, max(found.next, self._beyond))
            return
        self.segment, self._reopened = found.live, True
        self.segment.unsure = self._unsure
        if self._beyond > found.next:
            self.segment.seal()
            self._succeed()

    # -- where things are ------------------------------------------------------------------------------------

    @property
    def place(self) -> Place:
        """How far it is written. Offsets that were jumped over are not shown as messages before one lies behind them:
        whoever reads to the end would wait for them.
        """
        tally = self.segment.tally
        if tally.next > tally.base or not self._sealed:
            return Place(self.segment, self.segment.position, tally.next)
        ends = (info.next for info in reversed(self._sealed) if info.next > info.base)
        return Place(self.segment, self.segment.position, next(ends, self._sealed[0].base))

    @property
    def next(self) -> int:
        return self.segment.tally.next

    def _first(self) -> int:
        return self._sealed[0].base if self._sealed else self.segment.header.base

    def segments(self) -> list[SegmentInfo]:
        """Return the segments, oldest first."""
        segment, sealed = self.segment, self._sealed  # in this order: a segment that ended is in the second first
        tally, base = segment.tally, segment.header.base
        sealed = [info for info in sealed if info.base < base]
        info = SegmentInfo(base, tally.next, segment.position, tally.first_time, tally.last_time, False, tally.messages)
        return [*sealed, info]

    def now(self) -> int:
        """Return the time for an append: the wall clock, but never before the last one."""
        self._time = max(self._time, self._clock.wall())
        return self._time

    # -- writing ---------------------------------------------------------------------------------------------

    def fits(self, draft: Draft, packed: Packed) -> bool:
        """Tell whether the segment has room for it; one that has nothing takes anything."""
        return draft.position + packed.size + HEADER <= self.options.segment_bytes or draft.position <= self._fresh

    def write(self, draft: Draft) -> None:
        """Write a draft of this segment; ``OSError`` as ``SegmentWriter.write``."""
        if not draft.headers:
            return
        try:
            self.segment.write(draft, ahead=self.options.sync == "always")
        except OSError as error:
            if error.errno in NO_ROOM:
                self._full()
            raise
        if self._is_full:
            self._is_full = False
            self._reserve.keep()
            self._tell("resumed", "there is room on the disk again")

    def write_one(self, packed: Packed) -> int | None:
        """Write a batch that nobody waits for; None when the segment has no room for it, or ``mend`` comes first."""
        draft = Draft(self.segment)
        if self._reopened or self.segment.is_over or not self.fits(draft, packed):
            return None
        offset = draft.add(packed, self.now())
        self.write(draft)
        self._loose = draft.next
        if self.options.sync != "always":
            self.show(self.place)
        return offset

    def sync(self, place: Place) -> None:
        """Sync the segment of a place; a failure is reported."""
        try:
            place.segment.sync()
        except OSError as error:
            self._tell("failed sync", f"a sync of {place.segment.path.name} failed: {error}")
            raise

    def show(self, place: Place) -> None:
        """Let readers read up to a place."""
        with self._showing:
            if place.next < self.shown.next:
                return
            base, first = place.segment.header.base, self._first()
            next_ = max(place.next, first)
            self.shown = Tail(self.shown.epoch, base, place.position, next_, first, self.shown.boot)
            self._tail.write(self.shown)

    def mark(self) -> Place | None:
        """Write a mark behind what is synced; None when the last batch is one."""
        last = self.segment.tally.last
        if last is None or is_control(last) or self.segment.position > self.segment.stable:
            return None
        draft = Draft(self.segment)
        draft.add(MARK, self.now())
        self.write(draft)
        return self.place

    # -- succession ------------------------------------------------------------------------------------------

    def roll(self) -> None:
        """Seal the segment, begin the next one, and show readers what is in it."""
        segment = self.segment
        if segment.tally.next == segment.header.base:
            return
        self._with_room(segment.seal)
        self._succeed()

    def mend(self, *, give_up: bool = False) -> None:
        """Begin a new segment if the old one cannot be written to any more.

        ``BackendError`` when what was stable in it cannot be read back, and always where the partition does not go on,
        unless its owner says ``give_up``: an opening then does not find what is lost, though the system may show it.
        """
        if self.segment.poisoned:
            if not (give_up or self.options.go_on):
                text = f"a sync of {self.segment.path.name} failed: what was written without waiting for it is lost"
                raise BackendError(text, retryable=True, outcome_unknown=True)
            self._abandon()
        elif self.segment.sealed:
            self._succeed()
        elif self._reopened:
            self._say_opened()

    def _say_opened(self) -> None:
        """Put a mark behind that of the close, and sync it, before anything else is written.

        An opening after a crash then sees that a writer was here, and begins a new segment. A power cut that takes an
        append back may leave its bytes on the disk, behind the end of the file: whole, and with this segment's salt.
        When the file grows over them, and is not synced, they would come back.
        """
        draft = Draft(self.segment)
        draft.add(MARK, self.now())
        self.write(draft)
        self.sync(self.place)
        self._reopened = False

    def _abandon(self) -> None:
        old = self.segment
        if self._unsure is not None:  # what others were told is on the disk stays
            old.stable = max(old.stable, min(self._unsure.believed(old.header.base), old.position))
            if old.position > old.stable:
                self._save()
        tally, windows = Tally(old.header.base), self._at_front.copy()
        for header, body in walk(self._files, old.fd, old.header.mark, HEADER, old.stable):
            tally.add(header)
            windows = remember(windows, header, body)
        reached = HEADER if tally.last is None else tally.last.end
        if reached < old.stable:
            text = f"{old.path}: what was on the disk before a sync failed cannot be read back beyond byte {reached}"
            raise BackendError(text, retryable=True)
        self._beyond = max(self._beyond, old.tally.next)
        if max(self._loose, self.shown.next) > tally.next:
            self.losses.lose(old.path)
        self._loose = 0
        self.windows = windows  # also of appends whose callers were told that nobody knows
        old.abandon(reached, tally)
        self._succeed()

    def _save(self) -> None:
        """Put what readers had before it was synced on the disk, written anew; where the disk refuses that, it is lost.

        What was neither must not stay: readers would have it until the power is cut, and the next segment would say
        that it had been there.
        """
        old, reached = self.segment, self.segment.stable
        for header, _ in walk(self._files, old.fd, old.header.mark, reached, old.position):
            reached = header.end
        try:
            old.sync_again(reached)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise

    def _succeed(self) -> None:
        """Begin the segment behind the one that ended, above every offset that was ever given away."""
        old = self.segment
        tally, base = old.tally, old.header.base
        size = old.position + HEADER
        info = SegmentInfo(base, tally.next, size, tally.first_time, tally.last_time, True, tally.messages)
        self._with_room(lambda: self._begin(tally.chain, max(tally.next, self._beyond, base + 1), info))
        old.close()
        self.show(self.place)

    def _begin(self, chain: int, base: int, ended: SegmentInfo | None = None) -> None:
        header = SegmentHeader(self._store, _random.getrandbits(64), base, self._clock.wall(), chain)
        segment = SegmentWriter.create(self._files, self.directory, header)
        segment.unsure = self._unsure
        if len(self.windows):
            draft = Draft(segment)
            draft.add(Packed(0, CONTROL | PRODUCERS, [self.windows.pack()]), self.now())
            try:
                segment.write(draft)
            except BaseException:
                segment.close()
                self._files.remove(segment.path)
                raise
        if ended is not None:
            self._sealed = [*self._sealed, ended]
        self.segment, self._fresh, self._reopened = segment, segment.position, False
        self._at_front = self.windows.copy()

    def drop_until(self, offset: int) -> tuple[int, int]:
        """Show readers no sealed segment whose every offset is below; return how many messages and bytes they have.

        Their files are there until ``removal`` was gone on with.
        """
        gone = [info for info in self._sealed if info.next <= offset]
        if gone and self.segment.stable < self._fresh:  # what is remembered of producers may be nowhere else then
            self.sync(self.place)
        kept = self._sealed[len(gone) :]
        if gone and (kept[0].base if kept else self.segment.header.base) > gone[-1].next:
            kept = [*self._stub(gone), *kept]
        if not gone:
            return 0, 0
        self._sealed = kept
        self.removal.add(gone)
        self.show(self._last_shown())
        return sum(info.messages for info in gone), sum(info.bytes for info in gone)

    def _stub(self, gone: list[SegmentInfo]) -> list[SegmentInfo]:
        """Return the segment without messages that stays in front of one whose first offsets were jumped over.

        Whoever has read what goes stands at its end: that must remain an offset of the log, and not be gone. It is one
        that there is, which is taken out of those that go, or a new one, if there is room for it. That has no time and
        no chain: should what goes come back, it does not say where that ends.
        """
        end = gone[-1].next
        if gone[-1].base == end:
            return [gone.pop()]
        header = SegmentHeader(self._store, _random.getrandbits(64), end, 0)
        try:
            size = write_stub(self._files, self.directory, header)
        except OSError:
            return []
        return [SegmentInfo(end, end, size, None, None, True, 0)]

    def _last_shown(self) -> Place:
        return Place(self.segment, self.shown.position, self.shown.next)

    def close(self) -> None:
        """End in good order: what is written is synced, then a mark says so. ``OSError`` when it cannot be synced.

        Without the mark, for which there may be no room, the next opening reads the segment through.
        """
        segment = self.segment
        try:
            if not segment.is_over:
                self._end()
            elif segment.position > segment.stable:
                segment.sync()  # which is refused: what was written since the last one may be lost
        except OSError:
            if self.options.sync != "always" or self._loose > self.shown.next:
                raise
        finally:
            segment.close()
            self._close_notes()
        self.losses.tell()

    def _close_notes(self) -> None:
        self._tail.close()
        if self._unsure is not None:
            self._unsure.close()

    def _end(self) -> None:
        segment = self.segment
        if segment.position > segment.stable and not self._reopened:
            self.sync(self.place)
        self.show(self.place)
        last = segment.tally.last
        if last is None or not last.attributes & CLOSED:
            with suppress(OSError):
                self._with_room(self._say_closed)

    def _say_closed(self) -> None:
        draft = Draft(self.segment)
        draft.add(CLOSING, self.now())
        self.segment.trim()
        self.segment.write(draft)
        self.sync(self.place)
        self.show(self.place)

    # -- a full disk -----------------------------------------------------------------------------------------

    def _with_room(self, action: Callable[[], None]) -> None:
        """Do it; on a full disk once more with the reserve given back."""
        try:
            action()
        except OSError as error:
            if error.errno not in NO_ROOM or self.segment.poisoned or not self._reserve.release():
                raise
            self._full()
            action()

    def _full(self) -> None:
        if not self._is_full:
            self._is_full = True
            self._tell("full", "there is no room on the disk: appends are refused until there is")

    def _tell(self, what: Happening, text: str) -> None:
        self._report(Report(what, str(self.segment.path), f"{self.directory}: {text}"))
