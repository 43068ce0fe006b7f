"""What a worker is told of a group whose messages it is to handle."""

from __future__ import annotations

from typing import Literal

import msgspec

from holdfast.contract import StreamReading
from holdfast.logged import Start, WhenGone
from holdfast.offsets import Order
from holdfast.worker.consuming.places import queue_of

AfterFailure = Literal["queue", "stop"]
"""What becomes of a message that failed for good: a dead letter in the group's queue, or its partition stops there."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """That messages of ``log`` are handled for ``group`` by the handler of ``kind``.

    Of a message that fails, ``attempts`` runs are made, None for no limit. ``start`` is for a group that does not
    exist yet, ``when_gone`` for one whose next message retention removed. With ``entries``, ``log`` is a stream.
    """

    log: str
    group: str
    kind: str
    attempts: int | None = None
    order: Order = "key"
    dead_letters: AfterFailure = "queue"
    start: Start = Start()
    when_gone: WhenGone = "error"
    entries: StreamReading | None = None

    @property
    def is_stream(self) -> bool:
        """Whether it reads a stream that others fill."""
        return self.entries is not None

    @property
    def queue(self) -> str:
        """The queue in which its messages stand, and its dead letters are."""
        return queue_of(self.log, self.group)
