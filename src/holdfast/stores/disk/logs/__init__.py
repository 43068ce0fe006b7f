"""The logs of a data directory: settings, the one writer, groups with their members, retention."""

from __future__ import annotations

from holdfast.stores.disk.logs.backend import DiskLogs

__all__ = ["DiskLogs"]
