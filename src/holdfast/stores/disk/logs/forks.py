"""A child just forked has nothing open of what its parent has.

A lock belongs to the open file, which a fork shares: a child that kept it would hold the log, or the partition, after
its parent has died. Closing it in the child leaves it with the parent.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Abandoned(Protocol):
    """What has files open and locked."""

    def abandon(self) -> None:
        """Be as if just made, or ended. Other threads, and what they hold, are not there."""


_known: WeakSet[Abandoned] = WeakSet()


def abandon_at_fork(store: Abandoned) -> None:
    """Let children forked from now on abandon this one, for as long as it lives."""
    _known.add(store)


def _after() -> None:
    for store in list(_known):
        store.abandon()


os.register_at_fork(after_in_child=_after)
