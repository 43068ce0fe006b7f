"""A file that is open, and stays usable: a connection that failed, or whose file was replaced, is opened again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from holdfast.errors import BackendError, Closed
from holdfast.stores.sqlite.connection import Connection, Location, prepare
from holdfast.stores.sqlite.forks import close_at_fork
from holdfast.stores.sqlite.migrate import migrate

T = TypeVar("T")


class OpenFile:
    """One connection to a place, made when first asked for, and closed when the process forks.

    Whoever uses it holds it: ``with file:`` keeps other threads and forks out. Re-entrant, for signal handlers.
    """

    def __init__(self, place: Location) -> None:
        self._place = place
        self._lock = threading.RLock()
        self.acquire: Callable[[], object] = self._lock.acquire
        self.release: Callable[[], None] = self._lock.release
        self._connection: Connection | None = None
        self._identity: tuple[int, int] | None = None

        close_at_fork(self)

    def __str__(self) -> str:
        return str(self._place.path)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def connection(self) -> Connection:
        """Return the connection, its tables up to date."""
        if self._connection is not None and self._identity != _identity(self._place):
            self.close()
        if self._connection is None:
            prepare(self._place)
            connection = Connection(self._place)
            try:
                migrate(connection)
            except BaseException:
                connection.close()
                raise
            self._connection, self._identity = connection, _identity(self._place)
        return self._connection

    def roll_back(self) -> bool:
        """Undo the transaction that is open; False when that failed."""
        try:
            if self._connection is not None:
                self._connection.execute("ROLLBACK")
        except BackendError:
            return False
        return True

    def close(self) -> None:
        """Close the connection, if there is one; the next call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class Reader:
    """A connection for looking, shared by threads. ``read`` raises ``Closed`` after ``close``."""

    def __init__(self, place: Location) -> None:
        self._file = OpenFile(place)
        self._closed = False

    def read(self, function: Callable[[Connection], T]) -> T:
        """Return what ``function`` reads; one snapshot if it makes only one statement."""
        with self._file:
            self.check_open()
            try:
                return function(self._file.connection())
            except BackendError:
                self._file.close()
                raise

    def check_open(self) -> None:
        """Raise ``Closed`` after ``close``."""
        if self._closed:
            raise Closed(f"{self._file} is closed")

    def close(self) -> None:
        """Close for good; idempotent."""
        with self._file:
            self._closed = True
            self._file.close()


def data_version(connection: Connection) -> tuple[int, int]:
    """Return something that changes when any other connection, of any process, has committed to the file."""
    return connection.number, connection.execute("PRAGMA data_version")[0][0]


def _identity(place: Location) -> tuple[int, int] | None:
    """Return which file the path names now; None when it names none."""
    try:
        status = place.path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
