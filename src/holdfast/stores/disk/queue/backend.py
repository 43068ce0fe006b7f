"""The disk store's queues: an engine, and a journal of the commands that it carried out."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from holdfast.capabilities import Doctor, Finding, Logs
from holdfast.clock import SYSTEM, Clock, boot_id
from holdfast.config import BATCH_MOST
from holdfast.contract import Features
from holdfast.delivery import Tidied
from holdfast.errors import BackendError, BodyTooLarge, HoldfastError, QueueFull
from holdfast.stores.disk.files import Files, in_words
from holdfast.stores.disk.logs import DiskLogs
from holdfast.stores.disk.options import PartitionOptions, Report
from holdfast.stores.disk.queue import records
from holdfast.stores.disk.queue.findings import damage_findings
from holdfast.stores.disk.queue.forks import abandon_at_fork
from holdfast.stores.disk.queue.guests import ask_owner, few_outcomes, forwards
from holdfast.stores.disk.queue.journal import Journal
from holdfast.stores.disk.queue.owner import Owned, OwnerLock
from holdfast.stores.disk.queue.papers import JournalPapers
from holdfast.stores.disk.queue.replaying import replay
from holdfast.stores.disk.queue.snapshots import Snapshots
from holdfast.stores.disk.queue.sockets import Answering
from holdfast.stores.disk.queue.space import Space
from holdfast.stores.engine import Engine, EngineBackend, commands, dumps
from holdfast.stores.engine.commands import At
from holdfast.stores.engine.face import C, T
from holdfast.stores.queue_findings import queue_findings

MAX_BODY = BATCH_MOST - (1 << 20)
COMMAND_MOST = 16 << 20
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
        self._snapshots = Snapshots(self.directory, self._files)
        self._owner: OwnerLock | None = None
        self._journal: Journal | None = None
        self._answering: Answering | None = None
        self._broken = False
        super().__init__(Engine(self._papers, lambda queue, job_ids: None), clock, "disk store")
        self._space = Space(self._snapshots, self._engine, self._papers)
        abandon_at_fork(self)

    # -- opening --------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        super()._check_open()
        if self._broken:
            if self._journal is not None:
                self._journal.cut()
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
        in_order = self._rebuild(self._engine, self._papers, self._journal)
        self._broken = False
        self._do(self._engine.open, commands.Open(boot_id(), jumps=not in_order))
        self._journal.flush()  # before any lease: were both lost, the next opening would give its token again
        with suppress(OSError):  # a system without such sockets: others are told who owns the queues, and no more
            self._answering = Answering(self.directory, self._answer)

    def _answer(self, verb: str, arguments: tuple[Any, ...]) -> object:
        """Carry out what another process asks for."""
        if verb == "outcomes":
            return few_outcomes(self, *arguments)
        if verb == "examine":
            return self._examine_journal()
        bound = inspect.signature(getattr(self, verb)).parameters
        named = [name for name, one in bound.items() if one.kind is one.KEYWORD_ONLY]
        plain = arguments[: len(arguments) - len(named)]
        return getattr(self, verb)(*plain, **dict(zip(named, arguments[len(plain) :], strict=True)))

    def _make_directories(self) -> None:
        for directory in (self.directory.parent, self.directory, self.directory / "journal"):
            if self._files.identity(directory) is None:
                self._files.make_directory(directory)
                self._files.sync_directory(directory.parent)

    def _rebuild(self, engine: Engine, papers: JournalPapers, journal: Journal) -> bool:
        """Make the engine what it was; tell whether whoever wrote last has closed in order."""
        begin, newest = 0, self._snapshots.newest()
        engine.clear()
        papers.moved = {}
        if newest is not None:
            begin, dump, self._space.last_bytes = newest
            dumps.load(engine, dump.engine)
            papers.moved = dump.moved
        elif not self._snapshots.numbers():
            begin = journal.first
        if not journal.first <= begin <= journal.next:
            raise BackendError(
                f"{self.directory} cannot be opened: its journal has {journal.first} to {journal.next} (not included), "
                f"and the newest snapshot that is whole goes to {begin}; restore the directory from a copy"
            )
        last = deque(replay(engine, papers, journal, begin), maxlen=1)
        # Behind a snapshot there is at least the end of an orderly close: without it, leases behind it may be lost.
        return isinstance(last[0], commands.Close) if last else newest is None

    def _let_go(self) -> None:
        """Close everything, whatever state it is in; the next call opens it again."""
        self._space.rest()
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
        except BodyTooLarge:
            raise
        except BaseException:
            self._broken = True
            raise
        try:
            return carry_out(command, At(wall, boot, number + 1))
        except BaseException as error:
            self._broken = not isinstance(error, Exception)  # an interrupt came in the middle
            raise

    def _check_disk(self, size: int) -> None:
        if self._files.free(self.directory) < ROOM + size:
            raise QueueFull(f"the disk of {self.directory} is full; nothing was stored, and what is there goes on")

    def _opened(self) -> Journal:
        assert self._journal is not None
        return self._journal

    def _reached(self) -> tuple[Journal, int]:
        return self._opened(), self._opened().next

    def _make_durable(self, reached: tuple[Journal, int]) -> None:
        journal, until = reached
        try:
            journal.make_durable(until)
        except BackendError:
            self._broken = self._broken or journal is self._journal  # what was carried out may not be on the disk
            raise
        if self._space.is_due(journal):
            self._write_snapshot(journal)

    def _write_snapshot(self, journal: Journal) -> None:
        """Write down what is in memory; the store is held while that is put together, and not while it is written."""
        with self._lock:
            picture = self._space.take(journal) if journal is self._journal and not self._broken else None
        if picture is not None:
            self._space.keep(journal, picture)

    def tidy(self, limit: int = 1000) -> Tidied:
        tidied = super().tidy(limit)
        with self._open():
            journal = self._opened()
            self._papers.forget(journal.first)
            batch = self._space.batch()
            if (
                batch
                and self._files.free(self.directory) >= 2 * ROOM
                and (copied := self._papers.copied(batch)).numbers
            ):
                self._do(self._papers.move, copied)
            return msgspec.structs.replace(tidied, more=tidied.more or self._space.has_more)

    # -- forks ----------------------------------------------------------------------------------------------------

    def hold(self) -> None:
        self._lock.acquire()
        self._space.hold()

    def let_in(self) -> None:
        self._space.let_in()
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
        try:
            if not self._broken:
                self._do(self._engine.close, commands.Close())
            elif self._journal is not None:
                self._journal.cut()
        finally:
            self._let_go()

    def examine(self) -> list[Finding]:
        if self._files.identity(self.directory) is None:  # nobody has made a queue here; looking makes none
            return self._logs.examine()
        try:
            found = self._examine_journal()
        except Owned as owned:  # its owner tells what it knows; the bytes, which may take long, are read here
            found = ask_owner(self.directory, "examine", (), owned)
        except BackendError as error:
            closed = Finding(
                "error", f"{self.directory} cannot be opened", str(error),
                "nothing can be sent or worked off until it can: restore it from a copy, or open it with that release",
            )  # fmt: skip
            found = [closed]
        return [*found, *damage_findings(self.directory, self._files), *self._logs.examine()]

    def _examine_journal(self) -> list[Finding]:
        with self._open():
            segments = self._opened().segments()
            size = sum(one.bytes for one in segments)
            what = f"{self.directory}: a journal of {size >> 10} KiB, files: {len(segments)}"
            free = self._files.free(self.directory)
        left = f"{free >> 20} MiB left on the disk of the queues"
        low = free < 2 * ROOM
        room = Finding("error", left, "nothing can be sent", "make room") if low else Finding("ok", left)
        stats = [self.stats(queue) for queue in self.queues()]
        trouble = self._space.trouble
        unsaved = [
            Finding(
                "warn", f"no snapshot could be written: {trouble}", "the journal grows until one can", "see to the disk"
            )
        ]
        return [Finding("ok", what), room, *(unsaved if trouble else ()), *queue_findings(stats)]
