"""Published events and their subscribers: one event becomes a job of its own for each of them, in one step.

Publishing stores one job, of the event's kind. Whichever worker leases it acknowledges it together with one follow-up
for each subscriber it knows: kind ``<event kind>/<subscriber>``, the event's body as it is. An id made of the event's
id and the subscriber's name lets a repeat add none.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter
from typing import Any, ParamSpec, TypedDict, TypeVar

from holdfast.codec import HEADER, Arguments, Codec, choose
from holdfast.delivery import Delivery
from holdfast.errors import UsageError, nearest
from holdfast.message import Message, Seconds, SendOptions, Stored, message
from holdfast.retry import Retry
from holdfast.tasks.arguments import naming
from holdfast.tasks.dependencies import Dependencies
from holdfast.tasks.job import Job
from holdfast.tasks.link import Link
from holdfast.tasks.registry import Registry
from holdfast.tasks.task import CoroutineTask, FunctionTask, Task, TaskSettings, queue_name
from holdfast.worker.context import Context
from holdfast.worker.handler import Handler

P = ParamSpec("P")
R = TypeVar("R")
Function = TypeVar("Function", bound=Callable[..., Any])

EVENTS_QUEUE = "events"
LONGEST = 255
_HAND_OUT = Retry(attempts=None)
_NOT_THE_EVENT = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


class SubscriberOptions(TypedDict, total=False):
    """The options of a subscriber: those of a task, but for its results, which nobody waits for.

    ``name`` defaults to the function's own; ``queue`` (default ``events``) is one that its events are published to,
    and so one that workers of its App take jobs from.
    """

    queue: str
    name: str
    retry: Retry | int
    timeout: Seconds | None
    priority: int
    stop_when_lost: bool
    isolate: bool
    max_memory: int | None


class Subscriber(Task[P, R]):
    """A function that takes an event. Its body is the event itself, whatever the function calls it."""

    renamed = "@app.on(…, name=…)"

    def __init__(
        self, function: Callable[P, Any], settings: TaskSettings, link: Link, dependencies: Dependencies
    ) -> None:
        super().__init__(function, settings, link, dependencies)
        self.short = settings.name.rpartition("/")[2]

    def take(self, event: object) -> Any:
        """Call the function here with this very event; for an ``async def`` return the coroutine."""
        arguments = self._parameters.struct(**{self._event: event})
        return self._here(lambda made: self._parameters.call(arguments, made))

    async def take_soon(self, event: object) -> None:
        """Do as ``take`` does to its end, on the loop, or in a thread for a plain function; that cannot be stopped, so
        whoever is cancelled goes on to wait for it.
        """
        if self.is_async:
            await self.take(event)
        else:
            await self._dependencies.entering.run(self.take, event)

    def follow_up(self, event: Delivery) -> Message:
        """Return the job that hands this subscriber the event.

        What its publisher chose passes on: headers, priority, timeout, attempts, and the key, in a line of its own.
        """
        settings = self.settings
        return Message(
            body=event.body,
            id=joined(event.id, self.short),
            kind=self.name,
            headers=event.headers,
            key=None if event.key is None else joined(event.key, self.short),
            priority=event.priority or settings.priority,
            max_attempts=settings.retry.attempts if event.max_attempts is None else event.max_attempts,
            timeout=event.timeout,
        )

    @property
    def _event(self) -> str:
        """The name of the parameter that takes the event."""
        parameters = self._parameters.stored
        if len(parameters) != 1 or parameters[0].kind in _NOT_THE_EVENT:
            taken = ", ".join(parameter.name for parameter in parameters) or "nothing"
            raise UsageError(f"a subscriber takes one argument, the event, beside what a worker supplies; not {taken}")
        return parameters[0].name

    def _encoder(self, codec: Codec) -> Callable[[Arguments], bytes]:
        name = self._event
        return lambda arguments: codec.encode(getattr(arguments, name))

    def _decoder_of(self, codec: Codec) -> Callable[[bytes], Arguments]:
        name, struct = self._event, self._parameters.struct
        with naming(f"parameter {name!r}"):
            decode = codec.decoder(self._parameters.hints[name])
        return lambda body: struct(**{name: decode(body)})


class FunctionSubscriber(Subscriber[P, R], FunctionTask[P, R]):
    """A subscriber declared with ``def``."""


class CoroutineSubscriber(Subscriber[P, R], CoroutineTask[P, R]):
    """A subscriber declared with ``async def``."""


class Subscribers:
    """The subscribers of an App by the kind of event. Subscribing is for one thread at a time."""

    def __init__(self, registry: Registry, link: Link, *, codec: Codec) -> None:
        self._registry, self._link, self._codec = registry, link, codec
        self._by_kind: dict[str, list[Subscriber[..., Any]]] = {}

    def on(self, kind: str, options: SubscriberOptions) -> Callable[[Function], Function]:
        """Return the decorator that subscribes a function to events of this kind, and leaves it as it is."""
        _check_kind(kind)

        def decorate(function: Function) -> Function:
            self.subscribe(kind, function, options)
            return function

        return decorate

    def subscribe(self, kind: str, function: Callable[..., Any], options: SubscriberOptions) -> None:
        """Register ``function`` for events of this kind, as a task ``<kind>/<name>``."""
        known = SubscriberOptions.__annotations__
        if unknown := min(options.keys() - known.keys(), default=None):
            raise UsageError(f"unknown option {unknown!r}{nearest(unknown, known)}; known: {', '.join(known)}")
        if kind in self._registry:
            raise UsageError(f"{kind!r} is the name of a task; an event needs another kind")
        name = options.get("name") or getattr(function, "__name__", "")
        if not name or "/" in name:
            raise UsageError(f"a subscriber's name has no '/', and is not empty: {name!r}; @app.on({kind!r}, name=…)")
        settings: Any = {"queue": EVENTS_QUEUE, **options, "name": f"{kind}/{name}"}
        with naming(f"subscriber {name!r} of {kind!r}"):
            made = self._registry.declare(function, settings, (FunctionSubscriber, CoroutineSubscriber))
        assert isinstance(made, Subscriber)
        its = self._by_kind.setdefault(kind, [])
        its[:] = [*(one for one in its if one.name != made.name), made]  # a notebook's cell may be run again
        self._registry.event_kinds.add(kind)

    def of(self, kind: str) -> list[Subscriber[..., Any]]:
        """Return the subscribers of a kind in the order they subscribed."""
        return list(self._by_kind.get(kind, ()))

    def handlers(self) -> list[Handler]:
        """Return what a worker needs to hand events out to the subscribers known now."""
        return [_hand_out(kind, tuple(its), self._link) for kind, its in self._by_kind.items()]

    # -- publishing -----------------------------------------------------------------------------------------------

    def publish(self, kind: str, event: object, queue: str, options: SendOptions) -> Job[None]:
        """Store the event, and return its job: done once every subscriber has one."""
        message = self._message(kind, event, queue, options)
        return self._published(self._link.send(queue, (message,), connection=options.get("connection"))[0])

    async def publish_soon(self, kind: str, event: object, queue: str, options: SendOptions) -> Job[None]:
        """Do as ``publish`` does, blocking no event loop."""
        message = self._message(kind, event, queue, options)
        return self._published((await self._link.send_soon(queue, (message,), connection=options.get("connection")))[0])

    def publish_now(self, kind: str, event: object) -> None:
        """Call the subscribers here, one after the other, until one raises."""
        _check_kind(kind)
        for subscriber in (subscribers := self.of(kind)):
            if subscriber.is_async:
                raise UsageError(
                    f"publish_now: subscriber {subscriber.name!r} is an async def; await app.aio.publish_now(…) runs "
                    f"all {len(subscribers)} of them"
                )
        for subscriber in subscribers:
            subscriber.take(event)

    async def publish_now_soon(self, kind: str, event: object) -> None:
        """Run the subscribers here, those that await too, one after the other, until one raises."""
        _check_kind(kind)
        for subscriber in self.of(kind):
            await subscriber.take_soon(event)

    def _message(self, kind: str, event: object, queue: str, options: SendOptions) -> Message:
        _check_kind(kind)
        queue_name(queue)
        queues = {subscriber.queue for subscriber in self._by_kind.get(kind, ())}
        if queue == EVENTS_QUEUE and queues and queue not in queues:
            raise UsageError(
                f"the subscribers of {kind!r} are on queue {min(queues)!r}, whose workers would never see what is "
                f"published to {queue!r}: publish(…, queue={min(queues)!r})"
            )
        with naming(f"event {kind!r}"):
            body = self._codec.encode(event)
            made = message(body, {"max_attempts": None, **options}, kind=kind)
            if HEADER in made.headers:
                raise UsageError(f"header {HEADER!r} is Holdfast's own; it names the codec of the body")
        if self._codec.name == "json":
            return made
        return _with_header(made, self._codec.name)

    def _published(self, stored: Stored) -> Job[None]:
        return Job(self._link, stored.queue, stored.id, choose("json").decoder(None), stored=stored)


def joined(first: str, name: str) -> str:
    """Return the id, or key, of what a subscriber gets: the same each time, and short enough for every store."""
    text = f"{first}/{name}"
    if len(text) <= LONGEST:
        return text
    from hashlib import sha256  # costs start-up time

    return sha256(text.encode()).hexdigest()


def _check_kind(kind: str) -> None:
    if not isinstance(kind, str) or not 1 <= len(kind) <= LONGEST:
        raise UsageError(
            f'the kind of an event is a text of 1 to {LONGEST} characters, not {kind!r:.80}: @app.on("user.created")'
        )


def _with_header(made: Message, codec: str) -> Message:
    from msgspec.structs import replace

    return replace(made, headers={**made.headers, HEADER: codec})


def _hand_out(kind: str, subscribers: tuple[Subscriber[..., Any], ...], link: Link) -> Handler:
    """Return the handler of an event: its run does nothing, and one job for each subscriber follows it."""

    def run(delivery: Delivery, context: Context) -> None:
        jobs = [subscriber.follow_up(delivery) for subscriber in subscribers]
        context.follow_ups += link.hand_over(delivery.queue, jobs)

    async def run_on_loop(delivery: Delivery, context: Context) -> None:
        run(delivery, context)

    if all(subscriber.is_async for subscriber in subscribers):  # then its worker may well have no threads
        return Handler(kind=kind, run=run_on_loop, is_async=True, retry=_HAND_OUT)
    return Handler(kind=kind, run=run, retry=_HAND_OUT)
