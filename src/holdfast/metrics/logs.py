"""How the logs stand that an App has open, and their groups: gauges that are asked of the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily

from holdfast.contract import LogBackend, StreamGroups
from holdfast.errors import UsageError
from holdfast.logged import Ends, Lag

FAMILIES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("log_messages", "Messages that the log holds; of logs that this process has open.", ("log",)),
    ("log_bytes", "Bytes that the log holds.", ("log",)),
    (
        "group_lag_messages",
        "Messages that the group has not committed, and entries of a stream; left out where the server does not know.",
        ("log", "group"),
    ),
    ("group_lag_seconds", "For how long the oldest of them has been there; 0 without one.", ("log", "group")),
)


class LogSeen(NamedTuple):
    """A log, and how far its groups are behind."""

    name: str
    ends: Sequence[Ends]
    lags: Mapping[str, Sequence[Lag]]


def look_at_streams(store: StreamGroups, streams: Collection[str]) -> list[LogSeen]:
    """Return how the groups of these streams stand."""
    return [LogSeen(stream, (), _lags(store, stream)) for stream in streams]


def look_at(store: LogBackend) -> list[LogSeen]:
    """Return how all logs stand; those that are removed meanwhile, and their groups, are left out."""
    return [seen for log in store.logs() if (seen := _look_at(store, log)) is not None]


def _look_at(store: LogBackend, log: str) -> LogSeen | None:
    try:
        lags = _lags(store, log)
        return LogSeen(log, store.ends(log), lags)
    except UsageError:
        return None


def _lags(store: LogBackend | StreamGroups, log: str) -> dict[str, Sequence[Lag]]:
    lags: dict[str, Sequence[Lag]] = {}
    for group in store.groups(log):
        with suppress(UsageError):
            lags[group.name] = store.lag(log, group.name)
    return lags


def fill(families: Mapping[str, GaugeMetricFamily], logs: Sequence[LogSeen]) -> None:
    """Put in what was seen."""
    for log in logs:
        if log.ends:  # a stream is somebody else's to measure
            families["log_messages"].add_metric([log.name], sum(ends.next - ends.first for ends in log.ends))
            families["log_bytes"].add_metric([log.name], sum(ends.bytes for ends in log.ends))
        for group, lags in log.lags.items():
            if not any(lag.more for lag in lags):
                families["group_lag_messages"].add_metric([log.name, group], sum(lag.messages for lag in lags))
            oldest = max((lag.age or 0.0 for lag in lags), default=0.0)
            families["group_lag_seconds"].add_metric([log.name, group], oldest)
