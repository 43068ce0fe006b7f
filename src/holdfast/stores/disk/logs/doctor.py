"""What an operator should know of a data directory's logs: each look is a function that yields its findings."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

from holdfast.capabilities import Doctor, Finding
from holdfast.clock import moment
from holdfast.contract import LogBackend
from holdfast.errors import BackendError, CorruptLog
from holdfast.logged import DamagedRange
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.format import HEADER, Tail, base_of, segment_name
from holdfast.stores.disk.logs.directory import log_directories
from holdfast.stores.disk.logs.open_log import OpenLog
from holdfast.stores.disk.logs.scrubbing import known_damage
from holdfast.stores.disk.logs.writer_lock import current_writer
from holdfast.stores.disk.reading import PartitionReader
from holdfast.stores.disk.recovery import Judge
from holdfast.stores.disk.segment import guess_salt, opened, read_edges
from holdfast.stores.disk.tail import TailReader
from holdfast.stores.file_systems import NETWORK_FILE_SYSTEMS, file_system
from holdfast.stores.log_findings import log_findings

LITTLE_ROOM, TOO_LITTLE_ROOM = 256 << 20, 32 << 20
"""Bytes. Below the first an operator should make room; below the second appends may be refused any moment."""


class DiskLogDoctor(Doctor):
    """The power itself; the logs lend what they know."""

    files: Files
    root: Path
    check_open: Callable[[], None]
    every: Callable[[], list[OpenLog]]

    def examine(self) -> list[Finding]:
        """Look at the directory and at every log; of damage inside sealed files, what has been found."""
        self.check_open()
        found = list[Finding]()
        try:
            found += directory_findings(self.files, self.root)
            found += unreadable_findings(self.files, self.root)
            found += (finding for log in self.every() for finding in file_findings(log))
            found += log_findings(cast("LogBackend", self))
        except CorruptLog as error:
            found.append(Finding("error", "a log is damaged", str(error), "restore it from a copy, or repair it"))
        except (OSError, BackendError) as error:
            text = f"{self.root} cannot be read"
            found.append(Finding("error", text, str(error), "see to the disk, or restore it"))
        return found


def directory_findings(files: Files, root: Path) -> Iterator[Finding]:
    """Yield what is to be said of the place: its file system, who may read it, how much room is left."""
    if files.identity(root) is None:
        yield Finding("ok", f"{root} is not there yet; the first log makes it")
        return
    kind = file_system(root)
    if kind in NETWORK_FILE_SYSTEMS:
        yield Finding(
            "error", f"{root} lies on {kind}", "what one host writes there another sees late, and locks may not hold",
            "move it to a local disk",
        )  # fmt: skip
    else:
        yield Finding("ok", f"{root} lies on {kind or 'a local disk'}")
    mode = stat.S_IMODE(root.stat().st_mode)
    if mode & 0o077:
        yield Finding(
            "warn", f"its permissions are {mode:04o}", "others of this machine may read messages", f"chmod 700 {root}"
        )
    else:
        yield Finding("ok", f"its permissions are {mode:04o}")
    yield room_finding(files.free(root))


def unreadable_findings(files: Files, root: Path) -> Iterator[Finding]:
    """Yield a finding for each log whose settings are damaged or gone."""
    for directory in log_directories(files, root):
        try:
            directory.load()
        except FileNotFoundError:
            pass  # it goes in this instant
        except BackendError as error:
            text, advice = f"log {directory.name!r} cannot be opened", "restore its settings file from a copy"
            yield Finding("error", text, str(error), advice)


def room_finding(free: int) -> Finding:
    """Return what is to be said of a disk with so many bytes left."""
    what = f"{free >> 20} MiB free on its disk"
    if free >= LITTLE_ROOM:
        return Finding("ok", what)
    why, advice = "appends are refused when the disk is full", "make room, or let logs keep less"
    return Finding("error" if free < TOO_LITTLE_ROOM else "warn", what, why, advice)


def file_findings(log: OpenLog) -> Iterator[Finding]:
    """Yield what the files of a log tell: who writes it, what was cut off or taken out, how it ends."""
    writer = current_writer(log.directory)
    if writer is not None:
        since = f"{moment(writer.since):%Y-%m-%d %H:%M:%S} UTC"
        yield Finding("ok", f"log {log.name!r} is written by process {writer.pid} on {writer.host} since {since}")
    known = known_damage(log.directory)
    yield from (_damaged(log, damage) for damage in known)
    for number in range(log.settings.partitions):
        yield from _remains(log, number)
        with suppress(FileNotFoundError):  # retention, or a writer that has just begun
            yield from (_damaged(log, damage) for damage in _broken(log, number) if damage not in known)
            if writer is None:
                yield from _last_segment(log, number)


def _damaged(log: OpenLog, damage: DamagedRange) -> Finding:
    name = f"log {log.name!r}, partition {damage.partition}"
    return Finding(
        "error", f"{name}: offsets {damage.first} to {damage.next} (not included) are damaged",
        f"a disk failed, or something but Holdfast wrote to {damage.path}",
        f"restore it from a copy, or take them out: holdfast logs repair {log.name}",
    )  # fmt: skip


def _remains(log: OpenLog, number: int) -> Iterator[Finding]:
    names = log.directory.files.list(log.directory.partition(number))
    name = f"log {log.name!r}, partition {number}"
    torn = [one for one in names if one.endswith(".torn")]
    if torn:
        yield Finding(
            "ok", f"{name}: {len(torn)} torn ends were cut off and kept as {torn[-1]}",
            "a power cut came in the middle of appends that nobody had been told were stored",
        )  # fmt: skip
    damaged = [one for one in names if one.endswith(".damaged")]
    if damaged:
        yield Finding(
            "warn", f"{name}: {len(damaged)} damaged ranges were taken out, and are kept as {damaged[-1]}",
            "the messages of these ranges are lost to readers", "restore them from a copy, or remove these files",
        )  # fmt: skip


def _broken(log: OpenLog, number: int) -> Iterator[DamagedRange]:
    """Yield the damage that headers and footers tell of; what lies between them is for a scrubber."""
    reader = PartitionReader(log.directory.partition(number), log.directory.files, partition=number)
    try:
        for segment in reader.segments():
            path = str(segment.path)
            if segment.edges.header is None:
                yield DamagedRange(number, path, 0, HEADER, segment.base, segment.base)
            if (missing := reader.missing(segment)) is not None:
                path = str(segment.path.with_name(segment_name(missing.first)))
                yield DamagedRange(number, path, 0, 0, missing.first, missing.next)
    finally:
        reader.close()


def _last_segment(log: OpenLog, number: int) -> Iterator[Finding]:
    """Judge the segment that was written last, as the next opening will."""
    files, directory = log.directory.files, log.directory.partition(number)
    shown = _shown(files, directory)  # before what there is: a writer may begin meanwhile
    bases = [base for name in files.list(directory) if (base := base_of(name)) is not None]
    if not bases:
        return
    with opened(files, directory, bases[-1]) as fd:
        edges = read_edges(files, fd, bases[-1])
        if edges.footer is not None:
            return
        salt = edges.header.mark if edges.header else guess_salt(files, fd, edges.size, bases[-1], None)
        found = Judge(files, fd, edges.size, salt, bases[-1]).last()
    if shown is not None and shown.base == bases[-1] and found.tally.next < shown.next:
        yield _gone(log, number, found.tally.next, shown.next)
    path, name = str(directory / segment_name(bases[-1])), f"log {log.name!r}, partition {number}"
    for damage in found.damages:
        yield _damaged(log, DamagedRange(number, path, damage.begin, damage.end, damage.first, damage.next))
    if not found.clean:
        text = f", with {found.torn} torn bytes at the end" if found.torn else ""
        yield Finding(
            "ok", f"{name} was not closed{text}", "its writer was killed, or the power cut: the next one mends it"
        )


def _shown(files: Files, directory: Path) -> Tail | None:
    """Return what readers were shown last."""
    reader = TailReader(files, directory)
    try:
        return reader.read()
    finally:
        reader.close()


def _gone(log: OpenLog, number: int, first: int, end: int) -> Finding:
    return Finding(
        "error", f"log {log.name!r}, partition {number}: offsets {first} to {end} (not included) are gone",
        "readers had been shown them; the power was cut, or a sync failed, before they were on the disk; or something "
        "but Holdfast made their file shorter", "restore it from a copy before anybody writes, or do without them",
    )  # fmt: skip
