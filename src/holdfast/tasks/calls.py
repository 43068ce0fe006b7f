"""Calls of tasks before they are sent: one or many, of any tasks, together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

from holdfast.errors import Duplicate, UsageError
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

    __slots__ = ("_decode", "connection", "has_own_id", "message", "origin", "queue")

    def __init__(
        self,
        queue: str,
        message: Message,
        decode: Callable[[bytes], R_co],
        origin: object = None,
        connection: object = None,
        *,
        has_own_id: bool = False,
    ) -> None:
        self.queue, self.message, self.origin, self._decode = queue, message, origin, decode
        self.connection, self.has_own_id = connection, has_own_id

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

    When a queue's round trip raises, those before it are stored; sending all of the calls again is safe. Only
    ``Duplicate`` is raised when all of them were made, with the receipts of all calls. Calls that have no connection of
    their own use ``connection``, if there is one.
    """
    receipts = _Receipts(link, calls)
    for place, batch in _batches(calls, connection).items():
        with receipts.of(place):
            receipts.add(place, link.send(batch.queue, batch.messages, connection=batch.connection))
    return receipts.jobs()


async def send_calls_soon(link: Link, calls: Sequence[Call[R]]) -> list[Job[R]]:
    """Do as ``send_calls`` does, blocking no event loop."""
    receipts = _Receipts(link, calls)
    for place, batch in _batches(calls).items():
        with receipts.of(place):
            receipts.add(place, await link.send_soon(batch.queue, batch.messages, connection=batch.connection))
    return receipts.jobs()


class _Receipts(Generic[R]):
    """The receipts of calls, as one round trip after the other answers, and the first refusal among them."""

    def __init__(self, link: Link, calls: Sequence[Call[R]]) -> None:
        for call in calls:
            if not isinstance(call, Call):
                raise UsageError(f"what is enqueued together are calls, made by task.call(…), not {call!r:.80}")
            if call.origin is not link and call.origin is not None:
                raise UsageError(f"{call!r} belongs to another App: enqueue it there")
        self._link, self._calls = link, calls
        self._stored: dict[Place, Iterator[Stored]] = {}
        self._refusal: Duplicate | None = None

    def add(self, place: Place, stored: Iterable[Stored]) -> None:
        self._stored[place] = iter(stored)

    @contextmanager
    def of(self, place: Place) -> Iterator[None]:
        """Take the receipts of a round trip from the refusal too, should it be one, and go on."""
        try:
            yield
        except Duplicate as refusal:
            self.add(place, refusal.stored)
            self._refusal = self._refusal or refusal

    def jobs(self) -> list[Job[R]]:
        """Return the jobs in the order of the calls, or raise the first refusal."""
        stored = [next(self._stored[call.place]) for call in self._calls]
        if self._refusal is not None:
            self._refusal.stored = tuple(stored)
            raise self._refusal
        return [call.sent(self._link, receipt) for call, receipt in zip(self._calls, stored, strict=True)]


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
