"""A store that fails on command: before a call took effect or after, the n-th time, held up, or cut off altogether."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol, TypeVar, cast

from holdfast.contract import LogBackend, QueueBackend
from holdfast.errors import BackendError, UsageError, nearest

S = TypeVar("S", bound=QueueBackend | LogBackend)

PATIENCE = 10.0
"""Seconds of real time after which whoever waits for a call, or is held up, gives up with an ``AssertionError``."""


class Hold:
    """Calls that are held up. ``wait`` until one is, look around, then ``let_go``."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._held = threading.Event()
        self._open = threading.Event()

    def wait(self, patience: float = PATIENCE) -> None:
        """Block until a call is held up here; ``AssertionError`` when none comes."""
        if not self._held.wait(patience):
            raise AssertionError(f"no call of {self._verb!r} came within {patience:g} s")

    def let_go(self) -> None:
        """Let those held up go on, and hold nobody any more. May be repeated."""
        self._open.set()

    def pass_through(self, patience: float = PATIENCE) -> None:
        """Be held up, in the thread of the call."""
        self._held.set()
        if not self._open.wait(patience):
            raise AssertionError(f"a call of {self._verb!r} was held up for {patience:g} s and never let go")


class _Plan:
    """What is to happen to some calls of one verb: to pass ``skip`` of them, and then to fail ``times``."""

    def __init__(self, skip: int, times: int, error: Exception, *, after: bool) -> None:
        self.skip, self.times, self.error, self.after = skip, times, error, after

    def is_due(self) -> bool:
        """Tell whether this call is to fail, and count it."""
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class Faults:
    """Commands to one store, or several, wrapped by :meth:`wrap`. Every method may be called from any thread.

    ``verb`` is the name of a method of the store, such as ``send``, ``lease``, ``settle`` or ``replay``; ``UsageError``
    for one that no wrapped store has.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._plans: dict[str, list[_Plan]] = {}
        self._holds: dict[str, Hold] = {}
        self._cut = False
        self._verbs: set[str] = set()
        self.calls: Counter[str] = Counter()
        """How often each verb has been called."""

    def wrap(self, store: S) -> S:
        """Return a store that passes every call on to ``store`` as these commands say; it has the same powers.

        The logs that it holds do too; what both have, such as ``declare``, is one verb.
        """
        kind: Any = type(store)
        made = _class_for(kind)(store, self)
        self._verbs |= _verbs(kind)
        if hasattr(store, "open_logs"):
            self._verbs |= _verbs(LogBackend)  # before they are opened
        return cast("S", made)

    # -- commands -------------------------------------------------------------------------------------------------

    def fail(
        self,
        verb: str,
        times: int = 1,
        *,
        nth: int = 1,
        after: bool = False,
        retryable: bool = True,
        error: Exception | None = None,
    ) -> None:
        """Let ``times`` calls of ``verb`` fail, beginning with the ``nth`` from now, with ``error`` or a BackendError.

        Nothing has happened then; ``after`` lets the call take effect first and reports an unknown outcome.
        ``UsageError`` when ``times`` or ``nth`` is less than 1.
        """
        self._check(verb)
        if times < 1 or nth < 1:
            raise UsageError(f"times and nth are 1 or more, not {times!r} and {nth!r}")
        if error is None:
            error = BackendError(f"{verb} failed on demand", retryable=retryable, outcome_unknown=after)
        with self._changed:
            self._plans.setdefault(verb, []).append(_Plan(nth - 1, times, error, after=after))

    def cut(self) -> None:
        """Let every call of every verb fail until :meth:`restore`, as if the store were away."""
        self._cut = True

    def restore(self) -> None:
        """Let the store be there again; what else was commanded stays."""
        self._cut = False

    def mend(self) -> None:
        """Take every command back, and let go whoever is held up."""
        with self._changed:
            self._plans, self._cut = {}, False
            holds, self._holds = list(self._holds.values()), {}
        for hold in holds:
            hold.let_go()

    @contextmanager
    def hold(self, verb: str) -> Iterator[Hold]:
        """Hold up every call of ``verb`` that is made in the block, before it takes effect, until it is let go."""
        self._check(verb)
        hold = self._holds[verb] = Hold(verb)
        try:
            yield hold
        finally:
            self._holds.pop(verb, None)
            hold.let_go()

    def wait_for_calls(self, verb: str, count: int, patience: float = PATIENCE) -> None:
        """Block until ``verb`` has been called ``count`` times in all; ``AssertionError`` when it is not."""
        self._check(verb)
        with self._changed:
            if not self._changed.wait_for(lambda: self.calls[verb] >= count, patience):
                raise AssertionError(f"{verb!r} was called {self.calls[verb]} times, not {count}")

    # -- calls ----------------------------------------------------------------------------------------------------

    def call(self, verb: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make one call of a wrapped store, in its caller's thread."""
        with self._changed:
            self.calls[verb] += 1
            self._changed.notify_all()
            plan = self._due(verb)
            hold = self._holds.get(verb)
        if hold is not None:
            hold.pass_through()
        if self._cut:
            raise BackendError(f"{verb}: the store is cut off", retryable=True)
        if plan is None:
            return function(*args, **kwargs)
        if plan.after:
            function(*args, **kwargs)
        raise plan.error

    def _due(self, verb: str) -> _Plan | None:
        plans = self._plans.get(verb, [])
        due = next((plan for plan in plans if plan.is_due()), None)
        self._plans[verb] = [plan for plan in plans if plan.times]
        return due

    def _check(self, verb: str) -> None:
        if self._verbs and verb not in self._verbs:
            raise UsageError(f"the store has no verb {verb!r}{nearest(verb, self._verbs)}")


# -- the class of a wrapped store -------------------------------------------------------------------------------

NEVER_FAILS = frozenset({"close", "interrupt"})
"""What ends things must end them."""


class _Wrapped:
    """Passes everything that is no verb on to the store itself."""

    def __init__(self, store: Any, faults: Faults) -> None:
        self._store, self._faults = store, faults
        self._logs: Any = None

    def _open_logs(self) -> Any:
        if self._logs is None:
            self._logs = self._faults.wrap(self._store.open_logs())
        return self._logs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@cache
def _class_for(store: type) -> type[_Wrapped]:
    """Return a class with the same powers: type checks at run time look for methods on the class, not the object."""
    powers = tuple(base for base in store.__mro__ if base is not Protocol and getattr(base, "_is_protocol", False))
    members: dict[str, Any] = {"__module__": __name__, **{verb: _verb(verb) for verb in _verbs(store)}}
    if hasattr(store, "open_logs"):
        members["open_logs"] = _Wrapped._open_logs
    return type(f"Faulty{store.__name__}", (_Wrapped, *powers), members)


def _verbs(store: type) -> set[str]:
    return {name for name in dir(store) if not name.startswith("_") and callable(getattr(store, name))}


def _verb(name: str) -> Callable[..., Any]:
    def call(self: _Wrapped, *args: Any, **kwargs: Any) -> Any:
        function = getattr(self._store, name)
        return function(*args, **kwargs) if name in NEVER_FAILS else self._faults.call(name, function, *args, **kwargs)

    call.__name__ = name
    return call
