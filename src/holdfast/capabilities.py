"""Optional powers of a store, each a small Protocol that a store inherits when it has the power.

The rules of :mod:`holdfast.contract` on threads, errors, time and blocking hold here too. Every change is durable on
return to the store's level, may be repeated, and ignores ids it does not know.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Literal, Protocol, runtime_checkable

import msgspec

from holdfast.contract import LogBackend, StreamGroups
from holdfast.delivery import Command, JobView, Outcome, Page, Receipt, Replayed, Report, Settlement, State
from holdfast.errors import UsageError
from holdfast.failures import ErrorInfo
from holdfast.logged import Verified
from holdfast.message import DEFAULT_ATTEMPTS, NO_HEADERS, Message, Stored

REMOVABLE = tuple(state for state in State if state is not State.RUNNING)
"""The states whose jobs can be removed."""


def check_removable(queue: str, states: Collection[State]) -> None:
    """Raise ``UsageError`` for a state whose jobs are somebody's."""
    if State.RUNNING in states:
        raise UsageError(f"queue {queue!r}: running jobs cannot be removed; cancel them")


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs of a queue are meant; what is None does not matter.

    ``reason`` and ``key`` must be equal, ``text`` contained in the reason or the last error, ``headers`` among those of
    the job. Times are ms and those called until are exclusive: ``since`` and ``until`` bound that of sending,
    ``ended_since`` and ``ended_until`` that of the end, which only ended jobs have.
    """

    states: tuple[State, ...] = tuple(State)
    kind: str | None = None
    reason: str | None = None
    text: str | None = None
    since: int | None = None
    until: int | None = None
    ended_since: int | None = None
    ended_until: int | None = None
    key: str | None = None
    headers: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "states", states_of(self.states))


def states_of(states: Iterable[State | str]) -> tuple[State, ...]:
    """Return states that may be given as texts; ``UsageError`` names one that is none."""
    if isinstance(states, str):
        raise UsageError(f"states are several: ({str(states)!r},)")
    try:
        return tuple(State(state) for state in states)
    except ValueError as error:
        raise UsageError(f"{error}; there are {', '.join(State)}") from None


@runtime_checkable
class Inspectable(Protocol):
    """Jobs can be looked at. Nothing here changes a job; due and expired jobs read as such."""

    def get(self, queue: str, job_id: str) -> JobView | None:
        """Return one job with its runs, or None when it does not exist."""

    def browse(
        self, queue: str, only: JobFilter, *, limit: int = 100, cursor: str | None = None, bodies: bool = True
    ) -> Page:
        """Return up to ``limit`` matching jobs, newest sent first, without their runs.

        Looks at no more than 10 000 jobs a page, so a page may be short, even empty, and still have a cursor; so may
        one whose bodies are large. Jobs
        sent meanwhile do not shift later pages (keyset paging), and no job is on two of them, whatever becomes of it.
        Without ``bodies`` the jobs come with an empty body and no headers, which costs less.
        """


@runtime_checkable
class Cancellable(Protocol):
    """Jobs can be cancelled."""

    def cancel(self, queue: str, job_ids: Sequence[str], reason: str = "cancelled") -> dict[str, State]:
        """Cancel waiting jobs, ask for running ones, leave ended ones; return the state each known job is in then.

        A running job stays ``running`` until its holder settles it: stopped, failed with an attempt left, or given
        back it becomes cancelled; it is done or dead if it ended by itself.
        """


@runtime_checkable
class Replayable(Protocol):
    """Ended jobs can run again. Both verbs touch only dead, cancelled and expired jobs and tell which ids moved."""

    def replay(self, queue: str, job_ids: Sequence[str]) -> Replayed:
        """Make the jobs ready as if new: attempts and crashes zero, no expiry, at the tail of their key.

        ``max_attempts`` stays what it is, also after a reload. A job whose unique slot another job has is left as it
        is, and told as a duplicate.
        """

    def reload(self, queue: str, job_ids: Sequence[str]) -> list[str]:
        """Make the jobs ready with exactly one more attempt: attempts kept, no expiry, at the tail of their key.

        A job whose unique slot another job has goes on without a slot.
        """


@runtime_checkable
class Flushable(Protocol):
    """Jobs can be removed for good: a whole state, or some by id. Those that run cannot.

    Removed jobs' ids stay recognised for the queue's ``dedupe_window`` after their end, or else after the removal.
    """

    def flush(self, queue: str, state: State) -> int:
        """Remove every job in ``state`` with its body and result; return how many. ``UsageError`` for running."""

    def remove(self, queue: str, job_ids: Sequence[str], *, states: Collection[State] = REMOVABLE) -> list[str]:
        """Remove those of these jobs that are in one of ``states`` now; return their ids. ``UsageError`` for running.

        What has moved on meanwhile, such as a dead letter that was replayed, is left alone when ``states`` say so.
        """


@runtime_checkable
class Pausable(Protocol):
    """A queue can be paused, durably: sends and settles go on, no lease is granted to anyone."""

    def pause(self, queue: str) -> None:
        """Grant no lease from now on."""

    def resume(self, queue: str) -> None:
        """Grant leases again, and wake whoever waits."""


@runtime_checkable
class Commandable(Protocol):
    """Holders can be asked to do something."""

    def command(self, holder: str, command: Command) -> bool:
        """Ask the holder of this id; its beats tell it from now on. False when no such holder lives.

        The last command counts. It ends with its holder, and a new incarnation begins without one.
        """


class Watch(Protocol):
    """A standing question "which of these have ended?", for one asking thread; ``add`` and ``interrupt`` may be
    called from others. It holds one connection however many jobs it watches.
    """

    def add(self, queue: str, job_ids: Collection[str]) -> None:
        """Watch these jobs as well."""

    def discard(self, queue: str, job_ids: Collection[str]) -> None:
        """Watch these jobs no longer."""

    def wait(self, timeout: float) -> list[tuple[str, str]]:
        """Block until watched jobs have ended, at most ``timeout`` seconds; return them, each once, as (queue, id).

        A job that had ended before it was added, or that no longer exists, is returned too.
        """

    def interrupt(self) -> None:
        """End the wait that is going on, or the next one."""

    def close(self) -> None:
        """Forget everything and leave nothing in the store."""


@runtime_checkable
class Results(Protocol):
    """Outcomes are kept and can be waited for."""

    def outcomes(self, queue: str, job_ids: Sequence[str]) -> dict[str, Outcome]:
        """Return the outcomes of those jobs that have ended and are still known."""

    def watch(self) -> Watch:
        """Return a new watch; its owner closes it."""


@runtime_checkable
class Progress(Protocol):
    """Running jobs can say how far they are; ``JobView.progress`` shows it."""

    def report(self, reports: Sequence[Report]) -> list[Receipt]:
        """Keep the last report of each running job; return the receipts that were lost.

        A receipt is lost as in ``settle``, and then changes nothing. A report belongs to its run: the next grant of the
        job shows none, and it goes with the job. Of several for one job the last counts. Need not be synced to the
        disk, and wakes nobody.
        """


@runtime_checkable
class DeadLetters(Protocol):
    """What failed elsewhere can be put among the dead letters of a queue, to be browsed and replayed like any other."""

    def put_dead(
        self, queue: str, message: Message, reason: str, *, error: ErrorInfo | None, attempts: int, crashes: int
    ) -> bool:
        """Store ``message`` as a job that is dead, with this reason; False, and nothing is stored, if its id is known.

        Durable on return as a send is; may be repeated. Its one recorded run is the last, with ``error``. The queue's
        ``limit`` and ``max_body`` do not count, its retention does. Its delay and expiry are over; it stands in no line
        of its key, and has no unique slot, until it is replayed.
        """


@runtime_checkable
class Logs(Protocol):
    """The store holds logs too."""

    def open_logs(self) -> LogBackend:
        """Return the logs of this store, the same object at every call. Closing either closes both."""


@runtime_checkable
class ForeignStreams(Protocol):
    """Streams that others fill, such as programs in other languages, can be consumed."""

    def open_streams(self) -> StreamGroups:
        """Return the groups of the streams beside this store, the same object at every call; it ends with the store."""


@runtime_checkable
class Verifiable(Protocol):
    """The bytes of its logs carry checksums, and can be read through; a power of a :class:`LogBackend`.

    ``progress`` is told now and then how many bytes have been read, and how many there are.
    """

    def verify(self, log: str, progress: Callable[[int, int], object] | None = None) -> Verified:
        """Read everything there is of a log, and check it. Changes nothing; the log may be in use."""

    def repair(self, log: str, progress: Callable[[int, int], object] | None = None) -> Verified:
        """Take out for good what is damaged, so that readers go on behind it; durable on return, may be repeated.

        The offsets of what went stay empty. Its bytes are kept in files. Nobody may be writing the log: raises
        ``BackendError``, which names the process that is.
        """


@runtime_checkable
class Transactional(Protocol):
    """Sends and settlements can be part of a transaction of the caller's own, on his connection to the same store.

    What is done becomes true for everybody when he commits, and never if he rolls back, or dies before. Nobody else
    sees any of it until then. ``connection`` is of the library that the store itself uses; what the caller has set on
    it neither matters nor changes. A call that raises leaves nothing behind in the transaction, which may go on.
    ``UsageError`` says what to do when the connection cannot be used: it is of another library or another place, it
    has no transaction, it may not write. Blocks while others write, as the store's own writes do; from then on the
    caller's transaction may keep everybody else from writing, until it ends.
    """

    def send_in(self, connection: object, queue: str, messages: Sequence[Message]) -> list[Stored]:
        """Store the messages when the caller commits; otherwise as ``QueueBackend.send``.

        ``Stored.level`` is what his commit will reach. Time counts from this call, not from the commit.
        """

    def settle_in(self, connection: object, settlements: Sequence[Settlement]) -> list[Receipt]:
        """Settle when the caller commits, and return the receipts that are lost; otherwise as ``QueueBackend.settle``.

        Until then the jobs stay leased. After a rollback they can be settled as if nothing had been; after the
        commit a further settlement of them is lost.
        """


class Finding(msgspec.Struct, frozen=True):
    """One thing that an examination found: ``what`` it is, ``why`` it matters, and what to do about it (``advice``).

    ``warn`` is what may lead to trouble, ``error`` what is trouble already.
    """

    level: Literal["ok", "warn", "error"]
    what: str
    why: str = ""
    advice: str = ""


@runtime_checkable
class Doctor(Protocol):
    """The store can be examined."""

    def examine(self) -> list[Finding]:
        """Look at everything that an operator should know of, the healthy included; return it, the store first.

        May read all jobs. Changes no job, beyond writing down which are due and which have expired. What keeps the
        store from being read or written is a finding too, and no error.
        """


# -- schedules ------------------------------------------------------------------------------------------------


class Cron(msgspec.Struct, frozen=True, tag="cron"):
    """A rule of five fields (names and @shortcuts allowed) that is read in the IANA zone ``tz``."""

    expression: str
    tz: str = "UTC"


class Every(msgspec.Struct, frozen=True, tag="every"):
    """A rule that ticks at ``start`` (ms) and each whole multiple of ``seconds`` after it."""

    seconds: float
    start: int


Rule = Cron | Every
Missed = Literal["latest", "all", "skip"]
"""What becomes of ticks that nobody fired in time: one run for the newest, a run for each, or none."""
Overlap = Literal["allow", "skip", "replace"]
"""What a tick does while a job of an earlier one has not ended: send beside it, send nothing, or cancel it and send."""
Source = Literal["code", "manual"]
"""What a schedule belongs to: code, whose workers fire it while one of them lives, or nothing but its store."""


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """What a schedule sends at each tick; the fields are those of ``Message``."""

    kind: str
    body: bytes
    headers: Mapping[str, str] = NO_HEADERS
    key: str | None = None
    priority: int = 0
    expires_in: float | None = None
    max_attempts: int | None = DEFAULT_ATTEMPTS
    timeout: float | None = None

    def message(self, job_id: str, due: int | None = None) -> Message:
        """Return it as a message, to be run from ``due`` (ms) on, or at once."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        return Message(id=job_id, due=due, **fields)


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """What a schedule was told. ``jitter`` is the seconds by which its jobs are spread; ticks themselves stand."""

    rule: Rule
    template: Template
    missed: Missed = "latest"
    overlap: Overlap = "skip"
    jitter: float = 0.0
    source: Source = "manual"


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as its store has it. Instants are ms.

    ``next`` is the tick that is to be fired next, None while it is paused and when its rule has no further one.
    ``version`` rises at every change but a fire's. ``orphaned`` is filled in by the App: no live worker lists it, so
    nobody fires it.
    """

    queue: str
    name: str
    definition: Definition
    paused: bool = False
    next: int | None = None
    version: int = 0
    created: int = 0
    orphaned: bool = False


class TickOutcome(enum.StrEnum):
    """What became of a tick."""

    SENT = "sent"
    MISSED = "missed"
    """Nobody fired it in time, and its schedule's policy sends nothing for it."""
    SKIPPED = "skipped"
    """The job of an earlier tick had not ended, or another job had the slot of its message's unique key."""
    FULL = "full"
    """The queue was at its limit, and there was no waiting job whose place the next could take."""


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a schedule at ``tick`` (ms), written down ``at`` (ms); ``job`` is the id of what was sent."""

    tick: int
    outcome: TickOutcome
    job: str | None = None
    at: int


class Planned(msgspec.Struct, frozen=True):
    """A tick to be fired: its job runs from ``due`` on (ms). With ``send`` false it is written down as missed.

    ``message`` is what is sent, with the id of the tick, where it is not just what the schedule's template says.
    """

    tick: int
    due: int
    send: bool = True
    message: Message | None = None


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule's ticks, oldest first, and its ``next`` tick after them.

    It is carried out only while the schedule is at ``version`` and its next tick is ``expected``.
    """

    queue: str
    name: str
    version: int
    expected: int
    ticks: tuple[Planned, ...]
    next: int | None


class DueSchedules(msgspec.Struct, frozen=True):
    """Schedules whose next tick has come, the store's time ``now`` (ms), and the ``next`` tick of all others.

    ``unreadable`` are due too, but what is stored of them is damaged: queue, name, and what is wrong.
    """

    schedules: tuple[Schedule, ...]
    now: int
    next: int | None
    unreadable: tuple[tuple[str, str, str], ...] = ()


def tick_id(queue: str, name: str, tick: int) -> str:
    """Return the id of the job of a tick: one tick has one job for ever, whoever fires it."""
    return sha256(f"{queue}\0{name}\0{tick}".encode()).hexdigest()[:32]


def owned(queue: str, name: str) -> str:
    """Return how ``HolderInfo.schedules`` names a schedule of code."""
    return f"{queue}\x1f{name}"


@runtime_checkable
class Schedules(Protocol):
    """Schedules are kept, and fired by whoever comes first.

    A schedule is known by queue and name. Destroying the queue removes it, with its ticks. ``own`` names, as ``owned``
    does, the code schedules that the asking process declares.
    """

    def save_schedule(self, schedule: Schedule, version: int) -> Schedule | None:
        """Store ``schedule`` in place of its ``version``, 0 for none; return it with its new version.

        None, and nothing is changed, when the stored version is another. The store sets ``version``, and ``created`` of
        a new one. Makes the queue if need be. Raises ``BodyTooLarge`` for a body that the queue does not take.
        """

    def remove_schedule(self, queue: str, name: str) -> bool:
        """Remove a schedule with its ticks; tell whether there was one. Its jobs stay."""

    def find_schedules(
        self, queue: str | None = None, name: str | None = None, *, limit: int = 1000, after: tuple[str, str] = ("", "")
    ) -> list[Schedule]:
        """Return schedules by queue and name, those of one queue or name if given; ``after`` is the last seen.

        One whose record is damaged is left out.
        """

    def due_schedules(self, queues: Sequence[str], own: Collection[str] = (), *, limit: int = 100) -> DueSchedules:
        """Return what these queues have to fire, oldest first: manual schedules and ``own`` ones. Changes nothing.

        Costs one look-up in an index a queue, however many schedules there are.
        """

    def fire(self, firings: Sequence[Firing]) -> list[list[Tick] | None]:
        """Carry out each firing, whole or not at all; return what became of its ticks, None when it came too late.

        In one step the ticks are written down, jobs stored under their ``tick_id``, and the schedule's next tick set,
        durable on return as a send is. Overlap is judged tick by tick, by jobs of earlier ticks that have not ended.
        A tick that has been written down before is left out. Beyond the queue's ``ticks_most`` the oldest ticks go.
        """

    def ticks(self, queue: str, name: str, *, limit: int = 100, before: int | None = None) -> list[Tick]:
        """Return up to ``limit`` ticks of a schedule, newest first, those before ``before`` (ms) if it is given."""
