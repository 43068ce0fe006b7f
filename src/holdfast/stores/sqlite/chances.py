"""When there may be something to lease: looked up once for every change of the file, however often it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

import msgspec

from holdfast.clock import Clock
from holdfast.stores.sqlite import reading
from holdfast.stores.sqlite.connection import Connection
from holdfast.stores.sqlite.file import Reader, data_version
from holdfast.stores.sqlite.writer import Writer

LOOK_AT_LEAST = 30.0
"""Seconds after which a look is made though nothing seems to have changed."""
SHORT = 0.25
"""A wait of fewer seconds is not left to the writer's next look around: it asks for itself what has changed."""
MOST_KEPT = 64


class _Seen(msgspec.Struct, frozen=True):
    """What a look saw: the next chance (wall ms), the living holders, and what tells whether that still holds."""

    chance: int | None
    holders: frozenset[str]
    changes: int
    version: tuple[int, int]
    at: float


class Chances:
    """Looks through a connection of its own. Waits that follow each other share what they saw."""

    def __init__(self, reader: Reader, writer: Writer, clock: Clock) -> None:
        self._reader, self._writer, self._clock = reader, writer, clock
        self._kept: dict[tuple[tuple[str, ...], frozenset[str]], _Seen] = {}

    def look(self, queues: Sequence[str], kinds: Collection[str], timeout: float) -> Callable[[], float | None]:
        """Return what tells one wait the seconds until there may be something: 0 for now, None for not in sight.

        It is to be called first when the wait counts as listening. A holder that was not there at the last look ends
        the wait once: whoever looks after dead processes should know it.
        """
        place = tuple(queues), frozenset(kinds)
        seen = self._kept.get(place) if self._still_holds(place, timeout) else None
        attending = False

        def look() -> float | None:
            nonlocal seen, attending
            if not attending:
                attending = True
                self._writer.attend()
            if seen is not None and seen.changes == self._writer.changes:
                return self._pause(seen)
            before = seen or self._kept.get(place)
            seen = self._keep(place, self._look(*place))
            return 0.0 if before and not seen.holders <= before.holders else self._pause(seen)

        return look

    def _still_holds(self, place: tuple[tuple[str, ...], frozenset[str]], timeout: float) -> bool:
        seen = self._kept.get(place)
        if seen is None or time.monotonic() - seen.at >= LOOK_AT_LEAST or self._pause(seen) == 0:
            return False
        return timeout >= SHORT or self._reader.read(data_version) == seen.version

    def _pause(self, seen: _Seen) -> float | None:
        return None if seen.chance is None else max(0.0, (seen.chance - self._clock.wall()) / 1000)

    def _look(self, queues: Sequence[str], kinds: Collection[str]) -> _Seen:
        changes = self._writer.changes  # before the file is read: what comes meanwhile must count as new

        def read(connection: Connection) -> _Seen:
            version = data_version(connection)
            chance, holders = reading.chance(connection, queues, kinds)
            return _Seen(chance, holders, changes, version, time.monotonic())

        return self._reader.read(read)

    def _keep(self, place: tuple[tuple[str, ...], frozenset[str]], seen: _Seen) -> _Seen:
        if len(self._kept) >= MOST_KEPT and place not in self._kept:
            self._kept.clear()
        self._kept[place] = seen
        return seen
