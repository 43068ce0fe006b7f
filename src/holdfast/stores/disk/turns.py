"""Files whose locks say whose turn it is, in whatever process: held for as long as a few file operations take."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.errors import BackendError
from holdfast.stores.disk.files import Files

PATIENCE = 10.0
"""Seconds after which whoever has the turn is taken to be stopped: what is done in a turn takes milliseconds."""


@contextmanager
def turn(files: Files, path: Path) -> Iterator[None]:
    """Have the turn of this file, which is made if need be, for as long as the context."""
    fd = files.open(path, os.O_RDWR | os.O_CREAT)
    try:
        take_turn(files, fd, path)
        yield
    finally:
        files.close(fd)


def take_turn(files: Files, fd: int, path: Path) -> None:
    """Lock an open file, once nobody else has it; ``BackendError`` when that takes longer than it ever should."""
    if files.lock(fd):
        return
    pause, end = 0.0001, time.monotonic() + PATIENCE
    while not files.lock(fd):
        if time.monotonic() > end:
            raise BackendError(
                f"another process has held {path} for {PATIENCE:.0f} s: it is stopped, or its disk is", retryable=True
            )
        time.sleep(pause)  # nothing tells when a lock of another process is free; turns are short
        pause = min(0.005, pause * 2)
