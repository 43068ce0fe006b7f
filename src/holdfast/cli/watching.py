"""Seeing that Python files have changed, by looking at them."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

LEFT_OUT = {"__pycache__", "node_modules", "site-packages", "dist-packages"}
MOST = 20_000
"""So many files and directories of a folder are looked at; a folder with more is no project."""

Stamp = tuple[int, int, int]


class Watch:
    """The Python files under ``folder``, and others by name; a file counts as changed by its time, size and inode.

    Left out are hidden directories and virtual environments. A folder with more than ``most`` entries is not looked
    into: ``too_large`` says so.
    """

    def __init__(self, folder: Path, files: Iterable[str] = (), most: int = MOST) -> None:
        self._folder, self._most = folder, most
        self._others = set(files)
        self.too_large = False
        self.settle()

    def add(self, files: Iterable[str]) -> None:
        """Watch these files as well, as they are now."""
        new = set(files) - self._others
        self._others |= new
        for stamps in (self._known, self._seen):
            stamps.update(_stamped(new - stamps.keys()))

    def settle(self) -> None:
        """Take what is there now for known."""
        self._known = self._seen = self._look()

    def changed(self) -> list[str]:
        """Return the files that differ from what is known, once they have been the same for two looks in a row:
        whoever writes them may not be done.
        """
        seen, self._seen = self._seen, self._look()
        if self._seen != seen:
            return []
        return sorted(name for name in seen.keys() | self._known.keys() if seen.get(name) != self._known.get(name))

    def _look(self) -> dict[str, Stamp]:
        stamps = dict(_stamped(self._others))
        if not self.too_large:
            stamps.update(_stamped(self._under()))
        return stamps

    def _under(self) -> Iterator[str]:
        entries = 0
        for folder, folders, names in os.walk(self._folder):
            entries += len(folders) + len(names)
            if entries > self._most:
                self.too_large = True
                return
            if "pyvenv.cfg" in names:
                folders.clear()
                continue
            folders[:] = [name for name in folders if not name.startswith(".") and name not in LEFT_OUT]
            yield from (os.path.join(folder, name) for name in names if _is_source(name))  # noqa: PTH118 - often


def _is_source(name: str) -> bool:
    return name.endswith(".py") and not name.startswith(".")


def _stamped(files: Iterable[str]) -> Iterator[tuple[str, Stamp]]:
    for name in files:
        try:
            found = os.stat(name)  # noqa: PTH116 - often
        except OSError:
            continue  # gone, which is a change too
        yield name, (found.st_mtime_ns, found.st_size, found.st_ino)


def imported_files() -> list[str]:
    """Return the files of the modules imported into this process, except those of Python and of installed packages."""
    installed = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    return sorted(file for file in files if file and file.endswith(".py") and not file.startswith(installed))
