"""How much of what a log holds a reader may still be given: by messages, and by bytes of their bodies."""

from __future__ import annotations

from itertools import accumulate

from holdfast.logged import Chunk


class Budget:
    """How many messages, and bytes of bodies, may still be taken; the first message always may."""

    __slots__ = ("bytes", "messages", "taken")

    def __init__(self, messages: int, bytes_: int) -> None:
        self.messages, self.bytes = messages, bytes_
        self.taken = False

    def is_used_up(self) -> bool:
        """Tell whether nothing may be taken any more."""
        return self.messages < 1 or (self.taken and self.bytes < 1)

    def take_all(self, messages: int, bytes_: int) -> None:
        """Count as taken what is known to fit."""
        self.taken = True
        self.messages -= messages
        self.bytes -= bytes_

    def take(self, chunk: Chunk) -> Chunk | None:
        """Return as much of a chunk as may be taken, itself if that is all; None for nothing."""
        if self.messages < 1:
            return None
        sizes = list(accumulate(map(len, chunk.bodies[: self.messages])))
        fits = len(sizes) if sizes[-1] <= self.bytes else sum(1 for size in sizes if size <= self.bytes)
        fits = max(fits, 0 if self.taken else 1)
        if not fits:
            return None
        self.taken = True
        self.messages -= fits
        self.bytes -= sizes[fits - 1]
        return chunk.between(chunk.base, chunk.base + fits)


def cut(chunk: Chunk, budget: Budget) -> tuple[list[Chunk], Chunk | None]:
    """Return what the budget allows of a chunk, and what is left of it."""
    part = budget.take(chunk)
    if part is None:
        return [], chunk
    return [part], None if part.next == chunk.next else chunk.between(part.next)
