"""How commands lie in the journal: a record is one append, its first message the entry, the others its papers.

The entry is a msgpack array of the format, the instant, and the command; where the command has papers (messages,
errors, results) it has blanks there, and each paper is a message of the append, so that it has an offset of its own and
can be read alone. That offset is its number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from holdfast.capabilities import Firing
from holdfast.delivery import Ack, Burial, Nack, Settlement
from holdfast.errors import BackendError
from holdfast.failures import ErrorInfo
from holdfast.message import FORMAT as MESSAGE_FORMAT
from holdfast.message import Message, Unique
from holdfast.stores.engine import commands
from holdfast.stores.engine.commands import Command

FORMAT = 1
"""Of entries, and of the rules that carry commands out: an entry of a later one is not read."""
BLANK = Message(id="-", body=b"")
NO_ERROR = ErrorInfo("", "")
T = TypeVar("T")


class Move(Command, frozen=True):
    """Read the papers of these numbers here from now on. Papers: a copy of each."""

    numbers: tuple[int, ...]
    papers: tuple[bytes, ...]


AnyCommand = (
    commands.Declare
    | commands.Destroy
    | commands.Send
    | commands.PutDead
    | commands.Lease
    | commands.Settle
    | commands.Report
    | commands.Beat
    | commands.Tell
    | commands.Retire
    | commands.Advance
    | commands.Tidy
    | commands.Cancel
    | commands.Revive
    | commands.Flush
    | commands.Remove
    | commands.Pause
    | commands.SaveSchedule
    | commands.RemoveSchedule
    | commands.Fire
    | commands.Open
    | commands.Close
    | Move
)


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """The first message of a record; ``papers`` messages follow."""

    format: int
    wall: int
    boot: int
    papers: int
    command: AnyCommand


_encode = msgspec.msgpack.Encoder().encode
_entry = msgspec.msgpack.Decoder(Entry).decode
_format = msgspec.msgpack.Decoder(tuple[int, int, int, int, msgspec.Raw]).decode
_error = msgspec.msgpack.Decoder(ErrorInfo).decode
_message = msgspec.msgpack.Decoder(
    tuple[
        str,
        bytes,
        str,
        dict[str, str] | None,
        str | None,
        int,
        float,
        int | None,
        float | None,
        int | None,
        float | None,
        int,
        Unique | None,
    ]
).decode


def record(command: Command, wall: int, boot: int) -> list[bytes]:
    """Return the messages of a record."""
    papers: list[bytes] = []
    light = _walk(command, partial(_put, papers))
    entry = Entry(FORMAT, wall, boot, len(papers), light)  # type: ignore[arg-type] # one of them all
    return [_encode(entry), *papers]


def read_entry(body: bytes) -> Entry:
    """Return an entry; ``BackendError`` when a later release wrote it."""
    try:
        format_ = _format(body)[0]
        if format_ > FORMAT:
            raise BackendError(
                f"the queues' journal has entries of format {format_}, which a later release of Holdfast wrote; this "
                f"one reads formats up to {FORMAT}: open it with that release"
            )
        return _entry(body)
    except msgspec.DecodeError as error:
        raise BackendError(f"the queues' journal has an entry that this release cannot read: {error}") from error


def filled(entry: Entry, papers: Iterator[bytes]) -> Command:
    """Return the command of an entry with its papers in their places."""
    return _walk(entry.command, partial(_take, papers)) if entry.papers else entry.command


def write_message(message: Message) -> bytes:
    """Return a message as a paper."""
    return _encode(
        (
            message.id,
            message.body,
            message.kind,
            dict(message.headers) or None,
            message.key,
            message.priority,
            message.delay,
            message.due,
            message.expires_in,
            message.max_attempts,
            message.timeout,
            message.format,
            message.unique,
        )
    )


def read_message(paper: bytes) -> Message:
    """Return the message of a paper."""
    (id_, body, kind, headers, key, priority, delay, due, expires_in, max_attempts, timeout, format_, unique) = (
        _message(paper)
    )
    return Message(
        id=id_,
        body=body,
        kind=kind,
        headers=headers or {},
        key=key,
        priority=priority,
        delay=delay,
        due=due,
        expires_in=expires_in,
        max_attempts=max_attempts,
        timeout=timeout,
        format=format_ if format_ else MESSAGE_FORMAT,
        unique=unique,
    )


def read_error(paper: bytes) -> ErrorInfo:
    """Return the error of a paper."""
    return _error(paper)


# -- where a command has papers -------------------------------------------------------------------------------

Paper = Message | ErrorInfo | bytes
Swap = Callable[[Any], Any]
"""Takes what is in the place of a paper, returns what is to be there."""


def _put(papers: list[bytes], paper: Paper) -> Paper:
    """Add a paper to those of the record; return its blank."""
    papers.append(write_paper(paper))
    if isinstance(paper, Message):
        return BLANK
    return b"" if isinstance(paper, bytes) else NO_ERROR


def write_paper(paper: Paper) -> bytes:
    """Return a paper as it lies in the journal."""
    if isinstance(paper, Message):
        return write_message(paper)
    return paper if isinstance(paper, bytes) else _encode(paper)


def _take(papers: Iterator[bytes], blank: Paper) -> Paper:
    paper = next(papers)
    if isinstance(blank, Message):
        return read_message(paper)
    return paper if isinstance(blank, bytes) else read_error(paper)


def _walk(command: Command, swap: Swap) -> Command:
    """Return the command with every paper swapped, in the order of their numbers."""
    match command:
        case commands.Send():
            return msgspec.structs.replace(command, messages=tuple(map(swap, command.messages)))
        case commands.Settle():
            return msgspec.structs.replace(command, settlements=_swapped(command.settlements, swap))
        case commands.PutDead():
            message, error = swap(command.message), command.error
            return msgspec.structs.replace(command, message=message, error=None if error is None else swap(error))
        case commands.Fire():
            firings = tuple(_swapped_firing(firing, swap) for firing in command.firings)
            return msgspec.structs.replace(command, firings=firings)
        case Move():
            return msgspec.structs.replace(command, papers=tuple(map(swap, command.papers)))
        case _:
            return command


def _swapped(settlements: Sequence[Settlement], swap: Swap) -> tuple[Settlement, ...]:
    return tuple(_swapped_settlement(one, swap) for one in settlements)


def _swapped_settlement(settlement: Settlement, swap: Swap) -> Settlement:
    if isinstance(settlement, Ack):
        if settlement.result is None and not settlement.then:
            return settlement
        result = None if settlement.result is None else swap(settlement.result)
        return msgspec.structs.replace(settlement, result=result, then=tuple(map(swap, settlement.then)))
    if isinstance(settlement, (Nack, Burial)) and settlement.error is not None:
        return msgspec.structs.replace(settlement, error=swap(settlement.error))
    return settlement


def _swapped_firing(firing: Firing, swap: Swap) -> Firing:
    ticks = tuple(
        one if one.message is None else msgspec.structs.replace(one, message=swap(one.message)) for one in firing.ticks
    )
    return msgspec.structs.replace(firing, ticks=ticks)
