"""Hands the messages of logs to consumers as the test kit does: as jobs, which they become when they fail for good."""

from __future__ import annotations

from holdfast.app import App
from holdfast.contract import LogBackend, QueueBackend
from holdfast.delivery import HolderInfo
from holdfast.logged import Offset
from holdfast.worker.consuming.letters import dead_letter
from holdfast.worker.consuming.reading import Reading

AT_ONCE = 1000
_HOLDER = HolderInfo(id="kit#1", ttl=3600.0)


def feed(app: App, store: QueueBackend) -> None:
    """Put what the groups of the App's consumers have not read into their queues in ``store``, and commit it."""
    for reading in app._consumers.readings():
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
