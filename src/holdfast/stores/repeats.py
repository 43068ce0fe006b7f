"""Recognises an append that was made before, by its producer's sequence: values, kept by each store in its own way."""

from __future__ import annotations

import msgspec

from holdfast.errors import UsageError
from holdfast.logged import Producer

RECOGNISED = 5
"""How many appends of a producer a partition recognises."""


class Window(msgspec.Struct, frozen=True):
    """What a partition remembers of a producer: its newest ``epoch``, and the sequence its ``next`` append begins with.

    ``appends`` are its last ones, oldest first: the sequence and the offset of the first message of each.
    """

    epoch: int
    next: int
    appends: tuple[tuple[int, int], ...] = ()


def repeated(window: Window | None, producer: Producer) -> int | None:
    """Return the offset at which this append lies already; None when it is new and in turn.

    A producer that is not known, or begins a new epoch, may begin with any sequence. ``UsageError`` for an older epoch,
    a gap, and a repeat from so long ago that its place is forgotten.
    """
    if window is None or producer.epoch > window.epoch:
        return None
    if producer.epoch < window.epoch:
        raise UsageError(f"producer {producer.id} appends in epoch {producer.epoch}, and has begun {window.epoch}")
    if producer.sequence == window.next:
        return None
    for sequence, offset in window.appends:
        if sequence == producer.sequence:
            return offset
    raise UsageError(
        f"producer {producer.id} appends sequence {producer.sequence}, and its next is {window.next}: there is a gap, "
        f"or this is an append from before its last {RECOGNISED}"
    )


def continued(window: Window | None, producer: Producer, count: int, offset: int) -> Window:
    """Return the window after ``count`` messages of the producer were appended from ``offset`` on."""
    before = window.appends if window is not None and window.epoch == producer.epoch else ()
    appends = (*before, (producer.sequence, offset))[-RECOGNISED:]
    return Window(producer.epoch, producer.sequence + count, appends)
