"""The SQLite store under test, its queues and its logs: a file in a temporary folder, with a clock that stands until it
is moved.
"""

import sqlite3
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apsw

from holdfast.config import parse_url
from holdfast.stores import open_store
from holdfast.stores.sqlite import SqliteBackend
from holdfast.stores.sqlite.logs import SqliteLogs
from holdfast.testing.clock import SharedClock
from holdfast.testing.conformance import Caller, Harness, LogHarness


class SqliteCaller(Caller):
    """A connection as an application makes it, of the driver that the store uses."""

    def __init__(self, connection: Any) -> None:
        self.connection: Any = connection

    def begin(self) -> None:
        self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self.connection.execute("COMMIT")

    def rollback(self) -> None:
        self.connection.execute("ROLLBACK")


@cache
def template() -> bytes:
    """Return a file that has all its tables: making them takes longer than most tests."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        store = open_store(parse_url(f"sqlite:///{path}"))
        store.queues()
        store.close()
        return path.read_bytes()


def _put_template(path: Path) -> None:
    path.touch(0o600)
    path.write_bytes(template())


class SqliteHarness(Harness):
    """Every handle is a backend of its own on the same file, as another process would have it."""

    def __init__(self, folder: Path, options: str = "") -> None:
        self._url = f"sqlite:///{folder}/jobs.db{options}"
        _put_template(folder / "jobs.db")
        self._clock_file = folder / "clock"
        self.clock = SharedClock(self._clock_file, ticking=False)
        self._handles: list[SqliteBackend] = []
        self._callers: list[SqliteCaller] = []

    def open(self) -> SqliteBackend:
        handle = open_store(parse_url(self._url), clock=self.clock)
        assert isinstance(handle, SqliteBackend)
        self._handles.append(handle)
        return handle

    def connect(self) -> SqliteCaller:
        place = parse_url(self._url)
        library = sqlite3 if place.options.get("driver") == "sqlite3" else apsw
        self._callers.append(SqliteCaller(library.Connection(place.path)))
        return self._callers[-1]

    def close(self) -> None:
        while self._callers:
            self._callers.pop().connection.close()
        while self._handles:
            self._handles.pop().close()

    def reopen(self) -> SqliteBackend:
        self.close()
        return self.open()

    def address(self) -> tuple[str, Path]:
        return self._url, self._clock_file


class SqliteLogHarness(LogHarness):
    """Every handle is a backend of its own on the same file, as another process would have it."""

    def __init__(self, folder: Path, options: str = "") -> None:
        self._url = f"sqlite:///{folder}/logs.db{options}"
        _put_template(folder / "logs.db")
        self._clock_file = folder / "clock"
        self.clock = SharedClock(self._clock_file, ticking=False)
        self._stores: list[SqliteBackend] = []

    def open_logs(self) -> SqliteLogs:
        store = open_store(parse_url(self._url), clock=self.clock)
        assert isinstance(store, SqliteBackend)
        self._stores.append(store)
        return store.open_logs()

    def close(self) -> None:
        while self._stores:
            self._stores.pop().close()

    def reopen(self) -> SqliteLogs:
        self.close()
        return self.open_logs()

    def address(self) -> tuple[str, Path]:
        return self._url, self._clock_file
