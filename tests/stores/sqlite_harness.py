"""The SQLite store under test: a file in a temporary folder, with a clock that stands until it is moved."""

from pathlib import Path

from holdfast.config import parse_url
from holdfast.stores import open_store
from holdfast.stores.sqlite import SqliteBackend
from holdfast.testing.clock import SharedClock
from holdfast.testing.conformance import Harness


class SqliteHarness(Harness):
    """Every handle is a backend of its own on the same file, as another process would have it."""

    def __init__(self, folder: Path, options: str = "") -> None:
        self._url = f"sqlite:///{folder}/jobs.db{options}"
        self._clock_file = folder / "clock"
        self.clock = SharedClock(self._clock_file, ticking=False)
        self._handles: list[SqliteBackend] = []

    def open(self) -> SqliteBackend:
        handle = open_store(parse_url(self._url), clock=self.clock)
        assert isinstance(handle, SqliteBackend)
        self._handles.append(handle)
        return handle

    def close(self) -> None:
        while self._handles:
            self._handles.pop().close()

    def reopen(self) -> SqliteBackend:
        self.close()
        return self.open()

    def address(self) -> tuple[str, Path]:
        return self._url, self._clock_file
