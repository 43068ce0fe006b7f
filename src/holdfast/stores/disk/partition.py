"""One partition, open for writing in the process that owns the log: appends by any number of threads, and upkeep.

What is written lies in the newest segment, and is shown to readers by the file ``tail`` once it is as safe as the
partition's mode promises. A group of appends (:mod:`holdfast.stores.disk.commit`) is one write and one sync. After a
failed sync the kernel's word about that file is worth nothing: a new segment is begun, and the old one never synced
again (:mod:`holdfast.stores.disk.live`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.clock import Clock
from holdfast.errors import BackendError, Closed, HoldfastError, QueueFull, UsageError
from holdfast.logged import Columns, Producer
from holdfast.stores.disk.appends import Append, Batch, Wish, batches, packed
from holdfast.stores.disk.commit import GroupCommit
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.live import Live, Place
from holdfast.stores.disk.opening import Opening
from holdfast.stores.disk.options import PartitionOptions, Placed, Report, SegmentInfo
from holdfast.stores.disk.producers import Before, check_producer
from holdfast.stores.disk.reserve import Reserve
from holdfast.stores.disk.upkeep import Upkeep
from holdfast.stores.disk.writer import NO_ROOM, Draft

_UNKNOWN = "it may or may not be stored"


class Partition:
    """The partition in one directory. Any thread may call anything."""

    def __init__(self, live: Live, clock: Clock) -> None:
        self.options = live.options
        self._live, self._clock = live, clock
        self._upkeep = self._own_upkeep = Upkeep()
        self._commit: GroupCommit[Wish] = GroupCommit(self._carry_out, linger=self.options.linger)
        self._writing = threading.Lock()
        """Held while bytes are written, not while a group is synced; also while a segment ends and the next begins."""
        self._closed = self._awake = False
        self._touched = self._synced = clock.boot()

    @classmethod
    def open(
        cls,
        directory: Path,
        files: Files,
        options: PartitionOptions,
        *,
        store: bytes,
        epoch: int,
        clock: Clock,
        report: Callable[[Report], None],
    ) -> Partition:
        """Open the partition, made if need be; mended, and ready for appends, on return. The caller holds its lock.

        ``store`` is the uuid (16 bytes) of the store, ``epoch`` the number of this writer, higher than those before.
        ``report`` gets what the operator should know, in any thread. ``BackendError`` when the disk refuses.
        """

        def begun() -> Live:
            live = Live(directory, files, options, store=store, epoch=epoch, clock=clock, report=report)
            live.open(Opening(files, directory, store, report))
            return live

        try:
            try:
                live = begun()
            except OSError as error:  # mending takes room, and a full disk may have been why the writer before ended
                if error.errno not in NO_ROOM or not Reserve(files, directory, options.reserve_bytes).release():
                    raise
                live = begun()
        except OSError as error:
            raise BackendError(f"{directory} cannot be opened: {error}", retryable=True) from error
        return cls(live, clock)

    # -- appends --------------------------------------------------------------------------------------------

    def append(self, columns: Columns, producer: Producer | None = None) -> Placed:
        """Add the messages behind the last one, together or not at all; return when they are as safe as promised.

        Blocks for as long as the disk takes for this group and the one before. ``UsageError`` for a producer out of
        turn, ``BodyTooLarge``, ``QueueFull`` (the disk is full) and ``Closed`` with nothing stored; after
        ``BackendError(outcome_unknown=True)`` it may be.
        """
        if not columns.bodies:
            raise UsageError("an append has one message at least")
        if producer is not None:
            check_producer(producer)
        append = Append(columns, producer, self.options.compression)
        self._submit(append)
        assert append.result is not None
        return append.result

    def write(self, columns: Columns) -> int:
        """Add the messages and return their offset without waiting for a sync; the next one covers them.

        They are in order with all other appends, and survive the end of this process. If that sync fails they are
        lost, and the next append, write or flush says so: ``BackendError(outcome_unknown=True)``.
        """
        body = packed(columns, self.options.compression)
        with self._writing:
            if self._closed:
                raise Closed(f"{self._live.directory} is closed")
            self._live.losses.tell()
            try:
                offset = self._live.write_one(body)
            except OSError as error:
                raise self._explained(error) from error
        if offset is None:  # what comes first is done by who has the turn alone: he may be syncing this segment
            return self.append(columns).offset
        self._touch()
        return offset

    def flush(self) -> None:
        """Return when everything written before is on the disk; ``BackendError`` when that cannot be known.

        What a sync that failed before has lost, in whatever thread, the next append, write or flush tells, once.
        """
        self._submit(Wish(self._flush))

    def roll(self) -> None:
        """End the segment and begin another, unless it has nothing."""
        self._submit(Wish(self._roll))

    def cut(self) -> None:
        """Give up what a failed sync may have lost, so that the next opening does not find it; nothing if none failed.

        For a partition that does not go on; ``BackendError`` when the disk refuses: call it again before it is opened.
        """
        self._submit(Wish(self._cut))

    def close(self) -> None:
        """Sync everything, say in the segment that it ends in good order, let go of the files. May be repeated."""
        try:
            self._submit(Wish(self._close))
        finally:
            self._own_upkeep.stop()

    def _submit(self, wish: Wish) -> None:
        self._commit.submit(wish)
        if wish.error is not None:
            raise wish.error
        if not wish.done:  # it was in the group of one whose thread a signal ended
            raise BackendError(f"{self._live.directory}: this was interrupted: {_UNKNOWN}", outcome_unknown=True)

    def share(self, upkeep: Upkeep) -> None:
        """Be looked after by this thread, which serves others too, and not by one of its own; before any append."""
        self._upkeep = upkeep

    # -- what there is ---------------------------------------------------------------------------------------

    @property
    def first(self) -> int:
        """The first offset that is kept."""
        return self._live.segments()[0].base

    @property
    def next(self) -> int:
        """The offset of the next append."""
        return self._live.next

    @property
    def durable(self) -> int:
        """The offset below which readers may read."""
        return self._live.shown.next

    def is_repeat(self, producer: Producer, count: int) -> bool:
        """Tell whether an append of ``count`` messages would store nothing: its producer made it before."""
        with self._writing, suppress(UsageError):
            return self._live.windows.find(producer, count) is not None
        return False

    def segments(self) -> list[SegmentInfo]:
        """Return the segments, oldest first; the last one is being written."""
        return self._live.segments()

    def drop_until(self, offset: int) -> tuple[int, int]:
        """Remove the sealed segments whose every offset is below; return how many messages and bytes went."""
        dropped: list[tuple[int, int]] = []
        self._submit(Wish(lambda: dropped.append(self._drop_until(offset))))
        left = [True]
        while left.pop():  # each by itself: appends are not kept waiting for more than one
            self._submit(Wish(lambda: left.append(self._remove())))
        return dropped[0]

    # -- by the one whose turn it is -------------------------------------------------------------------------

    def _carry_out(self, wishes: list[Wish]) -> None:
        appends = [wish for wish in wishes if isinstance(wish, Append)]
        if appends:
            self._append(appends)
        for wish in wishes:
            if wish.act is None:
                continue
            try:
                wish.act()
                wish.done = True
            except HoldfastError as error:
                wish.error = error
            except OSError as error:
                wish.error = self._explained(error)

    def _append(self, appends: list[Append]) -> None:
        group = _Group(self._live, self.options)
        try:
            with self._writing:
                self._ready()
                self._live.losses.tell()
                group.write(appends)
                place = self._live.place
            if group.wrote:
                self._touch()
                if self._wants_sync(place):
                    self._live.sync(place)
                    self._synced = self._clock.boot()
                self._live.show(place)
            group.answer()
        except (OSError, HoldfastError) as error:
            group.undo()
            for append in appends:
                if not append.done and append.error is None:
                    append.error = self._explained(error)
        except BaseException:
            group.undo()
            self._live.segment.poisoned = True
            raise

    def _wants_sync(self, place: Place) -> bool:
        match self.options.sync:
            case "always":
                return True
            case "interval":
                return place.position - place.segment.stable >= self.options.interval_bytes
            case "os":
                return False

    def _ready(self) -> None:
        """Make sure that there is a segment to write to; nothing was stored when it raises."""
        if self._closed:
            raise Closed(f"{self._live.directory} is closed")
        try:
            self._live.mend()
        except OSError as error:
            text = f"{self._live.directory}: no new segment can be begun: {error}"
            if error.errno in NO_ROOM:
                raise QueueFull(text) from error
            raise BackendError(text, retryable=True) from error

    def _sync(self) -> None:
        with self._writing:
            self._ready()
            place = self._live.place
        if place.position > place.segment.stable:
            self._live.sync(place)
        self._synced = self._clock.boot()
        self._live.show(place)

    def _flush(self) -> None:
        self._sync()
        self._live.losses.tell()

    def _drop_until(self, offset: int) -> tuple[int, int]:
        if self._closed:
            raise Closed(f"{self._live.directory} is closed")
        return self._live.drop_until(offset)

    def _remove(self) -> bool:
        if self._closed:
            raise Closed(f"{self._live.directory} is closed")
        return self._live.removal.go_on()

    def _roll(self) -> None:
        with self._writing:
            self._ready()
            self._live.roll()

    def _cut(self) -> None:
        with self._writing:
            if not self._closed and self._live.segment.poisoned:
                self._live.mend(give_up=True)

    def _close(self) -> None:
        with self._writing:
            if self._closed:
                return
            self._closed = True
            self._live.close()

    # -- upkeep ----------------------------------------------------------------------------------------------

    def upkeep(self) -> float | None:
        """Sync when the interval is over, write a mark when idle; return in how many seconds to come again.

        None when nothing will be due until the next append, which wakes the upkeep. Errors are reported.
        """
        if self._closed:
            return None
        now = self._clock.boot()
        idle = self._touched + self.options.idle_mark * 1000 - now
        if idle <= 0:
            self._awake = False  # first: an append that comes now wakes us again
            self._commit.submit(Wish(self._mark))
            return None
        if self.options.sync != "interval":
            return idle / 1000
        due = self._synced + self.options.interval * 1000 - now
        if due <= 0:
            self._commit.submit(Wish(self._sync))
            due = self.options.interval * 1000
        return min(idle, due) / 1000

    def _mark(self) -> None:
        self._sync()
        with self._writing:
            self._ready()
            place = self._live.mark()
        if place is not None:
            self._live.sync(place)
            self._live.show(place)

    def _touch(self) -> None:
        self._touched = self._clock.boot()
        if not self._awake and self.options.sync != "os":
            self._awake = True  # before it is woken: it may be idle again at once
            if not self._upkeep.wake(self):
                self._awake = False

    def _explained(self, error: OSError | HoldfastError) -> HoldfastError:
        """Return the error as callers get it, each his own."""
        directory = self._live.directory
        if isinstance(error, OSError):
            if error.errno in NO_ROOM and not self._live.segment.poisoned:
                return self._chained(QueueFull(f"no room on the disk for {directory}; nothing was stored"), error)
            unknown = BackendError(f"{directory}: {error}; {_UNKNOWN}", retryable=True, outcome_unknown=True)
            return self._chained(unknown, error)
        if isinstance(error, BackendError):
            again = BackendError(str(error), retryable=error.retryable, outcome_unknown=error.outcome_unknown)
            return self._chained(again, error)
        return self._chained(type(error)(str(error)), error)

    @staticmethod
    def _chained(error: HoldfastError, cause: BaseException) -> HoldfastError:
        error.__cause__ = cause
        return error


class _Group:
    """The appends of one group on their way to the disk: which of them lie where, which are to be answered."""

    def __init__(self, live: Live, options: PartitionOptions) -> None:
        self._live, self._options = live, options
        self._waiting: list[tuple[Append, Placed]] = []
        self._producers: Before = []
        self.wrote = False

    def write(self, appends: Sequence[Append]) -> None:
        """Write them; those in a segment that was sealed meanwhile are answered."""
        live, level = self._live, self._options.level
        self._producers = live.windows.begin()
        draft = Draft(live.segment)
        for batch in batches(appends, self._options.compression):
            if self._is_settled(batch):
                continue
            if not live.fits(draft, batch.packed):
                live.write(draft)
                self._roll()
                draft = Draft(live.segment)
            producer = batch.appends[0].producer
            offset = draft.add(batch.packed, live.now(), producer)
            if producer is not None:
                live.windows.add(producer, batch.packed.count, offset)
            for append in batch.appends:
                self._waiting.append((append, Placed(offset, level)))
                offset += len(append)
        if draft.headers:
            live.write(draft)
            self.wrote = True

    def _roll(self) -> None:
        """Go on in another segment; those in this one are answered also when there is no room for another."""
        segment, place = self._live.segment, self._live.place
        try:
            self._live.roll()
        except OSError:
            if not segment.sealed:
                self._live.sync(place)
            self._live.show(place)
            self.answer()
            raise
        self.answer()

    def _is_settled(self, batch: Batch) -> bool:
        """Tell whether its producer made this append before, or must not make it."""
        append = batch.appends[0]
        if append.producer is None:
            return False
        try:
            offset = self._live.windows.find(append.producer, len(append))
        except UsageError as error:
            append.error = error
            return True
        if offset is None:
            return False
        self._waiting.append((append, Placed(offset, self._options.level, True)))
        return True

    def answer(self) -> None:
        """Give those who wait what they wait for: what was written is safe."""
        for append, placed in self._waiting:
            append.result, append.done = placed, True
        self._waiting.clear()
        self._producers = self._live.windows.begin()

    def undo(self) -> None:
        """Forget the producers' appends that were not answered: a repeat is to be stored."""
        self._live.windows.restore(self._producers)
