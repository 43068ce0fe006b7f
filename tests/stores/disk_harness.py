"""The disk store under test: a temporary data directory, with a clock that stands until it is moved."""

from pathlib import Path

from holdfast.config import parse_url
from holdfast.contract import LogBackend
from holdfast.stores import open_logs
from holdfast.stores.disk import DiskLogs
from holdfast.stores.disk.files import Files
from holdfast.testing.clock import SharedClock
from holdfast.testing.conformance import LogHarness


class Unsynced(Files):
    """For tests of thousands of small lives, which are not about what a power cut leaves."""

    def sync(self, fd: int) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass


class DiskLogHarness(LogHarness):
    """Every handle is a store of its own on the same directory, as another process would have it."""

    def __init__(self, folder: Path, options: str = "") -> None:
        self.root = folder / "data"
        self._url = f"disk:{self.root}{options}"
        self._clock_file = folder / "clock"
        self.clock = SharedClock(self._clock_file, ticking=False)
        self._handles: list[DiskLogs] = []

    def open_logs(self) -> DiskLogs:
        handle = open_logs(parse_url(self._url), clock=self.clock)
        assert isinstance(handle, DiskLogs)
        self._handles.append(handle)
        return handle

    def seal(self, logs: LogBackend, log: str) -> None:
        assert isinstance(logs, DiskLogs)
        logs.roll(log)

    def close(self) -> None:
        while self._handles:
            self._handles.pop().close()

    def open_unsynced(self) -> DiskLogs:
        """Return a handle that never waits for the disk."""
        self._handles.append(DiskLogs(self.root, self.clock, files=Unsynced()))
        return self._handles[-1]

    def reopen(self) -> DiskLogs:
        self.close()
        return self.open_logs()

    def address(self) -> tuple[str, Path]:
        return self._url, self._clock_file
