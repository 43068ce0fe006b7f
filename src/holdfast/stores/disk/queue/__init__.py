"""The queues of a data directory: owned by one process, kept by an engine and its journal."""

from __future__ import annotations

from holdfast.stores.disk.queue.backend import DiskQueues

__all__ = ["DiskQueues"]
