"""Middleware: functions with one ``yield`` that surround every run of a handler, or every send.

What stands before the yield happens before, what stands after it afterwards, and an error appears at the yield. The
form is that of ``contextlib.contextmanager``, whose rules are known to everybody.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Any, Generic, TypeVar, overload

import msgspec

from holdfast.delivery import Delivery
from holdfast.errors import UsageError
from holdfast.message import Message, Stored, checked

C = TypeVar("C")

Run = Callable[[Delivery, Any], Any]
"""How a handler is run: with a delivery and its context; an async one returns an awaitable."""


class Sending:
    """One send under way, as its middleware sees it.

    Before the yield ``messages`` may be replaced by as many others: what is stored are those. After it, ``stored``
    has a receipt for each; but not when they are stored ``later``, with something else.
    """

    __slots__ = ("_later", "_queue", "messages", "stored")

    def __init__(self, queue: str, messages: Sequence[Message], *, later: bool = False) -> None:
        self._queue, self._later = queue, later
        self.messages = messages
        self.stored: Sequence[Stored] = ()

    def __repr__(self) -> str:
        return f"<Sending {len(self.messages)} to queue {self._queue!r}>"

    @property
    def queue(self) -> str:
        """The queue they go to."""
        return self._queue

    @property
    def later(self) -> bool:
        """Whether they are stored in one step with what they follow, the ack of a run or the tick of a schedule, and
        only if that is: then nothing is known of it after the yield, and ``stored`` is empty.
        """
        return self._later

    def add_headers(self, headers: Mapping[str, str]) -> None:
        """Write these headers into every message, beside those it has; of one name, the message's own wins."""
        self.messages = [
            msgspec.structs.replace(message, headers={**headers, **message.headers}) for message in self.messages
        ]


class _Around(msgspec.Struct, frozen=True):
    """A middleware around runs, and which runs those are; None means all."""

    function: Callable[[Any], Any]
    is_async: bool
    queues: frozenset[str] | None = None
    kinds: frozenset[str] | None = None


class Selection(Generic[C]):
    """``@app.middleware.run(queues=…, kinds=…)``: takes the function."""

    def __init__(self, owner: Middleware[C], queues: frozenset[str] | None, kinds: frozenset[str] | None) -> None:
        self._owner, self._queues, self._kinds = owner, queues, kinds

    @overload
    def __call__(self, function: Callable[[C], Iterator[None]], /) -> Callable[[C], Iterator[None]]: ...
    @overload
    def __call__(self, function: Callable[[C], AsyncIterator[None]], /) -> Callable[[C], AsyncIterator[None]]: ...
    def __call__(self, function: Callable[[C], Any], /) -> Callable[[C], Any]:
        """Let the function surround the runs that were selected."""
        return self._owner._add_run(function, self._queues, self._kinds)


class Middleware(Generic[C]):
    """What surrounds the runs and the sends of one App; the first registered is the outermost.

    Register before workers are made: a worker keeps what there was when it was. Registering is for one thread at a
    time. ``C`` is the context that runs are given.
    """

    def __init__(self) -> None:
        self._runs: tuple[_Around, ...] = ()
        self.sends: tuple[Callable[[Sending], Iterator[None]], ...] = ()
        """What surrounds sends, outermost first; empty while there is none, so that a send can look first."""

    # -- registering ----------------------------------------------------------------------------------------------

    @overload
    def run(self, function: Callable[[C], Iterator[None]], /) -> Callable[[C], Iterator[None]]: ...
    @overload
    def run(self, function: Callable[[C], AsyncIterator[None]], /) -> Callable[[C], AsyncIterator[None]]: ...
    @overload
    def run(
        self, /, *, queues: Collection[str] | None = None, kinds: Collection[str] | None = None
    ) -> Selection[C]: ...
    def run(
        self,
        function: Callable[[C], Any] | None = None,
        /,
        *,
        queues: Collection[str] | None = None,
        kinds: Collection[str] | None = None,
    ) -> Any:
        """Let a function with one ``yield`` surround every run of a handler, within its timeout.

        ``def`` surrounds all handlers; around an async one it runs between its awaits and must not block.
        ``async def`` surrounds async handlers only. ``queues`` and ``kinds`` (names of tasks) select the jobs. The
        handler's error is raised at the yield: another one raised there takes its place (``RetryLater``, ``Bury``
        and ``Cancel`` too), and after one that was caught the run counts as returned with None. What is no
        ``Exception``, such as a cancellation, cannot be caught for good. An error before the yield means that the
        handler does not run.
        """
        if function is None:
            return Selection(self, _names("queues", queues), _names("kinds", kinds))
        return self._add_run(function, _names("queues", queues), _names("kinds", kinds))

    def send(self, function: Callable[[Sending], Iterator[None]], /) -> Callable[[Sending], Iterator[None]]:
        """Let a function with one ``yield`` surround every send of this App, whoever sends, and whatever is handed over
        to be stored later: what follows a run, and the jobs of schedules (see ``Sending.later``). Appends to
        logs are no sends: what is to ride along goes into their headers.

        It runs where the sender is, for an awaited send in the event loop, and must not block. Before the yield it
        may replace the messages; an error there, and nothing is sent. An error of the store is raised at the yield,
        and again after it unless ``stored`` has been given receipts. An error after the yield reaches the sender,
        though the messages are stored.
        """
        if _shape(function) is not Generator:
            raise UsageError(f"{called(function)} is no send middleware: write it as a def with one yield")
        self.sends += (function,)
        return function

    def _add_run(
        self, function: Callable[[C], Any], queues: frozenset[str] | None, kinds: frozenset[str] | None
    ) -> Callable[[C], Any]:
        shape = _shape(function)
        if shape is None:
            raise UsageError(f"{called(function)} is no run middleware: write it as a def or async def with one yield")
        self._runs += (_Around(function, shape is AsyncGenerator, queues, kinds),)
        return function

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """All of them: those around runs, then those around sends."""
        return (*(around.function for around in self._runs), *self.sends)

    # -- surrounding ----------------------------------------------------------------------------------------------

    def around(self, run: Run, *, kind: str, queue: str, is_async: bool) -> Run:
        """Return ``run`` with everything around it that is for this kind; ``run`` itself when nothing is.

        ``queue`` is the one its task was declared with. ``UsageError`` when an async middleware would surround a
        handler that runs in a thread.
        """
        for around in reversed(self._runs):
            if around.kinds is not None and kind not in around.kinds:
                continue
            if around.is_async and not is_async and (around.queues is None or queue in around.queues):
                raise UsageError(
                    f"middleware {called(around.function)} is async and cannot surround {kind!r}, a plain function: "
                    "write it as a def, or select what it is for: @app.middleware.run(queues=…, kinds=…)"
                )
            run = (_around_async if is_async else _around_plain)(run, around)
        return run

    @contextmanager
    def sending(self, queue: str, messages: Sequence[Message]) -> Iterator[Sending]:
        """Surround a block that stores ``sending.messages`` and puts the receipts into ``sending.stored``."""
        sending = Sending(queue, messages)
        with self._surrounding(sending):
            yield sending
        if len(sending.stored) != len(messages):
            raise UsageError(f"{sending!r} has {len(sending.stored)} receipts: a send middleware changed them")

    def hand_over(self, queue: str, messages: Sequence[Message]) -> Sequence[Message]:
        """Surround messages that are stored later, with something else; return them as they are to be."""
        if not self.sends:
            return messages
        sending = Sending(queue, messages, later=True)
        with self._surrounding(sending):
            pass
        return sending.messages

    @contextmanager
    def _surrounding(self, sending: Sending) -> Iterator[None]:
        """Surround a block; an error there that a middleware caught is raised all the same, unless it made receipts."""
        before, refused = sending.messages, None
        with ExitStack() as stack:
            try:
                for function in self.sends:
                    stack.enter_context(_Step(function, sending))
                _check_messages(sending, before)
                yield
            except Exception as error:
                refused = error
                raise
        if refused is not None and (sending.later or len(sending.stored) != len(before)):
            raise refused


def _check_messages(sending: Sending, before: Sequence[Message]) -> None:
    if len(sending.messages) != len(before):
        raise UsageError(
            f"a send middleware made {len(sending.messages)} messages of {len(before)} to queue {sending.queue!r}: "
            "it may change messages, but not their number"
        )
    known = {id(message) for message in before}
    for message in sending.messages:
        if id(message) not in known:
            checked(message)


# -- around a run ------------------------------------------------------------------------------------------------


def _around_plain(run: Run, around: _Around) -> Run:
    def surrounded(delivery: Delivery, context: Any) -> Any:
        if around.queues is not None and delivery.queue not in around.queues:
            return run(delivery, context)
        if around.is_async:
            raise UsageError(f"middleware {called(around.function)} is async and cannot surround a run in a thread")
        with _Step(around.function, context):
            return run(delivery, context)
        return None  # its error was caught

    return surrounded


def _around_async(run: Run, around: _Around) -> Run:
    async def surrounded(delivery: Delivery, context: Any) -> Any:
        if around.queues is not None and delivery.queue not in around.queues:
            return await run(delivery, context)
        if around.is_async:
            async with _AsyncStep(around.function, context):
                return await run(delivery, context)
        else:
            with _Step(around.function, context):
                return await run(delivery, context)
        return None

    return surrounded


class _Step(AbstractContextManager[None]):
    """A generator around a block: begun before it, told of its error, and ended after it."""

    __slots__ = ("_argument", "_function", "_steps")

    def __init__(self, function: Callable[[Any], Iterator[None]], argument: object) -> None:
        self._function, self._argument = function, argument

    def __enter__(self) -> None:
        self._steps: Any = self._function(self._argument)
        try:
            next(self._steps)
        except StopIteration:
            raise _never(self._function) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            if error is None:
                next(self._steps)
            else:
                self._steps.throw(error)
        except StopIteration:
            return isinstance(error, Exception)
        except BaseException as raised:
            if _is_same(raised, error):
                return False
            raise
        self._steps.close()
        raise _twice(self._function) from error


class _AsyncStep:
    """The same with an async generator."""

    __slots__ = ("_argument", "_function", "_steps")

    def __init__(self, function: Callable[[Any], AsyncIterator[None]], argument: object) -> None:
        self._function, self._argument = function, argument

    async def __aenter__(self) -> None:
        self._steps: Any = self._function(self._argument)
        try:
            await anext(self._steps)
        except StopAsyncIteration:
            raise _never(self._function) from None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            if error is None:
                await anext(self._steps)
            else:
                await self._steps.athrow(error)
        except StopAsyncIteration:
            return isinstance(error, Exception)
        except BaseException as raised:
            if _is_same(raised, error):
                return False
            raise
        await self._steps.aclose()
        raise _twice(self._function) from error


def _is_same(raised: BaseException, thrown: BaseException | None) -> bool:
    """Tell whether what a generator raised is what was thrown into it, which Python may have wrapped (PEP 479)."""
    wrapped = isinstance(raised, RuntimeError) and isinstance(thrown, (StopIteration, StopAsyncIteration))
    return raised is thrown or (wrapped and raised.__cause__ is thrown)


def _never(function: Callable[..., Any]) -> UsageError:
    return UsageError(f"middleware {called(function)} ended before its yield: raise something if nothing is to run")


def _twice(function: Callable[..., Any]) -> UsageError:
    return UsageError(f"middleware {called(function)} yields a second time: it must end after its one yield")


# -- reading what was given --------------------------------------------------------------------------------------


def _shape(function: Any) -> type | None:
    """Return Generator or AsyncGenerator for a function of that kind, or an object that is called as one."""
    called = function if inspect.isroutine(function) or not callable(function) else function.__call__
    for one in (function, called):
        if inspect.isgeneratorfunction(one):
            return Generator
        if inspect.isasyncgenfunction(one):
            return AsyncGenerator
    return None


def called(function: Any) -> str:
    """Return the name of a function, for people."""
    return str(getattr(function, "__qualname__", None) or repr(function))


def _names(what: str, names: Collection[str] | None) -> frozenset[str] | None:
    if names is None:
        return None
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"the {what} of a middleware are several texts: {what}=[{str(names)!r}]")
    return frozenset(names)
