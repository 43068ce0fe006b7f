"""What can be observed: typed events, and the bus that carries them to listeners.

An event is emitted once, where it happens; logging, metrics and dashboards listen. A listener is called in the thread
that emitted the event and should return quickly; one that raises is logged and harms nothing.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import msgspec

from holdfast.delivery import Delivery, HolderInfo
from holdfast.errors import UsageError
from holdfast.failures import ErrorInfo, frames_of
from holdfast.message import Message, Stored

LOGGER = logging.getLogger("holdfast")
"""Where the library's lines go unless somebody says otherwise."""
_SILENT = logging.Logger("holdfast.silent")
_SILENT.disabled = True


class Event(msgspec.Struct, frozen=True):
    """The root of all events: whoever listens to it hears everything."""


# -- one job --------------------------------------------------------------------------------------------------


class Sent(Event, frozen=True):
    """A message was stored, or recognised as a duplicate; with ``connection=``, when the sender's commit comes."""

    message: Message
    stored: Stored


class JobEvent(Event, frozen=True):
    """Something happened to one job; listeners read ``job`` and leave it as it is."""

    job: Delivery


class Leased(JobEvent, frozen=True):
    """A worker was granted the job; it starts soon, or goes back."""


class Started(JobEvent, frozen=True):
    """The job's handler is about to be called."""


class Done(JobEvent, frozen=True):
    """The job was acknowledged and the store has written it down."""


class BeforeRetry(JobEvent, frozen=True):
    """This run failed; the job will be delivered again after ``delay`` seconds. Comes before the settlement."""

    error: BaseException | None
    delay: float


class BeforeBury(JobEvent, frozen=True):
    """The job is given up for ``reason`` and becomes a dead letter. Comes before the settlement."""

    error: BaseException | None
    reason: str


class Cancelled(JobEvent, frozen=True):
    """The job was stopped on request, or cancelled itself."""

    reason: str


class Lost(JobEvent, frozen=True):
    """The job's settlement was refused: its lease had been lost, so this run counts for nothing."""


class Stuck(JobEvent, frozen=True):
    """The job has run for ``seconds``, over its timeout, and cannot be stopped; ``stack`` is where it is.

    A thread never can be; an async job swallowed its cancellation.
    """

    seconds: float
    stack: str


# -- a round of housekeeping ----------------------------------------------------------------------------------


class Counted(Event, frozen=True):
    """Something happened to ``count`` jobs, found by one round of housekeeping."""

    count: int


class Expired(Counted, frozen=True):
    """Jobs were written down as expired."""


class Dropped(Counted, frozen=True):
    """Dead letters were removed because their queue's retention no longer keeps them."""


class Rescued(Counted, frozen=True):
    """Jobs were taken back from holders that had gone silent."""


class Retired(Event, frozen=True):
    """A holder whose process has gone was ended, and its ``jobs`` taken back. ``charged`` are those that had started,
    None when nobody knows which had; ``reason`` says how the process ended, as far as that is known.
    """

    holder: HolderInfo
    jobs: int
    charged: int | None = None
    reason: str = "worker died: its process has gone"


# -- logs -----------------------------------------------------------------------------------------------------


class LogTrimmed(Event, frozen=True):
    """Retention has dropped ``messages`` from logs, ``bytes`` in all, found by one round of housekeeping."""

    messages: int
    bytes: int


class GroupExpired(Event, frozen=True):
    """Nobody has read for a ``group`` of ``log`` for its ``group_expiry``: it was removed, with its offsets."""

    log: str
    group: str


class GroupPins(Event, frozen=True):
    """A log keeps ``bytes`` for a ``group`` alone (``until_consumed``), for which nobody has read for ``idle`` seconds.

    Told after an hour, and once a day from then on.
    """

    log: str
    group: str
    bytes: int
    idle: float


# -- schedules ------------------------------------------------------------------------------------------------


class Ticked(Event, frozen=True):
    """A schedule has ticked at ``tick`` (ms), fired by this process: ``sent`` (as ``job``), ``missed``, ``skipped`` or
    ``full``, as ``TickOutcome`` says.
    """

    queue: str
    schedule: str
    tick: int
    outcome: str
    job: str | None


class ScheduleFailed(Event, frozen=True):
    """A schedule could not be registered or fired here; others go on, and it is tried again in ``delay`` seconds."""

    queue: str
    schedule: str
    error: BaseException
    delay: float


# -- one worker -----------------------------------------------------------------------------------------------


class Stalled(Event, frozen=True):
    """The worker ``holder`` has been unable to lease for ``seconds``; ``error`` is the last one, if any."""

    holder: str
    seconds: float
    error: BaseException | None


class GateClosed(Event, frozen=True):
    """A worker of this process leases no jobs of ``kind`` any more: their gate says no."""

    kind: str


class GateOpened(Event, frozen=True):
    """A worker of this process leases jobs of ``kind`` again."""

    kind: str


class Recovered(Event, frozen=True):
    """The worker ``holder`` can lease again after having been stalled for ``seconds``."""

    holder: str
    seconds: float


class LoopBlocked(Event, frozen=True):
    """The event loop of async handlers has not turned for ``seconds``: one of them blocks it, at ``stack``."""

    seconds: float
    stack: str


class LoopLag(Event, frozen=True):
    """The event loop of async handlers took so many ``seconds`` to answer; it is asked about once a second."""

    seconds: float


class PartitionStopped(Event, frozen=True):
    """A consumer goes no further in this partition: the message at ``offset`` failed for good, for ``reason``, with
    ``dead_letters="stop"``; or what lies there is gone or damaged. Told once. It goes on when the group is sought past
    it, another member tries again, or it can be read.
    """

    log: str
    group: str
    partition: int
    offset: int
    reason: str


class HolderLost(Event, frozen=True):
    """The heartbeat of ``holder`` has ended: its leases are lost, and a new incarnation takes over."""

    holder: str


# -- the bus --------------------------------------------------------------------------------------------------

E = TypeVar("E", bound=Event)
Listener = Callable[[Any], object]


class Events:
    """Carries events to listeners. Every method may be called from any thread.

    ``logger`` is where all lines of the library go that are about this bus's App or worker: a WARNING for each failed
    attempt and each oddity, an ERROR for each dead letter and each stall. None silences them.
    """

    def __init__(self, logger: logging.Logger | None = LOGGER) -> None:
        self.logger = _SILENT if logger is None else logger
        self.job_logger = _below(self.logger)
        """What ``ctx.logger`` writes to."""
        self._lock = threading.Lock()
        self._listeners: tuple[tuple[type[Event], Listener], ...] = ()
        self._routes: dict[type[Event], tuple[Listener, ...]] = {}
        if logger is not None:
            log_to(logger, self)

    def listen(self, event_type: type[E], listener: Callable[[E], object]) -> Callable[[], None]:
        """Call ``listener`` with every event of this type and its subtypes; the returned function ends that."""
        if not isinstance(event_type, type) or not issubclass(event_type, Event) or not callable(listener):
            raise UsageError(
                f"listen takes a type of event and a function, not {event_type!r:.80} and {listener!r:.80}"
            )
        if is_coroutine_function(listener):
            raise UsageError(f"{listener!r} is a coroutine function, which only app.listen takes: a bus has no loop")
        entry = (event_type, listener)
        with self._lock:
            self._listeners += (entry,)
            self._routes = {}
        return lambda: self._forget(entry)

    def _forget(self, entry: tuple[type[Event], Listener]) -> None:
        with self._lock:
            self._listeners = tuple(known for known in self._listeners if known is not entry)
            self._routes = {}

    def wants(self, event_type: type[Event]) -> bool:
        """Tell whether anybody listens, so that hot paths need not build events that nobody hears."""
        return bool(self._route(event_type))

    def emit(self, event: Event) -> None:
        """Call every listener of this event, in the order they came."""
        for listener in self._route(type(event)):
            try:
                listener(event)
            except BaseException as error:  # SystemExit too, which would end the thread of whoever emits
                if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                    raise  # Ctrl-C, which came while the listener ran
                self.logger.exception("a listener to %s events failed; the job goes on", type(event).__name__)

    def _route(self, event_type: type[Event]) -> tuple[Listener, ...]:
        routes = self._routes  # a new dictionary whenever the listeners change, so a late write spoils nothing
        route = routes.get(event_type)
        if route is None:
            route = routes[event_type] = tuple(
                listener for wanted, listener in self._listeners if issubclass(event_type, wanted)
            )
        return route


def is_coroutine_function(function: object) -> bool:
    """Tell whether calling it makes a coroutine, also for a partial and for an object with such a ``__call__``."""
    called = getattr(type(function), "__call__", None)  # noqa: B004 - the method is wanted, not whether there is one
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


# -- what goes into the logs ----------------------------------------------------------------------------------

_JOB = "{job.kind} job {job.id} of queue {job.queue}, attempt {job.attempt}: "
_LINES: tuple[tuple[type[Event], int, str], ...] = (
    (BeforeRetry, logging.WARNING, _JOB + "failed with {error!r}; again in {delay:.3g} s"),
    (BeforeBury, logging.ERROR, _JOB + "buried: {reason}"),
    (Lost, logging.WARNING, _JOB + "counts for nothing, its lease was lost"),
    (Stuck, logging.ERROR, _JOB + "over its timeout after {seconds:.3g} s, and cannot be stopped\n{stack}"),
    (Dropped, logging.WARNING, "{count} dead letters dropped by retention"),
    (LogTrimmed, logging.INFO, "{messages} messages of logs dropped by retention, {bytes} bytes"),
    (GroupExpired, logging.WARNING, "group {group} of log {log} removed: nobody has read for it"),
    (GroupPins, logging.WARNING, "log {log} keeps {bytes} bytes for group {group}, idle for {idle:.0f} s; forget it?"),
    (Rescued, logging.WARNING, "{count} jobs taken back from holders that went silent"),
    (Retired, logging.WARNING, "holder {holder.id} retired, {reason}; {jobs} jobs taken back"),
    (Stalled, logging.ERROR, "worker {holder} has been unable to lease for {seconds:.3g} s: {error!r}"),
    (Recovered, logging.WARNING, "worker {holder} leases again after {seconds:.3g} s"),
    (GateClosed, logging.INFO, "jobs of {kind} wait: their gate is closed"),
    (GateOpened, logging.INFO, "jobs of {kind} are run again: their gate is open"),
    (LoopBlocked, logging.WARNING, "an async handler has blocked the event loop for {seconds:.3g} s\n{stack}"),
    (ScheduleFailed, logging.ERROR, "schedule {schedule} of queue {queue} failed; again in {delay:.3g} s: {error!r}"),
    (
        PartitionStopped,
        logging.ERROR,
        "group {group} goes no further in partition {partition} of log {log}, at offset {offset}: {reason}; "
        "seek past it to go on",
    ),
    (HolderLost, logging.WARNING, "holder {holder} lost its heartbeat: its leases are void"),
)


def _below(logger: logging.Logger) -> logging.Logger:
    """Return the logger ``job`` below this one, if it stands where loggers are looked up by name."""
    return logger.getChild("job") if logging.root.manager.loggerDict.get(logger.name) is logger else logger


def log_to(logger: logging.Logger, events: Events) -> None:
    """Write what an operator should read to ``logger``: a WARNING a failed attempt, an ERROR a dead letter."""
    for event_type, level, text in _LINES:
        events.listen(event_type, partial(_log, logger, level, text))


def _log(logger: logging.Logger, level: int, text: str, event: Event) -> None:
    if logger.isEnabledFor(level):
        fields = {name: getattr(event, name) for name in event.__struct_fields__}
        error = fields.get("error")
        raised = None if error is None else (type(error), error, frames_of(error))
        logger.log(level, text.format(**fields), exc_info=raised, extra=extras_of(event))


def extras_of(event: Event) -> dict[str, object]:
    """Return an event as the extra fields of its log line: plain values, named as ``ctx.logger`` names them."""
    extras: dict[str, object] = {"event": type(event).__name__}
    for name in event.__struct_fields__:
        match value := getattr(event, name):
            case Delivery():
                extras |= {"queue": value.queue, "job_id": value.id, "job_kind": value.kind, "attempt": value.attempt}
            case HolderInfo():
                extras |= {"holder": value.id, "pid": value.pid}
            case BaseException():
                extras["error"] = ErrorInfo.of(value).type
            case str() | int() | float() if name != "stack":  # which is in the message
                extras["job_kind" if name == "kind" else name] = value
    return extras
