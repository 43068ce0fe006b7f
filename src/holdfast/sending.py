"""The one way by which messages reach a store, whoever sends them: tasks, raw queues, schedules, publishers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdfast.contract import QueueBackend
from holdfast.declared import DeclaredQueues
from holdfast.errors import Duplicate
from holdfast.events import Events, Sent
from holdfast.message import Message, Stored
from holdfast.middleware import Middleware
from holdfast.transactions import transactional


class Sender:
    """``store`` returns the open store, opening it if need be. May be used from any thread."""

    def __init__(
        self,
        store: Callable[[], QueueBackend],
        events: Events,
        middleware: Middleware[Any] | None = None,
        declared: DeclaredQueues | None = None,
    ) -> None:
        self._store = store
        self.events = events
        self.middleware: Middleware[Any] = middleware or Middleware()
        self.declared = declared or DeclaredQueues()

    def send(self, queue: str, messages: Sequence[Message], *, connection: object = None) -> list[Stored]:
        """Store the messages in one round trip, blocking for it, and tell listeners of each; see the contract.

        With a ``connection`` they are part of the caller's transaction there; see ``Transactional``. Raises
        ``Duplicate`` when a message whose ``Unique`` wants an error found its slot held: the others of the batch are
        stored all the same, and the error's ``stored`` has the receipts of all.
        """
        if not self.middleware.sends:
            return accepted(messages, self.store(queue, messages, connection=connection))
        with self.middleware.sending(queue, messages) as sending:
            sending.stored = self.store(queue, sending.messages, connection=connection)
        return accepted(sending.messages, sending.stored)

    def store(self, queue: str, messages: Sequence[Message], *, connection: object = None) -> list[Stored]:
        """Do as ``send`` does with what its middleware has seen already; duplicates are ``accepted`` by the caller."""
        if self.declared.strict:
            self.declared.check(queue)
        store = self._store()
        if connection is None:
            stored = store.send(queue, messages)
        else:
            stored = transactional(store).send_in(connection, queue, messages)
        if self.events.wants(Sent):
            for message, receipt in zip(messages, stored, strict=True):
                self.events.emit(Sent(message, receipt))
        return stored


def accepted(messages: Sequence[Message], stored: Sequence[Stored]) -> list[Stored]:
    """Return the receipts, or raise the ``Duplicate`` that they are for who sent the messages.

    A message that is a duplicate of itself, by its id, is no error: sending again is safe.
    """
    if not [receipt for receipt in stored if receipt.duplicate]:
        return list(stored)
    for message, receipt in zip(messages, stored, strict=True):
        unique = message.unique
        if not receipt.duplicate or unique is None or unique.on_conflict != "error" or receipt.id == message.id:
            continue
        raise Duplicate(
            f"job {receipt.id} of queue {receipt.queue!r} has the slot of unique key {unique.key!r}; nothing was "
            "stored for this one: look at that job, or choose another on_conflict",
            queue=receipt.queue,
            existing=receipt.id,
            stored=stored,
        )
    return list(stored)
