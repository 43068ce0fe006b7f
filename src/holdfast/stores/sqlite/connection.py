"""One connection to a SQLite file, the same over both drivers: apsw (the default) and the standard library's sqlite3.

Two copies of SQLite must never have one file open in one process: when one of them closes a descriptor, the kernel
drops the POSIX locks the other holds on that file ("How To Corrupt An SQLite Database File", section 2.2). So
a file is bound to the driver that first opens it here, as long as it is where it was, or a connection of ours is open.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import msgspec

from holdfast.errors import BackendError, ConfigError, HoldfastError, NotSupported
from holdfast.stores.file_systems import NETWORK_FILE_SYSTEMS, file_system
from holdfast.stores.warned import warn

Row = tuple[Any, ...]
Params = Sequence[object] | Mapping[str, object]
Driver = Literal["apsw", "sqlite3"]
Sync = Literal["full", "normal"]

OLDEST_SQLITE = (3, 38, 0)
"""The first SQLite with the ``->>`` operator."""
WAL_RESET_FIXED = (3, 51, 3)
"""The first SQLite without the WAL-reset race, which can corrupt a file that several processes write."""
CHECKPOINT_PAGES = 4000
BUSY = (5, 6)
"""SQLite's codes for a file, or a table, that another connection has locked."""


class Location(msgspec.Struct, frozen=True):
    """Which file, and how it is opened. ``busy`` is the seconds to wait for other processes' writes, ``client`` what
    opens a connection instead of the driver itself.
    """

    path: Path
    driver: Driver = "apsw"
    sync: Sync = "full"
    busy: float = 30.0
    client: Callable[[str], Any] | None = None


_numbers = itertools.count()
_bound: dict[tuple[int, int], tuple[Driver, Path]] = {}
_ours: dict[int, tuple[int, int] | None] = {}  # which file each connection has open, by its number
_reached: set[Path] = set()  # what was there once is away when it is not: its disk, or its share, may come back
_binding = threading.Lock()


def prepare(place: Location) -> None:
    """Make the file (0600) and its directories (0700) if they are missing, and bind the file to its driver.

    ``ConfigError`` when this process has the file open through the other library, or the place cannot be written;
    a retryable ``BackendError`` when it could be before, or when a busy connection of the program might have it open.
    """
    with _binding:
        try:
            _make_directories(place.path.parent)
            if not place.path.exists():
                # Only a file that nobody has open may be opened and closed behind SQLite's back.
                os.close(os.open(place.path, os.O_CREAT | os.O_RDWR, 0o600))
            status = place.path.stat()
        except OSError as error:
            if place.path in _reached:
                raise BackendError(f"{place.path} is away: {error.strerror}", retryable=True) from error
            raise ConfigError(f"{place.path}: {error.strerror}; the directory must exist or be creatable") from error
        _reached.add(place.path)
        file = status.st_dev, status.st_ino
        bound = _bound_to(file) or _library_at(file, place) or place.driver
        if bound == place.driver:
            _bound[file] = bound, place.path
    if bound != place.driver:
        raise ConfigError(
            f"{place.path} has been open in this process through {bound}; two SQLite libraries on one file lose its "
            f"locks: open it with ?driver={bound} everywhere"
        )
    if (kind := file_system(place.path)) in NETWORK_FILE_SYSTEMS:
        warn(
            f"{place.path} lies on {kind}: SQLite's WAL needs shared memory, which network file systems lack; "
            "use a local disk, or another store"
        )


def _bound_to(file: tuple[int, int]) -> Driver | None:
    """Return the driver to which the file is bound; None if that was another, whose number it got once it was gone.

    A descriptor alone tells nothing: the program may have the new file open.
    """
    driver, path = _bound.get(file, (None, None))
    return driver if path and (_is_at(file, path) or file in list(_ours.values())) else None


def _library_at(file: tuple[int, int], place: Location) -> Driver | None:
    """Return the library through which the program itself has the file open, as far as that can be seen."""
    is_open = _has_open(file)
    if is_open is False:
        return None
    apsw = sys.modules.get("apsw")
    if apsw is not None and any(_is_at(file, _named(apsw, one, place)) for one in apsw.connections()):
        return "apsw"
    return "sqlite3" if is_open and "sqlite3" in sys.modules else None


def _named(apsw: ModuleType, connection: Any, place: Location) -> str:
    """Return which file a connection has open, none once it is closed. It does not tell while a thread is using it."""
    end = time.monotonic() + place.busy
    for attempts in itertools.count():
        try:
            return str(connection.filename)
        except apsw.ConnectionClosedError:
            break
        except apsw.ThreadingViolationError as error:
            if time.monotonic() >= end:
                busy = f"a connection of this program has been busy for {place.busy:g} s, and may be to {place.path}"
                raise BackendError(f"{busy}; open it before such work begins", retryable=True) from error
        time.sleep(_pause(attempts))
    return ""


def _is_at(file: tuple[int, int], path: str | Path) -> bool:
    return _file_at(path) == file


def _file_at(path: str | Path) -> tuple[int, int] | None:
    with suppress(OSError):
        status = os.stat(path)  # noqa: PTH116 - an empty path is none, and not the directory
        return status.st_dev, status.st_ino
    return None


def _has_open(file: tuple[int, int]) -> bool | None:
    """Tell whether a descriptor of this process is of that file; None where the platform does not list them."""
    try:
        return any(_is_at(file, f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 - for links, pathlib would ask each
    except OSError:
        return None


class Statements:
    """Runs statements through a driver: ``raw`` is its connection, or what executes as one does."""

    def __init__(self, place: Location, raw: Any) -> None:
        self._place = place
        self._raw = raw
        self._error: type[Exception] = driver_of(place).Error

    def execute(self, sql: str, params: Params = ()) -> list[Row]:
        """Run one statement and return its rows."""
        try:
            return self._raw.execute(sql, self._bound(sql, params)).fetchall()  # type: ignore[no-any-return]
        except self._error as error:
            raise self._mapped(error) from error

    def rows(self, sql: str, params: Params = ()) -> Generator[Row]:
        """Run one statement and yield its rows as they are asked for."""
        try:
            yield from self._raw.execute(sql, self._bound(sql, params))
        except self._error as error:
            raise self._mapped(error) from error

    def executemany(self, sql: str, params: Iterable[Sequence[object]]) -> None:
        """Run one statement for each row of parameters."""
        try:
            apsw = self._place.driver == "apsw"
            self._raw.executemany(sql, params if apsw else (self._bound(sql, row) for row in params))
        except self._error as error:
            raise self._mapped(error) from error

    def written(self) -> int:
        """Return how many rows have been written through this connection."""
        total = self._raw.total_changes
        return int(total() if self._place.driver == "apsw" else total)

    def _bound(self, sql: str, params: Params) -> Params:
        """Return parameters as the driver wants them: for sqlite3, ``?1`` is a name (an error otherwise since 3.14)."""
        if self._place.driver == "apsw" or "?1" not in sql or isinstance(params, Mapping):
            return params
        return {str(number): value for number, value in enumerate(params, start=1)}

    def _mapped(self, error: Exception) -> HoldfastError:
        """Return the error a user sees: the one place where SQLite's errors become ours."""
        path, code, text = self._place.path, result_code(error), str(error)
        if code in BUSY:
            return BackendError(
                f"{path}: another connection has been writing for {self._place.busy:g} s; if that is a transaction "
                "of this program's own, send inside it with connection=…, or end it before you send",
                retryable=True,
            )
        if code == 13:  # FULL
            return BackendError(f"{path}: the disk is full; writing resumes when there is room", retryable=True)
        if code in (11, 26):  # CORRUPT, NOTADB
            return BackendError(f"{path} is damaged or no SQLite database: {text}; restore it from a copy")
        # READONLY, IOERR, CANTOPEN, and a connection that is gone: another try opens a new one
        return BackendError(f"{path}: {text}", retryable=code in (8, 10, 14, None), outcome_unknown=code == 10)


class Connection(Statements):
    """An open connection in WAL mode, without implicit transactions. One thread at a time may use it."""

    def __init__(self, place: Location) -> None:
        super().__init__(place, None)
        self.number = next(_numbers)
        try:
            self._raw = _connect(place, driver_of(place))
        except self._error as error:
            raise self._mapped(error) from error
        _ours[self.number] = _file_at(place.path)
        try:
            self._give_wal()
            self.execute(f"PRAGMA synchronous = {place.sync}")
            self.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            self.execute("PRAGMA cache_size = -65536")
            self.execute("PRAGMA temp_store = MEMORY")
        except BaseException:
            self.close()
            raise

    def _give_wal(self) -> None:
        """Make a new file one with a WAL. Of two who do so at once, SQLite asks neither's busy handler: one fails."""
        end = time.monotonic() + self._place.busy
        for attempts in itertools.count():
            try:
                self.execute("PRAGMA journal_mode = WAL")
                return
            except BackendError as error:
                if not _is_busy(error) or time.monotonic() >= end:
                    raise
            time.sleep(_pause(attempts))

    def close(self) -> None:
        """Close; idempotent. A connection that is past saving may refuse, which is of no consequence."""
        with suppress(self._error):
            self._raw.close()
        _ours.pop(self.number, None)


def _connect(place: Location, driver: ModuleType) -> Any:
    if place.driver == "apsw":
        raw = _opened(place, driver) or driver.Connection(str(place.path), statementcachesize=256)
        raw.set_busy_handler(_Backoff(place.busy))
        raw.row_trace = None
        return raw
    if driver.sqlite_version_info < OLDEST_SQLITE:
        raise NotSupported(f"?driver=sqlite3: SQLite {driver.sqlite_version} is older than 3.38; use the default apsw")
    if driver.sqlite_version_info < WAL_RESET_FIXED:
        warn(
            f"?driver=sqlite3: SQLite {driver.sqlite_version} has the WAL-reset race fixed in 3.51.3, which can "
            "corrupt a file that several processes write; the default driver apsw does not"
        )
    if (raw := _opened(place, driver)) is None:
        return driver.connect(
            str(place.path), timeout=place.busy, isolation_level=None, check_same_thread=False, cached_statements=256
        )
    _check_threads(raw)
    if getattr(raw, "autocommit", True) is False:
        raw.autocommit = True
    raw.isolation_level, raw.row_factory, raw.text_factory = None, None, str
    raw.execute(f"PRAGMA busy_timeout = {int(place.busy * 1000)}")
    return raw


def _opened(place: Location, driver: ModuleType) -> Any:
    """Return what the program's own function opens, None when it has none."""
    if place.client is None:
        return None
    raw = place.client(str(place.path))
    if not isinstance(raw, driver.Connection):
        with suppress(Exception):  # nobody else has it
            raw.close()
        raise ConfigError(f"client= returned {type(raw)!r:.80} for {place.path}, not an {place.driver}.Connection")
    return raw


def _check_threads(raw: Any) -> None:
    """Raise ``ConfigError`` when only the thread that opened a connection of sqlite3 may use it."""
    refused: list[Exception] = []

    def use() -> None:
        try:
            raw.execute("SELECT 1")
        except Exception as error:
            refused.append(error)

    thread = threading.Thread(target=use, name="holdfast-sqlite-check")
    thread.start()
    thread.join()
    if refused:
        raw.close()
        raise ConfigError(f"client= must open it with check_same_thread=False: {refused[0]}") from refused[0]


class _Backoff:
    """A busy handler that waits with jitter, from a quarter of a millisecond up to ten, so that writers take turns.

    SQLite's own handler steps up to 100 ms, which starves whoever has waited longest.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._since = 0.0

    def __call__(self, attempts: int) -> bool:
        now = time.monotonic()
        if attempts == 0:
            self._since = now
        time.sleep(_pause(attempts))
        return now - self._since < self._most


def _pause(attempts: int) -> float:
    return random.uniform(0.5, 1.0) * min(0.01, 0.00025 * (1 << min(attempts, 6)))


def driver_of(place: Location) -> ModuleType:
    """Return the module of the library that opens this place."""
    if place.driver == "apsw":
        import apsw

        return apsw
    import sqlite3

    return sqlite3


def result_code(error: Exception, mask: int = 0xFF) -> int | None:
    """Return SQLite's primary result code; None when the error is the driver's own, such as a closed connection."""
    code = getattr(error, "sqlite_errorcode", None) or getattr(error, "extendedresult", None)
    if code is None:
        code = getattr(error, "result", None)
    return code & mask if isinstance(code, int) and code > 0 else None


def _is_busy(error: BackendError) -> bool:
    return isinstance(error.__cause__, Exception) and result_code(error.__cause__) in BUSY


def is_full(error: BackendError) -> bool:
    """Tell whether an error of a store means that its disk is full."""
    return isinstance(error.__cause__, Exception) and result_code(error.__cause__) == 13


def _make_directories(directory: Path) -> None:
    if not directory.exists():
        _make_directories(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
