"""Which files the demo surveys, and which of them fail on purpose: the same every time, by their place in the list."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from holdfast.demo.survey import ATTEMPTS
from holdfast.errors import UsageError

LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__", "lib2to3"}
"""Directories that are not the library's own, or whose files are meant not to parse."""
FAILS_ONCE, FAILS_TWICE = 25, 100
"""Every so many files one fails in its first attempt, or its first two."""
MISSING = (3, 12)
"""The places of the files that are not there at first: all their attempts fail, and they become dead letters."""


class Planned(msgspec.Struct, frozen=True):
    """One file: where it lies, where its job looks for it, and how many attempts fail before it is replayed."""

    source: Path
    path: Path
    failures: int

    @property
    def missing(self) -> bool:
        """Whether it is not where its job looks for it, until ``bring`` has brought it."""
        return self.path != self.source

    @property
    def fail(self) -> int:
        """How many attempts the job itself fails on purpose."""
        return 0 if self.missing else self.failures


def standard_library() -> Path:
    """Return where the running Python's standard library lies."""
    return Path(sysconfig.get_path("stdlib"))


def make_plan(source: Path, folder: Path) -> list[Planned]:
    """Plan the Python files under ``source``; the missing ones will be looked for in ``folder``."""
    files = sorted(_files(source))
    if not files:
        raise UsageError(f"there are no Python files under {source}: name a directory that has some with --source")
    return [_planned(file, place, folder) for place, file in enumerate(files, start=1)]


def _files(source: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(source):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        yield from (Path(folder, name) for name in names if name.endswith(".py"))


def _planned(file: Path, place: int, folder: Path) -> Planned:
    if place in MISSING:
        return Planned(file, folder / f"{place}-{file.name}", ATTEMPTS)
    return Planned(file, file, 2 if place % FAILS_TWICE == 0 else int(place % FAILS_ONCE == 0))


def bring(plan: Sequence[Planned]) -> None:
    """Put the missing files where their jobs look for them."""
    for one in plan:
        if one.missing:
            shutil.copyfile(one.source, one.path)
