"""Hands the messages of logs to consumers as the test kit does: as jobs, which they become when they fail for good."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.app import App
from holdfast.contract import LogBackend, QueueBackend
from holdfast.delivery import HolderInfo
from holdfast.entries import PARTITION, entry_at, offset_of, time_of
from holdfast.logged import LogMessage, Offset
from holdfast.worker.consuming.letters import dead_letter
from holdfast.worker.consuming.reading import Reading

AT_ONCE = 1000
_HOLDER = HolderInfo(id="kit#1", ttl=3600.0)


class StreamsInMemory:
    """What tests add to streams, and how far each group has read."""

    def __init__(self) -> None:
        self._entries: dict[str, list[tuple[int, Mapping[str, str | bytes]]]] = {}
        self._read: dict[tuple[str, str], int] = {}

    def add(self, stream: str, fields: Mapping[str, str | bytes], now: int) -> str:
        """Add an entry; return its id."""
        entries = self._entries.setdefault(stream, [])
        offset = offset_of(f"{now}-0")
        if entries:
            offset = max(offset, entries[-1][0] + 1)
        entries.append((offset, fields))
        return entry_at(offset)

    def unread(self, reading: Reading) -> list[LogMessage]:
        """Return what a group has not read; it has now."""
        entries, group = self._entries.get(reading.log, []), (reading.log, reading.group)
        read = self._read.get(group, 0)
        self._read[group] = len(entries)
        return [_message(reading, offset, fields) for offset, fields in entries[read:]]


def _message(reading: Reading, offset: int, fields: Mapping[str, str | bytes]) -> LogMessage:
    assert reading.entries is not None
    pairs = [part if isinstance(part, bytes) else part.encode() for pair in fields.items() for part in pair]
    its = reading.entries.shape.content(pairs)
    key = None if its.key is None else its.key.decode("utf-8", "surrogateescape")
    return LogMessage(PARTITION, offset, time_of(offset), its.body, key, its.headers)


def feed(app: App, store: QueueBackend, streams: StreamsInMemory) -> None:
    """Put what the groups of the App's consumers have not read into their queues in ``store``, and commit it."""
    for reading in app._consumers.readings():
        if reading.is_stream:
            if letters := [dead_letter(reading, message) for message in streams.unread(reading)]:
                store.send(reading.queue, letters)
            continue
        logs = app.log_backend
        if reading.log in logs.logs():
            _feed(reading, logs, store)


def _feed(reading: Reading, logs: LogBackend, store: QueueBackend) -> None:
    member = logs.join(reading.log, reading.group, _HOLDER, start=reading.start, when_gone=reading.when_gone)
    try:
        while chunks := member.poll(limit=AT_ONCE, wait=0):
            for chunk in chunks:
                store.send(reading.queue, [dead_letter(reading, message) for message in chunk])
                member.commit([Offset(chunk.partition, chunk.next, chunk.version)])
    finally:
        member.leave()
