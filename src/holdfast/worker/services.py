"""What a worker runs beside its jobs, such as the ticker of schedules."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Protocol

logger = logging.getLogger("holdfast")


class Service(Protocol):
    """Has threads of its own. Its methods are called once each, in this order, from the worker's own thread."""

    def start(self) -> None:
        """Start its threads and return. What it raises ends the worker with that error."""

    def stop(self) -> None:
        """Let its threads end, and return at once. Called when the worker begins to stop."""

    def join(self, timeout: float | None = None) -> bool:
        """Wait for its threads to end, at most ``timeout`` seconds; tell whether they have."""


class Services:
    """The services of one worker. Belongs to the worker's own thread."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._started: list[Service] = []

    def start(self) -> None:
        """Start all of them, in order; raises what the first that cannot start raises."""
        for service in self._services:
            service.start()
            self._started.append(service)

    def stop(self) -> None:
        """Stop those that have started, the last one first. One that cannot is logged and spoils nothing else."""
        for service in reversed(self._started):
            try:
                service.stop()
            except Exception:
                logger.exception("%r could not be stopped", service)

    def join(self, until: float) -> None:
        """Wait for them to end, until ``until`` (``time.monotonic``) at the latest."""
        for service in reversed(self._started):
            try:
                ended = service.join(max(0.0, until - time.monotonic()))
            except Exception:
                logger.exception("%r could not be joined", service)
            else:
                if not ended:
                    logger.warning("%r goes on after its worker has ended", service)
