"""Appends: checked and packed here, stored by one script; room within a log's limit is taken before."""

from __future__ import annotations

import secrets
from contextlib import suppress

import msgspec

from holdfast.columns import pack
from holdfast.errors import BackendError, HoldfastError
from holdfast.logged import Columns, Producer, StoredAt
from holdfast.message import Level
from holdfast.stores.redis.link import Unsteady
from holdfast.stores.redis.logs import room
from holdfast.stores.redis.logs.places import Log, LogPlaces
from holdfast.stores.redis.scripts import Script
from holdfast.stores.refused import check_columns, check_fits, log_full
from holdfast.stores.repeats import Window, repeated

_APPEND = Script.load("logs/append")
_TRIES = 10


class _Packed(msgspec.Struct, frozen=True):
    """An append as it is sent, packed with these settings."""

    count: int
    attributes: int
    data: bytes


class Appends:
    """Appends to the logs of a store. Any thread."""

    def __init__(self, places: LogPlaces, level: Level) -> None:
        self._places, self._level = places, level

    def append(self, name: str, partition: int, columns: Columns, producer: Producer | None) -> StoredAt:
        """Add messages; see ``LogBackend``. What is known of the log is looked up again whenever it was not so."""
        log = self._places.known(name, partition)
        try:
            for _ in range(_TRIES):
                stored = self._try(log, partition, _packed(log, columns), producer)
                if stored is not None:
                    return StoredAt(name, partition, stored[0], self._level, bool(stored[1]))
                log = self._places.look(name)
                log.check(partition)
                self._places.open(log, partition)
        except BackendError:
            self._places.doubt(name)  # what a failover lost is not there next time, and groups may be beyond it
            raise
        raise BackendError(
            f"log {name!r} changes, or connections to its servers break, faster than it can be appended to",
            retryable=True,
        )

    def _try(self, log: Log, partition: int, new: _Packed, producer: Producer | None) -> tuple[int, int] | None:
        """Append; return the offset, and whether it had been there. None when the log is no longer as it is known."""
        if log.settings.limit_bytes is None:
            return self._store(log, partition, new, producer)
        taken = len(new.data) <= log.settings.limit_bytes and room.take(self._places, log, len(new.data))
        if taken is None:
            return None
        if not taken:
            return self._repeated(log, partition, new, producer)
        stored = None
        try:
            stored = self._store(log, partition, new, producer)
        except BackendError as error:
            if error.outcome_unknown:
                stored = (0, 0)
            raise
        finally:
            if stored is None or stored[1]:
                with suppress(HoldfastError):  # who tidies puts it right
                    room.take(self._places, log, -len(new.data))
        return stored

    def _repeated(self, log: Log, partition: int, new: _Packed, producer: Producer | None) -> tuple[int, int] | None:
        """Return where a repeat lies that needs no room; raise when it is none."""
        if producer is not None:
            reply = self._send(log, partition, new, producer, "")
            if reply != b"new":
                return _answered(reply, producer)
        limit = log.settings.limit_bytes or 0
        check_fits(log.name, limit, len(new.data))
        raise log_full(log.name, limit)

    def _store(self, log: Log, partition: int, new: _Packed, producer: Producer | None) -> tuple[int, int] | None:
        return _answered(self._send(log, partition, new, producer, "1"), producer)

    def _send(self, log: Log, partition: int, new: _Packed, producer: Producer | None, store: str) -> object:
        who = () if producer is None else (producer.id, producer.epoch, producer.sequence)
        lowest = log.lowest(partition)
        args = (log.revision, lowest, new.count, new.attributes, new.data, secrets.randbits(31), store, *who)
        try:
            return self._places.run_part(_APPEND, log, partition, *args, durable=True, seen=log.seen)
        except Unsteady:  # a group may have been further than a server that has lost something
            return b"stale"


def _packed(log: Log, columns: Columns) -> _Packed:
    check_columns(log.name, log.settings, columns)
    attributes, pieces = pack(columns.bodies, columns.keys, columns.headers, log.settings.compression)
    return _Packed(len(columns), attributes, b"".join(pieces))


def _answered(reply: object, producer: Producer | None) -> tuple[int, int] | None:
    if isinstance(reply, list):
        offset, is_repeat = reply
        return offset, is_repeat
    if reply == b"stale" or producer is None:
        return None
    assert isinstance(reply, bytes), reply
    epoch, following, *appends = reply.decode().replace(":", " ").split()
    pairs = tuple(zip(map(int, appends[::2]), map(int, appends[1::2]), strict=True))
    offset = repeated(Window(int(epoch), int(following), pairs), producer)  # it raises: the script has refused it
    return None if offset is None else (offset, 1)
