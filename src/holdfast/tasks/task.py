"""A registered function: still callable as it was, and enqueued with its own arguments."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from functools import partial
from types import CoroutineType
from typing import Any, Generic, ParamSpec, Self, TypeVar, Unpack

import msgspec

from holdfast.codec import HEADER, Arguments, Codec, PickleCodec, choose, given
from holdfast.delivery import Delivery, JobView
from holdfast.errors import Undecodable, UsageError, nearest
from holdfast.message import Message, SendOptions, Stored, message
from holdfast.retry import Retry
from holdfast.tasks.arguments import Parameters, changed, naming, result_type
from holdfast.tasks.calls import Call, send_calls, send_calls_soon
from holdfast.tasks.dependencies import Dependencies
from holdfast.tasks.job import Job
from holdfast.tasks.link import Link
from holdfast.tasks.making import Supplied, WorkerScope
from holdfast.worker.context import CONTEXT, CURRENT, Context
from holdfast.worker.handler import Handler, Misfit

P = ParamSpec("P")
R = TypeVar("R")

_UNNAMED = "json"
"""The codec of a body whose headers name none."""
_NOTHING: Mapping[str, Any] = {}
_WRAPPED = "if a decorator wraps its async def, the wrapper must be an async def too"


class UsingOptions(SendOptions, total=False):
    """The options of one send of a task: those of any send, and another queue."""

    queue: str


class TaskSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a task was declared with. Lengths are seconds; ``keep_result`` None keeps the outcome but no value."""

    name: str
    queue: str
    retry: Retry
    timeout: float | None
    keep_result: float | None
    priority: int
    codec: Codec
    allow_pickle: bool
    stop_when_lost: bool
    isolate: bool = False
    max_memory: int | None = None


class Task(Generic[P, R]):
    """A function that can be called here and enqueued for a worker. ``R`` is what its job's ``result`` returns.

    Arguments are checked before anything is stored: they fit the signature, and the worker, decoding by the same
    annotations, will receive values equal to them. ``UsageError`` names the parameter that does not. May be used by
    any number of threads and tasks; every send returns when its message is as safe as the store promises, and raises
    ``BackendError``, ``QueueFull`` or ``BodyTooLarge`` when it is not stored.
    """

    is_async = False
    renamed = "@app.task(name=…)"

    def __init__(
        self, function: Callable[P, Any], settings: TaskSettings, link: Link, dependencies: Dependencies
    ) -> None:
        if settings.stop_when_lost and not self.is_async and not settings.isolate:
            raise UsageError(
                "stop_when_lost needs an async def, or isolate=True: nothing can stop a thread; look at ctx.lease_lost"
            )
        functools.update_wrapper(self, function, updated=())  # type: ignore[arg-type] # it may wrap any object
        self.function = function
        self.settings = settings
        self.name, self.queue = settings.name, settings.queue
        self._link = link
        self._parameters = Parameters(function)
        self._needs, self._dependencies = self._parameters.needs, dependencies
        dependencies.check(self._needs, is_async=self.is_async)
        self._call = self._parameters.call
        self._bind, self._encode = self._parameters.bind, self._encoder(settings.codec)
        self._decode = self._decoder_of(settings.codec)
        self._decoders = {settings.codec.name: self._decode}
        self._exact = isinstance(settings.codec, PickleCodec)  # its objects come back as they are, comparable or not
        self.decode_result: Callable[[bytes], R] = _result_decoder(function, settings)
        """Turns a kept result into a value of the return annotation."""
        self._options: dict[str, Any] = {}
        self._configure({"max_attempts": settings.retry.attempts, "priority": settings.priority})

    def __repr__(self) -> str:
        return f"<Task {self.name!r} of queue {self.queue!r}>"

    # -- sending --------------------------------------------------------------------------------------------------

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Send a call of this task and return its job. Blocks for one round trip to the store."""
        message = self._message(args, kwargs)
        return self._sent(self._link.send(self.queue, (message,), connection=self._connection)[0])

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Do as ``enqueue`` does, blocking no event loop; what is sent at the same time shares round trips."""
        message = self._message(args, kwargs)
        return self._sent((await self._link.send_soon(self.queue, (message,), connection=self._connection))[0])

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Return a checked call, for ``enqueue_many`` or ``ctx.then``. Touches no store."""
        made, named = self._message(args, kwargs), "id" in self._fields
        return Call(self.queue, made, self.decode_result, self._link, self._connection, has_own_id=named)

    def enqueue_many(self, calls: Iterable[Call[R]]) -> list[Job[R]]:
        """Send calls of this task, one round trip a queue, and return their jobs in order."""
        return send_calls(self._link, self._mine(calls), self._connection)

    async def aenqueue_many(self, calls: Iterable[Call[R]]) -> list[Job[R]]:
        """Do as ``enqueue_many`` does, blocking no event loop."""
        return await send_calls_soon(self._link, self._mine(calls))

    def using(self, **options: Unpack[UsingOptions]) -> Self:
        """Return a copy that sends with these options; the handler's own arguments are never among them.

        ``UsageError`` names an option that is unknown or does not fit. The copy may be kept and used again; it
        inherits the options of what it was made from.
        """
        configured = copy.copy(self)
        with naming(f"task {self.name!r}"):
            configured._configure(dict(options))
        return configured

    def job(self, job_id: str) -> Job[R]:
        """Return a handle for a job of this task that was sent to this queue before. Touches no store."""
        return Job(self._link, self.queue, job_id, self.decode_result)

    # -- running --------------------------------------------------------------------------------------------------

    def run(self, delivery: Delivery, context: Context) -> Any:
        """Call the function as ``delivery`` says; ``Misfit`` when its body does not fit the signature.

        Returns the function's value, for an ``async def`` its coroutine. Only ``handler`` supplies dependencies.
        """
        try:
            arguments = self._received(delivery)
        except Undecodable as error:
            raise Misfit(str(error)) from error
        name = self._parameters.context
        value = self._call(arguments, _NOTHING if name is None else {name: context})
        if isinstance(value, CoroutineType) and not self.is_async:
            value.close()
            raise UsageError(f"task {self.name!r} returned a coroutine, which nobody would await: {_WRAPPED}")
        return value

    def _call_within(self, scope: WorkerScope, arguments: Arguments, supplied: Mapping[str, Any]) -> Any:
        call = scope.call_soon if self.is_async else scope.call
        return call(self._needs, CURRENT.get(CONTEXT), lambda made: self._call(arguments, {**supplied, **made}))

    def handler(self, scope: WorkerScope | None = None) -> Handler:
        """Return what a worker needs to run this task; ``scope`` is shared by all tasks of that worker."""
        settings, runs = self.settings, self
        if self._needs:
            scope = scope or self._dependencies.worker()
            scope.adopt(self._needs)
            runs = copy.copy(self)
            runs._call = partial(self._call_within, scope)
        return Handler(
            kind=self.name,
            run=runs.run,
            is_async=self.is_async,
            retry=settings.retry,
            timeout=settings.timeout,
            encode=None if settings.keep_result is None else settings.codec.encode,
            keep_result=settings.keep_result or 0.0,
            stop_when_lost=settings.stop_when_lost,
            origin=self._link,
            lifespan=scope if self._needs else None,
        )

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of every send: what ``using`` was given, and the priority and attempts of the declaration."""
        return self._options

    def arguments(self, job: Message | Delivery | JobView) -> dict[str, Any]:
        """Return the arguments of a stored call by parameter name, as its handler gets them; those left out are not
        among them. ``Undecodable`` when its body does not fit the signature.
        """
        return given(self._received(job))

    # -- inside ---------------------------------------------------------------------------------------------------

    def _here(self, function: Callable[[Supplied], Any], given: Collection[str] = ()) -> Any:
        """Call ``function`` outside of any worker, with those dependencies that are not given."""
        missing = tuple(need for need in self._needs if need[0] not in given)
        if not missing:
            return function(_NOTHING)
        call = self._dependencies.call_soon if self.is_async else self._dependencies.call
        return call(missing, function)

    def _mine(self, calls: Iterable[Call[R]]) -> list[Call[R]]:
        calls = list(calls)
        for call in calls:
            if not isinstance(call, Call) or call.task != self.name:
                raise UsageError(f"{call!r} is not one of task {self.name!r}; app.enqueue_many takes calls of any task")
        return calls

    def _sent(self, stored: Stored) -> Job[R]:
        return Job(self._link, stored.queue, stored.id, self.decode_result, stored=stored)

    def _message(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Message:
        try:
            arguments = self._bind(*args, **kwargs)
        except TypeError:
            raise UsageError(f"task {self.name!r}: {self._parameters.misfit(args, kwargs)}") from None
        try:
            body = self._encode(arguments)
            received = self._decode(body)
        except (UsageError, Undecodable) as error:
            raise self._refused(arguments, error) from error
        if not self._exact and received != arguments:
            self._compare(arguments, received)
        return Message(body=body, **self._fields)

    def _refused(self, arguments: Arguments, error: Exception) -> UsageError:
        """Name the parameter: the decoder's text has its place, the encoder's does not."""
        if (place := re.search(r"`\$\.(\w+)`?", str(error))) is not None:
            return UsageError(f"task {self.name!r}: parameter {place[1]!r}: {error}")
        for name, value in given(arguments).items():
            try:
                self.settings.codec.encode(value)
            except UsageError as its:
                return UsageError(f"task {self.name!r}: parameter {name!r}: {its}")
        return UsageError(f"task {self.name!r}: its worker could not decode the arguments: {error}")

    def _compare(self, arguments: Arguments, received: Arguments) -> None:
        for name, value in given(arguments).items():
            if difference := changed(value, getattr(received, name)):
                raise UsageError(f"task {self.name!r}: parameter {name!r}: {difference}")

    def _configure(self, options: dict[str, Any]) -> None:
        known = UsingOptions.__annotations__
        if unknown := min(options.keys() - known.keys(), default=None):
            raise UsageError(f"unknown option {unknown!r}{nearest(unknown, known)}; known: {', '.join(known)}")
        either = {"delay", "run_at"} if options.keys() & {"delay", "run_at"} else set()
        inherited = {name: value for name, value in self._options.items() if name not in either}
        self._options = {**inherited, **options}
        self._connection = self._options.get("connection")
        self.queue = queue_name(self._options.get("queue", self.settings.queue))
        self._link.sender.declared.check(self.queue)
        self._fields = _fields(self.name, self._options, self.settings.codec)

    def _received(self, job: Message | Delivery | JobView) -> Arguments:
        """Return the arguments of a stored call; ``Undecodable`` when its body does not fit."""
        return self._decoder(job.headers.get(HEADER, _UNNAMED) if job.headers else _UNNAMED)(job.body)

    def _encoder(self, codec: Codec) -> Callable[[Arguments], bytes]:
        """Return what writes a call's arguments as a body."""
        return codec.encode

    def _decoder_of(self, codec: Codec) -> Callable[[bytes], Arguments]:
        """Return what reads a body; ``UsageError`` names the parameter whose annotation cannot be decoded."""
        return _arguments_decoder(codec, self._parameters)

    def _decoder(self, name: str) -> Callable[[bytes], Arguments]:
        """Return the decoder of a codec that a body's headers name, which may not be this task's own any more."""
        decode = self._decoders.get(name)
        if decode is None:
            try:
                codec = choose(name, allow_pickle=self.settings.allow_pickle)
                decode = self._decoders[name] = self._decoder_of(codec)
            except UsageError as error:
                raise Undecodable(str(error)) from error
        return decode


class FunctionTask(Task[P, R]):
    """A task declared with ``def``: called directly, it runs here and returns its value."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here, as if it were no task. Dependencies left out are made for this call."""
        value: R
        if self._needs:
            value = self._here(lambda made: self.function(*args, **kwargs, **made), given=kwargs)
        else:
            value = self.function(*args, **kwargs)
        return value


class CoroutineTask(Task[P, R]):
    """A task declared with ``async def``: called directly, it returns the coroutine to await here."""

    is_async = True

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Call the function here, as if it were no task. Dependencies left out are made for this call."""
        coroutine: Coroutine[Any, Any, R]
        if self._needs:
            coroutine = self._here(lambda made: self.function(*args, **kwargs, **made), given=kwargs)
        else:
            coroutine = self.function(*args, **kwargs)
        return coroutine


def queue_name(name: str) -> str:
    """Return ``name`` when a queue can have it; else ``UsageError``."""
    if not isinstance(name, str) or not 1 <= len(name) <= 255:
        raise UsageError(f"queue must be a text of 1 to 255 characters, not {name!r:.80}")
    return name


def _fields(kind: str, options: Mapping[str, Any], codec: Codec) -> dict[str, Any]:
    """Return the fields that all messages of one configured task share, those at their defaults left out."""
    send = {name: value for name, value in options.items() if name != "queue"}
    made = message(b"", send, kind=kind)  # type: ignore[arg-type] # the names were checked, message checks the values
    if HEADER in made.headers:
        raise UsageError(f"header {HEADER!r} is Holdfast's own; it names the codec of the body")
    plain = msgspec.structs.asdict(Message(body=b"", id="" if "id" in options else made.id))
    fields = {name: value for name, value in msgspec.structs.asdict(made).items() if value != plain[name]}
    if codec.name != _UNNAMED:
        fields["headers"] = {**made.headers, HEADER: codec.name}
    return fields


def _arguments_decoder(codec: Codec, parameters: Parameters) -> Callable[[bytes], Arguments]:
    """Return what reads arguments; ``UsageError`` names the parameter whose annotation cannot be decoded."""
    try:
        return codec.decoder(parameters.struct)
    except UsageError:
        for name, hint in parameters.hints.items():
            with naming(f"parameter {name!r}"):
                codec.decoder(hint)
        raise


def _result_decoder(function: Callable[..., Any], settings: TaskSettings) -> Callable[[bytes], Any]:
    """Return what reads a kept result; without one there is nothing to read, and the annotation does not matter."""
    if settings.keep_result is None:
        return settings.codec.decoder(Any)
    with naming("the return value"):
        return settings.codec.decoder(result_type(function))
