"""A partition in a directory of its own, opened as often as a test likes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.stores.disk.files import Files
from holdfast.stores.disk.options import PartitionOptions, Report
from holdfast.stores.disk.partition import Partition
from holdfast.stores.disk.reading import PartitionReader
from holdfast.testing.clock import MovableClock

STORE = b"store-of-a-test!"


class Disk:
    """One partition's directory, and what was reported of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = MovableClock(1_000_000, ticking=False)
        self.reports: list[Report] = []
        self._opened: list[Partition | PartitionReader] = []
        self._epoch = 0

    def open(self, files: Files | None = None, **options: object) -> Partition:
        """Open it for writing. One that was opened before, and not closed, is as if its process had been killed."""
        self._epoch += 1
        partition = Partition.open(
            self.directory,
            files or Files(),
            PartitionOptions(**{"reserve_bytes": 0, **options}),
            store=STORE,
            epoch=self._epoch,
            clock=self.clock,
            report=self.reports.append,
        )
        self._opened.append(partition)
        return partition

    def reader(self, files: Files | None = None) -> PartitionReader:
        reader = PartitionReader(self.directory, files or Files())
        self._opened.append(reader)
        return reader

    def bodies(self, offset: int = 0) -> list[bytes]:
        """Return all that can be read from ``offset`` on."""
        found: list[bytes] = []
        reader = self.reader()
        while chunks := reader.read(offset, limit=10_000, max_bytes=1 << 30):
            found += [body for chunk in chunks for body in chunk.bodies]
            offset = chunks[-1].next
        return found

    def logs(self) -> list[Path]:
        return sorted(self.directory.glob("*.log"))

    def happened(self) -> list[str]:
        return [report.what for report in self.reports]

    def close(self) -> None:
        for one in self._opened:
            one.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "0")
    yield disk
    disk.close()
