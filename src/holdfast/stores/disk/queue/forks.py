"""A child of a fork has nothing of what its parent has open: the queues are the parent's.

A fork waits until nobody is at the store, so that the child finds no lock held by a thread that it does not have. The
child then lets go of the parent's descriptors, its lock among them, without touching what they stand for; a call in
the child finds the directory owned by the parent.
"""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """What is held while a process forks."""

    def hold(self) -> None:
        """Wait until nobody uses it, and keep others out."""

    def let_in(self) -> None:
        """Let others in again, in the parent and in the child."""

    def abandon(self) -> None:
        """Let go, in the child, of what is the parent's."""


_registering = threading.RLock()
_known: WeakSet[Forkable] = WeakSet()
_held: list[Forkable] = []


def abandon_at_fork(store: Forkable) -> None:
    """Hold this store at every fork from now on, and let children forget what it has open, while it lives."""
    with _registering:
        _known.add(store)


def _before() -> None:
    _registering.acquire()
    for store in list(_known):
        store.hold()
        _held.append(store)


def _after_in_parent() -> None:
    while _held:
        _held.pop().let_in()
    _registering.release()


def _after_in_child() -> None:
    for store in _held:
        store.abandon()
    _after_in_parent()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
