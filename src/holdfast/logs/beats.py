"""Keeps the partitions of this process's members, also of one whose handler takes longer than its store would wait."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from holdfast.clock import Clock
from holdfast.contract import LogBackend
from holdfast.delivery import HolderInfo
from holdfast.errors import BackendError, Closed, LeaseLost
from holdfast.heartbeat import BEATS_PER_TTL, this_process

M = TypeVar("M")


class Beats:
    """Beats for one holder, of which all members are, from a thread that lives while there are any; where locks hold
    their partitions there is none.

    ``store`` returns the open logs. Every method may be called from any thread.
    """

    def __init__(self, store: Callable[[], LogBackend], name: str, clock: Clock, logger: logging.Logger) -> None:
        self._store, self._name, self._logger = store, name, logger
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._holder: HolderInfo | None = None
        self._members = 0
        self._needed = True
        self._thread: threading.Thread | None = None
        clock.on_move(self._wake.set)

    def join(self, join: Callable[[LogBackend, HolderInfo], M]) -> M:
        """Return a new member of this process, made by ``join``; it is kept until it has ``left``."""
        store = self._store()
        try:
            member = join(store, self._present())
        except LeaseLost:  # the holder had ended while nobody looked; this one is new
            self._forget()
            member = join(store, self._present())
        with self._counting():
            self._members += 1
            self._needed = not store.features.locks
        return member

    def left(self) -> None:
        """Hear that a member has gone."""
        with self._counting():
            self._members -= 1

    def close(self) -> None:
        """End the thread, whoever is left. May be repeated."""
        with self._counting():
            self._members = 0

    @contextmanager
    def _counting(self) -> Iterator[None]:
        with self._lock:
            yield
            if self._members > 0 and self._needed and self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="holdfast-log-beats", daemon=True)
                self._thread.start()
            elif self._members <= 0:
                self._wake.set()

    def _present(self) -> HolderInfo:
        with self._lock:
            return self._incarnation()

    def _incarnation(self) -> HolderInfo:
        if self._holder is None:
            template = this_process(self._name)
            self._holder = msgspec.structs.replace(template, id=f"{template.name}#{secrets.token_hex(6)}")
        return self._holder

    def _forget(self) -> None:
        with self._lock:
            self._holder = None

    # -- the thread -----------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        while (holder := self._goes_on()) is not None:
            try:
                if not self._store().beat(holder):
                    self._logger.warning("the members of %s have lost their partitions: it was retired", holder.id)
                    self._forget()
            except (BackendError, Closed):
                self._logger.debug("a beat of %s failed; the next follows", holder.id, exc_info=True)
            self._wake.wait(holder.ttl / BEATS_PER_TTL)
            self._wake.clear()

    def _goes_on(self) -> HolderInfo | None:
        """Return the holder to beat for; None, and the thread is over, when it has no members."""
        with self._lock:
            if self._members <= 0:
                self._thread = None
                return None
            return self._incarnation()
