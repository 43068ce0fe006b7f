"""The calls that a test finds: decoded, with their options, in order; and the store that takes note of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from holdfast.codec import HEADER, choose
from holdfast.message import Message, Unique, message
from holdfast.stores.engine.sending import Sent as Answers
from holdfast.stores.memory.backend import MemoryBackend, MemoryEngine
from holdfast.tasks.registry import Registry
from holdfast.tasks.task import Task


class Enqueued(msgspec.Struct, frozen=True):
    """One call of a task that was stored. ``arguments`` are those given, by parameter name, as its worker gets them.

    ``delay`` is the seconds from sending until it was due, at first.
    """

    task: str
    arguments: Mapping[str, Any]
    queue: str
    message: Message
    delay: float = 0.0

    @property
    def id(self) -> str:
        """The id of its job."""
        return self.message.id

    @property
    def key(self) -> str | None:
        """Its key."""
        return self.message.key

    @property
    def priority(self) -> int:
        """Its priority."""
        return self.message.priority

    @property
    def unique(self) -> Unique | None:
        """The uniqueness that was asked for."""
        return self.message.unique

    def __str__(self) -> str:
        listed = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.task}({listed})"


class Sent(msgspec.Struct, frozen=True):
    """A message as the store took it, at ``at`` (ms)."""

    queue: str
    message: Message
    at: int


class RecordingEngine(MemoryEngine):
    """The engine of a memory store that takes note of what makes jobs."""

    def __init__(self, max_jobs: int, max_bytes: int) -> None:
        super().__init__(max_jobs, max_bytes)
        self.sent: list[Sent] = []

    def store(self, queue: str, messages: Sequence[Message], number: int, now: int) -> Answers:
        answers = super().store(queue, messages, number, now)
        pairs = zip(messages, answers, strict=True)
        self.sent += [Sent(queue, message, now) for message, (_, duplicate) in pairs if not duplicate]
        return answers


class RecordingStore(MemoryBackend):
    """The memory store; it knows every message that made a job, follow-ups and schedules' too, in order."""

    engine_class = RecordingEngine
    _engine: RecordingEngine

    @property
    def sent(self) -> list[Sent]:
        """What made jobs, as it was sent."""
        return self._engine.sent

    def is_ready(self, kinds: Collection[str]) -> bool:
        """Tell whether a worker of all queues and these kinds would find something now."""
        with self._open():
            chance = self._until_chance(list(self._engine.places), kinds)
            return chance is not None and chance <= 0

    def calls(self) -> list[Sent]:
        """Return what made jobs, in order; what a later message replaced in a waiting job reads as replaced."""
        with self._open():
            return [Sent(sent.queue, self._now(sent.queue, sent.message), sent.at) for sent in self._engine.sent]

    def _now(self, queue: str, message: Message) -> Message:
        place = self._engine.places.get(queue)
        head = None if place is None else place.machine.heads.get(message.id)
        now = None if place is None or head is None else place.message(head)
        return now if isinstance(now, Message) else message


def enqueued(tasks: Registry, sent: Sent) -> Enqueued:
    """Return a message as a call; an event is its one argument ``event``, and what is no task here has none."""
    its, arguments = sent.message, dict[str, Any]()
    if its.kind in tasks:
        arguments = tasks[its.kind].arguments(its)
    elif its.kind in tasks.event_kinds:
        arguments = {"event": choose(its.headers.get(HEADER, "json")).decoder(Any)(its.body)}
    due = sent.at + its.delay * 1000 if its.due is None else its.due
    return Enqueued(its.kind, arguments, sent.queue, its, max(0.0, (due - sent.at) / 1000))


class Wanted:
    """A call that an assertion is about: of ``task``, with these arguments if any, and what ``using`` was given."""

    def __init__(self, tasks: Registry, task: Task[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._task = task
        self._arguments = task.arguments(task.call(*args, **kwargs).message) if args or kwargs else None
        declared = tasks[task.name].options
        self._options = {
            name: value for name, value in task.options.items() if name not in declared or declared[name] != value
        }

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in (self._arguments or {}).items())
        options = "".join(f", {name}={value!r}" for name, value in self._options.items())
        return (
            f"{self._task.name}({'...' if self._arguments is None else arguments}){options and f' with {options[2:]}'}"
        )

    def matches(self, call: Enqueued) -> bool:
        """Tell whether ``call`` is one that is meant."""
        return (
            call.task == self._task.name
            and self._arguments in (None, call.arguments)
            and all(self._has(call, name) for name in self._options)
        )

    def _has(self, call: Enqueued, option: str) -> bool:
        if option == "queue":
            return call.queue == self._task.queue
        meant = message(b"", {option: self._options[option]}, kind=call.task)  # type: ignore[misc] # using() checked it
        if option == "headers":
            return meant.headers.items() <= call.message.headers.items()  # a middleware may have added some
        field = "due" if option == "run_at" else option
        return bool(getattr(call.message, field) == getattr(meant, field))
