"""The logs of a SQLite file: one row an append, groups and their members beside it, all through the one writer."""

from __future__ import annotations

from holdfast.stores.sqlite.logs.backend import SqliteLogs

__all__ = ["SqliteLogs"]
