"""What a worker opens before its first job and closes after its last: the lifespans of its handlers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from holdfast.worker.crew import Crew
from holdfast.worker.handler import Handler, Lifespan, lifespans


class Opening:
    """Opens lifespans and then the crew, in a thread of its own, so that one that hangs does not keep a worker from
    ending. ``called`` is called when that is done, or has failed.
    """

    def __init__(
        self, handlers: Iterable[Handler], crew: Crew, called: Callable[[], None], logger: logging.Logger
    ) -> None:
        self._logger = logger
        handlers = list(handlers)
        self._lifespans = lifespans(handlers)
        self._takes_time = bool(self._lifespans) or any(handler.isolated is not None for handler in handlers)
        self._crew = crew
        self._called = called
        self._lock = threading.Lock()
        self._abandoned = False
        self._begun: list[Lifespan] = []
        self._has_crew = False
        self.done = False
        self.error: BaseException | None = None

    def start(self) -> None:
        """Begin; at once done when there is nothing that could take long."""
        if self._takes_time:
            threading.Thread(target=self._open, name="holdfast-opening", daemon=True).start()
        else:
            self._crew.start()
            self.done = True

    def _open(self) -> None:
        try:
            for lifespan in self._lifespans:
                self._begun.append(lifespan)
                lifespan.open()
            self._start_crew()
        except BaseException as error:
            self.error = error
        with self._lock:
            self.done = True
            abandoned = self._abandoned
        if abandoned:
            self._close()
        self._called()

    def _start_crew(self) -> None:
        with self._lock:
            if self._abandoned:
                return
            self._has_crew = True
            self._crew.start()
        self._crew.opened()

    def close(self, until: float | None = None) -> None:
        """Close what was opened once the crew has ended; wait for that until ``until`` (``time.monotonic``) at most."""
        with self._lock:
            self._abandoned = not self.done
        if self._takes_time and self.done:
            if self._has_crew:
                self._crew.join(_left(until))
            closing = threading.Thread(target=self._close, name="holdfast-closing", daemon=True)
            closing.start()
            closing.join(_left(until))
            if closing.is_alive():
                self._logger.warning(
                    "the cleanup of what a worker's jobs depended on goes on after the worker has ended"
                )

    def _close(self) -> None:
        for lifespan in reversed(self._begun):
            try:
                lifespan.close()
            except BaseException:
                self._logger.exception("%r could not be closed", lifespan)


def _left(until: float | None) -> float | None:
    """Return the seconds until then, but at least the moment that what ends at once needs."""
    return None if until is None else max(0.05, until - time.monotonic())
