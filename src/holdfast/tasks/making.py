"""One run's dependencies being made and undone, in a thread or on the loop; and those that live as long as a worker."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from holdfast.errors import UsageError
from holdfast.tasks.depends import Dependency, Form, Provider, Scope
from holdfast.worker.context import CONTEXT, Context

if TYPE_CHECKING:
    import asyncio

    from holdfast.tasks.threads import Threads

Needs = tuple[tuple[str, Dependency], ...]
Supplied = Mapping[str, Any]
Key = tuple[Callable[..., Any], Scope]


class Plan(NamedTuple):
    """How a dependency is made now; ``plain`` tells that neither it nor anything it needs must be awaited."""

    provider: Provider
    plain: bool

    @property
    def key(self) -> Key:
        """What it is known by where it was made: one provider makes one value a scope."""
        return self.provider.function, self.provider.scope


class _Exit(NamedTuple):
    """One cleanup. It hears of the error that the run ended with, and may raise another, but not make it undone."""

    leave: Callable[..., Any]
    is_async: bool = False

    def call(self, error: BaseException | None) -> Any:
        return self.leave(type(error), error, error.__traceback__) if error else self.leave(None, None, None)


class Shelf:
    """What was made in one scope, and how to clean it up."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.made: dict[Key, Any] = {}
        self.exits: list[_Exit] = []

    def clear(self, error: BaseException | None = None) -> BaseException | None:
        """Clean up, the last made first; return the error that is left at the end."""
        with self.lock:
            self.made.clear()
            while self.exits:
                try:
                    self.exits.pop().call(error)
                except BaseException as raised:
                    error = raised
            return error


class Home(Protocol):
    """Where providers are looked up, and what was made for the whole App is kept."""

    shelf: Shelf
    logger: logging.Logger

    @property
    def entering(self) -> Threads:
        """Where what may block is made."""

    @property
    def leaving(self) -> Threads:
        """Where what may block is cleaned up."""

    def plan(self, need: Dependency) -> Plan:
        """Return how ``need`` is made at present."""


class WorkerScope:
    """What one worker's handlers depend on. Its ``worker`` scope is opened before the first job and closed after the
    last: see ``Lifespan``.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.shelf = Shelf()
        self.loop_exits: list[_Exit] = []
        self._turn: asyncio.Lock | None = None
        self._needs: list[Dependency] = []

    def adopt(self, needs: Needs) -> None:
        """Open what these need with the worker."""
        self._needs += [need for _, need in needs]

    def turn(self) -> asyncio.Lock:
        """Return what lets one task at a time make something for the worker. Called on the loop alone."""
        if self._turn is None:
            import asyncio

            self._turn = asyncio.Lock()
        return self._turn

    # -- its life -------------------------------------------------------------------------------------------------

    def open(self) -> None:
        making = Making(self, CONTEXT)
        for need in self._lasting(self._needs):
            if self.home.plan(need).plain:
                making.get(need)

    @asynccontextmanager
    async def on_loop(self) -> AsyncIterator[None]:
        making = Making(self, CONTEXT)
        try:
            for need in self._lasting(self._needs):
                await making.get_soon(need)
            yield
        finally:
            self._report(await making.leave(self.loop_exits, None))

    def close(self) -> None:
        self._report(self.shelf.clear())

    def _report(self, error: BaseException | None) -> None:
        if error is not None:
            self.home.logger.error("a dependency of the worker could not be cleaned up", exc_info=error)

    def _lasting(self, needs: Iterable[Dependency]) -> Iterator[Dependency]:
        """Yield what is to live as long as the worker, wherever in the tree it is needed."""
        for need in needs:
            if need.scope == "worker":
                yield need
            elif need.scope == "job":
                yield from self._lasting(part for _, part in self.home.plan(need).provider.needs)

    # -- runs -----------------------------------------------------------------------------------------------------

    def call(self, needs: Needs, context: Context, function: Callable[[Supplied], Any]) -> Any:
        """Return what ``function`` returns, called with what it needs; clean up before that, or before its error."""
        making, value, failed = Making(self, context), None, None
        try:
            value = function({name: making.get(need) for name, need in needs})
        except BaseException as error:
            failed = error
        _raise(making.shelf.clear(failed))
        return value

    async def call_soon(self, needs: Needs, context: Context, function: Callable[[Supplied], Awaitable[Any]]) -> Any:
        """Do as ``call`` does, on the loop; what may block there runs in threads."""
        making, value, failed = Making(self, context), None, None
        try:
            value = await function({name: await making.get_soon(need) for name, need in needs})
        except BaseException as error:
            failed = error
        _raise(await making.leave(making.shelf.exits, failed))
        return value


class Making:
    """What one run needs, being made. For one thread or task at a time."""

    def __init__(self, worker: WorkerScope, context: Context) -> None:
        self._home, self._worker, self._context = worker.home, worker, context
        self.shelf = Shelf()
        self._shelves: Mapping[Scope, Shelf] = {"job": self.shelf, "worker": worker.shelf, "app": worker.home.shelf}

    # -- in a thread ----------------------------------------------------------------------------------------------

    def get(self, need: Dependency) -> Any:
        """Return what is needed, made now unless it is there."""
        plan = self._home.plan(need)
        if not plan.plain:
            raise UsageError(f"provider {plan.provider.name} must be awaited, and this handler runs in a thread")
        shelf = self._shelves[plan.provider.scope]
        with shelf.lock:
            if plan.key not in shelf.made:
                shelf.made[plan.key] = self._make(plan.provider, shelf)
            return shelf.made[plan.key]

    def _make(self, provider: Provider, shelf: Shelf) -> Any:
        made = provider.make(**self._own(provider), **{name: self.get(need) for name, need in provider.needs})
        if provider.form is Form.VALUE:
            return _value(provider, made)
        value = made.__enter__()
        shelf.exits.append(_Exit(made.__exit__))
        return value

    def _own(self, provider: Provider) -> Supplied:
        return {} if provider.context is None else {provider.context: self._context}

    # -- on the loop ----------------------------------------------------------------------------------------------

    async def get_soon(self, need: Dependency, *, in_turn: bool = False) -> Any:
        """Do as ``get`` does; what may block runs in threads. ``in_turn`` tells that the worker's turn is taken."""
        plan = self._home.plan(need)
        shelf = self._shelves[plan.provider.scope]
        if plan.key in shelf.made:
            return shelf.made[plan.key]
        if plan.plain:
            return await self._home.entering.run(self.get, need)
        if plan.provider.scope == "job" or in_turn:
            return await self._make_soon(plan, shelf, in_turn=in_turn)
        async with self._worker.turn():
            return await self._make_soon(plan, shelf, in_turn=True)

    async def _make_soon(self, plan: Plan, shelf: Shelf, *, in_turn: bool) -> Any:
        if plan.key in shelf.made:  # since this task has its turn
            return shelf.made[plan.key]
        provider = plan.provider
        given = {name: await self.get_soon(need, in_turn=in_turn) for name, need in provider.needs}
        exits = self.shelf.exits if shelf is self.shelf else self._worker.loop_exits
        value = shelf.made[plan.key] = await self._enter(provider, {**given, **self._own(provider)}, exits)
        return value

    async def _enter(self, provider: Provider, given: Supplied, exits: list[_Exit]) -> Any:
        match provider.form:
            case Form.AWAITED:
                return await provider.make(**given)
            case Form.ASYNC_MANAGED:
                manager = provider.make(**given)
                value = await manager.__aenter__()
                exits.append(_Exit(manager.__aexit__, is_async=True))
                return value
            case Form.MANAGED:
                return await self._home.entering.run(_enter_plain, provider.make(**given), exits)
        return _value(provider, await self._home.entering.run(provider.make, **given))

    async def leave(self, exits: list[_Exit], error: BaseException | None) -> BaseException | None:
        """Clean up, the last made first; return the error that is left at the end."""
        while exits:
            last = exits.pop()
            try:
                if last.is_async:
                    await last.call(error)
                else:
                    await self._home.leaving.run(last.call, error)
            except BaseException as raised:
                error = raised
        return error


def _enter_plain(manager: Any, exits: list[_Exit]) -> Any:
    value = manager.__enter__()
    exits.append(_Exit(manager.__exit__))  # here: whoever waits may have been cancelled meanwhile
    return value


def _value(provider: Provider, made: Any) -> Any:
    if isinstance(made, CoroutineType):
        made.close()
        raise UsageError(f"provider {provider.name} returned a coroutine, which nobody would await: write it async def")
    return made


def _raise(error: BaseException | None) -> None:
    try:
        if error is not None:
            raise error
    finally:
        del error  # or it would hold this frame, which holds it
