"""Entries of streams that others fill, as messages of logs: their ids as offsets, their fields as bodies. No I/O.

A stream is a log of one partition, 0. An entry's id ``<ms>-<seq>`` is its offset, ``ms << 64 | seq``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec

from holdfast.message import NO_HEADERS

PARTITION = 0
"""The only one of a stream."""
NO_FIELD = "holdfast-no-field"
"""The header of a message whose entry lacks the field that was to be its body: the body has all of its fields then."""
_SEQUENCE = 64
_encode = msgspec.json.Encoder().encode


def offset_of(entry: str) -> int:
    """Return the offset of an entry by its id."""
    ms, _, sequence = entry.partition("-")
    return int(ms) << _SEQUENCE | int(sequence or 0)


def entry_at(offset: int) -> str:
    """Return the id of the entry at an offset."""
    return f"{offset >> _SEQUENCE}-{offset & ((1 << _SEQUENCE) - 1)}"


def time_of(offset: int) -> int:
    """Return the ms (UTC) in an entry's id: that of its being added, unless somebody chose the id."""
    return offset >> _SEQUENCE


class Content(msgspec.Struct, frozen=True):
    """What is handled of an entry."""

    body: bytes
    key: bytes | None = None
    headers: Mapping[str, str] = NO_HEADERS


class Shape(msgspec.Struct, frozen=True):
    """How a message is made of an entry's fields.

    The body is the value of ``field`` as it is, or all fields as a JSON object of texts. ``key`` names the field whose
    value is the key.
    """

    field: str | None = None
    key: str | None = None

    def content(self, pairs: Sequence[bytes]) -> Content:
        """Return what an entry says: ``pairs`` are its names and values in turns. Of two of one name the last counts.

        In JSON, bytes that are no UTF-8 stand as they are: then the body is no JSON, and can be decoded by nobody, but
        nothing of it is lost.
        """
        fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
        key = None if self.key is None else fields.get(self.key.encode())
        if self.field is None:
            return Content(_document(fields), key)
        body = fields.get(self.field.encode())
        if body is None:
            return Content(_document(fields), key, {NO_FIELD: self.field})
        return Content(body, key)


def _document(fields: Mapping[bytes, bytes]) -> bytes:
    try:
        return _encode({name.decode(): value.decode() for name, value in fields.items()})
    except UnicodeDecodeError:
        texts = {_text(name): _text(value) for name, value in fields.items()}
        return json.dumps(texts, ensure_ascii=False).encode("utf-8", "surrogateescape")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
