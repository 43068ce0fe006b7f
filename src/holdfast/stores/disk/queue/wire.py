"""What another process may ask of the one that owns the queues, and how it is said.

A connection carries one request and one answer, each a u32 length, big-endian, and msgpack: a request is the verb and
its arguments, an answer the name of an error, or nothing, and the result or the error's text. What only a process that
works or sends needs is not among the verbs: that one owns the queues itself.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import Any, NamedTuple

import msgspec

from holdfast import errors
from holdfast.capabilities import Finding, JobFilter, Schedule, Tick
from holdfast.config import BATCH_MOST, QueueSettings
from holdfast.delivery import Command, HolderInfo, JobView, Outcome, Page, QueueStats, Replayed, State
from holdfast.errors import BackendError, BodyTooLarge, Closed, LeaseLost, NotSupported, QueueFull, UsageError

REQUEST_MOST = BATCH_MOST + (1 << 20)
"""Bytes of a request: a schedule with the largest message."""
ANSWER_MOST = 256 << 20
"""Bytes of an answer: a page of a listing, or one job with all that it has."""
RESULTS_MOST = 64 << 20
"""Bytes of results after which an owner wants to be asked for fewer outcomes."""
SMALL = 1 << 20
"""Larger requests are taken one at a time."""
LISTING = frozenset({"browse", "find_schedules", "get", "outcomes"})
"""Verbs whose answers may be large."""
TIMEOUT = 30.0
"""Seconds for which one who asks waits for the owner's next bytes, and the owner for the whole of a request."""
PLAIN = (UsageError, BodyTooLarge, NotSupported, QueueFull, LeaseLost, Closed)
"""Errors that are known by their text alone; all others come as ``BackendError``."""
_LENGTH = struct.Struct(">I")
_encode = msgspec.msgpack.Encoder().encode


class Verb(NamedTuple):
    """The types of a verb's arguments, in order, and of its result."""

    arguments: Any
    result: Any


VERBS = {
    "browse": Verb(tuple[str, JobFilter, int, str | None, bool], Page),
    "cancel": Verb(tuple[str, list[str], str], dict[str, State]),
    "command": Verb(tuple[str, Command], bool),
    "declare": Verb(tuple[str, QueueSettings], None),
    "destroy": Verb(tuple[str], int),
    "examine": Verb(tuple[()], list[Finding]),
    "find_schedules": Verb(tuple[str | None, str | None, int, tuple[str, str]], list[Schedule]),
    "flush": Verb(tuple[str, State], int),
    "get": Verb(tuple[str, str], JobView | None),
    "holders": Verb(tuple[()], list[HolderInfo]),
    "outcomes": Verb(tuple[str, list[str]], dict[str, Outcome]),
    "pause": Verb(tuple[str], None),
    "queues": Verb(tuple[()], dict[str, QueueSettings]),
    "reload": Verb(tuple[str, list[str]], list[str]),
    "remove": Verb(tuple[str, list[str], list[State]], list[str]),
    "remove_schedule": Verb(tuple[str, str], bool),
    "replay": Verb(tuple[str, list[str]], Replayed),
    "resume": Verb(tuple[str], None),
    "save_schedule": Verb(tuple[Schedule, int], Schedule | None),
    "stats": Verb(tuple[str], QueueStats),
    "ticks": Verb(tuple[str, str, int, int | None], list[Tick]),
}


def request(verb: str, arguments: tuple[Any, ...]) -> bytes:
    """Return a request."""
    return _encode((verb, arguments))


def read_request(data: bytes) -> tuple[str, tuple[Any, ...]]:
    """Return the verb of a request and its arguments; ``msgspec.DecodeError`` when it is none."""
    verb, arguments = msgspec.msgpack.decode(data, type=tuple[str, msgspec.Raw])
    if verb not in VERBS:
        raise msgspec.DecodeError(f"{verb!r} is not for other processes")
    return verb, msgspec.msgpack.decode(arguments, type=VERBS[verb].arguments)


def answer(result: object) -> bytes:
    """Return the answer to a request: its result, or the error that it came to; one that is too large is an error."""
    if isinstance(result, Exception):
        retryable, unknown = getattr(result, "retryable", False), getattr(result, "outcome_unknown", False)
        return _encode((type(result).__name__, (str(result), retryable, unknown)))
    data = _encode((None, result))
    return data if len(data) <= ANSWER_MOST else answer(too_large(len(data)))


def too_large(size: int) -> BodyTooLarge:
    """Return the error of an answer that would have so many bytes, at least."""
    return BodyTooLarge(f"the owner of the queues would have to answer with {size >> 20} MiB; ask for fewer at a time")


def read_answer(verb: str, data: bytes) -> Any:
    """Return the result that an answer has, or raise the error."""
    error, result = msgspec.msgpack.decode(data, type=tuple[str | None, msgspec.Raw])
    if error is None:
        return msgspec.msgpack.decode(result, type=VERBS[verb].result)
    text, retryable, unknown = msgspec.msgpack.decode(result, type=tuple[str, bool, bool])
    kind = getattr(errors, error, None)
    if kind in PLAIN:
        raise kind(text)
    said = text if kind is BackendError else f"{error}: {text}"
    raise BackendError(said, retryable=retryable, outcome_unknown=unknown)


def send(connection: socket.socket, data: bytes) -> None:
    """Send a request or an answer."""
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket, most: int = ANSWER_MOST) -> bytes:
    """Return what the other side sent; ``ConnectionError`` when it hung up."""
    return receive_rest(connection, receive_length(connection, most))


def receive_length(connection: socket.socket, most: int) -> int:
    """Return how many bytes the other side is about to send; ``ConnectionError`` when that is more than may be."""
    (length,) = _LENGTH.unpack(receive_rest(connection, _LENGTH.size))
    if length > most:
        raise ConnectionError(f"{length} bytes are no request and no answer")
    return int(length)


def receive_rest(connection: socket.socket, size: int, *, within: float | None = None) -> bytes:
    """Return so many bytes; ``ConnectionError`` when it hung up, ``TimeoutError`` when all of them take longer."""
    data, end = bytearray(), None if within is None else time.monotonic() + within
    while len(data) < size:
        if end is not None:
            connection.settimeout(max(0.001, end - time.monotonic()))
        more = connection.recv(min(size - len(data), 1 << 20))
        if not more:
            raise ConnectionError("the other side hung up")
        data += more
    if end is not None:
        connection.settimeout(TIMEOUT)
    return bytes(data)
