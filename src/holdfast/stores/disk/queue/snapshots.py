"""Snapshots of the queues: all that is in memory, as of a place in the journal, so that only what follows is replayed.

A file ``snapshot-<number, 20 digits>``, little-endian: magic 8 · format u32 · CRC-32 of the rest u32 · a msgpack
:class:`~holdfast.stores.engine.dumps.EngineDump`. ``number`` is that of the first record which is not in it. Written
to a temporary name, synced, renamed, the directory synced; the last two are kept, should one of them be damaged.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import msgspec

from holdfast.stores.disk.files import Files
from holdfast.stores.engine.dumps import EngineDump

MAGIC = b"HFQUEUE\n"
FORMAT = 1
KEPT = 2
_PREFIX = "snapshot-"
_HEADER = struct.Struct("<8sII")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(EngineDump).decode


def encoded(dump: EngineDump) -> bytes:
    """Return a dump as the body of a snapshot."""
    return _encode(dump)


class Snapshots:
    """Those in one directory."""

    def __init__(self, directory: Path, files: Files) -> None:
        self._directory, self._files = directory, files

    def newest(self) -> tuple[int, EngineDump, int] | None:
        """Return the newest snapshot that is whole: its number, what it says, its bytes; None when there is none."""
        for number in reversed(self.numbers()):
            data = self._read(number)
            if len(data) < _HEADER.size:
                continue
            magic, format_, crc = _HEADER.unpack_from(data)
            body = memoryview(data)[_HEADER.size :]
            if (magic, format_, crc) == (MAGIC, FORMAT, zlib.crc32(body)):
                return number, _decode(body), len(data)
        return None

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
