"""Logs and their partitions as rows: looked up, declared, refused."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import msgspec

from holdfast.config import LogSettings
from holdfast.logged import Ends
from holdfast.stores.refused import fewer_partitions, no_log, no_partition
from holdfast.stores.sqlite.connection import Params, Row
from holdfast.stores.sqlite.statements import statements
from holdfast.stores.sqlite.writer import Transaction

_SQL = statements("logs/appends.sql")
_GROUPS = statements("logs/groups.sql")


class Source(Protocol):
    """What answers a statement: a connection that reads, or a transaction."""

    def execute(self, sql: str, params: Params = ..., /) -> list[Row]:
        """Run one statement and return its rows."""


class LogRow(msgspec.Struct, frozen=True):
    """A log as the file knows it; ``text`` is what is stored of its settings."""

    number: int
    name: str
    text: str

    @property
    def settings(self) -> LogSettings:
        """Its settings, parsed."""
        return _settings(self.text)


class PartitionRow(msgspec.Struct, frozen=True, gc=False):
    """A partition: ``number`` is its own, ``index`` its place in the log; the rest are those of its table."""

    number: int
    index: int
    first: int
    next: int
    written: int
    dropped: int
    bodies: int

    def ends(self) -> Ends:
        """Return what it holds, but for the time."""
        return Ends(self.index, self.first, self.next, self.written - self.dropped)


@lru_cache(maxsize=256)
def _settings(text: str) -> LogSettings:
    return msgspec.json.decode(text, type=LogSettings)


def find(source: Source, name: str) -> LogRow | None:
    """Return the log of that name, None when there is none."""
    rows = source.execute(_SQL["find_log"], (name,))
    return LogRow(*rows[0]) if rows else None


def log_of(source: Source, name: str) -> LogRow:
    """Return the log of that name; ``UsageError`` when there is none."""
    row = find(source, name)
    if row is None:
        raise no_log(name, [one for (one,) in source.execute(_SQL["names"])])
    return row


def all_logs(source: Source) -> list[LogRow]:
    """Return the logs, by name."""
    return [LogRow(*row) for row in source.execute(_SQL["logs"])]


def partition_of(source: Source, log: LogRow, index: int) -> PartitionRow:
    """Return a partition of a log; ``UsageError`` when there is none of that number."""
    rows = source.execute(_SQL["partition"], (log.number, index))
    if not rows:
        raise no_partition(log.name, index, log.settings.partitions)
    return PartitionRow(*rows[0])


def partitions(source: Source, log: LogRow) -> list[PartitionRow]:
    """Return the partitions of a log, in order."""
    return [PartitionRow(*row) for row in source.execute(_SQL["partitions"], (log.number,))]


def is_current(source: Source, log: LogRow) -> bool:
    """Tell whether a log is still there, with the settings that are known of it."""
    return source.execute(_SQL["settings"], (log.number,)) == [(log.text,)]


def declare(tx: Transaction, name: str, settings: LogSettings) -> None:
    """Make a log exist with these settings; see ``LogBackend``."""
    text, known = msgspec.json.encode(settings).decode(), find(tx, name)
    there = 0 if known is None else known.settings.partitions
    if settings.partitions < there:
        raise fewer_partitions(name, there, settings.partitions)
    if known is None:
        tx.execute(_SQL["insert_log"], (name, text))
    elif known.text != text:
        tx.execute(_SQL["set_settings"], (known.number, text))
    number = log_of(tx, name).number
    new = range(there, settings.partitions)
    tx.executemany(_SQL["insert_partition"], [(number, index) for index in new])
    if known is not None and new:
        tx.execute(_GROUPS["begin_new"], (number, there, settings.partitions))
        tx.execute(_GROUPS["change_all"], (number,))
