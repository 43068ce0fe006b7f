"""What can be observed: typed events, and the bus that carries them to listeners.

An event is emitted once, where it happens; logging, metrics and dashboards listen. A listener is called in the thread
that emitted the event and should return quickly; one that raises is logged and harms nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from holdfast.delivery import Delivery, HolderInfo
from holdfast.message import Message, Stored

logger = logging.getLogger("holdfast")


class Event(msgspec.Struct, frozen=True):
    """The root of all events: whoever listens to it hears everything."""


# -- one job --------------------------------------------------------------------------------------------------


class Sent(Event, frozen=True):
    """A message was stored, or recognised as a duplicate."""

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

    error: BaseException
    delay: float


class BeforeBury(JobEvent, frozen=True):
    """The job is given up for ``reason`` and becomes a dead letter. Comes before the settlement."""

    error: BaseException
    reason: str


class Cancelled(JobEvent, frozen=True):
    """The job was stopped on request, or cancelled itself."""

    reason: str


class Lost(JobEvent, frozen=True):
    """The job's settlement was refused: its lease had been lost, so this run counts for nothing."""


class Stuck(JobEvent, frozen=True):
    """The job's thread has run for ``seconds``, over its timeout, and cannot be stopped; ``stack`` is where it is."""

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
    """A holder whose process has gone was ended, and its ``jobs`` taken back."""

    holder: HolderInfo
    jobs: int


# -- one worker -----------------------------------------------------------------------------------------------


class Stalled(Event, frozen=True):
    """The worker ``holder`` has been unable to lease for ``seconds``; ``error`` is the last one, if any."""

    holder: str
    seconds: float
    error: BaseException | None


class Recovered(Event, frozen=True):
    """The worker ``holder`` can lease again after having been stalled for ``seconds``."""

    holder: str
    seconds: float


class HolderLost(Event, frozen=True):
    """The heartbeat of ``holder`` has ended: its leases are lost, and a new incarnation takes over."""

    holder: str


# -- the bus --------------------------------------------------------------------------------------------------

E = TypeVar("E", bound=Event)
Listener = Callable[[Any], object]


class Events:
    """Carries events to listeners. Every method may be called from any thread.

    Whoever passes a ``logger`` hears of failures there: a WARNING for each failed attempt and each oddity, an ERROR
    for each dead letter and each stall.
    """

    def __init__(self, logger: logging.Logger | None = logger) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[tuple[type[Event], Listener], ...] = ()
        self._routes: dict[type[Event], tuple[Listener, ...]] = {}
        if logger is not None:
            log_to(logger, self)

    def listen(self, event_type: type[E], listener: Callable[[E], object]) -> Callable[[], None]:
        """Call ``listener`` with every event of this type and its subtypes; the returned function ends that."""
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
            except Exception:
                logger.exception("a listener to %s events failed; the job goes on", type(event).__name__)

    def _route(self, event_type: type[Event]) -> tuple[Listener, ...]:
        routes = self._routes  # a new dictionary whenever the listeners change, so a late write spoils nothing
        route = routes.get(event_type)
        if route is None:
            route = routes[event_type] = tuple(
                listener for wanted, listener in self._listeners if issubclass(event_type, wanted)
            )
        return route


# -- the listeners that write logs ----------------------------------------------------------------------------


def log_to(logger: logging.Logger, events: Events) -> None:
    """Write what an operator should read to ``logger``."""

    def line(level: int, text: str, *fields: str) -> Listener:
        def write(event: Event) -> None:
            logger.log(level, text, *(_field(event, field) for field in fields))

        return write

    job = ("job.kind", "job.id", "job.queue", "job.attempt")
    about = "%s job %s of queue %s"
    warning, error = logging.WARNING, logging.ERROR
    retry = about + ": attempt %s failed with %s; again in %.3g s"
    events.listen(BeforeRetry, line(warning, retry, *job, "error", "delay"))
    events.listen(BeforeBury, line(error, about + ": buried after attempt %s: %s (%s)", *job, "reason", "error"))
    events.listen(Lost, line(warning, about + ": attempt %s counts for nothing, its lease was lost", *job))
    stuck = about + ": attempt %s is %.3g s old, over its timeout, and its thread cannot be stopped\n%s"
    events.listen(Stuck, line(error, stuck, *job, "seconds", "stack"))
    events.listen(Dropped, line(warning, "%s dead letters dropped by retention", "count"))
    events.listen(Rescued, line(warning, "%s jobs taken back from holders that went silent", "count"))
    events.listen(Retired, line(warning, "holder %s retired, its process has gone; %s jobs back", "holder.id", "jobs"))
    events.listen(Stalled, line(error, "worker %s unable to lease for %.3g s: %s", "holder", "seconds", "error"))
    events.listen(Recovered, line(warning, "worker %s leases again after %.3g s", "holder", "seconds"))
    events.listen(HolderLost, line(warning, "holder %s lost its heartbeat; its leases are void", "holder"))


def _field(event: Event, path: str) -> object:
    value: Any = event
    for name in path.split("."):
        value = getattr(value, name)
    return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else value
