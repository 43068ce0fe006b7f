"""What an operator should know of the keys on a server: those that belong to nobody, and streams that only grow."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any
from urllib.parse import unquote

from holdfast.capabilities import Finding
from holdfast.stores.redis.connection import Command
from holdfast.stores.redis.errors import Reply, mapped
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.options import Address

MOST_KEYS = 2_000_000
"""How many keys of a server are looked at."""
MOST_STREAMS = 100
LONG = 10_000
"""Entries that everybody has read, from which on a stream seems to be trimmed by nobody."""
SILENT = 3_600.0
"""Seconds after which a consumer that has entries seems to be dead."""
_STEP = 1_000
STORE = "the store"
_PLACE = re.compile(rb"(queue|log):\{([^}]*)\}")
_OUTLIVES = re.compile(rb"\}:(token$|watch:)")
"""What may be there without its queue: the highest token, where a new one goes on; what a waiting client is told."""
_PART = re.compile(rb"(?<=\}):(body|runs):(.*)$", re.DOTALL)


class Keys:
    """The keys of one server, looked at a thousand at a time, as many as ``MOST_KEYS``."""

    def __init__(self, link: Link, address: Address) -> None:
        self._link, self._address = link, address

    def ask(self, *commands: Command) -> list[Any]:
        """Send commands to the server; error replies are among the replies."""
        return self._link.call_at(self._address, *commands) if commands else []

    def some(self, *words: str) -> Iterator[Sequence[bytes]]:
        """Yield names of keys, as SCAN with these words finds them."""
        cursor, looked = b"0", 0
        while looked < MOST_KEYS:
            (reply,) = self.ask(("SCAN", cursor, "COUNT", _STEP, *words))
            if isinstance(reply, Reply):
                raise mapped(reply, str(self._address))
            cursor, found = reply
            yield found
            looked += _STEP
            if cursor == b"0":
                return


# -- keys of nobody -----------------------------------------------------------------------------------------------


def stray_findings(keys: Keys, prefix: str, registered: Callable[[], Collection[str]]) -> Iterator[Finding]:
    """Yield what has the prefix and belongs to no queue or log that there is; ``registered`` names those."""
    places, parts = Counter[str](), 0
    begin = re.sub(r"([\\*?\[\]])", r"\\\1", prefix)
    samples = dict[str, bytes]()
    for found in keys.some("MATCH", f"{begin}*"):
        parts += _parts(keys, found)
        for key in found:
            if not _OUTLIVES.search(key):
                owner = place_of(prefix, key)
                places[owner] += 1
                samples.setdefault(owner, key)
    known = registered()
    for owner, number in places.items():
        if owner not in known and keys.ask(("EXISTS", samples[owner])) == [1]:
            yield Finding(
                "warn", f"{number} keys of {owner or 'nobody'}, which is not known (such as {_text(samples[owner])!r})",
                "another program has this prefix, or a destroy was cut off",
                "destroy it once more, or give the other program a prefix of its own; UNLINK what is left",
            )  # fmt: skip
    if parts:
        yield Finding(
            "warn", f"{parts} bodies or histories without their jobs", "something but Holdfast has removed keys",
            "look for eviction and for programs that delete; UNLINK them",
        )  # fmt: skip
    elif not set(places) - set(known):
        yield Finding("ok", f"{places.total()} keys with the prefix {prefix!r}, each with an owner")


def place_of(prefix: str, key: bytes) -> str:
    """Return whose a key with the prefix is, by its name: a queue's, a log's, the store's; empty when nobody's.

    What is kept beside groups of streams of others is the store's.
    """
    rest = key[len(prefix.encode()) :]
    if rest.startswith((b"{store}:", b"stream:{")):
        return STORE
    found = _PLACE.match(rest)
    if found is None:
        return ""
    name = found[2] if found[1] == b"queue" else found[2].partition(b":")[0]  # of one of its partitions, maybe
    return place(found[1].decode(), unquote(name.decode(errors="surrogateescape")))


def place(kind: str, name: str) -> str:
    """Return a queue or log as findings name it."""
    return f"{kind} {name!r}"


def _parts(keys: Keys, found: Sequence[bytes]) -> int:
    """Return how many of these belong to a job that is not there, and are there still."""
    parts = [(key, part) for key in found if (part := _PART.search(key))]
    hashes = keys.ask(*(("EXISTS", key[: part.start()] + b":job:" + part[2]) for key, part in parts))
    plain = keys.ask(*(("HEXISTS", key[: part.start()] + b":plain", part[2]) for key, part in parts))
    alone = [key for (key, _), *there in zip(parts, hashes, plain, strict=True) if there == [0, 0]]
    return sum(there == 1 for there in keys.ask(*(("EXISTS", key) for key in alone)))


# -- streams of others --------------------------------------------------------------------------------------------


def stream_findings(keys: Keys, prefix: str) -> Iterator[Finding]:
    """Yield what is to be said of streams without the prefix: those of other programs, which may be sources."""
    streams = list[bytes]()
    for found in keys.some("TYPE", "stream"):
        streams += [key for key in found if not key.startswith(prefix.encode())]
        if len(streams) >= MOST_STREAMS:
            break
    for stream in streams[:MOST_STREAMS]:
        length, groups = keys.ask(("XLEN", stream), ("XINFO", "GROUPS", stream))
        if not isinstance(length, Reply) and not isinstance(groups, Reply):  # gone by now, or not for this user
            yield from _stream(keys, stream, length, [_named(group) for group in groups])


def _stream(keys: Keys, stream: bytes, length: int, groups: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    name, before = stream.decode(errors="replace"), 0
    unread = [group["pending"] + group["lag"] for group in groups if isinstance(group.get("lag"), int)]
    if unread and len(unread) == len(groups) and length - max(unread) >= LONG:
        before += 1
        yield Finding(
            "warn", f"stream {name!r} holds {length - max(unread)} entries that all its groups have read",
            "nobody trims it, so it grows for ever", f"XTRIM {name} MAXLEN ~ {LONG}; senders can: XADD … MAXLEN ~",
        )  # fmt: skip
    for group in groups:
        (consumers,) = keys.ask(("XINFO", "CONSUMERS", stream, group["name"]))
        for consumer in consumers if isinstance(consumers, list) else []:
            its = _named(consumer)
            if its["pending"] and its["idle"] >= SILENT * 1000:
                before += 1
                yield Finding(
                    "warn", f"consumer {_text(its['name'])!r} of group {_text(group['name'])!r} of stream {name!r} "
                    f"has {its['pending']} entries and was last seen {its['idle'] / 1000:.0f} s ago",
                    "it seems to be dead, and nobody has taken its entries over",
                    "start a worker that consumes the stream, or XAUTOCLAIM them; never XGROUP DELCONSUMER before",
                )  # fmt: skip
    if not before:
        yield Finding("ok", f"stream {name!r}: {length} entries, {len(groups)} groups")


def _named(flat: Sequence[Any]) -> dict[str, Any]:
    return {_text(name): value for name, value in zip(flat[::2], flat[1::2], strict=False)}


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
