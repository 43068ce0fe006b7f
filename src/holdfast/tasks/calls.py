"""Calls of tasks before they are sent: one or many, of any tasks, together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from holdfast.message import Message, Stored
from holdfast.tasks.job import Job
from holdfast.tasks.link import Link

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class Call(Generic[R_co]):
    """A call that is not sent yet, for ``enqueue_many`` and ``ctx.then``; it was checked as ``enqueue`` checks.

    It has its message's id already: sending it again, after an error that leaves the outcome unknown, is safe, and
    sending it twice makes one job.
    """

    __slots__ = ("_decode", "message", "origin", "queue")

    def __init__(self, queue: str, message: Message, decode: Callable[[bytes], R_co], origin: object = None) -> None:
        self.queue, self.message, self.origin, self._decode = queue, message, origin, decode

    def __repr__(self) -> str:
        return f"<Call {self.message.id} of task {self.task!r}>"

    @property
    def task(self) -> str:
        """The name of its task."""
        return self.message.kind

    def sent(self, link: Link, stored: Stored) -> Job[R_co]:
        """Return the job that it has become."""
        return Job(link, stored.queue, stored.id, self._decode, stored=stored)


def send_calls(link: Link, calls: Sequence[Call[R]]) -> list[Job[R]]:
    """Send calls of any tasks, one round trip a queue, and return their jobs in order.

    When a queue's round trip raises, those before it are stored; sending all of the calls again is safe.
    """
    stored = {queue: iter(link.send(queue, messages)) for queue, messages in _by_queue(calls).items()}
    return [call.sent(link, next(stored[call.queue])) for call in calls]


async def send_calls_soon(link: Link, calls: Sequence[Call[R]]) -> list[Job[R]]:
    """Do as ``send_calls`` does, blocking no event loop."""
    stored = {queue: iter(await link.send_soon(queue, messages)) for queue, messages in _by_queue(calls).items()}
    return [call.sent(link, next(stored[call.queue])) for call in calls]


def _by_queue(calls: Iterable[Call[R]]) -> dict[str, list[Message]]:
    messages: dict[str, list[Message]] = {}
    for call in calls:
        messages.setdefault(call.queue, []).append(call.message)
    return messages
