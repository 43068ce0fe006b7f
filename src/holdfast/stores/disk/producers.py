"""What the writer remembers of idempotent producers, so that a repeated append is known for one.

Of each producer: its newest epoch, the sequence it must go on with, and the places of its last five appends. All of it
stands in the batches' own headers; so that an opening need read no further back than the newest segment, each segment
begins with a control batch of the windows as they were. The 10 000 producers that appended last are remembered.

That batch's body, for each producer, the one that appended least lately first::

    id u64 · epoch u16 · number of appends u16 · next sequence u32 · then for each append
    sequence u32 · count u32 · offset u64
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import NamedTuple

from holdfast.errors import UsageError
from holdfast.logged import Producer

MOST = 10_000
APPENDS = 5
_HEAD, _APPEND = struct.Struct("<QHHI"), struct.Struct("<IIQ")
_LIMITS = (("id", 1, 1 << 64), ("epoch", 0, 1 << 16), ("sequence", 0, 1 << 32))


class Repeated(NamedTuple):
    """One of the last appends of a producer."""

    sequence: int
    messages: int
    offset: int


class Window(NamedTuple):
    """What is remembered of one producer."""

    epoch: int
    next: int
    appends: tuple[Repeated, ...]


Before = list[tuple[int, Window | None]]


class Windows:
    """Those of one partition. Not thread-safe: the one who writes asks and tells."""

    def __init__(self, windows: OrderedDict[int, Window] | None = None) -> None:
        self._windows: OrderedDict[int, Window] = OrderedDict() if windows is None else windows
        self._before: Before | None = None

    def __len__(self) -> int:
        return len(self._windows)

    def copy(self) -> Windows:
        """Return what can be changed without changing these."""
        return Windows(self._windows.copy())

    def find(self, producer: Producer, count: int) -> int | None:
        """Return the offset of this append if it was made before, None if it is the next one.

        ``UsageError`` for an epoch that is over, for a gap, and for what is further back than five appends.
        """
        window = self._windows.get(producer.id)
        if window is None or producer.epoch > window.epoch:
            return None
        if producer.epoch < window.epoch:
            raise UsageError(f"producer {producer.id} has epoch {window.epoch} now, {producer.epoch} is over")
        if producer.sequence == window.next:
            return None
        for append in window.appends:
            if append.sequence == producer.sequence and append.messages == count:
                return append.offset
        wrong = "leaves a gap" if producer.sequence > window.next else "is none of its last appends"
        raise UsageError(
            f"producer {producer.id} goes on with sequence {window.next}: "
            f"{producer.sequence}, with {count} messages, {wrong}"
        )

    def add(self, producer: Producer, count: int, offset: int) -> None:
        """Remember an append that was made."""
        window = self._windows.pop(producer.id, None)
        if self._before is not None:
            self._before.append((producer.id, window))
        if window is not None and producer.epoch < window.epoch:
            self._windows[producer.id] = window
            return
        past = window.appends if window is not None and producer.epoch == window.epoch else ()
        appends = (*past, Repeated(producer.sequence, count, offset))[-APPENDS:]
        self._windows[producer.id] = Window(producer.epoch, (producer.sequence + count) & 0xFFFFFFFF, appends)
        if len(self._windows) > MOST:
            self._windows.popitem(last=False)

    def begin(self) -> Before:
        """Return what :meth:`restore` needs to forget everything that is added from now on, until ``begin`` again."""
        self._before = []
        return self._before

    def restore(self, before: Before) -> None:
        """Forget what was added since ``begin`` returned this."""
        for id, window in reversed(before):
            if window is None:
                self._windows.pop(id, None)
            else:
                self._windows[id] = window
        before.clear()

    def pack(self) -> bytes:
        """Return the body of a control batch that holds all of them."""
        return b"".join(
            _HEAD.pack(id, window.epoch, len(window.appends), window.next)
            + b"".join(_APPEND.pack(*append) for append in window.appends)
            for id, window in self._windows.items()
        )

    @classmethod
    def unpack(cls, body: bytes) -> Windows:
        """Return what such a body holds; zeros behind it are padding."""
        windows: OrderedDict[int, Window] = OrderedDict()
        at = 0
        while at + _HEAD.size <= len(body):
            id, epoch, number, following = _HEAD.unpack_from(body, at)
            at += _HEAD.size
            if not id:
                break
            places = range(at, at + number * _APPEND.size, _APPEND.size)
            windows[id] = Window(epoch, following, tuple(Repeated._make(_APPEND.unpack_from(body, p)) for p in places))
            at += number * _APPEND.size
        return cls(windows)


def check_producer(producer: Producer) -> None:
    """Raise ``UsageError`` when the format has no room for one of its numbers."""
    for name, low, end in _LIMITS:
        number = getattr(producer, name)
        if not low <= number < end:
            raise UsageError(f"{name} of a producer must be from {low} to {end - 1}, not {number}")
