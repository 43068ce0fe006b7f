"""What an operator should know of logs and their groups, whatever the store: judged by what they tell of themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.capabilities import Finding
from holdfast.config import LogSettings
from holdfast.contract import LogBackend
from holdfast.errors import UsageError
from holdfast.logged import GroupInfo, Lag

FORGOTTEN = 86_400.0
"""Seconds that nobody has read for a group before it seems to be forgotten."""
LATE = 300.0
"""Seconds that a message may lie unread before a group's members do not seem to keep up."""
NEARLY = 0.9
"""The part of a log's ``limit_bytes`` from which on an operator should know."""


def log_findings(logs: LogBackend) -> Iterator[Finding]:
    """Yield what is to be said of each log and each group, the healthy ones included."""
    for log, settings in logs.logs().items():
        try:
            yield _log_finding(logs, log, settings)
            for group in logs.groups(log):
                yield _group_finding(group, logs.lag(log, group.name))
        except UsageError:
            continue  # somebody has just removed it


def _log_finding(logs: LogBackend, log: str, settings: LogSettings) -> Finding:
    ends, limit = logs.ends(log), settings.limit_bytes
    size, messages = sum(one.bytes for one in ends), sum(one.next - one.first for one in ends)
    what = f"log {log!r}: {_count(messages, 'message')} in {size} bytes"
    if limit is None or size < NEARLY * limit:
        return Finding("ok", what)
    return Finding(
        "error" if size >= limit else "warn", f"{what} of {limit}", "beyond its limit appends are refused",
        "let its groups read on; let it keep less, or raise the limit",
    )  # fmt: skip


def _group_finding(group: GroupInfo, lags: Sequence[Lag]) -> Finding:
    name, behind = f"group {group.name!r} of log {group.log!r}", _count(sum(lag.messages for lag in lags), "message")
    days = f"nobody has read for {group.idle / 86_400:.1f} days"
    away = not group.members and group.idle >= FORGOTTEN
    forget = f"start its consumer, or app.log({group.log!r}).group({group.name!r}).forget()"
    if any(lag.gone for lag in lags):
        return Finding(
            "warn", f"{name}: what it was to read next is gone", "retention has removed messages that it had not read",
            "seek the group to where it shall go on; keep more, or set until_consumed",
        )  # fmt: skip
    if away and group.pins:
        return Finding("warn", f"{name} keeps {group.pins} bytes for itself alone", days, forget)
    if away:
        return Finding("warn", f"{name} seems to be forgotten, {behind} behind", days, forget)
    oldest = max((lag.age for lag in lags if lag.age is not None), default=0.0)
    if group.members and oldest > LATE:
        return Finding(
            "warn", f"{name}: {behind} behind, the oldest for {oldest:.0f} s", "its members do not keep up",
            "add members, or partitions; look for handlers that take long",
        )  # fmt: skip
    read = f"read by {_count(len(group.members), 'holder')}" if group.members else "nobody reads it now"
    return Finding("ok", f"{name}: {behind} behind, {read}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
