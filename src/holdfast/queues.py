"""The portable queue: send bytes, lease or pop them, and look after the place, on any store."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypedDict, Unpack

import msgspec

from holdfast import bulk
from holdfast.bulk import Which
from holdfast.capabilities import (
    REMOVABLE,
    Cancellable,
    Flushable,
    Inspectable,
    JobFilter,
    Pausable,
    Replayable,
    states_of,
)
from holdfast.config import QueueSettings
from holdfast.contract import QueueBackend
from holdfast.delivery import (
    Ack,
    Burial,
    Delivery,
    GiveBack,
    JobView,
    Matching,
    Nack,
    Page,
    QueueStats,
    Receipt,
    Replayed,
    Settlement,
    State,
)
from holdfast.errors import BackendError, LeaseLost, NotSupported, UsageError, nearest
from holdfast.events import BeforeBury, BeforeRetry, Events, Lost, Sent
from holdfast.failures import ErrorInfo
from holdfast.heartbeat import Heartbeat
from holdfast.machine import REVIVABLE
from holdfast.message import FORMAT, Message, Seconds, SendOptions, Stored, checked, message, seconds
from holdfast.retry import Retry
from holdfast.sending import Sender
from holdfast.transactions import ack_in, is_done

RAW = ("",)
"""The kinds of a raw queue: messages sent as bytes have kind ``""``."""
MOST_LEASED = 1000
POLL = 1.0
"""Seconds after which a waiting lease looks by itself, should a wake-up have been missed."""
RETRY = Retry()
"""When a delivery is tried again whose block ended with an exception."""


class Reviving(TypedDict, total=False):
    """How many jobs are replayed or reloaded.

    At most ``rate`` a second, in real time, holding no lock meanwhile; ``progress`` is called after each batch with how
    many were done so far; setting ``stop`` ends it early. ``dry_run`` only counts.
    """

    rate: float | None
    dry_run: bool
    progress: Callable[[int], object]
    stop: threading.Event


class Place:
    """A queue as operators see it: counts, jobs one by one, and what may be done to them. Thread-safe.

    ``NotSupported`` when the store does not have the power.
    """

    def __init__(self, name: str, store: Callable[[], QueueBackend]) -> None:
        if not isinstance(name, str) or not 1 <= len(name) <= 255:
            raise UsageError(f"the name of a queue is a text of 1 to 255 characters, not {name!r:.80}")
        self.name = name
        self._store = store

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def declare(self, settings: QueueSettings) -> None:
        """Make the queue exist with these settings; the last ones win."""
        if not isinstance(settings, QueueSettings):
            raise UsageError(f"queue {self.name!r} is declared with QueueSettings(…), not {settings!r:.80}")
        self._store().declare(self.name, settings)

    def destroy(self) -> int:
        """Remove the queue with everything in it; return how many jobs went. Running ones lose their lease."""
        return self._store().destroy(self.name)

    def stats(self) -> QueueStats:
        """Return exact counts of every state."""
        return self._store().stats(self.name)

    def depth(self) -> int:
        """Return how many jobs could start now."""
        return self.stats().depth

    def get(self, job_id: str) -> JobView | None:
        """Return one job with its runs, or None when it does not exist."""
        return self._inspected().get(self.name, job_id)

    def browse(
        self, only: JobFilter | None = None, *, limit: int = 100, cursor: str | None = None, bodies: bool = True
    ) -> Page:
        """Return up to ``limit`` matching jobs, newest sent first; pass the page's cursor for the next.

        A page looks at 10 000 jobs at the most, so it may be short, even empty, and still have a cursor.
        """
        try:
            return self._inspected().browse(self.name, only or JobFilter(), limit=limit, cursor=cursor, bodies=bodies)
        except ValueError as error:
            if cursor is None:
                raise
            raise UsageError(f"queue {self.name!r}: {cursor!r:.80} is not the cursor of a page") from error

    def jobs(self, only: JobFilter | None = None, *, bodies: bool = True) -> Iterator[JobView]:
        """Yield all matching jobs, newest sent first, looking up a page of 1 000 at a time.

        Each comes once, as it stood when its page was read. Without ``bodies`` they have none, which costs less.
        """
        for page in bulk.pages(self._inspected(), self.name, only or JobFilter(), bodies=bodies):
            yield from page.jobs

    def count(self, only: JobFilter | None = None) -> Matching:
        """Count the matching jobs: exactly and at once by state alone, else by looking at up to a million of them."""
        return bulk.matching(self._inspected(), self.name, only or JobFilter(), self.stats)

    def cancel(self, which: Which, reason: str = "cancelled") -> dict[str, State]:
        """Cancel waiting jobs and ask for running ones; return the state each is in then."""
        store, states = self._store(), dict[str, State]()
        if not isinstance(store, Cancellable):
            raise self._lacks(store, "cancel jobs")
        for job_ids in self._batches(which):
            states |= store.cancel(self.name, job_ids, reason)
        return states

    def replay(self, which: Which, **how: Unpack[Reviving]) -> Replayed:
        """Make dead, cancelled and expired jobs ready as if new; return the ids of those that were.

        Of a filter, those are meant that had ended when this began: it ends even if jobs die again as fast as they are
        replayed, and moves none twice. Jobs whose unique slot another job has are left as they are; their ids are told
        apart. May be repeated.
        """
        return self._revive(self._replaying().replay, which, how)

    def reload(self, which: Which, **how: Unpack[Reviving]) -> Replayed:
        """Give dead, cancelled and expired jobs exactly one more attempt; return the ids of those that got it.

        A filter means what it means to ``replay``.
        """
        store = self._replaying()
        return self._revive(lambda queue, job_ids: Replayed(tuple(store.reload(queue, job_ids))), which, how)

    def remove(self, which: Which, *, states: Collection[State] = REMOVABLE) -> list[str]:
        """Remove jobs for good, with body and result, if they are in one of ``states`` by then; return the ids of those
        that went. Running jobs stay. A filter narrows the states to its own.
        """
        store = self._store()
        if not isinstance(store, Flushable):
            raise self._lacks(store, "be flushed")
        states = states_of(states)
        if isinstance(which, JobFilter):
            states = [state for state in which.states if state in states and state in REMOVABLE]
            which = msgspec.structs.replace(which, states=tuple(states))
        return [gone for ids in self._batches(which) for gone in store.remove(self.name, ids, states=states)]

    def flush(self, state: State) -> int:
        """Remove every job in ``state``, which is not running; return how many."""
        store = self._store()
        if not isinstance(store, Flushable):
            raise self._lacks(store, "be flushed")
        return store.flush(self.name, states_of((state,))[0])

    def pause(self) -> None:
        """Grant no lease, to anybody, until :meth:`resume`; sends and running jobs go on."""
        self._pausing().pause(self.name)

    def resume(self) -> None:
        """Grant leases again."""
        self._pausing().resume(self.name)

    # -- powers ---------------------------------------------------------------------------------------------------

    def _batches(self, which: Which) -> Iterator[list[str]]:
        """Yield the ids that are meant, a bounded number at a time."""
        if isinstance(which, JobFilter):
            pages = bulk.pages(self._inspected(), self.name, which)
            yield from (ids for page in pages if (ids := [job.id for job in page.jobs]))
        else:
            yield [which] if isinstance(which, str) else list(which)

    def _revive(self, verb: Callable[[str, Sequence[str]], Replayed], which: Which, how: Reviving) -> Replayed:
        known = Reviving.__annotations__
        if unknown := min(how.keys() - known.keys(), default=None):
            raise UsageError(f"unknown option {unknown!r}{nearest(unknown, known)}; known: {', '.join(known)}")
        if how.get("dry_run"):
            return Replayed(matching=self._revivable(which))
        job_ids: Iterable[str]
        if isinstance(which, JobFilter):
            job_ids = (job.id for job in bulk.ended_by_now(self._inspected(), self.name, which))
        else:
            job_ids = [which] if isinstance(which, str) else which
        pace = bulk.Pace(how.get("rate"), how.get("stop"))
        return bulk.revive(job_ids, partial(verb, self.name), pace, how.get("progress") or (lambda _: None))

    def _revivable(self, which: Which) -> Matching:
        if isinstance(which, JobFilter):
            return self.count(bulk.revivable(which))
        job_ids = [which] if isinstance(which, str) else dict.fromkeys(which)
        found = [job for job_id in job_ids if (job := self.get(job_id)) is not None]
        return Matching(sum(job.state in REVIVABLE for job in found))

    def _inspected(self) -> Inspectable:
        store = self._store()
        if not isinstance(store, Inspectable):
            raise self._lacks(store, "show jobs")
        return store

    def _replaying(self) -> Replayable:
        store = self._store()
        if not isinstance(store, Replayable):
            raise self._lacks(store, "replay jobs")
        return store

    def _pausing(self) -> Pausable:
        store = self._store()
        if not isinstance(store, Pausable):
            raise self._lacks(store, "be paused")
        return store

    def _lacks(self, store: QueueBackend, power: str) -> NotSupported:
        return NotSupported(f"queue {self.name!r} cannot {power}: {type(store).__name__} does not have that power")


class Queue(Place):
    """A queue as its users see it: messages go in, deliveries come out. Thread-safe.

    ``store`` returns the open store and ``heartbeat`` what keeps the leases made here alive; both are asked for at
    every call and may open what they return.
    """

    def __init__(
        self,
        name: str,
        store: Callable[[], QueueBackend],
        heartbeat: Callable[[], Heartbeat],
        events: Events,
        sender: Sender | None = None,
    ) -> None:
        super().__init__(name, store)
        self._heartbeat = heartbeat
        self._events = events
        self._sender = sender or Sender(store, events)

    def settings(self) -> QueueSettings | None:
        """Return what the queue was told, None when it does not exist."""
        return self._store().queues().get(self.name)

    # -- in -------------------------------------------------------------------------------------------------------

    def send(self, body: bytes, **options: Unpack[SendOptions]) -> Stored:
        """Store one message, as safe on return as the store promises; ``UsageError`` names what does not fit.

        With ``connection=`` it is stored when the transaction there commits.
        """
        return self._send(self._messages([body], options), options)[0]

    def send_many(self, bodies: Iterable[bytes | Message], **options: Unpack[SendOptions]) -> list[Stored]:
        """Store messages in one call; return one receipt each, in order.

        The options are those of every ``bytes``; a :class:`Message` carries its own.
        """
        return self._send(self._messages(bodies, options), options)

    # What begins with an underscore here is also used by the awaited face, holdfast.aio.

    def _messages(self, bodies: Iterable[bytes | Message], options: SendOptions) -> list[Message]:
        given = list(bodies)
        if "id" in options and sum(not isinstance(body, Message) for body in given) > 1:
            raise UsageError(f"queue {self.name!r}: one id cannot be that of several messages; send Messages instead")
        return [self._message(body, options) for body in given]

    def _message(self, body: bytes | Message, options: SendOptions) -> Message:
        if not isinstance(body, (Message, bytes, bytearray, memoryview)):
            raise UsageError(f"queue {self.name!r}: a body is bytes, not {type(body).__name__}; encode it first")
        try:
            return checked(body) if isinstance(body, Message) else message(bytes(body), options)
        except UsageError as error:
            raise UsageError(f"queue {self.name!r}: {error}") from None

    def _send(self, messages: Sequence[Message], options: SendOptions) -> list[Stored]:
        if not messages:
            return []
        return self._sender.send(self.name, messages, connection=options.get("connection"))

    # -- out ------------------------------------------------------------------------------------------------------

    @contextmanager
    def lease(
        self, limit: int = 10, *, kinds: Collection[str] = RAW, wait: Seconds | None = 0.0
    ) -> Iterator[Deliveries]:
        """Lease up to ``limit`` messages for the block, waiting up to ``wait`` seconds (None: for ever) for the first.

        What the block marks is settled at its end, in one call. What it leaves unmarked goes back unburned; if it
        ends with an exception, that is nacked with it, or buried when its attempts are used. When the store cannot
        settle, its error is raised here, and the heartbeat settles as soon as it can.
        """
        self._check_lease(limit, kinds)
        granted = self._wait_and_lease(limit, kinds, wait)
        deliveries = Deliveries(granted, self._settle, self._events, self._is_done)
        try:
            yield deliveries
        except Exception as error:
            deliveries.fail(error)
            raise
        finally:
            deliveries.close()

    def pop(self, timeout: Seconds | None = None) -> Message | None:
        """Take one message out, at most once: it is acknowledged before it is returned.

        Waits up to ``timeout`` seconds and returns None when there was none; None waits for ever, 0 looks once. When
        the store cannot acknowledge, its error is raised and the message goes back; but when that error's
        ``outcome_unknown`` is true, it may be out for good, and nobody has seen it.
        """
        while granted := self._wait_and_lease(1, RAW, timeout):
            taken = granted[0]
            lost = self._settle([Ack(taken.receipt)], otherwise=[GiveBack(taken.receipt)])
            if not lost:
                return message_of(taken)
        return None

    def _check_lease(self, limit: int, kinds: Collection[str]) -> None:
        if not isinstance(limit, int) or not 1 <= limit <= MOST_LEASED:
            raise UsageError(f"queue {self.name!r}: limit is a whole number from 1 to {MOST_LEASED}, not {limit!r}")
        if isinstance(kinds, str):
            raise UsageError(f"queue {self.name!r}: kinds are several texts: kinds=[{kinds!r}]")
        if not kinds:
            raise UsageError(f"queue {self.name!r}: kinds is empty, so nothing could ever be leased")

    def _patience(self, wait: Seconds | None) -> float | None:
        return None if wait is None else seconds(wait, f"queue {self.name!r}: the time to wait")

    def _wait_and_lease(self, limit: int, kinds: Collection[str], wait: Seconds | None) -> list[Delivery]:
        clock, patience = self._heartbeat().clock, self._patience(wait)
        end = None if patience is None else clock.boot() + patience * 1000
        while not (granted := self._insist(limit, kinds)):
            left = POLL if end is None else (end - clock.boot()) / 1000
            if left <= 0:
                return []
            self._store().wait([self.name], kinds, min(left, POLL))
        return granted

    def _insist(self, limit: int, kinds: Collection[str]) -> list[Delivery]:
        try:
            return self._lease(limit, kinds)
        except LeaseLost:
            return self._lease(limit, kinds)  # the holder had ended while nobody looked; this one is new

    def _lease(self, limit: int, kinds: Collection[str]) -> list[Delivery]:
        heartbeat, lease_id = self._heartbeat(), secrets.token_hex(8)
        heartbeat.pay()
        holder = heartbeat.hold([self.name], kinds)
        try:
            granted = self._store().lease(self.name, holder, lease_id, limit=limit, kinds=kinds, max_format=FORMAT)
            middleware = self._sender.middleware
            for delivery in granted:
                delivery.complete = self._ack_in
                delivery.hand_over = middleware.hand_over if middleware.sends else None
            return granted
        except LeaseLost:
            heartbeat.lost(holder)
            raise
        except BaseException as error:  # an interrupt too may come when the grant is made and not yet here
            if not isinstance(error, BackendError) or error.outcome_unknown:
                heartbeat.owe([GiveBack(queue=self.name, lease_id=lease_id)])
            raise

    def _settle(
        self, settlements: Sequence[Settlement], *, otherwise: Sequence[Settlement] | None = None
    ) -> list[Receipt]:
        """Settle; if the store cannot, let the heartbeat do it, or ``otherwise`` instead, when it can again."""
        try:
            lost = self._store().settle(settlements)
        except Exception as error:
            heartbeat = self._heartbeat()
            heartbeat.owe(settlements if otherwise is None else otherwise)
            if not isinstance(error, BackendError):
                heartbeat.pay()  # the store is well, and one of these is not: the others need not wait
            raise
        if self._events.wants(Sent):
            self._tell_of_follow_ups(settlements, lost)
        return lost

    def _tell_of_follow_ups(self, settlements: Sequence[Settlement], lost: Collection[Receipt]) -> None:
        level = self._store().features.level
        for ack in settlements:
            if isinstance(ack, Ack) and ack.receipt not in lost:
                for message in ack.then:
                    self._events.emit(Sent(message, Stored(self.name, message.id, level)))

    def _ack_in(self, connection: object, delivery: Delivery, ack: Ack) -> None:
        ack_in(self._store(), connection, delivery, ack)

    def _is_done(self, delivery: Delivery) -> bool:
        try:
            return is_done(self._store(), delivery)
        except BackendError:
            return False  # then its settlement will tell, or fail too


class Deliveries:
    """What one lease granted; mark each with its ``ack``, ``nack``, ``bury`` or ``give_back``. For one thread.

    ``is_done`` tells of one that was acked inside a transaction whether that has been committed.
    """

    def __init__(
        self,
        granted: Sequence[Delivery],
        settle: Callable[[Sequence[Settlement]], list[Receipt]],
        events: Events,
        is_done: Callable[[Delivery], bool],
    ) -> None:
        self._granted = tuple(granted)
        self._open = list(granted)
        self._settle = settle
        self._events = events
        self._is_done = is_done

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self._granted)

    def __len__(self) -> int:
        return len(self._granted)

    def flush(self) -> list[Receipt]:
        """Settle what is marked so far; return the receipts whose lease had been lost."""
        return self._settle_marked(None)

    def fail(self, error: Exception) -> None:
        """Settle what is marked, and nack with ``error`` what is not."""
        for delivery in self._open:
            if delivery.settlement is None:
                delivery.nack(RETRY.delay(delivery.attempt), error=ErrorInfo.of(error))
        self._settle_marked(error)

    def close(self) -> None:
        """Settle what is marked, and give back what is not."""
        for delivery in self._open:
            if delivery.settlement is None:
                delivery.give_back()
        self._settle_marked(None)

    def _settle_marked(self, error: Exception | None) -> list[Receipt]:
        marked = [delivery for delivery in self._open if delivery.settlement is not None]
        if not marked:
            return []
        self._open = [delivery for delivery in self._open if delivery.settlement is None]
        marked = [delivery for delivery in marked if delivery.acked is None or not self._is_done(delivery)]
        for delivery in marked:
            self._tell(delivery, error)
        lost = self._settle([delivery.settlement for delivery in marked if delivery.settlement is not None])
        gone = set(lost)
        for delivery in marked if gone else ():
            if delivery.receipt in gone:
                self._events.emit(Lost(delivery))
        return lost

    def _tell(self, delivery: Delivery, error: Exception | None) -> None:
        match delivery.settlement:
            case Nack(delay=delay):
                self._events.emit(BeforeRetry(delivery, error, delay))
            case Burial(reason=reason):
                self._events.emit(BeforeBury(delivery, error, reason))


def message_of(delivery: Delivery) -> Message:
    """Return the message that a delivery hands over."""
    return Message(
        body=delivery.body,
        id=delivery.id,
        kind=delivery.kind,
        headers=delivery.headers,
        key=delivery.key,
        priority=delivery.priority,
        max_attempts=delivery.max_attempts,
        timeout=delivery.timeout,
    )
