"""How a member waits for what other processes write: inotify where there is one, else by looking ever less often.

The target from an append in one process to the return of a poll in another is 5 ms at the median, and a member that
has waited for hours should still meet it: looking once in 50 ms cannot.
"""

from __future__ import annotations

import ctypes
import os
import select
import sys
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Protocol

SOONEST, LATEST = 0.001, 0.05
_MODIFIED, _NONBLOCKING = 0x2, os.O_NONBLOCK | os.O_CLOEXEC
_EVENTS = 1 << 16


class Waker(Protocol):
    """What one waiting thread waits with; ``wake`` may be called from others."""

    def watch(self, paths: Collection[Path]) -> None:
        """Let writes to these files, and to no others, end a wait from now on."""

    def wait(self, seconds: float, *, fresh: bool) -> None:
        """Return when something may have changed since the last wait ended, and in ``seconds`` at the latest.

        ``fresh`` tells that the caller has just found something, or just begun.
        """

    def wake(self) -> None:
        """End the wait that is going on, or the next one."""

    def hint(self) -> None:
        """Hear that this process has written such a file."""

    def close(self) -> None:
        """Let go of what it needed; a wait that is going on must have ended."""


def new_waker() -> Waker:
    """Return the best waker that the system grants."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            return Notified()
    return Looking()


class Looking:
    """Waits 1 ms, then 2, 4 … 50 ms: the caller looks for itself each time."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._pause = SOONEST

    def watch(self, paths: Collection[Path]) -> None:
        pass

    def wait(self, seconds: float, *, fresh: bool) -> None:
        self._pause = SOONEST if fresh else min(LATEST, self._pause * 2)
        self._woken.wait(min(seconds, self._pause))
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def hint(self) -> None:
        self._woken.set()

    def close(self) -> None:
        pass


class Notified:
    """Is told by the kernel. ``OSError`` where that has no more to give."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._checked(self._libc.inotify_init1(_NONBLOCKING))
        try:
            self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError:
            os.close(self._inotify)
            raise
        self._closing = threading.Lock()
        self._closed = False
        self._poll = select.poll()
        self._poll.register(self._inotify, select.POLLIN)
        self._poll.register(self._event, select.POLLIN)
        self._watches: dict[Path, int] = {}
        self._missing = False

    def watch(self, paths: Collection[Path]) -> None:
        wanted = set(paths)
        for path in self._watches.keys() - wanted:
            self._libc.inotify_rm_watch(self._inotify, self._watches.pop(path))  # one of a removed file has gone
        self._missing = False
        for path in wanted:
            # A file that was replaced is a new one to the kernel, and one that is watched costs nothing to add.
            watch = self._libc.inotify_add_watch(self._inotify, os.fsencode(path), _MODIFIED)
            if watch < 0:
                self._missing = True  # it is not there yet, or the kernel has no more to give: look instead
                self._watches.pop(path, None)
            else:
                self._watches[path] = watch

    def wait(self, seconds: float, *, fresh: bool) -> None:
        if self._missing:
            seconds = min(seconds, LATEST)
        self._poll.poll(max(0.0, seconds) * 1000)
        for fd in (self._inotify, self._event):
            with suppress(BlockingIOError):
                os.read(fd, _EVENTS)

    def wake(self) -> None:
        with self._closing:
            if not self._closed:
                os.eventfd_write(self._event, 1)

    def hint(self) -> None:
        pass  # the kernel tells

    def close(self) -> None:
        with self._closing:
            if not self._closed:
                self._closed = True
                os.close(self._event)
                os.close(self._inotify)

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        return result
