"""What retention does to the logs of an open App, told to its listeners."""

from __future__ import annotations

import threading

from holdfast.clock import Clock
from holdfast.contract import LogBackend
from holdfast.events import Events, GroupExpired, GroupPins, LogTrimmed

PINS_AFTER = 3600.0
"""Seconds for which nobody has read for a group, after which it is reported that data is kept for it alone."""
PINS_EVERY = 86_400.0
"""Seconds after which it is reported again."""


class LogTidying:
    """Drops what retention no longer keeps, and tells of it; also of groups that keep data without reading it."""

    def __init__(self, events: Events, clock: Clock) -> None:
        self._events, self._clock = events, clock
        self._told: dict[tuple[str, str], int] = {}

    def run(self, store: LogBackend, stop: threading.Event) -> None:
        """Tidy until there is nothing more to do, or ``stop`` is set."""
        while True:
            done = store.tidy()
            if done.messages:
                self._events.emit(LogTrimmed(done.messages, done.bytes))
            for log, group in done.groups:
                self._events.emit(GroupExpired(log, group))
            if not done.more or stop.is_set():
                break
        self._look_for_pins(store)

    def _look_for_pins(self, store: LogBackend) -> None:
        now, told = self._clock.boot(), dict[tuple[str, str], int]()
        for log, settings in store.logs().items():
            for group in store.groups(log) if settings.until_consumed else ():
                if not group.pins or group.idle < PINS_AFTER:
                    continue
                name = (log, group.name)
                told[name] = self._told.get(name, now)
                if name not in self._told or now - told[name] >= PINS_EVERY * 1000:
                    told[name] = now
                    self._events.emit(GroupPins(log, group.name, group.pins, group.idle))
        self._told = told
