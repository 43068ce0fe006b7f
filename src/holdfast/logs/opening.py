"""The logs of an App as they are open: their store, what keeps its members alive, and the appends that tasks await."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from holdfast.clock import Clock
from holdfast.contract import LogBackend
from holdfast.declared import DeclaredLogs
from holdfast.events import Events
from holdfast.logs.appends import Appends
from holdfast.logs.beats import Beats
from holdfast.logs.tidying import LogTidying


class Opened(NamedTuple):
    """What ``OpenLogs`` has to be told when it opens: the logs, whether they end with it, and the time they live in."""

    store: LogBackend
    is_own: bool
    clock: Clock


class _Open:
    """One life of the logs, from their opening to their end."""

    def __init__(self, opened: Opened, store: Callable[[], LogBackend], name: str, events: Events) -> None:
        self.store, self.is_own = opened.store, opened.is_own
        self.beats = Beats(store, name, opened.clock, events.logger)
        self.tidying = LogTidying(events, opened.clock)


class OpenLogs:
    """``opener`` opens the logs, or raises ``Closed``. They begin again when they are used again.

    Every method may be called from any thread.
    """

    def __init__(self, opener: Callable[[], Opened], *, name: str, events: Events, strict: bool = False) -> None:
        self._opener, self._name, self._events = opener, name, events
        self.declared = DeclaredLogs(strict=strict)
        self._open: _Open | None = None
        self._appends = Appends()
        self._lock = threading.Lock()

    def store(self) -> LogBackend:
        """Return the open logs, opening them if need be."""
        return self._opened().store

    def with_log(self, log: str) -> LogBackend:
        """Return the open logs, in which this one is as the program told it, if it told it anything."""
        store = self.store()
        self.declared.write(store, log)
        return store

    @property
    def open_store(self) -> LogBackend | None:
        """The logs if they are open."""
        opened = self._open
        return None if opened is None else opened.store

    def beats(self) -> Beats:
        """Return what keeps the members of this process alive."""
        return self._opened().beats

    @property
    def appends(self) -> Appends:
        """The way of awaited appends."""
        return self._appends

    def _opened(self) -> _Open:
        opened = self._open  # read once: close may take it away meanwhile
        if opened is None:
            with self._lock:
                opened = self._open
                if opened is None:
                    opened = self._open = _Open(self._opener(), self.store, self._name, self._events)
        return opened

    def tidy(self, stop: threading.Event) -> None:
        """Tidy the logs until there is nothing more to do, or ``stop`` is set; nothing when they are not open."""
        opened = self._open
        if opened is not None:
            self.declared.forget()
            opened.tidying.run(opened.store, stop)

    def close(self) -> None:
        """Append what was submitted, end the threads, and close the logs, unless they end with a store. May be
        repeated.
        """
        appends, self._appends = self._appends, Appends()
        appends.close()
        with self._lock:
            opened, self._open = self._open, None
        if opened is not None:
            opened.beats.close()
            if opened.is_own:
                opened.store.close()

    def renew(self) -> object:
        """Begin afresh, in the child of a fork, or on other logs; return what is to be kept as it is."""
        kept = (self._open, self._appends, self._lock)
        self._open, self._appends, self._lock = None, Appends(), threading.Lock()
        self.declared.renew()
        return kept

    def restore(self, kept: object) -> None:
        """Go on with what ``renew`` returned."""
        self._open, self._appends, self._lock = kept  # type: ignore[misc] # it is what renew returned
