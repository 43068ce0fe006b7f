"""Some room kept on the disk, to be able to end a segment when there is no other."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.stores.disk.files import Files

NAME = "reserve"


class Reserve:
    """The file that holds the room. Keeping it is tried, never insisted on."""

    def __init__(self, files: Files, directory: Path, size: int) -> None:
        self._files, self._directory, self._size = files, directory, size
        self._path = directory / NAME
        self._kept = False

    def keep(self) -> None:
        """Make the file, if it is not there and the disk has room for four times as much."""
        if self._kept or not self._size:
            return
        try:
            if self._files.free(self._directory) < 4 * self._size:
                return
            fd = self._files.open(self._path, os.O_RDWR | os.O_CREAT)
        except OSError:
            return
        try:
            self._files.allocate(fd, self._size)
            self._kept = True
        except OSError:
            self.release()
        finally:
            self._files.close(fd)

    def release(self) -> bool:
        """Give the room back to the disk; tell whether there was any."""
        try:
            there = self._path.name in self._files.list(self._directory)
            self._files.remove(self._path)
        except OSError:
            return False
        self._kept = False
        return there
