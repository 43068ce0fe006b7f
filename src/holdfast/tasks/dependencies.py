"""Makes what handlers depend on, once a run, a worker or an App, and cleans up in reverse order."""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from holdfast.errors import UsageError
from holdfast.events import LOGGER
from holdfast.tasks.depends import Dependency, called, read
from holdfast.tasks.making import Needs, Plan, Shelf, Supplied, WorkerScope
from holdfast.worker.context import CONTEXT

if TYPE_CHECKING:
    from holdfast.tasks.threads import Threads


class Override:
    """A replacement that is in force until ``undo``, or to the end of a ``with`` block."""

    def __init__(self, home: Dependencies, provider: Callable[..., Any], replacement: Callable[..., Any]) -> None:
        self._home = home
        self.provider, self.replacement = provider, replacement

    def undo(self) -> None:
        """Let what was in force before be in force again. May be repeated."""
        self._home._undo(self)

    def __enter__(self) -> Override:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()


class Dependencies:
    """The providers of one App, and what was made for all of it. Every method may be called from any thread."""

    def __init__(self, logger: logging.Logger = LOGGER) -> None:
        self.logger = logger
        self._lock = threading.Lock()
        self._overrides: tuple[Override, ...] = ()
        self._plans: dict[Dependency, Plan] = {}
        self._threads: tuple[Threads, Threads] | None = None
        self.shelf = Shelf()

    # -- for users ------------------------------------------------------------------------------------------------

    def override(self, provider: Callable[..., Any], replacement: Callable[..., Any]) -> Override:
        """Call ``replacement`` wherever a dependency names ``provider``, from now on: for tests.

        It is a provider itself. The last override of one provider wins; ``undo`` it, or use it as a context manager.
        What was made already, such as a worker's own, is not made again.
        """
        if not callable(provider) or not callable(replacement):
            raise UsageError("override takes two functions: a provider and what is to be called in its place")
        override = Override(self, provider, replacement)
        with self._lock:
            self._overrides += (override,)
            self._plans = {}
        return override

    def _undo(self, override: Override) -> None:
        with self._lock:
            self._overrides = tuple(known for known in self._overrides if known is not override)
            self._plans = {}

    # -- for tasks ------------------------------------------------------------------------------------------------

    def check(self, needs: Needs, *, is_async: bool) -> None:
        """Read all providers, down to the last; ``UsageError`` names the one that cannot serve such a handler."""
        for name, need in needs:
            plan = self.plan(need)
            if not plan.plain and not is_async:
                raise UsageError(
                    f"parameter {name!r}: {plan.provider.name} must be awaited, and this handler runs in a thread: "
                    "make the handler an async def, or the provider a def"
                )

    def plan(self, need: Dependency, above: tuple[Callable[..., Any], ...] = ()) -> Plan:
        """Return how ``need`` is made at present."""
        plans = self._plans  # a new dictionary whenever there is another override, so a late write spoils nothing
        plan = plans.get(need)
        if plan is None:
            plan = plans[need] = self._read(need, above)
        return plan

    def _read(self, need: Dependency, above: tuple[Callable[..., Any], ...]) -> Plan:
        replaced = [override.replacement for override in self._overrides if override.provider == need.provider]
        function = replaced[-1] if replaced else need.provider
        if function in above:
            raise UsageError(f"provider {called(function)} depends on itself: {' → '.join(map(called, above))}")
        provider = read(function, need.scope)
        parts = [self.plan(part, (*above, function)).plain for _, part in provider.needs]
        return Plan(provider, not provider.is_async and all(parts))

    def worker(self) -> WorkerScope:
        """Return what holds the dependencies of one worker."""
        return WorkerScope(self)

    def call(self, needs: Needs, function: Callable[[Supplied], Any]) -> Any:
        """Call ``function`` with what it needs, outside of any worker: a worker's own is made for this call alone."""
        scope = self.worker()
        try:
            return scope.call(needs, CONTEXT, function)
        finally:
            scope.close()

    async def call_soon(self, needs: Needs, function: Callable[[Supplied], Awaitable[Any]]) -> Any:
        """Do as ``call`` does, blocking no event loop."""
        scope = self.worker()
        try:
            async with scope.on_loop():
                return await scope.call_soon(needs, CONTEXT, function)
        finally:
            await self.leaving.run(scope.close)

    @property
    def entering(self) -> Threads:
        """Where plain providers of async handlers run."""
        return self._both()[0]

    @property
    def leaving(self) -> Threads:
        """Where their cleanups run."""
        return self._both()[1]

    def _both(self) -> tuple[Threads, Threads]:
        threads = self._threads
        if threads is None:
            from holdfast.tasks.threads import Threads  # brings asyncio, which plain programs need not wait for

            with self._lock:
                threads = self._threads = self._threads or (Threads("holdfast-provider"), Threads("holdfast-cleanup"))
        return threads

    # -- for the App ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Clean up what was made for the whole App; it is made again when it is needed again. May be repeated."""
        shelf, self.shelf = self.shelf, Shelf()
        threads, self._threads = self._threads, None
        for part in threads or ():
            part.close()
        if (error := shelf.clear()) is not None:
            self.logger.error("a dependency of the App could not be cleaned up", exc_info=error)

    def restore(self, kept: object) -> None:
        """Go on with what ``renew`` returned."""
        self.shelf, self._threads = cast("tuple[Shelf, tuple[Threads, Threads] | None]", kept)

    def renew(self) -> object:
        """Begin afresh, in the child of a fork; return what belongs to the parent and is to be left alone."""
        inherited = self.shelf, self._threads
        self.shelf, self._threads, self._lock = Shelf(), None, threading.Lock()
        return inherited
