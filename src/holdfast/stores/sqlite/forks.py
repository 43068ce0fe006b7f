"""No connection is open while the process forks.

SQLite keeps the locks of all connections to a file in one table a process. A child inherits the table but not the
kernel's locks: what it opens itself then believes to hold locks it does not have, or waits for ever for one that
nobody will release ("How To Corrupt An SQLite Database File", section 2.6). So a fork waits for the transactions
under way, closes every connection, and lets them be opened again at their next use, in the parent as in the child.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """What has a connection: ``acquire`` waits until nobody uses it and keeps others out until ``release``."""

    acquire: Callable[[], object]
    release: Callable[[], None]

    def close(self) -> None: ...


_registering = threading.RLock()
_known: WeakSet[Forkable] = WeakSet()
_held: list[Forkable] = []


def close_at_fork(file: Forkable) -> None:
    """Let every fork from now on close the connection of ``file``, for as long as that lives."""
    with _registering:
        _known.add(file)


def _before() -> None:
    _registering.acquire()
    for file in list(_known):
        file.acquire()
        _held.append(file)
    for file in _held:
        file.close()


def _after() -> None:
    while _held:
        _held.pop().release()
    _registering.release()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
