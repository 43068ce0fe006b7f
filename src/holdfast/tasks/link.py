"""The way from tasks and jobs to the store of their App: sends, at once or collected, and waits for outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

from holdfast.batching import Answers, Funnel
from holdfast.contract import QueueBackend
from holdfast.errors import BodyTooLarge, QueueFull, UsageError
from holdfast.message import Message, Stored
from holdfast.sending import Sender, accepted
from holdfast.tasks.results import Caller, Waiters
from holdfast.transactions import transactional

_Parcel = tuple[str, Sequence[Message]]
"""What one caller sends to one queue: stored or refused as a whole."""


class Link:
    """Every task and job of an App holds this one. ``store`` returns the open store, opening it if need be; ``call``
    calls a function in a thread of the App's, for who must not block.

    Every method may be called from any thread, and after a fork once ``renew`` was.
    """

    def __init__(self, store: Callable[[], QueueBackend], sender: Sender, call: Caller) -> None:
        self.store = store
        self.sender = sender
        self.call = call
        self.renew()

    def renew(self) -> None:
        """Begin afresh, with no thread and nothing under way: after ``close``, or in the child of a fork."""
        self.waiters = Waiters(self.store, self.call)
        self._funnel: Funnel[_Parcel, list[Stored]] = Funnel(self._send_parcels, name="holdfast-send")

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Begin afresh for the block; what was under way before goes on after it. The block closes what is its own."""
        before = self.waiters, self._funnel
        self.renew()
        try:
            yield
        finally:
            self.waiters, self._funnel = before

    def close(self) -> None:
        """Send what was submitted, then end both threads; whoever still waits for an outcome hears ``Closed``."""
        self._funnel.close()
        self.waiters.close()

    def send(self, queue: str, messages: Sequence[Message], *, connection: object = None) -> list[Stored]:
        """Store the messages in one round trip, blocking for it; the contract's ``send`` says what that promises."""
        return self.sender.send(queue, messages, connection=connection)

    def hand_over(self, queue: str, messages: Sequence[Message]) -> Sequence[Message]:
        """Return messages that are stored later, with the ack of what they follow, as send middleware wants them."""
        return self.sender.middleware.hand_over(queue, messages)

    async def send_soon(self, queue: str, messages: Sequence[Message], *, connection: object = None) -> list[Stored]:
        """Do as ``send`` does, blocking no event loop, and together with whatever else is sent meanwhile.

        ``UsageError`` with a ``connection``: what is collected from many senders can be in no one's transaction.
        """
        if connection is not None:
            await self.call(lambda: transactional(self.store()))
            raise UsageError("an awaited send cannot use connection=, whose calls block; call enqueue instead")
        if not self.sender.middleware.sends:
            return accepted(messages, await self._funnel.submit((queue, messages)))
        with self.sender.middleware.sending(queue, messages) as sending:  # here, where the sender's own context is
            sending.stored = await self._funnel.submit((queue, sending.messages))
        return accepted(sending.messages, sending.stored)

    def _send_parcels(self, parcels: list[_Parcel]) -> Answers[list[Stored]]:
        by_queue: dict[str, list[Sequence[Message]]] = {}
        for queue, messages in parcels:
            by_queue.setdefault(queue, []).append(messages)
        if len(by_queue) == 1:
            return self._sent(parcels[0][0], by_queue[parcels[0][0]])
        answers = {queue: iter(self._sent(queue, its)) for queue, its in by_queue.items()}
        return [next(answers[queue]) for queue, _ in parcels]

    def _sent(self, queue: str, parcels: list[Sequence[Message]]) -> Answers[list[Stored]]:
        """Send, and let no parcel spoil the others: a refused batch is halved until the refused ones stand alone."""
        try:
            self._funnel.waits = self.store().features.multi_host
            stored = self.sender.store(queue, [message for messages in parcels for message in messages])
            ends = accumulate(map(len, parcels))
            return [stored[end - len(messages) : end] for messages, end in zip(parcels, ends, strict=True)]
        except (BodyTooLarge, QueueFull) as error:
            if len(parcels) == 1:
                return [error]
            middle = len(parcels) // 2
            return [*self._sent(queue, parcels[:middle]), *self._sent(queue, parcels[middle:])]
        except Exception as error:  # it belongs to those who sent
            return [error] * len(parcels)
