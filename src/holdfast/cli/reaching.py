"""Before ``holdfast worker`` works its store is asked once: what no waiting mends is told at once, in one line."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from holdfast.errors import BackendError

if TYPE_CHECKING:
    from holdfast.app import App
    from holdfast.worker.health import Health


class Reaching:
    """For the main thread, but for the health."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._stop = threading.Event()
        self._error: BackendError | None = None

    def run(self) -> bool:
        """Return once the store answers, for which this waits as long as it takes; False when a signal came instead.

        One warning tells that it waits. Raises what the store answers if trying again is of no use.
        """
        if self._answers():
            return True
        before = {number: signal.signal(number, self._stopped) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._app.events.logger.warning("waiting for the store: %s", self._error)
            return self._waited()
        finally:
            for number, previous in before.items():
                signal.signal(number, previous)

    def before(self, health: Callable[[], Health]) -> Callable[[], Health]:
        """Return what tells how it is: that it waits for the store while it does, then what ``health`` tells."""
        from holdfast.worker.health import Health

        def told() -> Health:
            error = self._error
            return health() if error is None else Health(live=True, ready=False, why=f"it waits for its store: {error}")

        return told

    def _waited(self) -> bool:
        from holdfast.worker.settler import RECONNECT

        attempt = 1
        while not self._stop.wait(RECONNECT.delay(attempt)):
            if self._answers():
                self._app.events.logger.log(logging.INFO, "the store answers")
                return True
            attempt += 1
        return False

    def _answers(self) -> bool:
        try:
            self._app.backend.holders()
        except BackendError as error:
            if not error.retryable:
                raise
            self._error = error
            return False
        self._error = None
        return True

    def _stopped(self, *_: Any) -> None:
        if self._stop.is_set():  # a second signal does not wait for an answer
            raise KeyboardInterrupt
        self._stop.set()
