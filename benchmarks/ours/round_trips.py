"""Counts the round trips to a Redis that this process makes, heartbeats apart."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence

from holdfast.stores.redis.connection import Command, Connection
from holdfast.stores.redis.scripts import Script

BEATS = {Script.load(name).sha for name in ("beat", "attend")}
NAMES = {Script.load(name).sha: name for name in ("look", "lease", "settle", "wake", "tidy", "silent")}

Replace = Callable[[type, str, object], None]


class RoundTrips:
    """`made` holds every round trip since the last `clear` that is not part of a beat. `replace` patches a class."""

    def __init__(self, replace: Replace = setattr) -> None:
        self._lock = threading.Lock()
        self.made: Counter[str] = Counter()
        replace(Connection, "send", self._counting(Connection.send))

    def clear(self) -> None:
        with self._lock:
            self.made.clear()

    @property
    def count(self) -> int:
        with self._lock:
            return self.made.total()

    def _counting(
        self, send: Callable[[Connection, Sequence[Command]], None]
    ) -> Callable[[Connection, Sequence[Command]], None]:
        def counted(connection: Connection, commands: Sequence[Command]) -> None:
            if not all(len(command) > 1 and command[1] in BEATS for command in commands):
                with self._lock:
                    self.made[" ".join(map(named, commands))] += 1
            send(connection, commands)

        return counted


def named(command: Command) -> str:
    """What a command is called: a script by its own name."""
    return NAMES.get(str(command[1]), str(command[0])) if len(command) > 1 else str(command[0])
