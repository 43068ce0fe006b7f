"""Messages of a log on the command line: where to begin, how to follow, how one reads; and from texts to messages."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from holdfast.cli.log_options import Where
from holdfast.cli.output import iso
from holdfast.contract import LogBackend
from holdfast.errors import OffsetGone
from holdfast.logged import LogMessage
from holdfast.message import NO_HEADERS, Message

LOOK_EVERY = 0.2
"""Seconds between two looks of whoever follows a log without a group."""
MOST_BYTES = 16 << 20
TOGETHER = 1000
"""So many messages of standard input are appended at a time."""
SHOWN = 200


class Tail:
    """Goes through partitions of a log from a place on, in the order of appends as far as times tell it."""

    def __init__(self, store: LogBackend, log: str, where: Where, *, last: int) -> None:
        self._store, self._log = store, log
        self._from_end = where.offset is None and where.time is None
        self._next = {
            ends.partition: max(ends.first, ends.next - last) if self._from_end else where.place(store, log, ends)
            for ends in where.partitions(store.ends(log), log)
        }

    def read(self, limit: int) -> list[LogMessage]:
        """Return what is there, at most ``limit``: the last ones, or the first from the place that was asked for."""
        found = [one for partition in self._next for one in self._read(partition, limit)]
        found.sort(key=lambda one: (one.time, one.partition, one.offset))
        return found[-limit:] if self._from_end else found[:limit]

    def follow(self) -> Iterator[LogMessage]:
        """Yield what is there, and what is appended, for ever."""
        while True:
            found = self.read(TOGETHER) if self._from_end else self._all()
            self._from_end = False
            yield from found
            if not found:
                time.sleep(LOOK_EVERY)

    def _all(self) -> list[LogMessage]:
        found = [one for partition in self._next for one in self._read(partition, TOGETHER)]
        return sorted(found, key=lambda one: (one.time, one.partition, one.offset))

    def _read(self, partition: int, limit: int) -> list[LogMessage]:
        """Read on in a partition; what retention took away meanwhile is left out."""
        place = self._next[partition]
        try:
            chunks = self._store.read(self._log, partition, place, limit=limit, max_bytes=MOST_BYTES)
        except OffsetGone as gone:
            if place >= gone.first:
                raise
            chunks = self._store.read(self._log, partition, gone.first, limit=limit, max_bytes=MOST_BYTES)
        if chunks:
            self._next[partition] = chunks[-1].next
        return [message for chunk in chunks for message in chunk]


# -- how a message reads --------------------------------------------------------------------------------------


def message_document(message: LogMessage) -> dict[str, Any]:
    """Return a message as JSON; ``body`` is its text, or ``body_base64`` has what is none."""
    text = _text(message.body)
    return {
        "partition": message.partition,
        "offset": message.offset,
        "appended": iso(message.time),
        "key": message.key,
        "headers": dict(message.headers),
        "body": text,
        "body_base64": base64.b64encode(message.body).decode() if text is None else None,
    }


def message_row(message: LogMessage) -> list[object]:
    """Return a message as cells of a table."""
    text = _text(message.body)
    shown = repr(message.body[:SHOWN]) if text is None else text[:SHOWN]
    return [f"{message.partition}:{message.offset}", iso(message.time), message.key, shown]


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


# -- from texts to messages -----------------------------------------------------------------------------------


def entries_of(bodies: Sequence[str], key: str | None, headers: Mapping[str, str] | None) -> Iterator[list[Message]]:
    """Yield messages, some at a time: of these texts, or without any of the lines of standard input."""
    lines = (line.rstrip(b"\n") for line in sys.stdin.buffer) if not bodies else (body.encode() for body in bodies)
    some: list[Message] = []
    for line in lines:
        some.append(Message(body=line, key=key, headers=headers or NO_HEADERS))
        if len(some) == TOGETHER:
            yield some
            some = []
    if some:
        yield some
