"""A log as this process sees it: its settings as of the last look, and a reader for each partition in use."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from holdfast.config import LogSettings
from holdfast.errors import OffsetGone
from holdfast.logged import Chunk, Ends
from holdfast.stores.disk.format import base_of
from holdfast.stores.disk.logs.directory import LogDirectory, SettingsFile, opened
from holdfast.stores.disk.logs.retention import Segments
from holdfast.stores.disk.options import SegmentInfo
from holdfast.stores.disk.reading import PartitionReader
from holdfast.stores.disk.segment import Edges, read_edges
from holdfast.stores.refused import no_partition, offset_gone

Identity = tuple[int, int, int]


class OpenLog:
    """The same object for as long as the log is the same; ``store`` tells it from another of its name."""

    def __init__(self, directory: LogDirectory, loaded: SettingsFile, identity: Identity) -> None:
        self.directory, self.store = directory, loaded.store
        self._settings_path = directory.settings_path  # made once: it is looked at with every call
        self._loaded = loaded
        self._identity: Identity | None = identity
        self._lock = threading.Lock()
        self._readers: dict[int, PartitionReader] = {}
        self.closed = False

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def settings(self) -> LogSettings:
        return self._loaded.settings

    def refresh(self) -> bool:
        """Take up settings that were changed; False when this log is no longer there."""
        identity = self.directory.files.identity(self._settings_path)
        if identity == self._identity:
            return True
        try:
            loaded = self.directory.load()
        except FileNotFoundError:
            return False
        if loaded.store != self.store or identity is None:
            return False
        self._loaded, self._identity = loaded, identity
        return True

    def doubt(self) -> None:
        """Let the next look read the settings, whatever the file looks like."""
        self._identity = None

    def check(self, partition: int) -> None:
        """Raise ``UsageError`` when there is no such partition."""
        if not 0 <= partition < self.settings.partitions:
            raise no_partition(self.name, partition, self.settings.partitions)

    def reader(self, partition: int) -> PartitionReader:
        """Return what reads a partition, for any thread."""
        reader = self._readers.get(partition)
        if reader is not None:
            return reader
        with self._lock:
            return self._readers.setdefault(
                partition, PartitionReader(self.directory.partition(partition), self.directory.files)
            )

    def read(self, partition: int, offset: int, limit: int, max_bytes: int) -> list[Chunk]:
        """Return messages of a partition; see ``LogBackend.read``."""
        try:
            return self.reader(partition).read(offset, limit=limit, max_bytes=max_bytes)
        except OffsetGone:
            raise offset_gone(self.name, self.ends(partition), offset) from None

    def ends(self, partition: int) -> Ends:
        """Return what a partition holds."""
        return self.reader(partition).ends()

    def segments(self) -> Segments:
        """Return what lies in each partition, from the files themselves."""
        return {number: self._segments(number) for number in range(self.settings.partitions)}

    def _segments(self, number: int) -> list[SegmentInfo]:
        directory, ends = self.directory.partition(number), self.ends(number)
        found = []
        for name in self.directory.files.list(directory):
            base = base_of(name)
            if base is None or not ends.first <= base < ends.next:
                continue
            with suppress(FileNotFoundError), opened(self.directory.files, directory / name, os.O_RDONLY) as fd:
                found.append(_info(base, read_edges(self.directory.files, fd, base), ends.next))
        return [one for one in found if one.next > one.base]

    def close(self) -> None:
        """Let go of the readers. May be repeated."""
        self.closed = True
        with self._lock:
            readers, self._readers = list(self._readers.values()), {}
        for reader in readers:
            with suppress(OSError):
                reader.close()

    def abandon(self) -> None:
        """Leave the readers to the parent, in a child just forked."""
        self.closed = True
        for reader in self._readers.values():
            reader.abandon()


def _info(base: int, edges: Edges, end: int) -> SegmentInfo:
    """Return what is known of a segment; one without a footer is being written, or was when its writer died."""
    first, footer = edges.first_time, edges.footer
    if footer is None:
        return SegmentInfo(base, end, edges.size, first, first, False, end - base)
    return SegmentInfo(base, footer.next, edges.size, first, footer.max_time, True, footer.messages)
