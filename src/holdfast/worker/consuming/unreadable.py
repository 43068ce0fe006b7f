"""The partitions that a member cannot read: left out of its polls, so that the others go on, and tried now and then."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from holdfast.logged import Assigned, Offset

AGAIN_EVERY = 1.0
"""Seconds between two tries to read such a partition."""


class _Place(NamedTuple):
    """Where reading ended, and the ``version`` of the group's place then."""

    version: int
    offset: int


class Unreadable:
    """For one thread; ``partitions`` may be asked by any."""

    def __init__(self) -> None:
        self._places: dict[int, _Place] = {}
        self._next: dict[int, float] = {}

    @property
    def partitions(self) -> set[int]:
        """Those that could not be read when it was tried last."""
        return set(self._places)

    def add(self, place: Offset, offset: int) -> bool:
        """Note that a group cannot read on at ``offset``; tell whether that is news."""
        found, known = _Place(place.version, offset), self._places.get(place.partition)
        self._places[place.partition] = found
        self._next[place.partition] = time.monotonic() + AGAIN_EVERY
        return found != known

    def forget(self, partition: int) -> None:
        """Hear that a partition was read."""
        self._places.pop(partition, None)

    def for_now(self, assigned: Mapping[int, Assigned]) -> set[int]:
        """Return those to leave out of the next poll; one that was sought or taken since is none any more."""
        for partition, (version, _) in list(self._places.items()):
            if partition not in assigned or assigned[partition].place.version != version:
                self.forget(partition)
        return {partition for partition in self._places if not self._is_due(partition)}

    def _is_due(self, partition: int) -> bool:
        now = time.monotonic()
        due = self._next[partition] <= now
        if due:
            self._next[partition] = now + AGAIN_EVERY
        return due
