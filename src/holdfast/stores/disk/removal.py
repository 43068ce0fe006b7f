"""Segments that were dropped, on their way out of the directory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from holdfast.stores.disk.files import Directories
from holdfast.stores.disk.format import index_name, segment_name
from holdfast.stores.disk.options import SegmentInfo


class Removal:
    """Removes them from the front, one at a time, each for good before the next.

    Were they removed together, a power cut could bring back any of the names: a segment without the one behind it, of
    which nothing tells where it ends, or whose end does not fit to what follows. It would be called damaged.
    """

    def __init__(self, files: Directories, directory: Path) -> None:
        self._files, self._directory = files, directory
        self._going: list[int] = []

    def add(self, segments: Iterable[SegmentInfo]) -> None:
        """Let these go too, which lie behind the others."""
        self._going += [info.base for info in segments]

    def go_on(self) -> bool:
        """Remove one, for good; tell whether there was any. After an ``OSError`` the next call tries it again."""
        if not self._going:
            return False
        base = self._going[0]
        self._files.remove(self._directory / index_name(base))
        self._files.remove(self._directory / segment_name(base))
        self._files.sync_directory(self._directory)
        del self._going[0]
        return True
