"""Cases of a store that holds logs beside its queues."""

from __future__ import annotations

from typing import Protocol

import pytest

from holdfast.capabilities import Logs
from holdfast.config import LogSettings
from holdfast.contract import LogBackend, QueueBackend
from holdfast.errors import Closed
from holdfast.logged import Columns
from holdfast.testing.conformance.cases import Cases

LOG = "events"


class _Store(QueueBackend, Logs, Protocol): ...


class LogsOfStoreCases(Cases):
    """The store and its logs are one thing."""

    needs = (Logs,)
    store: _Store

    def test_the_logs_of_a_store_are_the_same_at_every_call(self) -> None:
        """They have members and producers, which must not come twice."""
        assert self.store.open_logs() is self.store.open_logs()

    def test_closing_the_store_closes_its_logs(self) -> None:
        """Who has only the store has all of it."""
        logs = self.used()
        self.store.close()

        with pytest.raises(Closed):
            logs.append(LOG, 0, Columns([b"b"]))
        logs.close()

    def test_closing_the_logs_closes_the_store(self) -> None:
        """Who has only the logs has opened the store for them."""
        logs = self.used()
        logs.close()

        with pytest.raises(Closed):
            self.send("b")
        self.store.close()

    def used(self) -> LogBackend:
        """Return the logs of a store of which everything has been in use."""
        logs = self.store.open_logs()
        logs.declare(LOG, LogSettings())
        logs.append(LOG, 0, Columns([b"a"]))
        self.send("a")
        return logs
