"""What goes back and forth between a store and who works for it: deliveries, settlements, heartbeats, views of jobs.

A delivery is settled in one of six ways, each a value: :class:`Ack` (done), :class:`Nack` (deliver again after a
delay), :class:`Burial` (give up, with a reason), :class:`Cancellation` (stopped on request), :class:`GiveBack`
(return unstarted, unburned) and :class:`Crash` (the process it ran in died). A store takes them in mixed batches.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, TypeVar

import msgspec

from holdfast.errors import UsageError
from holdfast.failures import ErrorInfo, clean
from holdfast.message import NO_HEADERS, Message, Seconds, Unique, checked, seconds

Run = TypeVar("Run")

MAX_CRASHES = 3
"""A job whose process died this often is buried, even if attempts are left."""
FIRST_ERRORS, LAST_ERRORS = 2, 8
"""Of a job's failed attempts the first two and the last eight are kept."""


class State(enum.StrEnum):
    """Where a job is in its life; ``machine.MOVES`` lists the legal moves between them."""

    SCHEDULED = "scheduled"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


ENDED = frozenset({State.DONE, State.DEAD, State.CANCELLED, State.EXPIRED})
WAITING = frozenset({State.SCHEDULED, State.READY})


class Receipt(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The proof of a lease. ``token`` rises at every grant of this job and is never lowered or reset."""

    queue: str
    id: str
    token: int


# -- settlements ----------------------------------------------------------------------------------------------


class Ack(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Done. ``result`` is kept ``keep_result`` seconds; ``then`` is stored in the same queue in the same step."""

    receipt: Receipt
    result: bytes | None = None
    keep_result: float = 0.0
    then: tuple[Message, ...] = ()


class Nack(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Deliver again after ``delay`` seconds; ``count=False`` gives the attempt back. Never dead-letters.

    ``reason`` is ``error`` or ``timeout``. A job that was asked to be cancelled becomes cancelled instead.
    """

    receipt: Receipt
    delay: float = 0.0
    error: ErrorInfo | None = None
    count: bool = True
    reason: str = "error"


class Burial(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Give up: the job becomes a dead letter with this reason."""

    receipt: Receipt
    reason: str
    error: ErrorInfo | None = None


class Cancellation(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The job was stopped on request, or cancelled itself."""

    receipt: Receipt
    reason: str = "cancelled"


class GiveBack(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Return unstarted, with its attempt given back and its place kept.

    Either one delivery by ``receipt``, or whatever ``lease_id`` was granted in ``queue``: the second form needs no
    answer from the store to have arrived, and may be repeated.
    """

    receipt: Receipt | None = None
    queue: str = ""
    lease_id: str = ""


class Crash(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The process that the job alone ran in died; its holder lives.

    Charged an attempt and a crash, the job comes back to its place, or is buried with ``reason`` when the attempt was
    its last or the crash its third: as ``retire`` does with a charged run. A job that was asked to be cancelled becomes
    cancelled instead.
    """

    receipt: Receipt
    reason: str


Settlement = Ack | Nack | Burial | Cancellation | GiveBack | Crash


# -- deliveries -----------------------------------------------------------------------------------------------


class Delivery(msgspec.Struct, gc=False):
    """One message handed to one holder.

    ``attempt`` counts this run (1 is the first), ``crashes`` the runs in which the process died; ``sent``, ``leased``
    and ``ready``, since when it could have been leased, are instants in ms. The verbs, ``ack_in`` aside, only set
    ``settlement``; whoever handed the delivery out settles it. ``UsageError`` when no store could. A delivery belongs
    to one thread at a time.
    """

    queue: str
    id: str
    token: int
    attempt: int
    body: bytes
    kind: str = ""
    headers: Mapping[str, str] = NO_HEADERS
    key: str | None = None
    priority: int = 0
    crashes: int = 0
    max_attempts: int | None = None
    timeout: float | None = None
    sent: int = 0
    leased: int = 0
    ready: int = 0
    settlement: Settlement | None = None
    acked: Ack | None = None
    """What was carried out inside a caller's transaction, which may be committed or not."""
    complete: Callable[[object, Delivery, Ack], None] | None = None
    """How to ack inside a caller's transaction; set by who handed the delivery out."""
    hand_over: Callable[[str, Sequence[Message]], Sequence[Message]] | None = None
    """What changes messages that follow the ack; set by who handed the delivery out, if anything does."""
    seed: str = ""
    """What the ids of follow-ups are made of where no single step stores them with the end of the run: that may then
    be done again, with the same seed. Else empty.
    """

    @property
    def receipt(self) -> Receipt:
        """The proof that settles this delivery."""
        return Receipt(self.queue, self.id, self.token)

    @property
    def last_attempt(self) -> bool:
        """Whether no attempt is left after this one."""
        return self.max_attempts is not None and self.attempt >= self.max_attempts

    def ack(
        self, result: bytes | None = None, *, keep_result: Seconds = 0.0, then: Iterable[bytes | Message] = ()
    ) -> None:
        """Mark as done. ``then`` is stored in the same queue in the same step, and only if the lease was not lost;
        its bodies, and their number, are not held to the queue's limits.
        """
        self.settlement = self._ack(result, keep_result, then)

    def ack_in(
        self,
        connection: object,
        result: bytes | None = None,
        *,
        keep_result: Seconds = 0.0,
        then: Iterable[bytes | Message] = (),
    ) -> None:
        """Complete inside the caller's transaction on ``connection``: done when he commits, else as if not called.

        After a rollback the delivery is settled as it is marked. ``LeaseLost`` when another may be at it by now:
        roll back then. ``NotSupported`` on stores without transactions of callers.
        """
        if self.complete is None:
            raise UsageError(f"job {self.id} is not one of queue.lease(); in a handler call ctx.ack_in(connection)")
        self.complete(connection, self, self._ack(result, keep_result, then))

    def _ack(self, result: bytes | None, keep_result: Seconds, then: Iterable[bytes | Message]) -> Ack:
        if result is not None and not isinstance(result, bytes):
            raise UsageError(f"a result is bytes or None, not {type(result).__name__}; encode it first")
        follow_ups = tuple(_follow_up(message) for message in then)
        if follow_ups and self.hand_over is not None:
            follow_ups = tuple(self.hand_over(self.queue, follow_ups))
        return Ack(self.receipt, result, seconds(keep_result, "keep_result"), follow_ups)

    def nack(self, delay: Seconds = 0.0, *, error: ErrorInfo | None = None, count: bool = True) -> None:
        """Mark to be delivered again after ``delay`` seconds, or buried when its attempts are used."""
        self.settlement = self.failure(seconds(delay, "delay"), error, count=count)

    def bury(self, reason: str, *, error: ErrorInfo | None = None) -> None:
        """Mark as given up, with the reason that its dead letter will carry."""
        self.settlement = Burial(self.receipt, clean(reason), error)

    def give_back(self) -> None:
        """Mark to be returned unstarted: no attempt is burned and its place is kept."""
        self.settlement = GiveBack(self.receipt)

    def failure(
        self, delay: float, error: ErrorInfo | None = None, *, count: bool = True, reason: str = "error"
    ) -> Nack | Burial:
        """Return what settles a failed run: the one place that turns a used-up nack into a burial."""
        if count and self.last_attempt:
            return Burial(self.receipt, reason if error is None or reason != "error" else error.type, error)
        return Nack(self.receipt, delay, error, count, reason)


def _follow_up(message: bytes | Message) -> Message:
    if isinstance(message, Message):
        return checked(message)
    if not isinstance(message, (bytes, bytearray, memoryview)):
        raise UsageError(f"what follows an ack is bytes or Messages, not {type(message).__name__}; encode it first")
    return Message(body=bytes(message))


class Report(msgspec.Struct, frozen=True, gc=False):
    """What a run says of its progress: ``fraction`` from 0 to 1, and a note on what it is at."""

    receipt: Receipt
    fraction: float
    note: str = ""


# -- holders --------------------------------------------------------------------------------------------------


Command = Literal["quiet", "work", "stop"]
"""What a worker can be asked from afar: to lease nothing more, to lease again, to end as after a signal."""


class RunningJob(msgspec.Struct, frozen=True, gc=False):
    """A job that a worker runs, and for how many seconds it has when the worker last beat."""

    queue: str
    id: str
    kind: str
    seconds: float


class HolderInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A live process that holds leases. ``id`` is ``name#incarnation`` and never used twice.

    ``ttl`` is the seconds after the last beat at which its jobs may be taken back. ``host`` and ``boot`` say on
    which machine, boot and process namespace ``pid`` means something; ``pid_start`` tells a reused pid from it.
    ``queues`` are those it may hold leases in, ``kinds`` those it has handlers for, ``schedules`` those its code
    declares, each as ``capabilities.owned`` names it. ``supervisor`` is the pid of the process that looks after this
    one, 0 without one, and ``supervisor_start`` tells a reused pid from it. ``published`` is the path of what this
    process tells whoever outlives it; see :mod:`holdfast.worker.published`.

    The rest is for people, as of the last beat: ``version`` of Holdfast, ``slots`` for jobs, how many of them are
    ``used`` (a caller of ``queue.lease`` is no worker and has none), those ``running`` jobs that have run longest,
    ``memory`` in bytes, the ``lag`` of its event loop in seconds (None without one), what its ``state`` is:
    ``working``, ``quiet`` or ``stopping``. ``beaten`` is how many seconds ago it last beat; it is filled in by
    ``QueueBackend.holders``.
    """

    id: str
    ttl: float
    host: str = ""
    boot: str = ""
    pid: int = 0
    pid_start: int = 0
    queues: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    supervisor: int = 0
    supervisor_start: int = 0
    published: str = ""
    version: str = ""
    slots: int = 0
    used: int = 0
    running: tuple[RunningJob, ...] = ()
    memory: int = 0
    lag: float | None = None
    state: str = ""
    beaten: float | None = None

    @property
    def name(self) -> str:
        """The part of the id that a new incarnation shares."""
        return self.id.partition("#")[0]


class Beat(msgspec.Struct, frozen=True):
    """What a heartbeat answers. ``alive`` false: this incarnation has ended and its leases are lost.

    ``cancels`` are running jobs of this holder that somebody asked to cancel, ``paused`` its paused queues.
    ``soonest`` is the seconds until the first of all other holders falls silent if it does not beat before, 0 when one
    has and nobody noticed, None when there is no other: then a round of ``tidy`` takes its jobs back.
    ``next_tick`` is in how many seconds a schedule of its queues, manual or its own, ticks next: negative when that is
    overdue, None for never. ``command`` is what was last asked of this holder; it comes with every beat.
    """

    alive: bool
    cancels: tuple[Receipt, ...] = ()
    paused: frozenset[str] = frozenset()
    soonest: float | None = None
    next_tick: float | None = None
    command: Command | None = None


class Tidied(msgspec.Struct, frozen=True):
    """What one round of tidying did; ``more`` says that it stopped at its limit. ``dead_dropped`` are dead letters."""

    rescued: int = 0
    expired: int = 0
    promoted: int = 0
    dropped: int = 0
    dead_dropped: int = 0
    more: bool = False

    def __add__(self, other: Tidied) -> Tidied:
        """Return what two rounds did together."""
        return Tidied(
            self.rescued + other.rescued,
            self.expired + other.expired,
            self.promoted + other.promoted,
            self.dropped + other.dropped,
            self.dead_dropped + other.dead_dropped,
            self.more or other.more,
        )


# -- views ----------------------------------------------------------------------------------------------------


class Attempt(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One run that ended: ``outcome`` is ``done``, ``error``, ``timeout``, ``buried``, ``crashed`` or ``lost``."""

    number: int
    holder: str
    started: int
    ended: int
    outcome: str
    error: ErrorInfo | None = None


def keep_runs(runs: Sequence[Run]) -> tuple[Run, ...]:
    """Return the runs worth keeping of all failed ones: the first two and the last eight."""
    if len(runs) <= FIRST_ERRORS + LAST_ERRORS:
        return tuple(runs)
    return (*runs[:FIRST_ERRORS], *runs[-LAST_ERRORS:])


class Reported(msgspec.Struct, frozen=True, gc=False):
    """The last report of a run: ``fraction`` from 0 to 1, its note, and when (ms) it was stored."""

    fraction: float
    note: str
    at: int


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it stands at the instant of looking; instants are ms. ``held`` means behind the head of its key.

    ``unique`` is what it was sent with; whether it has the slot now depends on who else was sent. ``progress`` is what
    its newest run, which may have ended, reported last; None when it has reported nothing.
    """

    queue: str
    id: str
    kind: str
    state: State
    key: str | None
    priority: int
    attempts: int
    max_attempts: int | None
    crashes: int
    token: int
    sent: int
    due: int | None
    expires: int | None
    started: int | None
    ended: int | None
    holder: str | None
    held: bool
    cancel_requested: bool
    reason: str | None
    timeout: float | None
    format: int
    body: bytes
    headers: Mapping[str, str]
    unique: Unique | None = None
    runs: tuple[Attempt, ...] = ()
    progress: Reported | None = None


class Page(msgspec.Struct, frozen=True):
    """One page of a listing; pass ``cursor`` to get the next, None means that was the last.

    ``at`` is the instant (ms, by the store's clock) as of which the jobs read as they do.
    """

    jobs: tuple[JobView, ...]
    cursor: str | None = None
    at: int = 0


class Matching(msgspec.Struct, frozen=True):
    """How many jobs match: exactly ``jobs``, or at least so many."""

    jobs: int = 0
    exact: bool = True

    def __add__(self, other: Matching) -> Matching:
        """Return how many match in two queues."""
        return Matching(self.jobs + other.jobs, self.exact and other.exact)

    def __str__(self) -> str:
        return str(self.jobs) if self.exact else f"at least {self.jobs}"


class Replayed(msgspec.Struct, frozen=True):
    """What a replay did: the ids ``moved``, and ``duplicates``, left as they are because another job has their slot.

    ``matching`` is how many were meant; the others had moved on. A dry run, which moves nothing, says only that.
    """

    moved: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()
    matching: Matching = Matching()


class Outcome(msgspec.Struct, frozen=True):
    """How a job ended, as its waiters need it. ``value`` is the encoded result, None when none is kept."""

    state: State
    value: bytes | None = None
    reason: str | None = None
    error: ErrorInfo | None = None


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """Exact counts of one queue. ``ready`` includes ``held``; ``oldest_ready`` is seconds, held jobs left out.

    ``unhandled`` counts, by kind, the ready jobs not held that no live holder takes; those of a format this release
    does not know stand under ``kind (format n)``.
    """

    queue: str
    scheduled: int = 0
    ready: int = 0
    held: int = 0
    running: int = 0
    done: int = 0
    dead: int = 0
    cancelled: int = 0
    expired: int = 0
    paused: bool = False
    oldest_ready: float | None = None
    unhandled: Mapping[str, int] = msgspec.field(default_factory=dict)

    @property
    def depth(self) -> int:
        """How many jobs could start now."""
        return self.ready - self.held
