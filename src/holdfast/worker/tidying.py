"""Tidies the store of an open App, which may have no worker: some programs only send."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Protocol

from holdfast.contract import QueueBackend
from holdfast.errors import BackendError, Closed
from holdfast.events import Events
from holdfast.worker.housekeeping import retire_all_gone, tidy

TIDY_EVERY = 60.0


class Untidy(Protocol):
    """Who has something to tidy."""

    def tidy(self, stop: threading.Event) -> None:
        """Tidy until there is nothing more to do or ``stop`` is set."""


def tidy_all(store: QueueBackend, events: Events, stop: threading.Event) -> int:
    """Tidy a store until there is nothing more to do or ``stop``, and return how many jobs were taken back."""
    rescued = retire_all_gone(store, events)  # first, or they count as silent, charged with what had not started
    while True:
        done = tidy(store, events)
        rescued += done.rescued
        if not done.more or stop.is_set():
            return rescued


class Tidying:
    """Tidies once a minute, from a thread of its own, until it is stopped or ``owner`` has gone."""

    def __init__(self, owner: Untidy, logger: logging.Logger) -> None:
        self._stop = threading.Event()
        # The thread holds its owner weakly, or an App that nobody closes would live as long as the program.
        arguments = (weakref.ref(owner), self._stop, logger)
        self._thread = threading.Thread(target=_keep_tidy, args=arguments, name="holdfast-tidy", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for that."""
        self._stop.set()
        self._thread.join()


def _keep_tidy(owner: weakref.ref[Untidy], stop: threading.Event, logger: logging.Logger) -> None:
    while not stop.wait(TIDY_EVERY):
        held = owner()
        if held is None:
            return
        try:
            held.tidy(stop)
        except (BackendError, Closed):
            logger.debug("tidying %r is put off", held, exc_info=True)  # whoever uses the store will say so
        del held
