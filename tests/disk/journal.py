"""What appenders and followers of the kill layer say they do: lines of one file that outlive whoever is killed.

A line is written by one ``os.write`` to a file opened with ``O_APPEND``, so lines of several processes do not mix.
Whoever is killed in the middle leaves the beginning of one: no line, as nothing of it was done or counted on.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec


class Line(msgspec.Struct, frozen=True, tag=True):
    """Something that happened to a partition."""

    partition: int


class Offering(Line, frozen=True, tag=True):
    """These bodies are about to be appended."""

    bodies: list[str]


class Appended(Line, frozen=True, tag=True):
    """They were, at this offset."""

    offset: int
    bodies: list[str]


class Handled(Line, frozen=True, tag=True):
    """A follower, a new one each time a process starts or takes a partition again, is handling these messages."""

    follower: str
    offset: int
    bodies: list[str]


class Placed(Line, frozen=True, tag=True):
    """A commit returned that the group's place is here."""

    next: int


AnyLine = Offering | Appended | Handled | Placed
_decode = msgspec.json.Decoder(AnyLine).decode


def _is_whole(line: bytes) -> bool:
    return line.endswith(b"}")


class Journal:
    """The file, for writing and for reading what is new."""

    def __init__(self, path: str | Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._at, self._rest = 0, b""
        self.lines: list[AnyLine] = []

    def write(self, line: AnyLine) -> None:
        """Say it; any thread."""
        os.write(self._fd, b"\n" + msgspec.json.encode(line) + b"\n")

    def read(self) -> list[AnyLine]:
        """Return everything so far."""
        while data := os.pread(self._fd, 1 << 20, self._at):
            self._at += len(data)
            *whole, self._rest = (self._rest + data).split(b"\n")
            self.lines += map(_decode, filter(_is_whole, whole))
        return self.lines

    def close(self) -> None:
        os.close(self._fd)
