"""Connections that callers lend, for statements inside a transaction of their own: checked, used, left as they are.

A transaction that writes holds the one write lock of its file. So the store, whose own thread would wait for that
lock, does on the caller's connection what is to become true with the caller's commit.
"""

from __future__ import annotations

import random
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from holdfast.capabilities import Transactional
from holdfast.clock import Clock
from holdfast.delivery import Receipt, Settlement
from holdfast.errors import BackendError, HoldfastError, UsageError
from holdfast.message import Level, Message, Stored
from holdfast.stores.sqlite import jobs, sends
from holdfast.stores.sqlite.connection import Location, Statements, driver_of, result_code
from holdfast.stores.sqlite.file import Reader
from holdfast.stores.sqlite.migrate import applied, known
from holdfast.stores.sqlite.writer import Transaction, Writer

T = TypeVar("T")

BUSY, READONLY, NO_SUCH_TABLE = 5, 8, 1
BUSY_SNAPSHOT = 517
"""The extended code of a transaction that began by reading what has been overwritten since: it can never write."""
WRITES = 2
"""What apsw's ``txn_state`` says of a connection that holds the write lock."""
SYNCED = 2
"""What ``PRAGMA synchronous`` says of a connection whose commits wait for the disk; more is safer."""
LEGACY = -1
"""Python's ``autocommit`` of a connection that begins transactions by ``isolation_level``, as all did before 3.12."""
_LOCK = "INSERT OR REPLACE INTO holdfast_meta (name, value) VALUES ('lent', ?)"
_LOCKED = "SELECT value FROM holdfast_meta WHERE name = 'lent'"


class Lender:
    """Runs functions of a transaction on callers' connections. Any thread; each connection in one at a time."""

    def __init__(self, place: Location, reader: Reader, clock: Clock) -> None:
        self._place, self._reader, self._clock = place, reader, clock
        self._met = threading.local()

    def run(self, connection: object, function: Callable[[Transaction, Level], T]) -> T:
        """Carry out ``function`` as part of the caller's transaction, all of it or nothing."""
        raw = self._of_our_library(connection)
        with _texts_as_texts(raw), self._inside(raw) as borrowed:
            transaction = Transaction(borrowed, self._clock, {})  # lanes of its own: it may be rolled back
            level = Level.SYNCED if borrowed.execute("PRAGMA synchronous")[0][0] >= SYNCED else Level.WRITTEN
            result = function(transaction, level)
            transaction.flush()
            return result

    def refuse_to_wait(self) -> None:
        """Raise ``UsageError`` when this thread holds the write lock itself, by a connection that was met before."""
        loan: _Loan | None = getattr(self._met, "loan", None)
        if loan is None:
            return
        if loan.ended():
            self._met.loan = None
        elif loan.holds_the_lock(self._reader):
            raise UsageError(
                f"{self._place.path}: this thread has a write transaction open, for which this call would wait for "
                "ever; do it inside that transaction with connection=…, or after its commit"
            )

    # -- which connection it is -----------------------------------------------------------------------------------

    def _of_our_library(self, connection: object) -> Any:
        ours, name = self._place.driver, f"{type(connection).__module__}.{type(connection).__qualname__}"
        if isinstance(connection, driver_of(self._place).Connection):
            with suppress(driver_of(self._place).Error):  # it is closed, which its first use will tell
                if getattr(connection, "is_async", False):
                    raise UsageError("connection= is an async one, whose calls nobody here awaits; lend a plain one")
            return connection
        other = "sqlite3" if ours == "apsw" else "apsw"
        module = sys.modules.get(other)
        if module is None or not isinstance(connection, module.Connection):
            raise UsageError(
                f"connection= takes an {ours}.Connection here, not {name}; "
                "of SQLAlchemy that is session.connection().connection.driver_connection"
            )
        raise UsageError(
            f"connection= is of {other}, but the App has {self._place.path} open through {ours}: two SQLite "
            f"libraries on one file in one process lose its locks; open the App with ?driver={other}, "
            f"or your own connection with {ours}"
        )

    # -- inside its transaction -----------------------------------------------------------------------------------

    @contextmanager
    def _inside(self, raw: Any) -> Iterator[Borrowed]:
        borrowed = Borrowed(self._place, raw)
        self._check_file(borrowed)
        begun = self._begin(raw, borrowed)
        try:
            token = random.getrandbits(62)
            self._insist(borrowed, _LOCK, (token,))
            self._met.loan = _Loan(raw, token)
            if applied(borrowed) != set(known()):
                raise self._unopened()
            borrowed.execute("SAVEPOINT holdfast")
            try:
                yield borrowed
            except BaseException:
                with suppress(HoldfastError):  # SQLite undoes the whole transaction itself when the disk is full
                    borrowed.execute("ROLLBACK TO holdfast")
                    borrowed.execute("RELEASE holdfast")
                raise
            borrowed.execute("RELEASE holdfast")
        except BaseException:
            if begun:
                with suppress(HoldfastError):
                    borrowed.execute("ROLLBACK")
            raise

    def _check_file(self, borrowed: Borrowed) -> None:
        files = borrowed.execute("PRAGMA database_list")
        file = next((file for _, name, file in files if name == "main"), "")
        if not file or not _same_file(file, self._place.path):
            raise UsageError(
                f"connection= is open on {file or 'no file'}, this store is {self._place.path}: a transaction is of "
                "one file, so open the App on that one, or send without connection="
            )

    def _begin(self, raw: Any, borrowed: Borrowed) -> bool:
        """Begin a transaction where the caller's own ``commit`` will end it; tell whether that was needed."""
        if raw.in_transaction:
            return False
        if self._place.driver == "apsw" or raw.isolation_level is None or getattr(raw, "autocommit", LEGACY) != LEGACY:
            raise UsageError(
                "no transaction is open on connection=, so nothing would commit what is done with it: "
                f"{'`with connection:`' if self._place.driver == 'apsw' else 'begin one with BEGIN IMMEDIATE'}"
            )
        self._reader.read(lambda _: None)  # makes the tables, if this is the first use of the file
        self._insist(borrowed, "BEGIN IMMEDIATE", ())
        return True

    def _insist(self, borrowed: Borrowed, sql: str, params: tuple[object, ...]) -> None:
        """Take the write lock by this statement, waiting as long as the store's own connections do.

        It comes before the transaction reads anything for the store: a reader that turns writer does not wait.
        """
        end = time.monotonic() + self._place.busy
        while True:
            try:
                borrowed.execute(sql, params)
            except BackendError as error:
                cause = error.__cause__
                if not isinstance(cause, Exception):
                    raise
                if result_code(cause) == NO_SUCH_TABLE:
                    raise self._unopened() from error
                if result_code(cause, 0xFFFF) != BUSY or time.monotonic() >= end:
                    raise
            else:
                return
            _pause()

    def _unopened(self) -> UsageError:
        return UsageError(
            f"{self._place.path} lacks tables of this release, which cannot be made inside your transaction: open "
            "the store before it begins, by `with app:` or app.queues()"
        )


def _pause() -> None:
    time.sleep(random.uniform(0.001, 0.01))


class Lending(Transactional):
    """The power itself; the backend lends its own connections."""

    _reader: Reader
    _writer: Writer
    _lender: Lender

    def send_in(self, connection: object, queue: str, messages: Sequence[Message]) -> list[Stored]:
        return self._lend(connection, lambda tx, level: sends.send(tx, queue, messages, level))

    def settle_in(self, connection: object, settlements: Sequence[Settlement]) -> list[Receipt]:
        return self._lend(connection, lambda tx, level: jobs.settle(tx, settlements, level))

    def _lend(self, connection: object, function: Callable[[Transaction, Level], T]) -> T:
        self._reader.check_open()
        self._writer.check = self._lender.refuse_to_wait  # from now on there is something to look for
        return self._lender.run(connection, function)


class Borrowed(Statements):
    """A caller's connection while it is lent: cursors of our own, so that what is set on the connection stays out."""

    def __init__(self, place: Location, raw: Any) -> None:
        super().__init__(place, _ApswCursors(raw) if place.driver == "apsw" else _PlainCursors(raw))

    def _mapped(self, error: Exception) -> HoldfastError:
        path, code = self._place.path, result_code(error)
        if result_code(error, 0xFFFF) == BUSY_SNAPSHOT:
            return BackendError(
                f"{path}: the transaction on connection= began by reading, and others have written since, so it "
                f"cannot write any more; roll it back and begin it with BEGIN IMMEDIATE{_at_once(self._place)}"
            )
        if code == BUSY:
            return BackendError(
                f"{path}: others have been writing for {self._place.busy:g} s, so the transaction on connection= "
                f"cannot; roll it back and try again, begun with BEGIN IMMEDIATE{_at_once(self._place)}",
                retryable=True,
            )
        if code == READONLY:
            return UsageError(f"{path}: connection= is read-only: {error}; lend one that may write")
        if code is None:
            return UsageError(f"connection= cannot be used here: {error}")
        return super()._mapped(error)


def _at_once(place: Location) -> str:
    return ' (apsw: connection.transaction_mode = "IMMEDIATE")' if place.driver == "apsw" else ""


class _PlainCursors:
    """Executes through cursors of sqlite3 that return plain tuples."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    @property
    def total_changes(self) -> Any:
        return self._raw.total_changes

    def execute(self, sql: str, params: Any) -> Any:
        return self._cursor().execute(sql, params)

    def executemany(self, sql: str, params: Any) -> Any:
        return self._cursor().executemany(sql, params)

    def _cursor(self) -> Any:
        import sqlite3

        return sqlite3.Cursor(self._raw)  # not raw.cursor(), which takes over its row_factory


class _ApswCursors(_PlainCursors):
    """Executes through cursors of apsw that no trace or conversion of the connection reaches."""

    def _cursor(self) -> Any:
        import apsw

        cursor = apsw.Cursor(self._raw)
        cursor.row_trace = _unchanged
        cursor.exec_trace = _allowed
        if self._raw.convert_jsonb is not None:
            cursor.convert_jsonb = _as_bytes
        return cursor


def _unchanged(cursor: object, row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row


def _allowed(cursor: object, sql: str, bindings: object) -> bool:
    return True


def _as_bytes(cursor: object, number: int, value: bytes) -> bytes:
    return value


@contextmanager
def _texts_as_texts(raw: Any) -> Iterator[None]:
    """Read texts as texts in this block; ``text_factory`` of sqlite3 is the connection's, and no cursor's."""
    theirs = getattr(raw, "text_factory", str)
    if theirs is str:
        yield
        return
    raw.text_factory = str
    try:
        yield
    finally:
        raw.text_factory = theirs


def _same_file(one: str, other: Path) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:
        return False


class _Loan:
    """The last transaction of a thread that the store took part in."""

    def __init__(self, raw: Any, token: int) -> None:
        self._token = token
        try:
            self._raw: Callable[[], Any] = weakref.ref(raw)
        except TypeError:  # sqlite3's own class; it is held until the thread's next call
            self._raw = lambda: raw

    def ended(self) -> bool:
        """Tell whether its connection is in no transaction any more."""
        raw = self._raw()
        try:
            return raw is None or not raw.in_transaction
        except Exception:  # it was closed
            return True

    def holds_the_lock(self, reader: Reader) -> bool:
        """Tell whether its connection is certain to hold the write lock now."""
        raw = self._raw()
        try:
            if hasattr(raw, "txn_state"):
                return bool(raw.txn_state("main") == WRITES)
            # What the connection sees and nobody else does is not committed yet. One that is always in a transaction
            # is not asked: asked in a new one, it would have read, and might then be too old to write.
            token = (self._token,)
            if getattr(raw, "autocommit", LEGACY) is False or token in reader.read(lambda one: one.execute(_LOCKED)):
                return False
            return bool(_PlainCursors(raw).execute(_LOCKED, ()).fetchone() == token)
        except Exception:
            return False
