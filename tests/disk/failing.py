"""A simulated disk on which one call fails, or stops short.

A sync that fails leaves what was written readable, and what it has not put on the disk is lost for good: as Linux does,
which marks the pages clean and lets a second sync of them succeed.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.stores.disk.files import Buffer
from tests.disk.simulated import Image, LoseSync, Node, SimulatedDisk

CALLS = (
    "open",
    "read",
    "write",
    "sync",
    "sync_directory",
    "size",
    "truncate",
    "allocate",
    "rename",
    "remove",
    "make_directory",
    "list",
    "map",
    "lock",
    "free",
)
WAYS = ("EIO", "ENOSPC", "EINTR", "short")


class Failure(NamedTuple):
    """The ``nth`` call (from 1) of one method fails in this way: a name of ``errno``, or "short".

    With ``again`` also the one that comes so many calls later.
    """

    call: str
    nth: int
    way: str
    again: int = 0


class FailingDisk(SimulatedDisk):
    """``happened`` tells whether the call was reached. A write that fails leaves half of its bytes behind."""

    def __init__(self, failure: Failure, image: Image | None = None) -> None:
        super().__init__(image)
        self.failure, self.happened = failure, False
        self.calls: Counter[str] = Counter()

    def write(self, fd: int, pieces: Sequence[Buffer], at: int) -> int:
        if not self._strikes("write"):
            return super().write(fd, pieces, at)
        data = b"".join(pieces)
        super().write(fd, [data[: len(data) // 2]], at)
        if self.failure.way != "short":
            raise self._error()
        return len(data) // 2

    def read(self, fd: int, size: int, at: int) -> bytes:
        data = super().read(fd, size, at)
        if self._strikes("read"):
            if self.failure.way != "short":
                raise self._error()
            return data[: (len(data) + 1) // 2]
        return data

    def sync(self, fd: int) -> None:
        if self._strikes("sync"):
            self.trace.append(LoseSync(self._node(fd)))
            raise self._error()
        super().sync(fd)

    def _error(self) -> OSError:
        number = getattr(errno, self.failure.way)
        return OSError(number, f"planted {self.failure.way} at call {self.failure.nth} of {self.failure.call}")

    def _strikes(self, call: str) -> bool:
        with self._lock:
            self.calls[call] += 1
            first = self.failure.nth
            struck = call == self.failure.call and self.calls[call] in (first, first + self.failure.again)
            self.happened |= struck
            return struck


def _failing(call: str) -> Any:
    simulated = getattr(SimulatedDisk, call)

    def method(self: FailingDisk, *arguments: Node | Path | int) -> Any:
        if self._strikes(call):
            raise self._error()
        return simulated(self, *arguments)

    return method


for _call in CALLS:
    if _call not in vars(FailingDisk):
        setattr(FailingDisk, _call, _failing(_call))
