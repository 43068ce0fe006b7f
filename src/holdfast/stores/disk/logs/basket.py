"""What one poll has found so far, and whether that is enough."""

from __future__ import annotations

from holdfast.logged import Chunk


class Basket:
    """Chunks up to ``limit`` messages and ``max_bytes`` of bodies; one message fits in any case."""

    def __init__(self, limit: int, max_bytes: int, min_bytes: int) -> None:
        self.chunks: list[Chunk] = []
        self.messages = 0
        self._limit, self._max_bytes, self._min_bytes = limit, max_bytes, min(min_bytes, max_bytes)
        self._bytes = 0

    def room(self) -> tuple[int, int]:
        """Return how many messages, and bytes of them, there is room for."""
        return self._limit - self.messages, self._max_bytes - self._bytes

    def take(self, chunk: Chunk) -> bool:
        """Add a chunk; False, and nothing is added, when it has no room."""
        size = sum(map(len, chunk.bodies))
        if self.messages and self._bytes + size > self._max_bytes:
            return False
        self.chunks.append(chunk)
        self.messages += len(chunk)
        self._bytes += size
        return True

    def drop(self, partition: int) -> None:
        """Take out what is of a partition that is no longer held, or was sought."""
        kept = [chunk for chunk in self.chunks if chunk.partition != partition]
        if len(kept) < len(self.chunks):
            self.chunks, self.messages, self._bytes = [], 0, 0
            for chunk in kept:
                self.take(chunk)

    def full(self) -> bool:
        """Tell whether nothing more fits."""
        return self.messages >= self._limit or (self.messages > 0 and self._bytes >= self._max_bytes)

    def enough(self) -> bool:
        """Tell whether the poll need not wait for more."""
        return self.messages > 0 and (self.full() or self._bytes >= self._min_bytes or self._min_bytes <= 1)
