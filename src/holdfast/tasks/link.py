"""The way from tasks and jobs to the store of their App: sends, at once or collected, and waits for outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from holdfast.batching import Answers, Funnel
from holdfast.contract import QueueBackend
from holdfast.errors import BodyTooLarge, QueueFull
from holdfast.events import Events, Sent
from holdfast.message import Message, Stored
from holdfast.tasks.results import Waiters


class _Parcel(NamedTuple):
    queue: str
    message: Message


class Link:
    """Every task and job of an App holds this one. ``store`` returns the open store, opening it if need be.

    Every method may be called from any thread, and after a fork once ``renew`` was.
    """

    def __init__(self, store: Callable[[], QueueBackend], events: Events) -> None:
        self.store = store
        self._events = events
        self.renew()

    def renew(self) -> None:
        """Begin afresh, with no thread and nothing under way: after ``close``, or in the child of a fork."""
        self.waiters = Waiters(self.store)
        self._funnel: Funnel[_Parcel, Stored] = Funnel(self._send_parcels, name="holdfast-send")

    def close(self) -> None:
        """Send what was submitted, then end both threads; whoever still waits for an outcome hears ``Closed``."""
        self._funnel.close()
        self.waiters.close()

    def send(self, queue: str, messages: Sequence[Message]) -> list[Stored]:
        """Store the messages in one round trip, blocking for it; the contract's ``send`` says what that promises."""
        stored = self.store().send(queue, messages)
        if self._events.wants(Sent):
            for message, receipt in zip(messages, stored, strict=True):
                self._events.emit(Sent(message, receipt))
        return stored

    async def send_soon(self, queue: str, message: Message) -> Stored:
        """Store the message together with whatever else is sent meanwhile; returns when it is stored."""
        return await self._funnel.submit(_Parcel(queue, message))

    def _send_parcels(self, parcels: list[_Parcel]) -> Answers[Stored]:
        by_queue: dict[str, list[int]] = {}
        for place, parcel in enumerate(parcels):
            by_queue.setdefault(parcel.queue, []).append(place)
        answers: list[Stored | Exception] = [QueueFull("")] * len(parcels)
        for queue, places in by_queue.items():
            for place, answer in zip(
                places, self._sent(queue, [parcels[place].message for place in places]), strict=True
            ):
                answers[place] = answer
        return answers

    def _sent(self, queue: str, messages: list[Message]) -> Answers[Stored]:
        """Send, and let no message spoil the others: a refused batch is halved until the refused ones stand alone."""
        try:
            return self.send(queue, messages)
        except (BodyTooLarge, QueueFull) as error:
            if len(messages) == 1:
                return [error]
            middle = len(messages) // 2
            return [*self._sent(queue, messages[:middle]), *self._sent(queue, messages[middle:])]
        except Exception as error:  # it belongs to those who sent
            return [error] * len(messages)
