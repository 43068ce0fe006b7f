"""The disk store's queues under test: a directory that this process owns, with a clock that stands until moved."""

from contextlib import contextmanager
from pathlib import Path

import msgspec

from holdfast.contract import LogBackend
from holdfast.stores.disk.logs import DiskLogs
from holdfast.stores.disk.options import PartitionOptions
from holdfast.stores.disk.queue import DiskQueues
from holdfast.stores.disk.queue.papers import JournalPapers
from holdfast.stores.engine import Engine
from holdfast.stores.engine.dumps import EngineDump, dump
from holdfast.testing.clock import MovableClock
from holdfast.testing.conformance import Harness

MANY = 2000
"""Beyond so many messages in its journal, a store is disturbed at every fiftieth call only."""


class Disturbed(DiskQueues):
    """A store to which something happens between any two calls, with nobody else at it."""

    _depth = _times = 0

    @contextmanager
    def _open(self, *, durable=False):
        with self._lock:
            if not self._depth and not self._closed and self._journal is not None:
                self._times += 1
                if self._journal.next < MANY or not self._times % 50:
                    self.disturb()
            self._depth += 1
            try:
                with super()._open(durable=durable):
                    yield
            finally:
                self._depth -= 1

    def disturb(self):
        raise NotImplementedError


class Reopened(Disturbed):
    """Closed in order and opened again, every other time from a snapshot."""

    def disturb(self):
        if self._times % 2:
            self._write_snapshot(self._journal)
        self._release()


class Replayed(Disturbed):
    """Compared with what a process would find that comes after a kill: the same, to the last byte.

    At the end, which has all commands behind it, and at every eighth call before.
    """

    EVERY = 8

    def disturb(self):
        if self._times % self.EVERY == 0:
            self.compare()

    def compare(self):
        papers = JournalPapers()
        papers.journal = self._journal
        after = Engine(papers, lambda queue, job_ids: None)
        self._rebuild(after, papers, self._journal)
        assert written(after) == written(self._engine)
        if self._journal.written > 1 << 14:
            self._write_snapshot(self._journal)

    def _release(self):
        self.compare()
        super()._release()


class ReplayedEachTime(Replayed):
    """Between any two calls."""

    EVERY = 1


def written(engine: Engine) -> bytes:
    """Return an engine as a snapshot has it that was read and written once more."""
    whole = msgspec.msgpack.encode(dump(engine))
    return msgspec.msgpack.encode(msgspec.msgpack.decode(whole, type=EngineDump))


class DiskHarness(Harness):
    """Hands out the same store again and again, until it is closed."""

    def __init__(self, folder: Path, store_class: type[DiskQueues] = DiskQueues) -> None:
        self.store_class = store_class
        self.clock = MovableClock(ticking=False)
        self._folder = folder
        self._store: DiskQueues | None = None

    def open(self) -> DiskQueues:
        if self._store is None:
            options = PartitionOptions(sync="os", reserve_bytes=0, segment_bytes=1 << 20)
            self._store = self.store_class(self._folder, options, self.clock)
        return self._store

    def seal(self, logs: LogBackend, log: str) -> None:
        assert isinstance(logs, DiskLogs)
        logs.roll(log)

    def close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def reopen(self) -> DiskQueues:
        self.close()
        return self.open()
