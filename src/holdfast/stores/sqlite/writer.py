"""The one thread of a process that writes to the file, many callers to a commit.

A commit waits for the disk; whoever comes meanwhile is collected and shares the next one. So 100 callers cost one
sync instead of 100, and nobody waits for a timer.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import msgspec

from holdfast.clock import Clock
from holdfast.config import QueueSettings
from holdfast.delivery import State
from holdfast.errors import BackendError, Closed, QueueFull
from holdfast.stores.sqlite.connection import Connection, Row, Statements
from holdfast.stores.sqlite.file import OpenFile, data_version
from holdfast.stores.sqlite.statements import statements

T = TypeVar("T")
POLL = 0.01
"""How often, in seconds, the file is asked whether another connection has committed to it, while somebody listens."""
HELD, KEPT = "held", "kept"
"""Pseudo-states, counted beside the real ones: ready jobs behind the head of their key, done jobs with a result."""
_SQL = statements("places.sql")


class QueueRow(msgspec.Struct, frozen=True):
    """A queue as the file knows it."""

    number: int
    name: str
    settings: QueueSettings
    paused: bool
    token: int


class Transaction:
    """One write transaction: the statements of its commands, their common ``now`` (wall ms), and their counts."""

    def __init__(self, connection: Statements, clock: Clock, lanes: dict[tuple[int, str, int], int]) -> None:
        self.now, self.boot = clock.wall(), clock.boot()
        self.execute = connection.execute
        self.rows = connection.rows
        self.executemany = connection.executemany
        self.written = connection.written
        self._lanes = lanes
        self._seq: int | None = None
        self._queues: dict[str, QueueRow] = {}
        self._counts: Counter[tuple[int, str]] = Counter()

    def queue(self, name: str) -> QueueRow | None:
        """Return the queue of that name, None when there is none."""
        if name not in self._queues:
            rows = self.execute(_SQL["find_queue"], (name,))
            if not rows:
                return None
            self._queues[name] = queue_row(rows[0])
        return self._queues[name]

    def declared(self, name: str) -> QueueRow:
        """Return the queue of that name, made with the default settings if there is none."""
        queue = self.queue(name)
        if queue is None:
            settings = msgspec.json.encode(QueueSettings()).decode()
            self._queues[name] = queue = queue_row(self.execute(_SQL["insert_queue"], (name, settings))[0])
        return queue

    def altered(self, name: str) -> None:
        """Forget what was read of a queue whose row has been changed."""
        self._queues.pop(name, None)

    def lane(self, queue: QueueRow, kind: str, format_: int) -> int:
        """Return the number of a lane, made if there is none."""
        place = (queue.number, kind, format_)
        if place not in self._lanes:
            self.execute(_SQL["insert_lane"], place)
            self._lanes[place] = self.execute(_SQL["find_lane"], place)[0][0]
        return self._lanes[place]

    def count(self, lane: int, state: State | str, jobs: int) -> None:
        """Add to the number of jobs in a lane and state."""
        self._counts[lane, state] += jobs

    def moved(self, lane: int, source: State, target: State, jobs: int = 1) -> None:
        """Count jobs from one state to another."""
        self._counts[lane, source] -= jobs
        self._counts[lane, target] += jobs

    def next_seq(self) -> int:
        """Return the number of the next job to be sent."""
        self._seq = self.last_seq() + 1
        return self._seq

    def last_seq(self) -> int:
        """Return the number of the job that was sent last."""
        if self._seq is None:
            self._seq = int(self.execute(_SQL["last_seq"])[0][0])
        return self._seq

    def counts(self, queue: QueueRow) -> dict[str, int]:
        """Return how many jobs of a queue are in each state, pseudo-states included, as of now."""
        self.flush()
        return dict(self.execute(_SQL["counts"], (queue.number,)))

    def flush(self) -> None:
        """Write the counts down."""
        counts = [(lane, state, jobs) for (lane, state), jobs in self._counts.items() if jobs]
        if counts:
            self.executemany(_SQL["add_count"], counts)
        self._counts.clear()


def queue_row(row: Row) -> QueueRow:
    """Return a row of ``find_queue`` as a value."""
    number, name, settings, paused, token = row
    return QueueRow(number, name, msgspec.json.decode(settings, type=QueueSettings), bool(paused), token)


class _Command(Generic[T]):
    """A function of a transaction, and the caller who waits for it."""

    __slots__ = ("_done", "_error", "_result", "function", "quiet")

    def __init__(self, function: Callable[[Transaction], T], *, quiet: bool = False) -> None:
        self.function = function
        self.quiet = quiet
        self._done = threading.Lock()
        self._done.acquire()
        self._result: T | None = None
        self._error: BaseException | None = None

    def answer(self, result: T | QueueFull) -> None:
        if isinstance(result, QueueFull):
            self._error = result
        else:
            self._result = result
        self._done.release()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._done.release()

    def wait(self) -> T:
        self._done.acquire()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


class _Nudge:
    """What wakes the thread and asks for nothing."""


_NUDGE = _Nudge()


def _attempted(command: _Command[T], transaction: Transaction) -> T | QueueFull:
    """Carry out a command; one that finds its queue full has changed nothing, so the others need not begin again."""
    try:
        return command.function(transaction)
    except QueueFull as refusal:
        return refusal


class Writer:
    """Carries out commands, each whole or not at all, in the order they came.

    A connection that fails is closed and opened again for the next group. ``changed`` is called after each group that
    changed anything beyond quiet commands, and when another connection, of any process, has committed while
    ``listened`` says that somebody wants to know. Then ``changes`` is another number than before.
    """

    def __init__(
        self, file: OpenFile, clock: Clock, *, changed: Callable[[], None], listened: Callable[[], bool]
    ) -> None:
        self._file = file
        self._clock, self._changed, self._listened = clock, changed, listened
        self.changes = 0
        self._version: tuple[int, int] | None = None
        self._dozing = False
        self._connection: Connection | None = None
        self._lanes: dict[tuple[int, str, int], int] = {}
        self._pending: SimpleQueue[_Command[Any] | _Nudge | None] = SimpleQueue()
        self._starting = threading.RLock()
        self._ended = False
        self._thread: threading.Thread | None = None
        self.check: Callable[[], None] | None = None
        """Called in the caller's thread before each command; what it raises is the caller's."""

    def run(self, function: Callable[[Transaction], T], *, quiet: bool = False) -> T:
        """Carry out ``function`` and return what it returns, once it is durable. Blocks; any thread.

        What a ``quiet`` one writes, nobody waits for.
        """
        if self.check is not None:
            self.check()
        if self._thread is None:
            self._start()
        command = _Command(function, quiet=quiet)
        # No lock from here on: a signal handler or finalizer that sends may run in the midst of this very method.
        self._pending.put(command)
        if self._ended:
            self._refuse_rest()
        return command.wait()

    def attend(self) -> None:
        """Look around now, and every ``POLL`` seconds for as long as ``listened`` says so. Returns at once."""
        if self._thread is None:
            self._start()
        if self._dozing:
            self._pending.put(_NUDGE)

    def close(self) -> None:
        """Finish what was asked for, then close the connection. Idempotent."""
        with self._starting:
            self._ended = self._ended or self._thread is None
        self._pending.put(None)
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        closing = False
        while not closing:
            taken = self._take()
            closing = None in taken
            with self._file:
                changed = self._carry_out([command for command in taken if isinstance(command, _Command)])
                changed = changed or (self._listened() and self._has_been_changed())
            if changed:
                self._changed()
        with self._file:
            self._file.close()
        self._ended = True
        self._refuse_rest()
        self._pending.put(None)  # for a second thread, if an interrupt of the first one's start made one

    def _take(self) -> list[_Command[Any] | _Nudge | None]:
        """Return what has been put; after ``POLL`` seconds nothing, if somebody listens."""
        self._dozing = True  # whoever listens from here on must nudge
        try:
            taken = [self._pending.get(timeout=POLL if self._listened() else None)]
        except Empty:
            return []
        finally:
            self._dozing = False
        return taken + [self._pending.get() for _ in range(self._pending.qsize())]

    def _has_been_changed(self) -> bool:
        """Tell whether another connection has committed since the last look; own commits do not count here.

        ``PRAGMA data_version`` reads no table. A file that does not answer counts as changed: who waits must hear why.
        """
        try:
            version = data_version(self._file.connection())
        except Exception:
            self._file.close()
            version = None
        changed, self._version = version is None or version != self._version, version
        self.changes += changed
        return changed

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._ended:
                thread = threading.Thread(target=self._work, name="holdfast-sqlite-writer", daemon=True)
                thread.start()
                self._thread = thread

    def _refuse_rest(self) -> None:
        """Tell those who came too late; whoever put a command sees the end, or the end sees the command."""
        with suppress(Empty):
            while True:
                command = self._pending.get_nowait()
                if isinstance(command, _Command):
                    command.fail(Closed(f"{self._file} is closed"))

    def _carry_out(self, group: list[_Command[Any]]) -> bool:
        """Commit the group in one transaction; a command that fails is left out and the rest is tried again.

        Tell whether anything was changed beyond what quiet commands did.
        """
        while group:
            culprit: _Command[Any] | None = None
            try:
                transaction = self._begin()
                results, changed = [], False
                for culprit in group:
                    before = transaction.written()
                    results.append(_attempted(culprit, transaction))
                    changed = changed or (not culprit.quiet and transaction.written() > before)
                culprit = None
                transaction.flush()
                transaction.execute("COMMIT")
            except BaseException as error:  # the callers get it, each its own
                self._roll_back(error)
                failed = group if culprit is None else [culprit]
                for command in failed:
                    command.fail(error)
                group = [command for command in group if command not in failed]
            else:
                self.changes += changed
                for command, result in zip(group, results, strict=True):
                    command.answer(result)
                return changed
        return False

    def _begin(self) -> Transaction:
        connection = self._file.connection()
        if connection is not self._connection:
            self._connection = connection
            self._lanes.clear()  # they may be another file's
        connection.execute("BEGIN IMMEDIATE")
        return Transaction(connection, self._clock, self._lanes)

    def _roll_back(self, error: BaseException) -> None:
        self._lanes.clear()  # some may be of the transaction that is gone
        if isinstance(error, BackendError) or not self._file.roll_back():
            self._file.close()  # which rolls back too
