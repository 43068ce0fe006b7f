"""What is sent, and what sending it returns.

A :class:`Message` is immutable and carries everything needed to serve it again. Instants that the store decides
(when it becomes due, when it expires) travel as lengths, because time is the store's and not the sender's.
"""

from __future__ import annotations

import enum
import os
import random
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal, TypedDict, get_args

import msgspec

from holdfast.errors import UsageError

FORMAT = 1
"""The newest record format this release writes and reads; a lease leaves newer records alone."""

LOWEST_PRIORITY, HIGHEST_PRIORITY = -100, 100
DEFAULT_ATTEMPTS = 5
NO_HEADERS: Mapping[str, str] = {}

Seconds = float | timedelta
"""A length of time as users write it: seconds, or a ``timedelta``."""


class Level(enum.StrEnum):
    """How safe a stored message is, weakest first."""

    MEMORY = "memory"
    """In the memory of one process: gone when it ends."""
    SPOOLED = "spooled"
    """Kept on this side while the store is away."""
    WRITTEN = "written"
    """Handed to the operating system: survives the death of the process, not of the machine."""
    SYNCED = "synced"
    """On the disk: survives a power cut."""
    REPLICATED = "replicated"
    """Also on another machine."""


def new_id() -> str:
    """Return a new id: 32 hexadecimal digits, the first twelve the time in ms, so that ids sort by age (RFC 9562)."""
    return (time.time_ns() // 1_000_000 << 80 | _random.getrandbits(80)).to_bytes(16).hex()  # half the time of a format


# Not os.urandom, which lets go of the interpreter's lock at every call: beside busy threads an id then costs 10 us.
_random = random.Random()
os.register_at_fork(after_in_child=_random.seed)


Until = Literal["done", "started"]
OnConflict = Literal["skip", "replace", "debounce", "error"]


class _Keyed(msgspec.Struct, frozen=True):
    key: str


class Unique(_Keyed, frozen=True, kw_only=True):
    """That of one ``key`` at most one job shall be there at a time, in its queue.

    The job has the key's slot from its send ``until`` it is done (or has ended in any other way) or is ``started``
    (leased), and in any case for ``within`` seconds (or a ``timedelta``) from its send, also when it ends earlier.
    A send that finds the slot held stores no job and returns the one that is there, ``Stored.duplicate``;
    ``on_conflict`` says what else it does:

    - ``skip``: nothing.
    - ``replace``: a job that still waits takes the body, kind, headers, priority, attempts, timeout and expiry of
      the new message. It keeps its id, its key, its due time and its place.
    - ``debounce``: as ``replace``, and it takes the new message's due time too: it is put off.
    - ``error``: ``Duplicate`` is raised, after the other messages of the same call were stored.
    """

    until: Until = "done"
    within: Seconds | None = None
    on_conflict: OnConflict = "skip"


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing to be done. ``kind`` says which handler it is for; raw messages have kind ``""``.

    ``delay`` and ``expires_in`` are seconds from the moment of storing; ``due`` is an absolute instant in
    milliseconds and wins over ``delay``. ``max_attempts=None`` means no limit. ``timeout`` is the run's own limit in
    seconds. A message is recognised by its ``id``: sending the same id again stores nothing.
    """

    body: bytes
    id: str = msgspec.field(default_factory=new_id)
    kind: str = ""
    headers: Mapping[str, str] = NO_HEADERS
    key: str | None = None
    priority: int = 0
    delay: float = 0.0
    due: int | None = None
    expires_in: float | None = None
    max_attempts: int | None = DEFAULT_ATTEMPTS
    timeout: float | None = None
    format: int = FORMAT
    unique: Unique | None = None


class Stored(msgspec.Struct, frozen=True, gc=False):
    """What a send returns: where the message is, how safe it is, and whether it had been there already.

    For a duplicate by :class:`Unique`, ``id`` is that of the job which has the slot.
    """

    queue: str
    id: str
    level: Level
    duplicate: bool = False


class SendOptions(TypedDict, total=False):
    """The options of one send, as users write them."""

    id: str
    delay: Seconds
    run_at: datetime
    priority: int
    key: str | None
    expires_in: Seconds | None
    max_attempts: int | None
    timeout: Seconds | None
    headers: Mapping[str, str]
    connection: object
    """The caller's own connection to the store: the message is there when his transaction commits, else never."""
    unique: Unique | None


def message(body: bytes, options: SendOptions, *, kind: str = "") -> Message:
    """Return ``body`` as a :class:`Message` with these options; ``UsageError`` names the option that does not fit."""
    if not options:
        return Message(body=body, kind=kind)
    if unknown := options.keys() - SendOptions.__annotations__.keys():
        raise UsageError(f"unknown send option {min(unknown)!r}; known: {', '.join(SendOptions.__annotations__)}")
    if "delay" in options and "run_at" in options:
        raise UsageError("give delay or run_at, not both")
    expires_in, timeout = options.get("expires_in"), options.get("timeout")
    return checked(
        Message(
            body=body,
            kind=kind,
            id=options["id"] if "id" in options else new_id(),
            headers=options.get("headers", NO_HEADERS),
            key=options.get("key"),
            priority=options.get("priority", 0),
            delay=seconds(options.get("delay", 0.0), "delay"),
            due=instant(options["run_at"], "run_at") if "run_at" in options else None,
            expires_in=None if expires_in is None else seconds(expires_in, "expires_in"),
            max_attempts=options.get("max_attempts", DEFAULT_ATTEMPTS),
            timeout=None if timeout is None else seconds(timeout, "timeout"),
            unique=options.get("unique"),
        )
    )


def checked(message: Message) -> Message:
    """Return ``message`` when a store can take it, its body aside; ``UsageError`` names the field that does not fit."""
    check_text(message.id, "id")
    if message.key is not None:
        check_text(message.key, "key")
    check_whole(message.priority, "priority", LOWEST_PRIORITY, HIGHEST_PRIORITY)
    if message.max_attempts is not None:
        check_whole(message.max_attempts, "max_attempts", 1, 1_000_000)
    for length, what in ((message.delay, "delay"), (message.expires_in, "expires_in"), (message.timeout, "timeout")):
        if length is not None:
            seconds(length, what)
    check_headers(message.headers)
    if message.unique is not None:
        _check_unique(message.unique)
    return message


def _check_unique(unique: object) -> None:
    if not isinstance(unique, Unique):
        raise UsageError(f"unique must be a Unique, such as Unique({str(unique)[:40]!r}), not {unique!r:.80}")
    check_text(unique.key, "the key of unique")
    for value, choices, what in ((unique.until, Until, "until"), (unique.on_conflict, OnConflict, "on_conflict")):
        if value not in get_args(choices):
            raise UsageError(f"{what} of unique must be one of {', '.join(get_args(choices))}, not {value!r:.80}")
    if unique.within is not None:
        seconds(unique.within, "within of unique")


def seconds(length: Seconds, what: str) -> float:
    """Return ``length`` in seconds; ``UsageError`` naming ``what`` when it is negative or no length of time."""
    value = length.total_seconds() if isinstance(length, timedelta) else length
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _CENTURY:
        raise UsageError(f"{what} must be seconds (0 or more) or a timedelta, not {length!r}")
    return float(value)


_CENTURY = 3_200_000_000.0


def instant(moment: datetime, what: str) -> int:
    """Return an aware ``datetime`` as milliseconds; ``UsageError`` naming ``what`` when it has no zone."""
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise UsageError(f"{what} must be a datetime with a time zone, such as datetime.now(UTC), not {moment!r}")
    return int(moment.timestamp() * 1000)


def check_whole(number: object, what: str, low: int, high: int | None = None) -> None:
    """Raise ``UsageError`` naming ``what`` unless this is a whole number from ``low`` to ``high``."""
    if not isinstance(number, int) or isinstance(number, bool) or number < low or (high is not None and number > high):
        span = f"from {low} to {high}" if high is not None else f"{low} or more"
        raise UsageError(f"{what} must be a whole number {span}, not {number!r}")


def check_text(text: object, what: str) -> None:
    """Raise ``UsageError`` naming ``what`` unless this is a text of 1 to 255 characters that every store can keep."""
    if not _is_text(text) or not 1 <= len(str(text)) <= 255:
        raise UsageError(f"{what} must be a text of 1 to 255 characters, not {text!r:.80}")


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise ``UsageError`` unless headers are texts by texts that every store can keep."""
    if headers and not all(_is_text(part) for pair in headers.items() for part in pair):
        raise UsageError("headers must map texts to texts")


def _is_text(text: object) -> bool:
    """Tell whether every store can keep ``text`` as it is: no NUL, and nothing that UTF-8 does not know."""
    return isinstance(text, str) and "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)
