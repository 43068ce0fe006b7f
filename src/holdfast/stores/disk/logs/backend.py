"""The logs of a data directory: each written by one process, read and shared by all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import msgspec

from holdfast.capabilities import Verifiable
from holdfast.clock import SYSTEM, Clock
from holdfast.config import BATCH_MOST, LogSettings
from holdfast.contract import Features, LogBackend
from holdfast.errors import BackendError, Closed, HoldfastError, UsageError
from holdfast.logged import Chunk, Columns, Ends, LogTidied, Producer, StoredAt, Verified
from holdfast.message import Level
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.logs.directory import log_directory, remove_tree, sweep
from holdfast.stores.disk.logs.doctor import LITTLE_ROOM, DiskLogDoctor
from holdfast.stores.disk.logs.forks import abandon_at_fork
from holdfast.stores.disk.logs.groups import dismantle, group_directories
from holdfast.stores.disk.logs.open_log import OpenLog
from holdfast.stores.disk.logs.scrubbing import EVERY, ROUND, scrub
from holdfast.stores.disk.logs.serving import DiskGroups
from holdfast.stores.disk.logs.tending import expire, is_due, sweep_log
from holdfast.stores.disk.logs.verifying import Progress, repair_log, verify_log
from holdfast.stores.disk.logs.writer_lock import WriterLock, current_writer
from holdfast.stores.disk.logs.writing import LogWriter
from holdfast.stores.disk.options import PartitionOptions, Placed
from holdfast.stores.disk.upkeep import Upkeep
from holdfast.stores.refused import check_columns

PASSING_MOST = 100
"""Segments dropped in passing at a time: whoever comes to write waits for no more."""


class DiskLogs(DiskGroups, LogBackend, Verifiable, DiskLogDoctor):
    """Logs under ``<root>/logs``. Nothing is opened, locked or made before it is needed.

    ``close_store`` closes the store that holds these logs, which ends them; without one they are a store of their own.
    Sealed files are read again ``scrub_every`` seconds after they were last read through.
    """

    def __init__(
        self,
        root: Path,
        clock: Clock = SYSTEM,
        options: PartitionOptions | None = None,
        files: Files | None = None,
        *,
        close_store: Callable[[], object] | None = None,
        scrub_every: float = EVERY,
    ) -> None:
        super().__init__(root / "logs", clock, files or Files())
        self._close_store = close_store or self.end
        self._scrub_every = scrub_every
        self.options = options or PartitionOptions()
        self.features = Features(
            level=self.options.level,
            durable=True,
            multi_process=True,
            multi_host=False,
            max_body=BATCH_MOST,
            locks=True,
            one_writer=True,
        )
        self.upkeep = Upkeep()
        self._writers: dict[str, LogWriter] = {}
        self._told_of_room = False
        abandon_at_fork(self)

    # -- logs -----------------------------------------------------------------------------------------------------

    def declare(self, log: str, settings: LogSettings) -> None:
        with self.at_work(log):
            directory = log_directory(self.files, self.root, log)
            directory.declare(settings)
            if log in self._open:
                self._open[log].doubt()
            for group in group_directories(directory):  # there may be new partitions to share
                with suppress(FileNotFoundError):
                    group.ring()

    def logs(self) -> dict[str, LogSettings]:
        with self.at_work():
            return {log.name: log.settings for log in self.every()}

    def destroy(self, log: str) -> int:
        with self.at_work(log), self._lock:
            try:
                its = self.log(log)
            except UsageError:
                return 0
            messages = sum(ends.next - ends.first for ends in self._ends(its))
            gone = msgspec.structs.replace(its.directory, path=its.directory.remove())
            self._let_go(self._open.pop(log))
            for group in group_directories(gone):
                with suppress(FileNotFoundError):
                    dismantle(group)
            with suppress(OSError):  # the rest is swept with the next tidy
                remove_tree(self.files, gone.path)
            return messages

    def _let_go(self, log: OpenLog) -> None:
        writer = self._writers.pop(log.name, None)
        if writer is not None:
            with suppress(HoldfastError, OSError):  # its files may have been removed
                writer.close()
        super()._let_go(log)

    # -- messages -------------------------------------------------------------------------------------------------

    def append(self, log: str, partition: int, columns: Columns, *, producer: Producer | None = None) -> StoredAt:
        with self.at_work(log):
            its = self.log(log)
            its.check(partition)
            bodies = check_columns(log, its.settings, columns)
            placed = self._append(its, partition, columns, bodies, producer)
            self.wake(its)
            return StoredAt(log, partition, placed.offset, placed.level, placed.duplicate)

    def _append(self, log: OpenLog, partition: int, columns: Columns, bodies: int, producer: Producer | None) -> Placed:
        while True:
            writer = self._writer(log)
            try:
                return writer.append(partition, columns, bodies, producer)
            except Closed:
                self.check_open()
                log = self.log(log.name)
                if self._writers.get(log.name) is writer:
                    raise  # else it was replaced: a repair, or a log that was made anew

    def _writer(self, log: OpenLog) -> LogWriter:
        writer = self._writers.get(log.name)
        if writer is not None and writer.log is log:
            return writer
        with self._lock:
            its = self.log(log.name)  # as it is now that nobody else changes it
            writer = self._writers.get(log.name)
            if writer is None:
                writer = self._writers[log.name] = LogWriter(its, self, WriterLock(its, self.clock))
            return writer

    def flush(self, log: str) -> Level:
        with self.at_work(log):
            its = self.log(log)
            writer = self._writers.get(its.name)
            mine = writer.flush() if writer is not None else set[int]()
            left = sorted(set(range(its.settings.partitions)) - mine)
            unsure = [number for number in left if not its.reader(number).flush()]
            if unsure:
                self._write_again(its, unsure)
            return Level.SYNCED

    def _write_again(self, log: OpenLog, partitions: list[int]) -> None:
        """Put on the disk what a writer that failed, and died, may have left in the system's memory alone."""
        with self._lock, ExitStack() as stack:
            writer = self._writers.get(log.name)
            if writer is None:
                try:
                    right = WriterLock(log, self.clock, passing=True)
                except BackendError as error:
                    text = f"a sync of log {log.name!r} failed: only its writer can tell what is on the disk ({error})"
                    raise BackendError(text, retryable=True, outcome_unknown=True) from error
                writer = stack.enter_context(closing(LogWriter(log, self, right)))
            for number in partitions:
                writer.partition(number).flush()

    def roll(self, log: str) -> None:
        """End every segment that this process is writing, so that retention can drop it."""
        with self.at_work(log):
            writer = self._writers.get(self.log(log).name)
            if writer is not None:
                writer.roll()

    def read(self, log: str, partition: int, offset: int, *, limit: int, max_bytes: int) -> list[Chunk]:
        with self.at_work(log):
            its = self.log(log)
            its.check(partition)
            return its.read(partition, offset, limit, max_bytes)

    def ends(self, log: str) -> list[Ends]:
        with self.at_work(log):
            return self._ends(self.log(log))

    @staticmethod
    def _ends(log: OpenLog) -> list[Ends]:
        return [log.ends(number) for number in range(log.settings.partitions)]

    def find(self, log: str, partition: int, time: int) -> int:
        with self.at_work(log):
            its = self.log(log)
            its.check(partition)
            return its.reader(partition).find(time)

    # -- verifying ------------------------------------------------------------------------------------------------

    def verify(self, log: str, progress: Progress | None = None) -> Verified:
        with self.at_work(log):
            return verify_log(self.log(log), progress)

    def repair(self, log: str, progress: Progress | None = None) -> Verified:
        with self.at_work(log), self._lock:
            its = self.log(log)
            mine = self._writers.pop(log, None)
            if mine is not None:
                mine.close()
            with closing(LogWriter(its, self, WriterLock(its, self.clock))):
                return repair_log(its, lambda number, report: self.tell(log, number, report), progress)

    # -- housekeeping ---------------------------------------------------------------------------------------------

    def tidy(self, limit: int = 1000) -> LogTidied:
        done, tended = LogTidied(), list[OpenLog]()
        with self.at_work():
            for log in list(self._open.values()):
                if self._tends(log):
                    tended.append(log)
                    done += self._tidy(log, limit)
            self._scrub(tended)
            if self._writers:
                sweep(self.files, self.root, self.clock.wall())
                self._watch_room()
        return done

    def _watch_room(self) -> None:
        """Tell once that the disk gets full, and again when it has been better in between."""
        free = self.files.free(self.root)
        if free < LITTLE_ROOM and not self._told_of_room:
            self.report(f"{self.root}: {free >> 20} MiB are left on its disk; when it is full, appends are refused")
        self._told_of_room = free < (2 * LITTLE_ROOM if self._told_of_room else LITTLE_ROOM)

    def _scrub(self, logs: list[OpenLog]) -> None:
        """Read on in what is sealed, of one log after the other."""
        left = ROUND
        for log in logs:
            left -= scrub(log, self.clock.wall(), self._scrub_every, left, self.report)
            if left <= 0:
                break

    def _tends(self, log: OpenLog) -> bool:
        """Tell whether a log is tidied here: where it is written, or anywhere when nobody writes it."""
        try:
            if self.log(log.name) is not log:
                return False
        except UsageError:  # somebody removed it
            return False
        return log.name in self._writers or current_writer(log.directory) is None

    def _tidy(self, log: OpenLog, limit: int) -> LogTidied:
        writer, now = self._writers.get(log.name), self.clock.wall()
        done = LogTidied(groups=expire(log, now))
        done += self._tidy_in_passing(log, limit) if writer is None else writer.tidy(limit)
        sweep_log(log, now)
        return done

    def _tidy_in_passing(self, log: OpenLog, limit: int) -> LogTidied:
        """Tidy a log that nobody writes, if there is anything to do: whoever comes to write waits meanwhile."""
        if not is_due(log, self.clock.wall()):
            return LogTidied()
        with self._lock:
            if log.name in self._writers:  # of this process
                return LogTidied()
            try:
                right = WriterLock(log, self.clock, passing=True)
            except BackendError:  # of another
                return LogTidied()
            with closing(LogWriter(log, self, right)) as writer:
                return writer.tidy(min(limit, PASSING_MOST))

    def close(self) -> None:
        self._close_store()

    def end(self) -> None:
        """Let go of everything of the logs; the store is closing. May be repeated."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.leave_all()  # without the lock: a member that polls may wait for it
        with self._lock:
            logs, self._open = list(self._open.values()), {}
        self.syncer.close()
        for log in logs:
            self._let_go(log)
        self.upkeep.stop()

    def abandon(self) -> None:
        """Be as just opened, in a child just forked."""
        for writer in self._writers.values():
            writer.abandon()
        for log in self._open.values():
            log.abandon()
        self.abandon_members()
        closed = self._closed
        super().__init__(self.root, self.clock, self.files)
        self.upkeep, self._writers, self._closed = Upkeep(), {}, closed
