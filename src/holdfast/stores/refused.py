"""What stores of logs refuse, and how they say it: the same words everywhere."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.config import BATCH_MOST, LogSettings
from holdfast.errors import BodyTooLarge, OffsetGone, QueueFull, UsageError, nearest
from holdfast.logged import Columns, Ends

OVERHEAD = 12
"""Bytes that lengths take for each message of an append, at the most."""


def no_log(log: str, known: Iterable[str]) -> UsageError:
    """Nobody declared this log."""
    names = sorted(known)
    return UsageError(f"there is no log {log!r}{nearest(log, names)}; declare it first; there are: {_listed(names)}")


def no_partition(log: str, partition: int, count: int) -> UsageError:
    """The log has no such partition."""
    return UsageError(f"log {log!r} has no partition {partition}; it has 0 to {count - 1}")


def no_group(log: str, group: str, known: Iterable[str]) -> UsageError:
    """The log has no such group."""
    names = sorted(known)
    found = nearest(group, names)
    return UsageError(f"log {log!r} has no group {group!r}{found}; a join makes it; there are: {_listed(names)}")


def fewer_partitions(log: str, there: int, asked: int) -> UsageError:
    """Partitions only ever grow."""
    return UsageError(f"log {log!r} has {there} partitions, which cannot become {asked}; make another log")


def offset_gone(log: str, ends: Ends, offset: int) -> OffsetGone:
    """The offset is not in the log, or no longer."""
    first, next_ = ends.first, ends.next
    return OffsetGone(
        f"log {log!r}, partition {ends.partition}: offset {offset} is not there, "
        f"{_there(first, next_)}; in a group, seek it there, or join it with when_gone='earliest'",
        partition=ends.partition,
        offset=offset,
        first=first,
        next=next_,
    )


def _there(first: int, next_: int) -> str:
    return f"those from {first} to {next_ - 1} are, and {next_} comes next" if first < next_ else f"{next_} comes next"


def check_fits(log: str, limit: int, size: int) -> None:
    """Raise when an append of so many bytes would not fit into the log if it were empty."""
    if size > limit:
        raise BodyTooLarge(
            f"log {log!r}: an append of {size} bytes never fits into its limit_bytes of {limit}; "
            "make several of it, or raise the limit"
        )


def log_full(log: str, limit: int) -> QueueFull:
    """An append would go beyond the log's limit in bytes."""
    return QueueFull(
        f"log {log!r} is at its limit_bytes of {limit}: room comes from what keep_for, keep_bytes and keep_most let go "
        "or, with until_consumed, from what all groups have read; holdfast logs groups shows how far they are"
    )


def check_columns(log: str, settings: LogSettings, columns: Columns) -> int:
    """Return the bytes of the bodies; raise when the log does not take these messages."""
    count = len(columns.bodies)
    if not count:
        raise UsageError(f"log {log!r}: an append has at least one message")
    size = 0
    for column in (columns.keys, columns.headers):
        if column is not None:
            if len(column) != count:
                raise UsageError(f"log {log!r}: {count} bodies, but {len(column)} keys or headers")
            size += sum(map(len, filter(None, column)))
    bodies = sum(map(len, columns.bodies))
    if bodies > settings.max_body and (largest := max(map(len, columns.bodies))) > settings.max_body:
        raise BodyTooLarge(
            f"log {log!r}: a body of {largest} bytes is above {settings.max_body}; "
            "store it elsewhere and append its address, or raise max_body"
        )
    if size + bodies + OVERHEAD * count > BATCH_MOST:
        raise BodyTooLarge(f"log {log!r}: an append has at most {BATCH_MOST} bytes; make several of it")
    return bodies


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names[:20])) + (" …" if len(names) > 20 else "") if names else "none"
