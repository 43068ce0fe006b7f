"""Where the logs of a data directory lie, and how logs and their settings come and go there.

::

    <data>/logs/<log>/settings                  format, store uuid and LogSettings as JSON, replaced as a whole
                      lock                      held by the process that writes the log, and says which that is
                      turn                      held while settings are changed, groups made, messages dropped
                      scrubbed                  see :mod:`holdfast.stores.disk.logs.scrubbing`
                      <partition>/              see the partition's own modules
                      groups/<group>/           see :mod:`holdfast.stores.disk.logs.groups`

Names are percent-quoted, those that are too long for a file cut and hashed. A name that begins with a dot is of
something that is being made or removed: it is renamed into place when it is whole, and out of place before it is taken
apart, so that a crash leaves either all or nothing.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec

from holdfast.config import LogSettings
from holdfast.errors import BackendError
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.turns import turn
from holdfast.stores.refused import fewer_partitions

FORMAT = 1
LONGEST = 200
"""Bytes of a quoted name; file systems allow 255."""
HASHED = "%~"
"""What no quoted name contains."""
HALF_MADE_MS = 3_600_000


class SettingsFile(msgspec.Struct, frozen=True):
    """What a log's settings file says. ``store`` is drawn when the log is made, and tells it from an earlier one."""

    format: int
    store: str
    settings: LogSettings


class LogDirectory(msgspec.Struct, frozen=True):
    """One log's directory; ``name`` is the log's."""

    name: str
    path: Path
    files: Files

    @property
    def settings_path(self) -> Path:
        return self.path / "settings"

    @property
    def turn_path(self) -> Path:
        return self.path / "turn"

    @property
    def lock_path(self) -> Path:
        return self.path / "lock"

    @property
    def scrubbed_path(self) -> Path:
        return self.path / "scrubbed"

    @property
    def groups_path(self) -> Path:
        return self.path / "groups"

    def partition(self, partition: int) -> Path:
        """Return where a partition lies."""
        return self.path / str(partition)

    def load(self) -> SettingsFile:
        """Return the settings; ``FileNotFoundError`` without a log, ``BackendError`` for one of a later release, and
        for one whose settings something but Holdfast has damaged or removed.
        """
        data = self._data()
        try:
            loaded = msgspec.json.decode(data, type=SettingsFile)
        except msgspec.MsgspecError as error:
            raise self._unreadable(f"cannot be read: {error}") from error
        if loaded.format != FORMAT:
            raise BackendError(
                f"log {self.name!r} is of format {loaded.format}, this release knows {FORMAT}: use a later one"
            )
        return loaded

    def _data(self) -> bytes:
        for _ in range(2):  # a log may have been renamed into place between the two looks
            try:
                return whole(self.files, self.settings_path)
            except FileNotFoundError:
                if self.files.identity(self.path) is None:
                    raise
        raise self._unreadable("is not there")

    def _unreadable(self, why: str) -> BackendError:
        return BackendError(
            f"log {self.name!r}: {self.settings_path} {why}; restore that file from a copy, or move {self.path} away"
        )

    def declare(self, settings: LogSettings) -> None:
        """Make the log, or give it other settings; see ``LogBackend.declare``."""
        if self.files.identity(self.settings_path) is None and self._make(settings):
            return
        with turn(self.files, self.turn_path):
            now = self.load()
            if settings.partitions < now.settings.partitions:
                raise fewer_partitions(self.name, now.settings.partitions, settings.partitions)
            if settings != now.settings:
                replace(self.files, self.settings_path, _encoded(now.store, settings))

    def _make(self, settings: LogSettings) -> bool:
        """Make the whole directory aside and rename it; False when somebody else's stands there by now."""
        make_directories(self.files, self.path.parent)
        made = aside(self.path, "new")
        self.files.make_directory(made)
        self.files.make_directory(made / "groups")
        keep_name(self.files, made, self.name)
        replace(self.files, made / "settings", _encoded(secrets.token_hex(16), settings))
        try:
            self.files.rename(made, self.path)
        except OSError:
            remove_tree(self.files, made)
            if self.files.identity(self.settings_path) is None:
                with suppress(FileNotFoundError):
                    self.load()  # which tells what is wrong with the one that is there
                raise
            return False
        self.files.sync_directory(self.path.parent)
        return True

    def remove(self) -> Path:
        """Let the log be no more; return where its remains lie, to be removed. ``FileNotFoundError`` without one."""
        gone = aside(self.path, "gone")
        self.files.rename(self.path, gone)
        self.files.sync_directory(self.path.parent)
        return gone


def log_directories(files: Files, root: Path) -> list[LogDirectory]:
    """Return the logs that lie in ``root``, by name."""
    return [LogDirectory(name, path, files) for name, path in named(files, root).items()]


def log_directory(files: Files, root: Path, log: str) -> LogDirectory:
    """Return where a log lies, whether there is one or not."""
    return LogDirectory(log, root / quoted(log), files)


def sweep(files: Files, path: Path, now: int) -> None:
    """Remove what crashes left half removed in a directory, and what has been half made for an hour. ``now`` is ms."""
    for name in files.list(path):
        if not name.startswith("."):
            continue
        known = files.identity(path / name)
        if name.startswith(".gone-") or (known is not None and now - known[1] // 1_000_000 > HALF_MADE_MS):
            with suppress(OSError):  # somebody else sweeps, or adds to it: the next time
                remove_tree(files, path / name)


# -- names ----------------------------------------------------------------------------------------------------


def quoted(name: str) -> str:
    """Return a name as a file's. Of a long one it is the beginning and a hash; :func:`keep_name` keeps the rest."""
    text = quote(name, safe="", errors="surrogatepass")
    if text.startswith("."):
        text = "%2E" + text[1:]
    if len(text) > LONGEST:
        return f"{text[:100]}{HASHED}{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return text


def keep_name(files: Files, directory: Path, name: str) -> None:
    """Write down in a new directory whose name its own does not tell."""
    if HASHED in quoted(name):
        replace(files, directory / "name", name.encode("utf-8", "surrogatepass"))


def named(files: Files, root: Path) -> dict[str, Path]:
    """Return the directories in ``root`` by the names they were quoted from."""
    return {_unquoted(files, root / text): root / text for text in files.list(root) if not text.startswith(".")}


def _unquoted(files: Files, path: Path) -> str:
    if HASHED not in path.name:
        return unquote(path.name, errors="surrogatepass")
    try:
        return whole(files, path / "name").decode("utf-8", "surrogatepass")
    except FileNotFoundError:  # it is going in this instant
        return path.name


def aside(path: Path, why: str) -> Path:
    """Return a name beside ``path`` that nobody else has."""
    return path.parent / f".{why}-{os.getpid()}-{secrets.token_hex(8)}"


# -- files ----------------------------------------------------------------------------------------------------


@contextmanager
def opened(files: Files, path: Path, flags: int) -> Iterator[int]:
    """Open a file for as long as the context."""
    fd = files.open(path, flags)
    try:
        yield fd
    finally:
        files.close(fd)


def whole(files: Files, path: Path) -> bytes:
    """Return all of a file."""
    with opened(files, path, os.O_RDONLY) as fd:
        return files.read(fd, max(1, files.size(fd)), 0)


def write_all(files: Files, fd: int, data: bytes, at: int = 0) -> None:
    """Write all of it, however often the system stops short."""
    done = 0
    while done < len(data):
        try:
            went = files.write(fd, [data[done:]], at + done)
        except InterruptedError:
            continue
        if not went:
            raise OSError(errno.ENOSPC, "nothing was written")
        done += went


def replace(files: Files, path: Path, data: bytes) -> None:
    """Put a file in place of what is there: durable on return, and a crash leaves one of the two whole."""
    made = aside(path, path.name)
    with opened(files, made, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
        write_all(files, fd, data)
        files.sync(fd)
    files.rename(made, path)
    files.sync_directory(path.parent)


def make_directories(files: Files, path: Path) -> None:
    """Make a directory and those above, durably, where they are missing."""
    if files.identity(path) is not None:
        return
    make_directories(files, path.parent)
    files.make_directory(path)
    files.sync_directory(path.parent)


def remove_tree(files: Files, path: Path) -> None:
    """Remove a directory with all that is in it. Not durable: what a crash leaves has a name that is swept."""
    for name in files.list(path):
        child = path / name
        if child.is_dir() and not child.is_symlink():
            remove_tree(files, child)
        else:
            files.remove(child)
    files.remove(path)


def _encoded(store: str, settings: LogSettings) -> bytes:
    return msgspec.json.format(msgspec.json.encode(SettingsFile(FORMAT, store, settings))) + b"\n"
