"""The file ``tail``: where the writer says how far readers may read, and where they look."""

from __future__ import annotations

import os
from functools import cache
from hashlib import blake2b
from pathlib import Path

from holdfast.clock import boot_id
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.format import HEADER, Tail, pack_tail, parse_tail

NAME = "tail"
_TRIES = 20


@cache
def this_boot() -> int:
    """Return the number of this boot of the machine: pages written since are there, synced or not."""
    return int.from_bytes(blake2b(boot_id().encode(), digest_size=8).digest(), "little")


class TailWriter:
    """The writer's hand on the file. What cannot be written is left out: readers see it with the next."""

    def __init__(self, files: Files, directory: Path) -> None:
        self._files = files
        self._fd = files.open(directory / NAME, os.O_RDWR | os.O_CREAT)

    def write(self, tail: Tail) -> None:
        """Tell readers; they see it on return."""
        try:
            self._files.write(self._fd, [pack_tail(tail)], 0)
        except OSError:
            return

    def close(self) -> None:
        self._files.close(self._fd)


class TailReader:
    """A reader's eye on the file, which may not be there, or be made anew."""

    def __init__(self, files: Files, directory: Path) -> None:
        self._files, self._path = files, directory / NAME
        self._fd: int | None = None

    def read(self) -> Tail | None:
        """Return what the writer said last; None when nobody did. A read in the middle of a write is tried again."""
        if self._fd is None:
            try:
                self._fd = self._files.open(self._path, os.O_RDONLY)
            except FileNotFoundError:
                return None
        for _ in range(_TRIES):
            if (tail := parse_tail(self._files.read(self._fd, HEADER, 0))) is not None:
                return tail
        return None

    def close(self) -> None:
        if self._fd is not None:
            self._files.close(self._fd)
            self._fd = None
