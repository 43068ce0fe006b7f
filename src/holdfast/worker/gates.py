"""Gates: predicates that hold back jobs of a kind, unleased, for as long as they say no."""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from holdfast.errors import UsageError
from holdfast.events import Event, Events, GateClosed, GateOpened

LOOK_EVERY = 1.0
"""How often, in seconds, a worker asks the gates of its kinds."""
NONE: frozenset[str] = frozenset()

Predicate = Callable[[], object]


class Named(Protocol):
    """A task, whose name is the kind of its jobs."""

    @property
    def name(self) -> str:
        """Its name."""


class Gates:
    """The gates of an App, by kind: ``app.gate(kind_or_task, predicate)``. For any thread, also while workers run.

    Each worker calls a predicate about once a second, from a thread that does nothing else, never for each job. While
    it says no, that worker leases none of those jobs, and gives back, unburned, what it has leased and not started;
    running jobs go on. An error counts as yes, and is logged.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keepers: weakref.WeakSet[Gatekeeper] = weakref.WeakSet()
        self.predicates: Mapping[str, Predicate] = {}
        """What is asked, by kind; replaced as a whole, so that readers need no lock."""

    def __call__(self, kind: str | Named, predicate: Predicate | None) -> None:
        """Put a gate before the jobs of a task, or a kind, in place of the one there is; None takes it away.

        ``predicate`` returns whether it is open. ``UsageError`` for what is no plain function.
        """
        name = kind if isinstance(kind, str) else kind.name
        if predicate is not None and (not callable(predicate) or inspect.iscoroutinefunction(predicate)):
            raise UsageError(f"the gate of {name!r} is asked by calling it: it is a plain function, not {predicate!r}")
        with self._lock:
            others = {known: asked for known, asked in self.predicates.items() if known != name}
            self.predicates = others if predicate is None else others | {name: predicate}
            keepers = list(self._keepers)
        for keeper in keepers:
            keeper.nudge()

    def add(self, keeper: Gatekeeper) -> None:
        """Let a worker's keeper know of every change from now on."""
        with self._lock:
            self._keepers.add(keeper)


class Gatekeeper:
    """Asks ``gates`` for one worker, which handles ``kinds``, from a thread that starts with the first gate.

    ``changed`` is called, in that thread, with the kinds that are closed, whenever those have become others, and after
    each gate's first answer, before which it counts as closed.
    """

    def __init__(self, kinds: Collection[str], events: Events, changed: Callable[[frozenset[str]], None]) -> None:
        self.gates = Gates()
        self._kinds = kinds
        self._events = events
        self._changed = changed
        self._answers: dict[str, tuple[Predicate, bool]] = {}
        self._told = NONE
        self._failing: set[str] = set()
        self._lock = threading.Lock()
        self._started = self._stopping = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def closed(self) -> frozenset[str]:
        """Return the kinds of which nothing is to be leased now."""
        predicates = self.gates.predicates
        if not predicates:
            return NONE
        answers: dict[str, tuple[Any, bool]] = self._answers
        return frozenset(
            kind
            for kind, predicate in predicates.items()
            if kind in self._kinds and (kind not in answers or answers[kind] != (predicate, True))
        )

    @property
    def has_answers(self) -> bool:
        """Whether every gate before these kinds has answered."""
        return all(kind in self._answers for kind in self.gates.predicates if kind in self._kinds)

    def start(self) -> None:
        """Begin to ask, and return at once."""
        with self._lock:
            self._started = True
        self.gates.add(self)
        if self.gates.predicates:
            self.nudge()

    def nudge(self) -> None:
        """Ask again now."""
        self._wake.set()
        with self._lock:
            if self._started and not self._stopping and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="holdfast-gates", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Let the thread end."""
        with self._lock:
            self._stopping = True
        self._wake.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread to end; tell whether it has."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            self._look()
            self._wake.wait(LOOK_EVERY if self.gates.predicates else None)

    def _look(self) -> None:
        predicates, before = self.gates.predicates, self.closed()
        self._answers = {
            kind: (predicate, self._ask(kind, predicate))
            for kind, predicate in predicates.items()
            if kind in self._kinds
        }
        closed = self.closed()
        changes: list[Event] = [GateClosed(kind) for kind in sorted(closed - self._told)]
        changes += [GateOpened(kind) for kind in sorted(self._told - closed)]
        self._told = closed
        for event in changes:
            self._events.emit(event)
        if changes or closed != before:
            self._changed(closed)

    def _ask(self, kind: str, predicate: Predicate) -> bool:
        """Return the answer; one that fails counts as open, which is logged once until it answers again."""
        try:
            is_open = bool(predicate())
        except BaseException:  # SystemExit and its like must not end the thread, or the gates would stay as they are
            if kind not in self._failing:
                self._events.logger.exception("the gate of %s failed, and counts as open", kind)
            self._failing.add(kind)
            return True
        self._failing.discard(kind)
        return is_open
