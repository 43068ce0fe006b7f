"""The places of an App: its queues and logs, by name or chosen by what they are called and labelled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Unpack

from holdfast.contract import LogBackend, QueueBackend
from holdfast.declared import LogOptions, selector
from holdfast.errors import NotSupported
from holdfast.events import Events
from holdfast.lifetime import Lifetime
from holdfast.logs import Log
from holdfast.logs.opening import OpenLogs
from holdfast.queues import Queue


class Places:
    """How an App hands out its queues and logs: ``app.queue(…)``, ``app.log(…)``. Every method is for any thread."""

    events: Events
    _life: Lifetime
    _logs: OpenLogs

    @property
    def backend(self) -> QueueBackend:
        """The open store itself, for what the App does not offer; opened if need be."""
        return self._life.store()

    @property
    def log_backend(self) -> LogBackend:
        """The open logs themselves, for what the App does not offer; opened if need be."""
        return self._logs.store()

    def queue(self, name: str) -> Queue:
        """Return the queue of this name, for bytes and leases of one's own. Touches no store, and makes no queue."""
        queue = self._queue(name)
        self._life.link.sender.declared.check(name)
        return queue

    def queues(
        self,
        names: str | Iterable[str] | None = None,
        *,
        labels: Mapping[str, object] | None = None,
        group: str | None = None,
    ) -> list[Queue]:
        """Return the queues that the store has, by name: all, or those that match everything that is given.

        ``*`` in a name stands for any text. Of the ``labels`` a queue must have each; values are compared as text.
        """
        return [self._queue(name) for name in selector(names, labels, group).select(self.backend.queues())]

    def log(self, name: str, **settings: Unpack[LogOptions]) -> Log:
        """Return the log of this name: ``app.log("orders", partitions=4)``. Touches no store.

        The settings are those of ``LogSettings``; they are written at the first use, if the log has others. Those that
        are not given stay what they are, or the default. Without any, appending makes the log if need be, unless the
        App has ``strict_queues``; reading or joining one that does not exist is a ``UsageError``.
        """
        self._logs.declared.add(name, settings)
        return self._log(name)

    def logs(
        self, names: str | Iterable[str] | None = None, *, labels: Mapping[str, object] | None = None
    ) -> list[Log]:
        """Return the logs there are, by name: all, or those that match everything that is given, as for ``queues``."""
        return [self._log(name) for name in selector(names, labels).select(self.log_backend.logs())]

    def select(
        self,
        ids: str | Iterable[str] | None = None,
        *,
        names: str | Iterable[str] | None = None,
        labels: Mapping[str, object] | None = None,
    ) -> list[Queue | Log]:
        """Return queues and logs, each once, queues first and by name: to look at, to consume, to destroy.

        Those are meant whose whole name is one of the ``ids``, and those that match ``names`` and ``labels``, all that
        are given of them; with nothing given every one. Of a store without logs it is queues only.
        """
        wanted = selector(names, labels, ids=ids)
        found: list[Queue | Log] = []
        with suppress(NotSupported):
            found += [self._queue(name) for name in wanted.select(self.backend.queues())]
        with suppress(NotSupported):
            found += [self._log(name) for name in wanted.select(self.log_backend.logs())]
        return found

    def _queue(self, name: str) -> Queue:
        return Queue(name, self._life.store, self._life.heartbeat, self.events, self._life.link.sender)

    def _log(self, name: str) -> Log:
        return Log(name, self._logs.store, self._logs.declared, self._logs.beats)
