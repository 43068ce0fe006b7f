"""The logs of a data directory as this process has them open, and what they lend to groups, members and writers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.clock import Clock
from holdfast.errors import BackendError, Closed, QueueFull, UsageError
from holdfast.events import LOGGER
from holdfast.stores.disk.files import Files, in_words
from holdfast.stores.disk.logs.directory import log_directories, log_directory
from holdfast.stores.disk.logs.open_log import OpenLog
from holdfast.stores.disk.logs.syncing import Syncer
from holdfast.stores.disk.options import Report
from holdfast.stores.disk.writer import NO_ROOM
from holdfast.stores.refused import no_log


class Catalogue:
    """Logs by name. Nothing is opened or made before it is needed. Any thread may call."""

    def __init__(self, root: Path, clock: Clock, files: Files) -> None:
        self.root, self.clock, self.files = root, clock, files
        self.syncer = Syncer(self.report)
        self._logger = LOGGER
        self._lock = threading.RLock()
        self._open: dict[str, OpenLog] = {}
        self._told: set[str] = set()
        self._closed = False

    def check_open(self) -> None:
        """Raise ``Closed`` after close."""
        if self._closed:
            raise Closed("the store is closed")

    @contextmanager
    def at_work(self, log: str = "") -> Iterator[None]:
        """Let the disk's errors be this store's, and name the log; ``Closed`` after close."""
        self.check_open()
        try:
            yield
        except OSError as error:
            said = in_words(error)
            text = f"log {log!r}: {said}" if log else f"{self.root}: {said}"
            if error.errno in NO_ROOM:
                raise QueueFull(text) from error
            raise BackendError(text, retryable=True) from error

    def log(self, name: str) -> OpenLog:
        """Return the log as it is now; ``UsageError`` when there is none, ``BackendError`` when it cannot be read."""
        known = self._open.get(name)
        if known is not None and known.refresh():
            return known
        with self._lock:
            self.check_open()
            known = self._open.get(name)
            if known is not None:
                if known.refresh():  # another thread was here first
                    return known
                self._let_go(self._open.pop(name))
            directory = log_directory(self.files, self.root, name)
            with suppress(FileNotFoundError):
                identity, settings = self.files.identity(directory.settings_path), directory.load()
                if identity is not None:
                    self._open[name] = OpenLog(directory, settings, identity)
                    return self._open[name]
            raise no_log(name, (one.name for one in log_directories(self.files, self.root)))

    def every(self) -> list[OpenLog]:
        """Return all logs there are; one that cannot be read is reported, once."""
        found = []
        for directory in log_directories(self.files, self.root):
            try:
                found.append(self.log(directory.name))
            except UsageError:
                pass  # it goes in this instant
            except BackendError as error:
                if str(error) not in self._told:
                    self._told.add(str(error))
                    self.report(str(error))
        return found

    def _let_go(self, log: OpenLog) -> None:
        """Close a log that is no more, or no longer open."""
        log.close()

    def report(self, text: str) -> None:
        """Let people know of something that should not have been."""
        self._logger.warning("%s", text)

    def tell(self, log: str, partition: int, report: Report) -> None:
        """Let people know what a partition reports."""
        self.report(f"log {log!r}, partition {partition}: {report.text}")
