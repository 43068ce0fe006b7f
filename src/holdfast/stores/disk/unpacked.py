"""The appends that a reader has unpacked and handed out in part: whoever polls few messages at a time comes again."""

from __future__ import annotations

from collections import OrderedDict

from holdfast.logged import Chunk
from holdfast.stores.disk.readable import Readable

_MOST = 4
"""As many groups are read side by side without unpacking for one what is kept for another."""
_MOST_BYTES = 16 << 20


class Unpacked:
    """The last few, up to so many bytes. One thread at a time."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Readable, int], tuple[Chunk, int]] = OrderedDict()
        self._bytes = 0

    def find(self, segment: Readable, offset: int) -> Chunk | None:
        """Return the append with this offset, when it is kept."""
        for key, (chunk, _) in self._kept.items():
            if key[0] is segment and chunk.base <= offset < chunk.next:
                self._kept.move_to_end(key)
                return chunk
        return None

    def keep(self, segment: Readable, chunk: Chunk) -> None:
        """Keep an append, in place of the one that nobody has asked for the longest."""
        size, key = _size(chunk), (segment, chunk.base)
        if size > _MOST_BYTES:
            return
        if key in self._kept:  # who reads across the end of one append may come to another that is kept
            self._bytes -= self._kept.pop(key)[1]
        self._kept[key] = chunk, size
        self._bytes += size
        while len(self._kept) > _MOST or self._bytes > _MOST_BYTES:
            self._bytes -= self._kept.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Keep nothing: the segments are opened anew."""
        self._kept.clear()
        self._bytes = 0


def _size(chunk: Chunk) -> int:
    columns = (chunk.bodies, chunk.keys or (), chunk.headers or ())
    return sum(len(one) for column in columns for one in column if one)
