"""How the layers open, fill and read a partition, on whatever disk."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from holdfast.errors import CorruptLog
from holdfast.logged import Columns
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.format import pack_tail, parse_tail
from holdfast.stores.disk.partition import Partition, PartitionOptions
from holdfast.stores.disk.reading import PartitionReader
from holdfast.stores.disk.upkeep import Kept, Upkeep
from holdfast.testing import MovableClock
from tests.disk.history import Found, body
from tests.disk.simulated import Image

STORE = bytes(range(16))
FOLDER = Path("/disk/0")


def opened(
    files: Files,
    folder: Path = FOLDER,
    *,
    epoch: int = 1,
    clock: Any = None,
    upkeep: Any = None,
    report: Any = None,
    **options: Any,
) -> Partition:
    """Open a partition for writing, after recovery."""
    chosen = PartitionOptions(**{"segment_bytes": 1 << 14, "reserve_bytes": 0} | options)
    partition = Partition.open(
        folder,
        files,
        chosen,
        store=STORE,
        epoch=epoch,
        clock=clock or MovableClock(),
        report=report or (lambda _: None),
    )
    if upkeep is not None:
        partition.share(upkeep)
    return partition


def rebooted(image: Image) -> Image:
    """Return the disk as another boot of the machine finds it: the tail says in which it was written."""
    files = {name: _rebooted(content) if name.endswith("/tail") else content for name, content in image.files.items()}
    return image._replace(files=files)


def reboot(folder: Path) -> None:
    """Do the same to a real directory."""
    for file in folder.rglob("tail"):
        file.write_bytes(_rebooted(file.read_bytes()))


def _rebooted(content: bytes) -> bytes:
    tail = parse_tail(content)
    return content if tail is None else pack_tail(tail._replace(boot=tail.boot ^ 1))


class ByHand(Upkeep):
    """Upkeep without a thread: a test calls ``Partition.upkeep`` when it likes."""

    def wake(self, kept: Kept) -> None:
        """Do nothing."""


def found(files: Files, folder: Path = FOLDER, **groups: int) -> Found:
    """Return what a reader finds from the first offset to the end."""
    reader = PartitionReader(folder, files)
    try:
        ends = reader.ends()
        messages, corrupt, at, stuck = [], [], ends.first, None
        while at < ends.next:
            try:
                chunks = reader.read(at, limit=1000, max_bytes=1 << 20)
            except CorruptLog as error:
                corrupt.append((at, error.next))
                if error.next <= at:
                    raise AssertionError(f"a damaged range that ends before it begins, at {at}: {error}") from error
                at = error.next
                continue
            if not chunks:
                stuck = at
                break
            for chunk in chunks:
                messages += enumerate(chunk.bodies, chunk.base)
                at = chunk.next
        return Found(messages, ends.first, ends.next, corrupt, groups, stuck)
    finally:
        reader.close()


class Writer:
    """A producer whose messages are numbered."""

    def __init__(self, name: int | str, draw: random.Random) -> None:
        self.name, self._draw, self._next = name, draw, 0

    def bodies(self, most: int = 6, size: int = 120) -> tuple[bytes, ...]:
        """Return the next messages: often one, rarely large."""
        count = self._draw.choice((1, 1, self._draw.randint(1, most)))
        size = self._draw.choice((0, size, size, self._draw.randrange(50 * size + 1)))
        numbers = range(self._next, self._next + count)
        self._next += count
        return tuple(body(self.name, number, self._draw.randint(0, size)) for number in numbers)


def columns(bodies: tuple[bytes, ...], draw: random.Random | None = None) -> Columns:
    """Return messages as columns; some with keys and headers when there is something to draw with."""
    keys = [b"k" if draw.random() < 0.5 else None for _ in bodies] if draw and draw.random() < 0.3 else None
    headers = [b"\x80" for _ in bodies] if draw and draw.random() < 0.1 else None
    return Columns(bodies, keys, headers)
