"""What an operator should know of a SQLite file: each look is a function that returns its findings."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from holdfast.capabilities import Doctor, Finding
from holdfast.clock import Clock
from holdfast.config import QueueSettings
from holdfast.contract import LogBackend
from holdfast.delivery import HolderInfo, QueueStats
from holdfast.errors import BackendError, NotSupported
from holdfast.stores.file_systems import NETWORK_FILE_SYSTEMS, file_system
from holdfast.stores.log_findings import log_findings
from holdfast.stores.queue_findings import queue_findings
from holdfast.stores.sizes import size
from holdfast.stores.sqlite.connection import WAL_RESET_FIXED, Connection, Location
from holdfast.stores.sqlite.file import Reader
from holdfast.stores.sqlite.migrate import applied, known
from holdfast.stores.sqlite.statements import statements

_SQL = statements("doctor.sql")
_UPKEEP = statements("upkeep.sql")

MOST_NAMED = 10
LARGE_WAL = 64 << 20
"""Bytes; a checkpoint begins at 16 MiB, so a file of this size has not been checkpointed for a while."""
LITTLE_ROOM, TOO_LITTLE_ROOM = 256 << 20, 16 << 20


class Patient(msgspec.Struct, frozen=True):
    """What is looked at. ``stats`` returns the statistics of every queue, ``logs`` what is found of logs."""

    place: Location
    clock: Clock
    boot_id: str
    read: Callable[[Callable[[Connection], list[Finding]]], list[Finding]]
    stats: Callable[[], Sequence[QueueStats]]
    logs: Callable[[], Sequence[Finding]]


class SqliteDoctor(Doctor):
    """The power itself; the backend lends its connection."""

    _place: Location
    _clock: Clock
    _boot_id: str
    _reader: Reader

    def stats(self, queue: str) -> QueueStats:
        """Return counts; the contract's."""
        raise NotImplementedError

    def queues(self) -> dict[str, QueueSettings]:
        """Return the queues; the contract's."""
        raise NotImplementedError

    def open_logs(self) -> LogBackend:
        """Return the logs; the capability's."""
        raise NotImplementedError

    def examine(self) -> list[Finding]:
        self._reader.check_open()
        lent = self._reader.read, self._all_stats, lambda: list(log_findings(self.open_logs()))
        return examine(Patient(self._place, self._clock, self._boot_id, *lent))

    def _all_stats(self) -> list[QueueStats]:
        return [self.stats(queue) for queue in self.queues()]


def examine(patient: Patient) -> list[Finding]:
    """Return all findings, the file's own first; see ``Doctor``."""
    findings = [*_place(patient.place)]
    for look in (_integrity, _version, _library, _journal, _counts, _totals, _holders):
        try:
            findings += patient.read(lambda connection, look=look: list(look(connection, patient)))  # type: ignore[misc] # bound now
        except BackendError as error:
            findings.append(Finding("error", "it cannot be read", str(error), "restore the file from a copy"))
            return findings
        except NotSupported as error:
            return [*findings, Finding("error", "its tables are another release's", str(error), "use that release")]
    try:
        stats, logs = patient.stats(), patient.logs()
    except BackendError as error:
        return [*findings, Finding("error", "it cannot be written", str(error), "see what holds the write lock")]
    return [*findings, *queue_findings(stats), *logs]


# -- the file -----------------------------------------------------------------------------------------------------


def _place(place: Location) -> Iterator[Finding]:
    kind = file_system(place.path)
    if kind in NETWORK_FILE_SYSTEMS:
        yield Finding(
            "error", f"the file lies on {kind}", "SQLite's WAL needs shared memory, which network file systems lack",
            "move it to a local disk, or use another store",
        )  # fmt: skip
    else:
        yield Finding("ok", f"the file lies on {kind or 'a local disk'}")
    yield from _permissions(place.path)
    yield from _room(place.path)


def _permissions(path: Path) -> Iterator[Finding]:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return  # reading it will tell
    if mode & 0o077:
        yield Finding(
            "warn", f"its permissions are {mode:04o}", "others of this machine may read jobs, or change them",
            f"chmod 600 {path}",
        )  # fmt: skip
    else:
        yield Finding("ok", f"its permissions are {mode:04o}")


def _room(path: Path) -> Iterator[Finding]:
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return
    what = f"{size(free)} free on its disk"
    if free >= LITTLE_ROOM:
        yield Finding("ok", what)
        return
    why, advice = "a send fails when the disk is full", "make room, or let queues keep fewer ended jobs"
    yield Finding("error" if free < TOO_LITTLE_ROOM else "warn", what, why, advice)


# -- what is in it ------------------------------------------------------------------------------------------------


def _integrity(connection: Connection, patient: Patient) -> Iterator[Finding]:
    problems = [row[0] for row in connection.execute(f"PRAGMA quick_check({MOST_NAMED})")]
    if problems == ["ok"]:
        yield Finding("ok", "its pages are sound (quick_check)")
        return
    yield Finding(
        "error", f"it is damaged: {'; '.join(problems)}", "a disk failed, or something but SQLite wrote to the file",
        "stop all programs that use it and restore it from a copy",
    )  # fmt: skip


def _version(connection: Connection, patient: Patient) -> Iterator[Finding]:
    have = applied(connection)
    if have == set(known()):
        yield Finding("ok", f"its tables are of version {max(have)}")
        return
    yield Finding(
        "error", f"its tables are of version {max(have, default=0)}, not {max(known())}",
        "another release has changed them since", "use that release of Holdfast everywhere",
    )  # fmt: skip


def _library(connection: Connection, patient: Patient) -> Iterator[Finding]:
    text = connection.execute("SELECT sqlite_version()")[0][0]
    what = f"SQLite {text} through {patient.place.driver}"
    if tuple(int(part) for part in text.split(".")) >= WAL_RESET_FIXED:
        yield Finding("ok", what)
        return
    yield Finding(
        "warn", what, "its WAL-reset race, fixed in 3.51.3, can corrupt a file that several processes write",
        "use the default driver apsw, or a newer SQLite",
    )  # fmt: skip


def _journal(connection: Connection, patient: Patient) -> Iterator[Finding]:
    mode = connection.execute("PRAGMA journal_mode")[0][0]
    if mode != "wal":
        yield Finding(
            "error", f"journal mode {mode}", "readers and writers block each other, and wake-ups are missed",
            "PRAGMA journal_mode = WAL, and let no program set another",
        )  # fmt: skip
    if patient.place.sync == "normal":
        yield Finding("ok", "commits do not wait for the disk (?sync=normal)", "a power cut may take the last of them")
    else:
        yield Finding("ok", "commits wait for the disk (?sync=full)")
    _, pages, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)")[0]
    try:
        written = Path(f"{patient.place.path}-wal").stat().st_size
    except OSError:
        written = 0
    what = f"WAL of {size(written)}, {max(0, pages - moved)} of {max(0, pages)} pages not in the file yet"
    if written < LARGE_WAL:
        yield Finding("ok", what)
        return
    yield Finding(
        "warn", what, "a transaction that has been open for long, maybe another program's, keeps it from being emptied",
        "end that transaction; the WAL shrinks when the last program closes the file",
    )  # fmt: skip


def _counts(connection: Connection, patient: Patient) -> Iterator[Finding]:
    wrong = connection.execute(_SQL["wrong_counts"])
    if not wrong:
        yield Finding("ok", "its counts are those of its jobs")
        return
    named = (
        f"queue {queue!r}, kind {kind!r}: {counted} {state} counted, {found} found"
        for queue, kind, state, counted, found in wrong[:MOST_NAMED]
    )
    yield Finding(
        "error", f"counts are wrong: {'; '.join(named)}", "something but Holdfast has changed its tables",
        "restore it from a copy, or destroy those queues; jobs run all the same",
    )  # fmt: skip


def _totals(connection: Connection, patient: Patient) -> Iterator[Finding]:
    wrong = connection.execute(_SQL["wrong_partitions"])
    if not wrong:
        yield Finding("ok", "the totals of its logs are those of their appends")
        return
    named = ", ".join(f"log {log!r}, partition {partition}" for log, partition in wrong[:MOST_NAMED])
    yield Finding(
        "error", f"totals are wrong: {named}", "something but Holdfast has changed its tables",
        "restore it from a copy; retention, limits and lag of these logs cannot be relied on",
    )  # fmt: skip


def _holders(connection: Connection, patient: Patient) -> Iterator[Finding]:
    rows = connection.execute(_UPKEEP["live_holders"])
    now = patient.clock.boot()
    infos = [(msgspec.json.decode(info, type=HolderInfo), boot, expires) for info, boot, expires in rows]
    dead = [info.id for info, boot, expires in infos if boot != patient.boot_id or expires <= now]
    if dead:
        yield Finding(
            "warn", f"holders went silent: {', '.join(dead[:MOST_NAMED])}",
            "their processes died, and no worker has taken their jobs back yet",
            "start a worker, or call app.rescue()",
        )  # fmt: skip
    else:
        yield Finding("ok", f"{len(infos)} holders, all alive")
