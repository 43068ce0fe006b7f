"""Calls of tasks before they are sent: one or many, of any tasks, together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from holdfast.message import Message, Stored
from holdfast.tasks.job import Job
from holdfast.tasks.link import Link

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
Place = tuple[str, int]


class Call(Generic[R_co]):
    """A call that is not sent yet, for ``enqueue_many`` and ``ctx.then``; it was checked as ``enqueue`` checks.

    It has its message's id already: sending it again, after an error that leaves the outcome unknown, is safe, and
    sending it twice makes one job.
    """

    __slots__ = ("_decode", "connection", "message", "origin", "queue")

    def __init__(
        self,
        queue: str,
        message: Message,
        decode: Callable[[bytes], R_co],
        origin: object = None,
        connection: object = None,
    ) -> None:
        self.queue, self.message, self.origin, self._decode = queue, message, origin, decode
        self.connection = connection

    def __repr__(self) -> str:
        return f"<Call {self.message.id} of task {self.task!r}>"

    @property
    def place(self) -> Place:
        """What it shares with those calls that are sent in the same round trip."""
        return self.queue, id(self.connection)

    @property
    def task(self) -> str:
        """The name of its task."""
        return self.message.kind

    def sent(self, link: Link, stored: Stored) -> Job[R_co]:
        """Return the job that it has become."""
        return Job(link, stored.queue, stored.id, self._decode, stored=stored)


def send_calls(link: Link, calls: Sequence[Call[R]], connection: object = None) -> list[Job[R]]:
    """Send calls of any tasks, one round trip a queue, and return their jobs in order.

    When a queue's round trip raises, those before it are stored; sending all of the calls again is safe. Calls that
    have no connection of their own use ``connection``, if there is one.
    """
    stored = {
        place: iter(link.send(batch.queue, batch.messages, connection=batch.connection))
        for place, batch in _batches(calls, connection).items()
    }
    return [call.sent(link, next(stored[call.place])) for call in calls]


async def send_calls_soon(link: Link, calls: Sequence[Call[R]]) -> list[Job[R]]:
    """Do as ``send_calls`` does, blocking no event loop."""
    stored = {
        place: iter(await link.send_soon(batch.queue, batch.messages, connection=batch.connection))
        for place, batch in _batches(calls).items()
    }
    return [call.sent(link, next(stored[call.place])) for call in calls]


class _Batch(NamedTuple):
    """What goes to the store in one round trip."""

    queue: str
    connection: object
    messages: list[Message]


def _batches(calls: Iterable[Call[R]], connection: object = None) -> dict[Place, _Batch]:
    batches: dict[Place, _Batch] = {}
    for call in calls:
        if call.place not in batches:
            given = connection if call.connection is None else call.connection
            batches[call.place] = _Batch(call.queue, given, [])
        batches[call.place].messages.append(call.message)
    return batches
