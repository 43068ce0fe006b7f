"""What a worker runs beside its jobs, such as the ticker of schedules."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from holdfast.delivery import Beat, HolderInfo


class Service(Protocol):
    """Has threads of its own. Its methods are called once each, in this order, from the worker's own thread."""

    def start(self) -> None:
        """Start its threads and return. What it raises ends the worker with that error."""

    def stop(self) -> None:
        """Let its threads end, and return at once. Called when the worker begins to stop."""

    def join(self, timeout: float | None = None) -> bool:
        """Wait for its threads to end, at most ``timeout`` seconds; tell whether they have."""


@runtime_checkable
class Beating(Protocol):
    """A service that takes part in the worker's heartbeat, from whose thread ``heard`` is called."""

    def introduce(self, holder: HolderInfo) -> HolderInfo:
        """Return the holder as the store is to know it."""

    def heard(self, beat: Beat) -> None:
        """Hear what a heartbeat was answered; return quickly."""


class Services:
    """The services of one worker. Belongs to the worker's own thread, but for what a heartbeat calls."""

    def __init__(self, services: Sequence[Service], logger: logging.Logger) -> None:
        self._logger = logger
        self._services = services
        self._started: list[Service] = []

    def introduce(self, holder: HolderInfo) -> HolderInfo:
        """Return the worker's holder as its services want the store to know it."""
        for service in self._services:
            if isinstance(service, Beating):
                holder = service.introduce(holder)
        return holder

    def heard(self, beat: Beat) -> None:
        """Pass on what a heartbeat was answered. A service that fails is logged; the heartbeat is not its to end."""
        for service in self._services:
            if isinstance(service, Beating):
                try:
                    service.heard(beat)
                except Exception:
                    self._logger.exception("%r failed at the answer to a heartbeat", service)

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
                self._logger.exception("%r could not be stopped", service)

    def join(self, until: float) -> None:
        """Wait for them to end, until ``until`` (``time.monotonic``) at the latest."""
        for service in reversed(self._started):
            try:
                ended = service.join(max(0.0, until - time.monotonic()))
            except Exception:
                self._logger.exception("%r could not be joined", service)
            else:
                if not ended:
                    self._logger.warning("%r goes on after its worker has ended", service)
