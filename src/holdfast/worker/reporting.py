"""Keeps what runs say of their progress until it is written: the latest word of each, and few writes for many words."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection

from holdfast.capabilities import Progress
from holdfast.contract import QueueBackend
from holdfast.delivery import Receipt, Report
from holdfast.errors import BackendError, NotSupported
from holdfast.worker.consuming.places import is_of_log

REPORT_EVERY = 0.5
"""Seconds between two writes of what goes on; what a run said last is also written just before it is settled."""


class Reports:
    """``put`` may be called from any thread and never waits for the store; the rest belongs to the settler's thread."""

    def __init__(self, backend: QueueBackend, logger: logging.Logger) -> None:
        self._logger = logger
        self._backend = backend
        self._lock = threading.Lock()
        self._latest: dict[Receipt, Report] = {}
        self._written = time.monotonic() - REPORT_EVERY

    def put(self, report: Report) -> bool:
        """Keep the report in place of an earlier one of its run; tell whether it is the first since the last write.

        ``NotSupported`` when the store keeps no progress, and for messages of logs.
        """
        if is_of_log(report.receipt):
            raise NotSupported(f"message {report.receipt.id} of a log keeps no progress: only jobs of queues do")
        if not isinstance(self._backend, Progress):
            raise NotSupported(f"{type(self._backend).__name__} keeps no progress of its jobs")
        with self._lock:
            first = not self._latest
            self._latest[report.receipt] = report
        return first

    def due_in(self) -> float | None:
        """Return the seconds until the next write, None when there is nothing to write."""
        return max(0.0, self._written + REPORT_EVERY - time.monotonic()) if self._latest else None

    def write(self, ending: Collection[Receipt | None], *, now: bool) -> None:
        """Write everything when it is time to, ``now``, or when one of these runs is about to be settled.

        What the store cannot take now is tried again the next time.
        """
        if not now and not any(receipt in self._latest for receipt in ending):
            return
        with self._lock:
            reports, self._latest = self._latest, {}
        self._written = time.monotonic()
        if not isinstance(self._backend, Progress):
            return
        try:
            self._backend.report(list(reports.values()))
        except BackendError as error:
            self._logger.debug("progress cannot be written yet: %s", error)
            with self._lock:
                self._latest = reports | self._latest
        except Exception:
            self._logger.exception("progress of %d jobs is lost: the store's code failed", len(reports))
