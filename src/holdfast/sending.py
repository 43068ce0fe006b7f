"""The one way by which messages reach a store, whoever sends them: tasks, raw queues, schedules, publishers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdfast.contract import QueueBackend
from holdfast.events import Events, Sent
from holdfast.message import Message, Stored
from holdfast.middleware import Middleware


class Sender:
    """``store`` returns the open store, opening it if need be. May be used from any thread."""

    def __init__(
        self, store: Callable[[], QueueBackend], events: Events, middleware: Middleware[Any] | None = None
    ) -> None:
        self._store = store
        self._events = events
        self.middleware: Middleware[Any] = middleware or Middleware()

    def send(self, queue: str, messages: Sequence[Message]) -> list[Stored]:
        """Store the messages in one round trip, blocking for it, and tell listeners of each; see the contract."""
        if not self.middleware.sends:
            return self.store(queue, messages)
        with self.middleware.sending(queue, messages) as sending:
            sending.stored = self.store(queue, sending.messages)
        return list(sending.stored)

    def store(self, queue: str, messages: Sequence[Message]) -> list[Stored]:
        """Do as ``send`` does with what its middleware has seen already."""
        stored = self._store().send(queue, messages)
        if self._events.wants(Sent):
            for message, receipt in zip(messages, stored, strict=True):
                self._events.emit(Sent(message, receipt))
        return stored
