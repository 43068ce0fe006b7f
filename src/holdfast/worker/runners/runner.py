"""What a worker asks of a runner, and what it lends to each."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from holdfast.clock import Clock
from holdfast.delivery import Delivery, Report
from holdfast.events import Events
from holdfast.worker.context import Context, Names
from holdfast.worker.handler import Handler
from holdfast.worker.outcomes import Outcomes
from holdfast.worker.published import Published


class Tally(NamedTuple):
    """How many runs have ended so far, and how many seconds they took together."""

    ended: int
    seconds: float


def stack_of(thread: threading.Thread) -> str:
    """Return where a thread is now."""
    frame = sys._current_frames().get(thread.ident or 0)
    return "" if frame is None else "".join(traceback.format_stack(frame))


class Desk(msgspec.Struct, frozen=True, eq=False):
    """What a runner works with. ``settle`` takes a delivery whose settlement is set; ``failed`` hears of a bug;
    ``report`` takes what a run says of its progress; ``published`` is told of every run's begin by ``context``, and of
    its end by the runner, once it is settled; ``complete`` acks a job inside its handler's own transaction.
    """

    handlers: Mapping[str, Handler]
    outcomes: Outcomes
    events: Events
    clock: Clock
    settle: Callable[[Delivery], None]
    failed: Callable[[BaseException], None]
    report: Callable[[Report], None]
    published: Published
    complete: Callable[[Context, object, Any], None] | None = None

    def context(self, delivery: Delivery, handler: Handler) -> Context:
        """Return the context of a run that begins now."""
        # An isolated job is never alone in its worker, so only its own process's deaths may convict it.
        if not delivery.crashes or handler.isolated is None:
            self.published.begin(delivery)
        timeout = handler.timeout if delivery.timeout is None else delivery.timeout
        return Context(
            delivery,
            timeout,
            self.clock.boot(),
            self.clock,
            origin=handler.origin,
            reporter=self.report,
            complete=self.complete,
            log=self.events.job_logger,
            names=Names(delivery.seed) if delivery.seed else None,
        )


@runtime_checkable
class Lagging(Protocol):
    """A runner on an event loop."""

    @property
    def lag(self) -> float | None:
        """How many seconds the loop took to answer last, or has not answered for by now; None before it was asked."""


class Runner(Protocol):
    """Runs jobs of its ``kinds``, at most ``slots`` at once, in the order it was given them.

    Every delivery it is given ends at the desk's ``settle`` exactly once, unless it was taken back before it
    started. Methods may be called from any thread and do not block, ``join`` aside.
    """

    kinds: frozenset[str]
    apart: bool
    """Whether each job has a process of its own, so that none can take another with it."""

    @property
    def slots(self) -> int:
        """How many jobs it can have begun at once now, those included whose thread was replaced."""

    def start(self) -> None:
        """Start its threads."""

    def opened(self) -> None:
        """Wait until it can run jobs; raises what keeps it from that."""

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Run these, after those it has."""

    def take_back(self, wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        """Return those that have not started and are ``wanted``; they will not be run."""

    def tally(self) -> Tally:
        """Return what has ended so far; a run counts when its delivery has reached ``settle``."""

    def running(self) -> list[Context]:
        """Return the contexts of the jobs that run now."""

    def interrupt(self, contexts: Sequence[Context]) -> bool:
        """Stop those of these runs that can be stopped; tell whether there are any. Their flags say why."""

    def look_after(self) -> int:
        """Report runs that went over their timeout and cannot be stopped; return how many threads those hold."""

    def stop(self) -> None:
        """Let its threads end when they have nothing left to run."""

    def join(self, timeout: float | None = None) -> bool:
        """Wait for its threads to end; tell whether they have."""
