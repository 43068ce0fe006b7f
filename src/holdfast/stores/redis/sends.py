"""Sends: how messages become the arguments of scripts, and what those answer becomes receipts or an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.config import QueueSettings
from holdfast.errors import BodyTooLarge
from holdfast.machine import queue_full
from holdfast.message import Level, Message, Stored
from holdfast.stores.redis.connection import Arg
from holdfast.stores.redis.messages import groups, kept, packed
from holdfast.stores.redis.scripts import Script

SEND, SEND_ONE, SEND_UNIQUE = map(Script.load, ("send", "send_one", "send_unique"))
UNDECLARED = b"undeclared"
UNSENT = UNDECLARED, b"otherwise"
"""Answers after which nothing is stored, and the same is to be sent again: to a queue that exists, or another way."""


class Sending:
    """One send on its way: the script to run with which arguments, and what its answer means."""

    script: Script
    args: list[Arg]

    def __init__(self, queue: str, messages: Sequence[Message], level: Level, *, limited: bool) -> None:
        self._queue, self._messages, self._level, self._limited = queue, messages, level, limited
        self._new = messages
        if len(messages) == 1 and _is_plain(messages[0]):
            self.script, self.args = SEND_ONE, _plain(messages[0], limited=limited)
        else:
            self.take_every_case()

    def take_every_case(self) -> None:
        """Choose the scripts that look at everything a message can have and meet."""
        messages, limited = self._messages, self._limited
        if any([message.unique is not None for message in messages]):  # noqa: C419 - half the time of a generator
            self.script = SEND_UNIQUE
        else:
            self.script = SEND
            if len({message.id for message in messages}) < len(messages):
                self._leave_out_repeated()
        sizes = [len(message.body) for message in messages] or [0]
        smallest = min(sizes) if messages else 1 << 53
        self.args = [int(limited), max(sizes), smallest, *groups(self._new)]

    def _leave_out_repeated(self) -> None:
        """Of one id twice the first counts."""
        first = dict[str, Message]()
        for message in self._messages:
            first.setdefault(message.id, message)
        self._new = list(first.values())

    def stored(self, reply: Any) -> list[Stored]:
        """Return the receipts, in the order of the messages."""
        queue, level = self._queue, self._level
        if self.script is SEND_UNIQUE:
            return [
                Stored(queue, there.decode() or message.id, level, bool(there))
                for message, there in zip(self._messages, reply, strict=True)
            ]
        if not reply and self._new is self._messages:
            return [Stored(queue, message.id, level) for message in self._messages]
        known = {self._new[position].id for position in reply}
        answers = list[Stored]()
        for message in self._messages:
            answers.append(Stored(queue, message.id, level, message.id in known))
            known.add(message.id)
        return answers

    def check(self, reply: Any, settings: QueueSettings) -> None:
        """Raise what a refusal means, unless the settings are other ones by now."""
        if reply == b"body":
            for message in self._messages:
                check_body(self._queue, settings, message.body)
            return
        _, waiting, new = reply
        raise queue_full(self._queue, settings.limit or 0, waiting, new)


def _is_plain(message: Message) -> bool:
    return (
        not message.delay
        and message.due is None
        and message.key is None
        and message.unique is None
        and message.expires_in is None
    )


def _plain(message: Message, *, limited: bool) -> list[Arg]:
    lane = f"{message.format}:{message.kind}"
    return [int(limited), len(message.body), lane, message.priority, message.id, packed(message), *kept(message)]


def is_refusal(reply: Any) -> bool:
    """Tell whether nothing was stored because of the queue's settings."""
    return reply == b"body" or (
        isinstance(reply, list) and len(reply) == 3 and reply[0] == b"full" and type(reply[1]) is int
    )


def check_body(queue: str, settings: QueueSettings, body: bytes) -> None:
    """Raise ``BodyTooLarge`` when the queue does not take a body of this size."""
    if not settings.min_body <= len(body) <= settings.max_body:
        raise BodyTooLarge(
            f"queue {queue!r}: a body of {len(body)} bytes is outside {settings.min_body} … {settings.max_body}; "
            "store it elsewhere and send its address, or raise max_body"
        )
