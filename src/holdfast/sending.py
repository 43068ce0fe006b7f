"""The one way by which messages reach a store, whoever sends them: tasks, raw queues, schedules, publishers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast.contract import QueueBackend
from holdfast.events import Events, Sent
from holdfast.message import Message, Stored


class Sender:
    """``store`` returns the open store, opening it if need be. May be used from any thread."""

    def __init__(self, store: Callable[[], QueueBackend], events: Events) -> None:
        self._store = store
        self._events = events

    def send(self, queue: str, messages: Sequence[Message]) -> list[Stored]:
        """Store the messages in one round trip, blocking for it, and tell listeners of each; see the contract."""
        stored = self._store().send(queue, messages)
        if self._events.wants(Sent):
            for message, receipt in zip(messages, stored, strict=True):
                self._events.emit(Sent(message, receipt))
        return stored
