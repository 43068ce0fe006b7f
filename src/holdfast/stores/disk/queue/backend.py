"""The disk store's queues: an engine, and a journal of the commands that it carried out."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.capabilities import Doctor, Finding, Logs
from holdfast.clock import SYSTEM, Clock, boot_id
from holdfast.config import BATCH_MOST
from holdfast.contract import Features
from holdfast.errors import BackendError, Closed, HoldfastError, QueueFull
from holdfast.stores.disk.files import Files, in_words
from holdfast.stores.disk.logs import DiskLogs
from holdfast.stores.disk.options import PartitionOptions, Report
from holdfast.stores.disk.queue import records, snapshots
from holdfast.stores.disk.queue.forks import abandon_at_fork
from holdfast.stores.disk.queue.guests import forwards
from holdfast.stores.disk.queue.journal import Journal
from holdfast.stores.disk.queue.owner import OwnerLock
from holdfast.stores.disk.queue.papers import JournalPapers
from holdfast.stores.disk.queue.replaying import lowest, replay
from holdfast.stores.disk.queue.sockets import Answering
from holdfast.stores.disk.writer import NO_ROOM
from holdfast.stores.engine import Engine, EngineBackend, commands, dumps
from holdfast.stores.engine.commands import At
from holdfast.stores.engine.face import C, T
from holdfast.stores.queue_findings import queue_findings

MAX_BODY = BATCH_MOST - (1 << 20)
COMMAND_MOST = 16 << 20
SNAPSHOT_LEAST = 16 << 20
"""A snapshot is due when the journal has grown by as much as the last one has bytes, and by this at least."""
ROOM = 32 << 20
"""While the disk has less left for us, nothing is sent: what is there can still be worked off."""


@forwards
class DiskQueues(EngineBackend, Doctor, Logs):
    """Queues under ``<root>/queues``, which one process has to itself, opened at the first call that needs them.

    In memory there are heads and numbers; messages, errors and results lie in the journal.
    """

    command_most = COMMAND_MOST

    def __init__(
        self,
        root: Path,
        options: PartitionOptions,
        clock: Clock = SYSTEM,
        *,
        files: Files | None = None,
        report: Callable[[Report], None] = lambda report: None,
    ) -> None:
        self.features = Features(
            level=options.level, durable=True, multi_process=False, multi_host=False, max_body=MAX_BODY
        )
        self.directory, self._options, self._files, self._report = root / "queues", options, files or Files(), report
        self._logs = DiskLogs(root, clock, options, self._files, close_store=self.close)
        self._papers = JournalPapers()
        self._snapshots = snapshots.Snapshots(self.directory, self._files)
        self._snapshot_bytes = 0
        self._owner: OwnerLock | None = None
        self._journal: Journal | None = None
        self._answering: Answering | None = None
        self._broken = False
        super().__init__(Engine(self._papers, lambda queue, job_ids: None), clock, "disk store")
        abandon_at_fork(self)

    # -- opening --------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        super()._check_open()
        if self._broken:
            self._let_go()
        if self._journal is None:
            try:
                self._load()
            except OSError as error:
                self._let_go()
                raise BackendError(f"{self.directory} cannot be opened: {in_words(error)}", retryable=True) from error
            except BaseException:
                self._let_go()
                raise

    def _load(self) -> None:
        """Take the directory, and make the engine again from the newest snapshot and what follows it."""
        self._make_directories()
        if self._owner is None:
            self._owner = OwnerLock(self.directory, self._files)
        self._snapshots.remove_temporary()
        owner = self._owner.owner
        self._journal = self._papers.journal = Journal(
            self.directory / "journal",
            self._files,
            self._options,
            store=bytes.fromhex(owner.store),
            epoch=owner.epoch,
            clock=self._clock,
            report=self._report,
        )
        in_order = self._rebuild(self._engine, self._journal)
        self._broken = False
        self._do(self._engine.open, commands.Open(boot_id(), jumps=not in_order))
        with suppress(OSError):  # a system without such sockets: others are told who owns the queues, and no more
            self._answering = Answering(self.directory, self._answer)

    def _answer(self, verb: str, arguments: tuple[Any, ...]) -> object:
        """Carry out what another process asks for."""
        bound = inspect.signature(getattr(self, verb)).parameters
        named = [name for name, one in bound.items() if one.kind is one.KEYWORD_ONLY]
        plain = arguments[: len(arguments) - len(named)]
        return getattr(self, verb)(*plain, **dict(zip(named, arguments[len(plain) :], strict=True)))

    def _make_directories(self) -> None:
        for directory in (self.directory.parent, self.directory, self.directory / "journal"):
            if not directory.is_dir():
                self._files.make_directory(directory)
                self._files.sync_directory(directory.parent)

    def _rebuild(self, engine: Engine, journal: Journal) -> bool:
        """Make the engine what it was; tell whether whoever wrote last has closed in order."""
        begin = journal.first
        engine.clear()
        if (newest := self._snapshots.newest()) is not None:
            begin, dump, self._snapshot_bytes = newest
            dumps.load(engine, dump)
        last = deque(replay(engine, journal, begin), maxlen=1)
        return not last or isinstance(last[0], commands.Close)

    def _let_go(self) -> None:
        """Close everything, whatever state it is in; the next call opens it again."""
        answering, self._answering = self._answering, None
        if answering is not None:
            answering.stop()
        journal, self._journal = self._journal, None
        owner, self._owner = self._owner, None
        try:
            if journal is not None:
                journal.close()
        except HoldfastError:
            pass  # it is read again from what the disk has
        finally:
            if owner is not None:
                owner.release()

    # -- carrying out ---------------------------------------------------------------------------------------------

    def _do(self, carry_out: Callable[[C, At], T], command: C, papers: int = 0) -> T:
        journal = self._opened()
        wall, boot = self._clock.wall(), self._clock.boot()
        record = records.record(command, wall, boot)
        if isinstance(command, commands.Send):
            self._check_disk(sum(map(len, record)))
        try:
            number = journal.put(record)
        except QueueFull as error:
            if isinstance(command, commands.Send):
                raise
            raise BackendError(str(error), retryable=True) from error
        except BackendError:
            self._broken = True
            raise
        return carry_out(command, At(wall, boot, number + 1))

    def _check_disk(self, size: int) -> None:
        if self._files.free(self.directory) < ROOM + size:
            raise QueueFull(f"the disk of {self.directory} is full; nothing was stored, and what is there goes on")

    def _opened(self) -> Journal:
        assert self._journal is not None
        return self._journal

    def _reached(self) -> int:
        return self._opened().next

    def _make_durable(self, reached: int) -> None:
        journal = self._journal
        if journal is None:
            raise Closed(f"the {self._name} was closed meanwhile")
        try:
            journal.make_durable(reached)
        except BackendError:
            self._broken = True  # what was carried out here may not be what is on the disk
            raise
        if self._needs_snapshot(journal):
            with self._lock:
                if journal is self._journal and self._needs_snapshot(journal):
                    self._write_snapshot(journal)

    def _needs_snapshot(self, journal: Journal) -> bool:
        return journal.written >= max(SNAPSHOT_LEAST, self._snapshot_bytes)

    def _write_snapshot(self, journal: Journal) -> None:
        """Write down what is in memory, and drop what is needed no more of the journal."""
        number, body = journal.next, snapshots.encoded(dumps.dump(self._engine))
        journal.make_durable(number)
        journal.written = 0
        try:
            self._snapshot_bytes = self._snapshots.write(number, body)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise BackendError(f"no snapshot of {self.directory} could be written: {error}") from error
            return
        older = self._snapshots.numbers()[0]
        journal.drop_until(min(older, lowest(self._engine, number)))

    # -- forks ----------------------------------------------------------------------------------------------------

    def hold(self) -> None:
        self._lock.acquire()

    def let_in(self) -> None:
        self._lock.release()

    def abandon(self) -> None:
        answering, self._answering = self._answering, None
        owner, self._owner, self._journal = self._owner, None, None
        if answering is not None:
            answering.abandon()
        self._engine.clear()
        if owner is not None:
            owner.release()

    # -- the end --------------------------------------------------------------------------------------------------

    def open_logs(self) -> DiskLogs:
        return self._logs

    def close(self) -> int:
        self._logs.end()
        with self._lock:
            if self._journal is None:
                self._closed = True
                self._waiting.close()
                self._wake_watches()
                return 0
            return super().close()

    def _release(self) -> None:
        if not self._broken:
            self._do(self._engine.close, commands.Close())
        self._let_go()

    def examine(self) -> list[Finding]:
        if self._files.identity(self.directory) is None:  # nobody has made a queue here; looking makes none
            return self._logs.examine()
        with self._open():
            segments = self._opened().segments()
            size = sum(one.bytes for one in segments)
            what = f"{self.directory}: a journal of {size} bytes in {len(segments)} {'file' if len(segments) == 1 else 'files'}"
            free = self._files.free(self.directory)
        left = f"{free >> 20} MiB left on the disk of the queues"
        low = free < 2 * ROOM
        room = Finding("error", left, "nothing can be sent", "make room") if low else Finding("ok", left)
        stats = [self.stats(queue) for queue in self.queues()]
        return [Finding("ok", what), room, *queue_findings(stats), *self._logs.examine()]
