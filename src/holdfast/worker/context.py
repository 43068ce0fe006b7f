"""What a handler may know of its job while it runs."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Protocol

import msgspec

from holdfast.clock import SYSTEM, Clock, moment
from holdfast.delivery import Delivery, Report
from holdfast.errors import UsageError
from holdfast.failures import clean
from holdfast.message import Message

LOGGER = logging.getLogger("holdfast.job")

MAX_NOTE = 500
"""Characters of a note on progress that are kept."""


class Origin(Protocol):
    """What stands for an App: the same object for all that one App makes."""

    def hand_over(self, queue: str, messages: Sequence[Message]) -> Sequence[Message]:
        """Return these messages, which are stored later, as the App's middleware wants them."""


class FollowUp(Protocol):
    """A call of a task, as a context needs it; ``origin`` is the App that it would be sent through."""

    @property
    def queue(self) -> str:
        """The queue it is for."""

    @property
    def message(self) -> Message:
        """What would be sent."""

    @property
    def has_own_id(self) -> bool:
        """Whether its message was given its id by who made it."""

    @property
    def connection(self) -> object:
        """The connection whose transaction it would be sent in, None without one."""

    @property
    def origin(self) -> object:
        """What stands for its App."""


class Names:
    """Gives the follow-ups of a run their ids: the same when the run is done again and calls for the same.

    In whatever order: what is called for, not when, makes the id; of equal calls the first is that of the first.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._given: dict[str, str] = {}
        self._equal: dict[str, Iterator[int]] = {}

    def named(self, message: Message) -> Message:
        """Return a message with the id it is to have; the same message twice has one. For any thread."""
        given = self._given.get(message.id) or self._given.setdefault(message.id, self._made_for(message))
        return msgspec.structs.replace(message, id=given)

    def _made_for(self, message: Message) -> str:
        from hashlib import sha256  # costs start-up time

        facts = f"{self._seed}\0{message.kind}\0{message.key or ''}\0".encode(errors="surrogatepass")
        called_for = sha256(facts + message.body).hexdigest()
        number = next(self._equal.setdefault(called_for, itertools.count()))
        return sha256(f"{called_for} {number}".encode()).hexdigest()[:32]


class Context(msgspec.Struct, eq=False):
    """The job that is running. A handler gets one by a ``ctx: Context = CONTEXT`` parameter or :func:`current_job`.

    The three flags are set from other threads and only ever become true: ``cancel_requested`` (somebody asked to
    cancel this job: raise ``Cancel`` to stop), ``lease_lost`` (another worker may be running it by now: what this
    run does counts for nothing), ``stopping`` (set when the worker begins to stop: end within its grace, or
    raise ``RetryLater(count=False)`` to go on elsewhere). A signal raised inside a task group counts when it is the
    only error there: among several, the group as a whole is a failure.

    ``started`` is when the run began, in ms of the boot clock; of a timeout ask ``remaining`` or ``deadline`` instead.
    ``origin`` stands for the App of the job's task, ``follow_ups`` are what ``then`` was given, ``reporter`` takes what
    ``progress`` says, ``complete`` acks the job for ``ack_in``, ``log`` is what ``logger`` writes to, ``names`` gives
    follow-ups their ids.
    """

    delivery: Delivery
    timeout: float | None = None
    started: int = 0
    clock: Clock = SYSTEM
    cancel_requested: bool = False
    lease_lost: bool = False
    stopping: bool = False
    origin: Origin | None = None
    follow_ups: list[Message] = []
    reporter: Callable[[Report], None] | None = None
    complete: Callable[[Context, object, Any], None] | None = None
    log: logging.Logger = LOGGER
    names: Names | None = None

    def then(self, *calls: FollowUp) -> None:
        """Let these calls follow: ``ctx.then(task.call(…))``. They are stored in the step that acknowledges this run,
        and only if it is: when the run fails, is cancelled or loses its lease, none of them is. Touches no store. For a
        message of a log they are stored just before that step, once for all runs that it may take; see
        ``Delivery.seed``.

        ``UsageError`` when a call is for another queue, another App or a connection, since no single step could store
        it: use ``enqueue`` there; and when no job runs here, or not any more. Send middleware surrounds them here and
        now. The queue's limits on size and number do not hold for what follows. May be called again, from any thread,
        until the run ends.
        """
        if not self.delivery.id:
            raise UsageError("ctx.then: no job runs here, so nothing could follow it; send the call with enqueue")
        if self.delivery.settlement is not None:
            raise UsageError(f"ctx.then: the run of job {self.id} has ended, and nothing can follow it any more")
        if self.delivery.acked is not None:
            raise UsageError("ctx.then: it comes before ctx.ack_in, which stores what follows; send the call there")
        for call in calls:
            _check_follow_up(call, self)
        messages: Sequence[Message] = [self._named(call) for call in calls]
        self.follow_ups += messages if self.origin is None else self.origin.hand_over(self.queue, messages)

    def _named(self, call: FollowUp) -> Message:
        return call.message if self.names is None or call.has_own_id else self.names.named(call.message)

    def progress(self, fraction: float, note: str = "") -> None:
        """Say how far this run is: ``fraction`` from 0 to 1, and what it is at. Returns at once, in any thread or loop.

        The latest word is stored within about a second, and before the run is settled; ``job.refresh().view.progress``
        has it. Of many calls few are written. A new run starts without progress, and one that lost its lease reports
        nothing. A note is cut at 500 characters. Does nothing where no job runs; ``UsageError`` when ``fraction`` does
        not fit.
        """
        if not isinstance(fraction, (int, float)) or isinstance(fraction, bool) or not 0 <= fraction <= 1:
            raise UsageError(f"progress is a number from 0 to 1, not {fraction!r:.80}")
        if self.reporter is not None:
            self.reporter(Report(self.delivery.receipt, float(fraction), clean(note)[:MAX_NOTE]))

    def ack_in(self, connection: object, result: Any = None) -> None:
        """Complete the job inside a transaction of the handler's own: done when that commits, with this result.

        What ``then`` was given before is stored by that commit too.
        After a rollback, or without a commit, the run is settled as it ends; after the commit its end does not matter
        any more. ``LeaseLost`` when another worker may be running the job: roll back then. ``NotSupported`` on
        stores without transactions of callers. See ``Delivery.ack_in``.
        """
        if self.complete is None:
            raise UsageError("no worker runs this job: ctx.ack_in is for handlers, delivery.ack_in for queue.lease()")
        self.complete(self, connection, result)

    @property
    def id(self) -> str:
        """The job's id."""
        return self.delivery.id

    @property
    def queue(self) -> str:
        """The queue it came from."""
        return self.delivery.queue

    @property
    def kind(self) -> str:
        """Its kind: the name of its task."""
        return self.delivery.kind

    @property
    def key(self) -> str | None:
        """Its key; no two jobs of one key run at the same time."""
        return self.delivery.key

    @property
    def headers(self) -> Mapping[str, str]:
        """What its sender wrote beside the body."""
        return self.delivery.headers

    @property
    def attempt(self) -> int:
        """Which run this is; 1 is the first."""
        return self.delivery.attempt

    @property
    def last_attempt(self) -> bool:
        """Whether no attempt is left after this one."""
        return self.delivery.last_attempt

    @property
    def token(self) -> int:
        """The fencing token: a system that keeps the highest it saw can refuse a run that lost its lease."""
        return self.delivery.token

    @property
    def is_to_stop(self) -> bool:
        """Whether any of the three flags is set."""
        return self.cancel_requested or self.lease_lost or self.stopping

    @property
    def deadline(self) -> datetime | None:
        """When this run's timeout ends, None without one."""
        left = self.remaining()
        return None if left is None else moment(self.clock.wall() + round(left * 1000))

    def remaining(self) -> float | None:
        """Return the seconds left of this run's timeout (0 when it is over), None without one."""
        if self.timeout is None:
            return None
        return max(0.0, self.timeout - (self.clock.boot() - self.started) / 1000)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger, below that of the App, whose lines name the job; they carry ``job_id``, ``job_kind`` and ``queue``
        as extra fields.
        """
        extra = {"job_id": self.id, "job_kind": self.kind, "queue": self.queue, "attempt": self.attempt}
        return _JobLogger(self.log, extra)


def overran(context: Context) -> bool:
    """Tell whether a run has gone over its timeout."""
    return context.timeout is not None and context.clock.boot() - context.started > context.timeout * 1000


def _check_follow_up(call: FollowUp, context: Context) -> None:
    message = getattr(call, "message", None)
    if not isinstance(message, Message):
        raise UsageError(f"ctx.then takes calls, made by task.call(…), not {call!r:.80}")
    if call.queue != context.queue:
        raise UsageError(
            f"ctx.then: {call!r} is for queue {call.queue!r}, and this job is of queue {context.queue!r}: they cannot "
            "be stored in one step; send it with enqueue, or give its task the same queue"
        )
    if call.connection is not None:
        raise UsageError(
            f"ctx.then: {call!r} is to be sent in a transaction of its own connection; use enqueue for that"
        )
    if context.origin is not None and call.origin is not context.origin:
        raise UsageError(f"ctx.then: {call!r} belongs to another App than this job; send it with enqueue")


class _JobLogger(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        extra: Mapping[str, object] = self.extra or {}
        kwargs["extra"] = {**extra, **kwargs.get("extra", {})}
        return f"[{extra['job_kind']} {extra['job_id']}] {msg}", kwargs


CONTEXT = Context(Delivery(queue="", id="", token=0, attempt=1, body=b""))
"""The default of a handler's context parameter, and what it gets when it is called as a plain function."""

CURRENT: ContextVar[Context] = ContextVar("holdfast_job")
"""The running job's context; the runners set it."""


def current_job() -> Context | None:
    """Return the context of the job that is running here, in this thread or asyncio task; None when none is."""
    return CURRENT.get(None)
