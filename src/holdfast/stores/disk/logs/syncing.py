"""The thread that brings commits to the disk: one for all groups of a store, and no timer for any of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from holdfast.errors import Closed
from holdfast.stores.disk.logs.offset_file import OffsetFile

SOON = 0.04
"""Seconds from the first commit of a round to its sync; with the sync itself, commits are safe within 50 ms."""


class Syncer:
    """Syncs offset files soon after they were written. The thread starts with the first of them."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._changed = threading.Condition()
        self._dirty: set[OffsetFile] = set()
        self._told: set[OffsetFile] = set()
        self._thread: threading.Thread | None = None
        self._closed = False

    def dirty(self, file: OffsetFile) -> None:
        """Let this file be synced soon."""
        with self._changed:
            self._dirty.add(file)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="holdfast-offsets", daemon=True)
                self._thread.start()
            elif len(self._dirty) == 1:
                self._changed.notify()

    def forget(self, file: OffsetFile) -> None:
        """Leave this file alone: it is synced, or about to be closed."""
        with self._changed:
            self._dirty.discard(file)
            self._told.discard(file)

    def close(self) -> None:
        """Sync what is dirty and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while self._round():
            pass

    def _round(self) -> bool:
        """Sync what was written in one round; False when there will be no other."""
        with self._changed:
            while not self._dirty and not self._closed:
                self._changed.wait()
            end = time.monotonic() + SOON
            while not self._closed and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            dirty, self._dirty = self._dirty, set()
        for file in dirty:
            self._sync(file)
        return bool(dirty) or not self._closed

    def _sync(self, file: OffsetFile) -> None:
        try:
            file.sync()
            self._told.discard(file)
        except (Closed, FileNotFoundError):
            pass  # it was synced before it was let go of, or its group is no more
        except Exception as error:  # the disk's trouble is not the thread's end: it is tried again with the next round
            if file not in self._told:  # once, until it can be
                self._told.add(file)
                self._report(f"{file.path} could not be synced: {error}; after a power cut its messages may come again")
            with self._changed:
                if not self._closed:
                    self._dirty.add(file)
