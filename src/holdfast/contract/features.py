"""A store's promises as data."""

from __future__ import annotations

import msgspec

from holdfast.message import Level


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """A store's promises as data. The App checks them once at open and refuses what cannot be kept, before any I/O.

    ``level`` is what ``send`` or ``append`` reaches on return; ``max_body`` the largest body in bytes the store can
    hold at all; ``grain`` the resolution of its clock in seconds. Of logs: ``dense_offsets`` tells that offsets of a
    partition have no gaps; where they may have some, lag is an upper bound. ``locks`` tells that members hold
    partitions by locks that end with their process: there silence takes nothing from them, and no beat is needed. With
    ``one_writer`` one process at a time appends to a log, and the others read it.
    """

    level: Level
    durable: bool
    multi_process: bool
    multi_host: bool
    max_body: int
    grain: float = 0.001
    dense_offsets: bool = True
    locks: bool = False
    one_writer: bool = False
