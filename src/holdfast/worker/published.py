"""What a worker process publishes in shared memory for whoever outlives it: that it is well, and which jobs started.

Only jobs that had really started when a process died are charged with its crash. Nobody can ask a dead process, so a
living one writes them down where they survive it: in a small file, mapped into memory, of a file system that is memory
itself where there is one. A write costs no system call, and what was written before a ``kill -9`` is there after it.

::

    0      8       16     24      32     34          1088        1088 + 2112
    magic  tick    beaten state   length holder      record 0    record 1 …
           boot ms boot ms 1 byte 2 bytes UTF-8

    record:  0       2
             length  MessagePack of (queue, id, token); length 0: nothing has started here

A length is written after what it is the length of, so what a death cut short was never there. The file's name tells
whose it is: ``holdfast-pid-start-…``.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

import msgspec

from holdfast.clock import SYSTEM, Clock
from holdfast.delivery import Delivery, Receipt
from holdfast.heartbeat import has_gone, process_start

MAGIC = b"HOLDFST1"
SHARED_MEMORY = Path("/dev/shm")
HEADER, RECORD = 1088, 2112
"""Bytes; queue and id are at most 255 characters each, which is 2 040 bytes of UTF-8, and a holder's id is shorter."""
KEPT_MS = 7 * 86_400_000
"""How long the file of a process that died is there for whoever retires its holder: the next worker of its store, which
may be started much later."""
_TICK, _BEATEN, _STATE, _HOLDER = 8, 16, 24, 32
_EMPTY = b"\0\0"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, str, int]).decode

Condition = Literal["starting", "ready", "quiet", "stalled", "stopping"]
"""What a worker is at: only a ``ready`` one leases, or would if it had room; a ``stalled`` one cannot."""
_CONDITIONS: Sequence[Condition] = get_args(Condition)


class Published:
    """One process's file. Used by that process alone, every method from any thread; none blocks.

    The file exists from :meth:`open` to :meth:`close`; whoever retires a holder that died removes what it left, and
    what nobody came for goes when a later process opens its own. A worker whose store nobody else can see opens none:
    when its process dies, all is gone with it. What is noted without a file is lost.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._map: mmap.mmap | None = None
        self._holder = ""
        self._free: list[int] = []
        self._places: dict[int, int] = {}
        self.path = ""

    def open(self, places: int) -> None:
        """Make the file, with room for so many started jobs at once. Raises ``OSError`` where none can be made."""
        folder = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
        _sweep(folder)
        pid = os.getpid()
        descriptor, self.path = tempfile.mkstemp(prefix=f"holdfast-{pid}-{process_start(pid) or 0}-", dir=folder)
        try:
            os.truncate(descriptor, HEADER + places * RECORD)
            shared = mmap.mmap(descriptor, 0)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(descriptor)
        shared[:_TICK] = MAGIC
        self._free = list(range(HEADER, HEADER + places * RECORD, RECORD))
        self._map = shared
        self.tick()

    def close(self) -> None:
        """Remove the file. May be repeated."""
        discard(self.path)
        self.path, self._map = "", None

    # -- what is well ---------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Note that the worker's own thread turns."""
        self._write(_TICK, self._clock.boot().to_bytes(8, "little"))

    def beaten(self) -> None:
        """Note that the store has answered a beat."""
        self._write(_BEATEN, self._clock.boot().to_bytes(8, "little"))

    def hold(self, holder: str) -> None:
        """Note under which id the process holds leases now; empty when that has ended."""
        if holder == self._holder:
            return
        self._holder = holder
        text = holder.encode()
        self._write(_HOLDER, _EMPTY)
        self._write(_HOLDER + 2, text)
        self._write(_HOLDER, len(text).to_bytes(2, "little"))

    def show(self, condition: Condition) -> None:
        """Note what the worker is at."""
        self._write(_STATE, bytes([_CONDITIONS.index(condition)]))

    def _write(self, at: int, data: bytes) -> None:
        if self._map is not None:
            self._map[at : at + len(data)] = data

    # -- what has started -----------------------------------------------------------------------------------------

    def begin(self, delivery: Delivery) -> None:
        """Note that this job's handler is about to be called."""
        if (shared := self._map) is None:
            return
        text = _encode((delivery.queue, delivery.id, delivery.token))
        at = self._places[id(delivery)] = self._free.pop()
        shared[at + 2 : at + 2 + len(text)] = text
        shared[at : at + 2] = len(text).to_bytes(2, "little")

    def end(self, delivery: Delivery) -> None:
        """Note that its run has ended and that its settlement is on its way."""
        if (shared := self._map) is None or (at := self._places.pop(id(delivery), None)) is None:
            return
        shared[at : at + 2] = _EMPTY
        self._free.append(at)


class Seen(msgspec.Struct, frozen=True):
    """What a process had published when it was looked at. ``tick`` and ``beaten`` are boot ms, 0 for never."""

    holder: str
    condition: Condition
    tick: int
    beaten: int
    started: tuple[Receipt, ...]


def read_published(path: str) -> Seen | None:
    """Return what a process has published, alive or dead; None when there is nothing that can be read.

    Of a living process the holder may be read while it is being written, and then is no holder's id.
    """
    try:
        data = Path(path).read_bytes() if path else b""
        return _seen(data) if data[:_TICK] == MAGIC else None
    except (OSError, ValueError, IndexError):
        return None


def discard(path: str) -> None:
    """Remove what a process has published, if it is there."""
    if path:
        with suppress(OSError):
            Path(path).unlink()


def _sweep(folder: Path) -> None:
    """Remove what processes published that have gone and were well for the last time too long ago."""
    oldest = SYSTEM.boot() - KEPT_MS
    for file in folder.glob("holdfast-*-*-*"):
        pid, start = file.name.split("-")[1:3]
        if not (pid.isdecimal() and start.isdecimal() and has_gone(int(pid), int(start))):
            continue
        # A process of another pid namespace only looks as if it had gone; while it lives, it ticks.
        if (seen := read_published(str(file))) is not None and seen.tick < oldest:
            discard(str(file))


def _seen(data: bytes) -> Seen:
    records = (_text(data, at) for at in range(HEADER, len(data), RECORD))
    return Seen(
        holder=_text(data, _HOLDER).decode(errors="replace"),
        condition=_CONDITIONS[data[_STATE]],
        tick=_number(data, _TICK),
        beaten=_number(data, _BEATEN),
        started=tuple(Receipt(*_decode(record)) for record in records if record),
    )


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _text(data: bytes, at: int) -> bytes:
    return data[at + 2 : at + 2 + int.from_bytes(data[at : at + 2], "little")]
