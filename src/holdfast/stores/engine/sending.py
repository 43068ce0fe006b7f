"""How an engine takes messages, and when it does not."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.errors import BodyTooLarge
from holdfast.machine import DeadLetter, queue_full
from holdfast.message import Message
from holdfast.stores.engine import commands
from holdfast.stores.engine.commands import At
from holdfast.stores.engine.state import State

Sent = list[tuple[str, bool]]
"""For each message the id of its job, and whether that had been there."""


class Sending(State):
    """Whoever sends checks first, by ``check_bodies`` and ``make_room``, which change nothing."""

    def check_bodies(self, queue: str, bodies: Sequence[bytes]) -> None:
        """Raise ``BodyTooLarge`` for the first body that the queue does not take."""
        settings = self.settings(queue)
        for body in bodies:
            if not settings.min_body <= len(body) <= settings.max_body:
                raise BodyTooLarge(
                    f"queue {queue!r}: a body of {len(body)} bytes is outside {settings.min_body} … "
                    f"{settings.max_body}; store it elsewhere and send its address, or raise max_body"
                )

    def nears_limit(self, queue: str, messages: Sequence[Message]) -> bool:
        """Tell whether these messages, duplicates counted, would take the queue beyond its limit."""
        limit = self.settings(queue).limit
        if limit is None:
            return False
        return (self.places[queue].machine.waiting() if queue in self.places else 0) + len(messages) > limit

    def make_room(self, queue: str, messages: Sequence[Message], now: int) -> None:
        """Raise ``QueueFull`` when these messages are too many; whoever ``nears_limit`` has caught up before."""
        limit = self.settings(queue).limit
        if limit is None or not self.nears_limit(queue, messages):
            return
        machine = self.place(queue).machine
        new = len(machine.plan(messages, now).new)
        if new and machine.waiting() + new > limit:
            raise queue_full(queue, limit, machine.waiting(), new)

    def send(self, command: commands.Send, at: At) -> Sent:
        return self.store(command.queue, command.messages, at.first, at.wall)

    def store(self, queue: str, messages: Sequence[Message], number: int, now: int) -> Sent:
        """Store messages, numbered from ``number`` on."""
        return self.place(queue).send(messages, number, now)

    def store_limited(self, queue: str, messages: Sequence[Message], number: int, now: int) -> Sent:
        """Store messages if there is room for them; ``QueueFull`` if not."""
        if self.nears_limit(queue, messages):
            self.catch_up(queue, now)
        self.make_room(queue, messages, now)
        return self.store(queue, messages, number, now)

    def put_dead(self, command: commands.PutDead, at: At) -> bool:
        letter = DeadLetter(command.message, command.reason, command.error, command.attempts, command.crashes)
        return self.place(command.queue).put_dead(letter, at.first, at.wall)
