"""Snapshots of the queues: all that is in memory, as of a place in the journal, so that only what follows is replayed.

A file ``snapshot-<number, 20 digits>``, little-endian: magic 8 · format u32 · CRC-32 of the rest u32 · a msgpack
:class:`Dump`. ``number`` is that of the first record which is not in it. Written
to a temporary name, synced, renamed, the directory synced; the last two are kept, should one of them be damaged.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import msgspec

from holdfast.errors import BackendError
from holdfast.stores.disk.files import Files
from holdfast.stores.engine import Engine, dumps
from holdfast.stores.engine.dumps import EngineDump

MAGIC = b"HFQUEUE\n"
FORMAT = 1
KEPT = 2
_PREFIX = "snapshot-"
_HEADER = struct.Struct("<8sII")


class Dump(msgspec.Struct, frozen=True, array_like=True):
    """What is in memory: the engine, and where papers are that were copied, by the number they had at first."""

    engine: EngineDump
    moved: dict[int, int]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Dump).decode


def encoded(engine: Engine, moved: dict[int, int]) -> bytes:
    """Return the body of a snapshot."""
    return _encode(Dump(dumps.dump(engine), moved))


class Snapshots:
    """Those in one directory."""

    def __init__(self, directory: Path, files: Files) -> None:
        self._directory, self._files = directory, files

    def newest(self) -> tuple[int, Dump, int] | None:
        """Return the newest snapshot that is whole: its number, what it says, its bytes; None when there is none.

        ``BackendError`` when a later release wrote it.
        """
        for number in reversed(self.numbers()):
            data = self._read(number)
            if len(data) < _HEADER.size:
                continue
            magic, format_, crc = _HEADER.unpack_from(data)
            body = memoryview(data)[_HEADER.size :]
            if (magic, crc) != (MAGIC, zlib.crc32(body)):
                continue
            if format_ > FORMAT:
                raise BackendError(
                    f"{self._path(number)} is of format {format_}, which a later release of Holdfast wrote; this one "
                    f"reads formats up to {FORMAT}: open it with that release"
                )
            return number, _decode(body), len(data)
        return None

    def damaged(self) -> list[Path]:
        """Return the snapshots that are not whole, in the order they were written."""
        found = []
        for number in self.numbers():
            try:
                data = self._read(number)
            except FileNotFoundError:  # its owner has removed it meanwhile
                continue
            head = data[: _HEADER.size].ljust(_HEADER.size, b"\0")
            magic, _, crc = _HEADER.unpack(head)
            if (magic, crc) != (MAGIC, zlib.crc32(memoryview(data)[_HEADER.size :])):
                found.append(self._path(number))
        return found

    def numbers(self) -> list[int]:
        """Return the numbers of the snapshots there are, rising."""
        names = self._files.list(self._directory)
        return [int(name[len(_PREFIX) :]) for name in names if name.startswith(_PREFIX) and name[-1].isdecimal()]

    def write(self, number: int, body: bytes) -> int:
        """Write a snapshot, and remove those before the last two; return its bytes. Durable on return."""
        path = self._path(number)
        temporary = path.with_suffix(".tmp")
        fd = self._files.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            at, pieces = 0, memoryview(_HEADER.pack(MAGIC, FORMAT, zlib.crc32(body)) + body)
            while at < len(pieces):
                at += self._files.write(fd, [pieces[at:]], at)
            self._files.sync(fd)
        except BaseException:
            self._files.remove(temporary)
            raise
        finally:
            self._files.close(fd)
        self._files.rename(temporary, path)
        self._files.sync_directory(self._directory)
        for old in self.numbers()[:-KEPT]:
            self._files.remove(self._path(old))
        return len(pieces)

    def remove_temporary(self) -> None:
        """Remove what a process left that died while it wrote one."""
        for name in self._files.list(self._directory):
            if name.startswith(_PREFIX) and name.endswith(".tmp"):
                self._files.remove(self._directory / name)

    def _read(self, number: int) -> bytes:
        fd = self._files.open(self._path(number), os.O_RDONLY)
        try:
            size, data = self._files.size(fd), bytearray()
            while len(data) < size and (more := self._files.read(fd, size - len(data), len(data))):
                data += more
            return bytes(data)
        finally:
            self._files.close(fd)

    def _path(self, number: int) -> Path:
        return self._directory / f"{_PREFIX}{number:020}"
