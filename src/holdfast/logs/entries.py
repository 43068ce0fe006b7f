"""From what users append to the columns that a store takes, a set for each partition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from holdfast.errors import UsageError
from holdfast.logged import Columns, LogMessage, StoredAt, written_headers, written_key
from holdfast.message import Message, check_headers, check_text
from holdfast.partitions import partition_of

Appendable = bytes | tuple[bytes, str | None] | Message | LogMessage
"""What can be appended: a body, a body with its key, or a message with body, key and headers, of a queue or a log."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One message on its way into a log, as it is kept there, and the partition if one was chosen."""

    body: bytes
    key: bytes | None = None
    headers: bytes | None = None
    partition: int | None = None


class Share(NamedTuple):
    """What goes into one partition: at these ``places`` of what was given, None for all of it in order."""

    partition: int
    columns: Columns
    places: Sequence[int] | None = None


def entry(
    log: str,
    body: bytes,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    partition: int | None = None,
) -> Entry:
    """Return one message as it is kept; ``UsageError`` names what does not fit."""
    if type(body) is not bytes:
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise UsageError(f"log {log!r}: a body is bytes, not {type(body).__name__}; encode it first")
        body = bytes(body)
    try:
        kept = None if key is None else _key(key)
        if not headers:
            return Entry(body, kept, None, partition)
        check_headers(headers)
    except UsageError as error:
        raise UsageError(f"log {log!r}: {error}") from None
    return Entry(body, kept, written_headers(headers), partition)


def _key(key: str) -> bytes:
    if not (type(key) is str and key.isascii() and 0 < len(key) < 256 and "\0" not in key):
        check_text(key, "key")
    return written_key(key)


def entries(log: str, given: Iterable[Appendable], partition: int | None = None) -> list[Entry]:
    """Return messages as they are kept; ``UsageError`` names what does not fit."""
    return [_entry(log, one, partition) for one in given]


def _entry(log: str, given: Appendable, partition: int | None) -> Entry:
    match given:
        case LogMessage():
            return entry(log, given.body, given.key, given.headers, partition)
        case Message():
            _check_plain(log, given)
            return entry(log, given.body, given.key, given.headers, partition)
        case (body, key):
            return entry(log, body, key, None, partition)
        case bytes() | bytearray() | memoryview():
            return entry(log, given, None, None, partition)
    raise UsageError(f"log {log!r}: append bytes, (bytes, key), or a Message, not {given!r:.80}")


_PLAIN = Message(body=b"")
_FOR_QUEUES = [name for name in Message.__struct_fields__ if name not in ("body", "id", "headers", "key")]


def _check_plain(log: str, message: Message) -> None:
    for name in _FOR_QUEUES:
        if getattr(message, name) != getattr(_PLAIN, name):
            raise UsageError(f"log {log!r}: a message in a log has a body, a key and headers, but no {name}")


# -- partitions ---------------------------------------------------------------------------------------------------


def partition_for(one: Entry, partitions: int, turn: Callable[[int], int]) -> int:
    """Return where a message goes: to the partition that was chosen, or that of its key, or the one whose ``turn`` it
    is.
    """
    if one.partition is not None:
        return one.partition
    if partitions == 1:
        return 0
    return turn(partitions) if one.key is None else partition_of(one.key, partitions)


def shares(given: Sequence[Entry], partitions: int, turn: Callable[[int], int]) -> list[Share]:
    """Return what goes where; all that may go anywhere go together."""
    if partitions == 1 and {one.partition for one in given} == {None}:
        return [Share(0, columns_of(given))]
    places: dict[int, list[int]] = {}
    rest: int | None = None
    for place, one in enumerate(given):
        if one.key is None and one.partition is None:
            partition = rest = partition_for(one, partitions, turn) if rest is None else rest
        else:
            partition = partition_for(one, partitions, turn)
        its = places.get(partition)
        if its is None:
            places[partition] = [place]
        else:
            its.append(place)
    if len(places) == 1:
        return [Share(partition, columns_of(given)) for partition in places]
    return [Share(partition, columns_of([given[place] for place in its]), its) for partition, its in places.items()]


def column(one: Entry) -> Columns:
    """Return one message in columns."""
    return Columns(
        (one.body,), None if one.key is None else (one.key,), None if one.headers is None else (one.headers,)
    )


def columns_of(given: Sequence[Entry]) -> Columns:
    """Return messages in columns; one that has nothing is left out."""
    keys, headers = [one.key for one in given], [one.headers for one in given]
    return Columns(
        [one.body for one in given],
        keys if keys.count(None) < len(keys) else None,
        headers if headers.count(None) < len(headers) else None,
    )


def receipts(shared: Sequence[Share], stored: Iterable[StoredAt]) -> list[StoredAt]:
    """Return a receipt for each message in the order it was given; ``stored`` tells of the first of each share."""
    whole, found = None, dict[int, StoredAt]()
    for share, first in zip(shared, stored, strict=True):
        its = each(first, len(share.columns))
        if share.places is None:
            whole = its
        else:
            found.update(zip(share.places, its, strict=True))
    return whole if whole is not None else [found[place] for place in range(len(found))]


def each(first: StoredAt, number: int) -> list[StoredAt]:
    """Return the receipts of ``number`` messages that lie side by side."""
    if number == 1:
        return [first]
    log, partition, offset, level, duplicate = msgspec.structs.astuple(first)
    return [StoredAt(log, partition, at, level, duplicate) for at in range(offset, offset + number)]
