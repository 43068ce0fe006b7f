"""Consumers: functions that handle the messages of a log, for a group.

Each message is handed to the function as a job would be, in place: the group's offset goes on behind it when it is
done, or has become a dead letter. Those are jobs of the consumer's kind in its queue, and run here again when they are
replayed.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter
from typing import Any, ParamSpec, TypedDict, TypeVar, get_args

from holdfast.codec import Arguments, Codec, TextsCodec
from holdfast.contract import StreamReading
from holdfast.delivery import Delivery, JobView
from holdfast.entries import NO_FIELD, Shape
from holdfast.errors import Undecodable, UsageError, nearest
from holdfast.logged import LogMessage, WhenGone
from holdfast.logs.groups import Begin, start_of
from holdfast.message import Message, Seconds
from holdfast.offsets import Order
from holdfast.retry import Retry
from holdfast.tasks.arguments import naming
from holdfast.tasks.link import Link
from holdfast.tasks.registry import Registry
from holdfast.tasks.task import CoroutineTask, FunctionTask, Task
from holdfast.worker.consuming.letters import message_of
from holdfast.worker.consuming.places import queue_of
from holdfast.worker.consuming.reading import AfterFailure, Reading

P = ParamSpec("P")
R = TypeVar("R")
Function = TypeVar("Function", bound=Callable[..., Any])

_NOT_THE_MESSAGE = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


class ReadingOptions(TypedDict, total=False):
    """How a consumer reads.

    ``group`` defaults to the function's name. ``start`` is where a new group begins: ``earliest``, ``latest``, a time
    with a zone, or an offset. ``when_gone`` says what to do when retention removed what is to be read next: stay there
    with an ``error``, or jump to the ``earliest`` or ``latest`` message. With ``order="key"`` messages of one key are
    handled one after the other, in order; with ``partition`` all of a partition are, with ``none`` no message waits for
    another. ``dead_letters="stop"`` stops a partition at a message that failed for good, in place of making a dead
    letter of it.
    """

    group: str
    start: Begin
    when_gone: WhenGone
    order: Order
    dead_letters: AfterFailure


class ConsumerOptions(ReadingOptions, total=False):
    """The options of a consumer: those of reading, and those of a task that fit. ``name`` defaults to
    ``<log>.<group>``, which also is the queue where its dead letters are.
    """

    name: str
    retry: Retry | int
    timeout: Seconds | None
    codec: str | Codec
    stop_when_lost: bool
    isolate: bool
    max_memory: int | None


class StreamOptions(ConsumerOptions, total=False):
    """The options of a consumer of a ``stream`` that others fill; those of reading that fit: ``group``, ``start``,
    ``order`` and ``dead_letters``.

    The message is the value of ``field``, or all fields together: annotate it as a mapping of texts, or as a class
    whose fields are made of texts. ``key`` names the field by which entries are kept in order. With ``delete`` entries
    are deleted from the stream once they are done, for all other groups too.
    """

    stream: str
    field: str
    key: str
    delete: bool


class Consumer(Task[P, R]):
    """A function that takes a message: what its body means, the body itself (``bytes``), or a ``LogMessage``."""

    renamed = "@app.consume(…, name=…)"

    @property
    def _message_name(self) -> str:
        """The name of the parameter that takes the message."""
        parameters = self._parameters.stored
        if len(parameters) != 1 or parameters[0].kind in _NOT_THE_MESSAGE:
            taken = ", ".join(parameter.name for parameter in parameters) or "nothing"
            raise UsageError(f"a consumer takes one argument, the message, beside what a worker supplies; not {taken}")
        return parameters[0].name

    @property
    def _annotation(self) -> Any:
        return self._parameters.hints[self._message_name]

    def _received(self, job: Message | Delivery | JobView) -> Arguments:
        if field := job.headers.get(NO_FIELD):
            raise Undecodable(f"the entry has no field {field!r}, which is to be the message")
        if self._annotation is not LogMessage:
            return super()._received(job)
        if isinstance(job, Message) or (message := message_of(job)) is None:
            raise Undecodable(f"job {job.id} of {self.name!r} is no message of a log")
        return self._parameters.struct(**{self._message_name: message})

    def _encoder(self, codec: Codec) -> Callable[[Arguments], bytes]:
        name = self._message_name
        if self._annotation is bytes:
            return lambda arguments: bytes(getattr(arguments, name))
        return lambda arguments: codec.encode(getattr(arguments, name))

    def _decoder_of(self, codec: Codec) -> Callable[[bytes], Arguments]:
        name, struct = self._message_name, self._parameters.struct
        if self._annotation in (bytes, LogMessage):
            return lambda body: struct(**{name: body})
        with naming(f"parameter {name!r}"):
            decode = codec.decoder(self._annotation)
        return lambda body: struct(**{name: decode(body)})


class FunctionConsumer(Consumer[P, R], FunctionTask[P, R]):
    """A consumer declared with ``def``."""


class CoroutineConsumer(Consumer[P, R], CoroutineTask[P, R]):
    """A consumer declared with ``async def``."""


class ConsumerOfFields(Consumer[P, R]):
    """A consumer of entries with all of their fields: texts, of which numbers and times are made where they fit."""

    def _decoder_of(self, codec: Codec) -> Callable[[bytes], Arguments]:
        return super()._decoder_of(TextsCodec())


class FunctionOfFields(ConsumerOfFields[P, R], FunctionTask[P, R]):
    """One that is declared with ``def``."""


class CoroutineOfFields(ConsumerOfFields[P, R], CoroutineTask[P, R]):
    """One that is declared with ``async def``."""


class Consumers:
    """The consumers of an App. Declaring is for one thread at a time."""

    def __init__(self, registry: Registry, link: Link) -> None:
        self._registry, self._link = registry, link
        self._readings: dict[str, Reading] = {}

    def consume(self, log: str, options: StreamOptions) -> Callable[[Function], Function]:
        """Return the decorator that makes a function handle the messages of this log, or of the stream among the
        options, and leaves it as it is.
        """
        noun, name, known = ("stream", options["stream"], _OF_STREAMS) if "stream" in options else ("log", log, _KNOWN)
        if not isinstance(name, str) or not name or (noun == "stream" and log):
            raise UsageError(f'a consumer names its log, @app.consume(log="orders"), or its stream, not {name!r:.80}')
        if unknown := min(options.keys() - set(known), default=None):
            raise UsageError(
                f"unknown option {unknown!r}{nearest(unknown, known)}; a consumer of a {noun} knows {', '.join(known)}"
            )

        def decorate(function: Function) -> Function:
            group = str(options.get("group") or getattr(function, "__name__", ""))
            with naming(f"consumer of {noun} {name!r} for group {group!r}"):
                self._declare(name, group, function, options)
            return function

        return decorate

    def readings(self) -> list[Reading]:
        """Return what a worker reads for the consumers known now."""
        return list(self._readings.values())

    def streams(self) -> list[str]:
        """Return the streams of others that are read."""
        return sorted({reading.log for reading in self.readings() if reading.is_stream})

    def _declare(self, log: str, group: str, function: Callable[..., Any], options: StreamOptions) -> None:
        reading = _reading(log, group, options)
        name = options.get("name") or reading.queue
        other = self._readings.get(reading.queue)
        its_own = (name, log, group, reading.is_stream)
        if other is not None and (other.kind, other.log, other.group, other.is_stream) != its_own:
            raise UsageError(
                f"queue {reading.queue!r} is that of consumer {other.kind!r} of log {other.log!r} for group "
                f"{other.group!r}: a group has one consumer in an App, and no two may share a queue"
            )
        self._link.sender.declared.admit(reading.queue)
        its: Any = {option: value for option, value in options.items() if option not in _OF_READING}
        its.update(queue=reading.queue, name=name)
        made = self._registry.declare(function, its, _CLASSES[_is_of_fields(options)])
        self._readings[reading.queue] = _with(reading, name, made.settings.retry.attempts)


_CLASSES = {False: (FunctionConsumer, CoroutineConsumer), True: (FunctionOfFields, CoroutineOfFields)}
_ONLY_STREAMS = tuple(name for name in StreamOptions.__annotations__ if name not in ConsumerOptions.__annotations__)
_OF_READING = (*ReadingOptions.__annotations__, *_ONLY_STREAMS)
_KNOWN = tuple(ConsumerOptions.__annotations__)
_OF_STREAMS = tuple(name for name in StreamOptions.__annotations__ if name != "when_gone")


def _is_of_fields(options: StreamOptions) -> bool:
    """Tell whether the message is made of all fields of an entry."""
    if "stream" not in options or "field" in options:
        return False
    if "codec" in options:
        raise UsageError("a codec reads the value of one field: name it with field=")
    return True


def _entries(options: StreamOptions) -> StreamReading | None:
    if "stream" not in options:
        return None
    for name in ("field", "key"):
        if name in options and (not isinstance(options[name], str) or not options[name]):
            raise UsageError(f"{name} is the name of a field, not {options[name]!r:.80}")
    if isinstance(options.get("start"), int):
        raise UsageError("a group of a stream starts at earliest, latest or a time, and at no offset")
    shape = Shape(options.get("field"), options.get("key"))
    return StreamReading(shape, delete=options.get("delete", False))


def _reading(log: str, group: str, options: StreamOptions) -> Reading:
    queue_of(log, group)  # which checks the names
    given = dict(options)
    for name, choices in (("when_gone", WhenGone), ("order", Order), ("dead_letters", AfterFailure)):
        if name in given and given[name] not in get_args(choices):
            raise UsageError(f"{name} is one of {', '.join(get_args(choices))}, not {given[name]!r:.80}")
    return Reading(
        log=log,
        group=group,
        kind="",
        order=options.get("order", "key"),
        dead_letters=options.get("dead_letters", "queue"),
        start=start_of(options.get("start", "earliest")),
        when_gone=options.get("when_gone", "error"),
        entries=_entries(options),
    )


def _with(reading: Reading, kind: str, attempts: int | None) -> Reading:
    from msgspec.structs import replace

    return replace(reading, kind=kind, attempts=attempts)
