"""One group of a foreign stream: the commands that ask and change it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from holdfast.entries import entry_at, offset_of
from holdfast.errors import BackendError, HoldfastError
from holdfast.logged import Start
from holdfast.stores.redis.connection import Arg, Command
from holdfast.stores.redis.errors import Reply
from holdfast.stores.redis.keys import Keys
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.scripts import Script
from holdfast.stores.redis.streams.notes import Notes

_TAKE, _COMMIT, _LEAVE = map(Script.load, ("streams/take", "streams/commit", "streams/leave"))
_AT_ONCE = 1000
_FIRST = "0-0"

Entry = tuple[str, Sequence[bytes] | None]
"""An id, and names and values in turns; None of an entry that the stream has no more."""


class Standing(NamedTuple):
    """How far a group is: the last entry that was ``delivered``, and how many were not.

    Servers before 7.0 do not know that, and no server where entries were deleted ahead of the group, or while a group
    that began in the middle has not come to the end.
    """

    delivered: str
    lag: int | None


class Consumer(NamedTuple):
    """A consumer of a group: how many entries it has, and the ms since it asked for some."""

    name: str
    pending: int
    idle: int


class Group:
    """Any thread may call."""

    def __init__(self, link: Link, keys: Keys, stream: str, name: str) -> None:
        self.link, self.keys, self.stream, self.name = link, keys, stream, name
        self.notes = Notes(link, keys.stream(stream, name))
        self._stood, self._opened = "", False

    def __str__(self) -> str:
        return f"group {self.name!r} of stream {self.stream!r}"

    def time(self) -> int:
        """Return the server's time in ms."""
        ((seconds, micros),) = self.link.call(self.stream, ("TIME",))
        return int(seconds) * 1000 + int(micros) // 1000

    # -- being there ----------------------------------------------------------------------------------------------

    def open(self, start: Start) -> int:
        """Make the group if it is not there: at ``start``, or where it stood if it was removed; return what tells this
        reading from others.
        """
        now = self.time()
        if self.standing() is not None:
            self._opened = True
            return self.notes.begun(now)
        try:
            self._call("XGROUP", "CREATE", self.stream, self.name, self._beginning(start), "MKSTREAM")
        except BackendError as error:
            if _code(error) != "BUSYGROUP":  # another member was faster
                raise
            self._opened = True
            return self.notes.begun(now)
        self._opened = True
        return self.notes.begin(now)

    def _beginning(self, start: Start) -> str:
        known, stood = self.notes.stood()
        if known or self._opened:  # the notes may be gone with the stream
            last = self._last()  # a stream that was made again may have lower ids: all of them are new
            return stood if stood is not None and offset_of(stood) <= offset_of(last) else _FIRST
        if start.at == "time" and start.value > 0:
            return entry_at((start.value << 64) - 1)
        return "$" if start.at == "latest" else _FIRST

    def _last(self) -> str:
        try:
            return str(_fields(self._call("XINFO", "STREAM", self.stream))["last-generated-id"].decode())
        except BackendError as error:
            if is_gone(error):
                return _FIRST
            raise

    # -- entries --------------------------------------------------------------------------------------------------

    def reading(self, consumer: str, limit: int, block: int | None) -> Command:
        """Return the command that reads new entries, and waits ``block`` ms for some."""
        waiting = () if block is None else ("BLOCK", max(1, block))
        head = ("XREADGROUP", "GROUP", self.name, consumer, "COUNT", limit)
        return (*head, *waiting, "STREAMS", self.stream, ">")

    def read(self, consumer: str, limit: int) -> list[Entry]:
        """Return new entries, which are this consumer's from now on."""
        return entries_in(self._call(*self.reading(consumer, limit, None)))

    def had(self, consumer: str, after: str, limit: int) -> list[Entry]:
        """Return entries that this consumer has, behind the one given; what the stream has no more it has no more."""
        head = ("XREADGROUP", "GROUP", self.name, consumer, "COUNT", limit)
        found = entries_in(self._call(*head, "STREAMS", self.stream, after))
        if deleted := [entry for entry, pairs in found if pairs is None]:
            self._call("XACK", self.stream, self.name, *deleted)
        return found

    def take(self, consumer: str, limit: int, idle: int, gone: Sequence[str], others: Sequence[str]) -> list[Entry]:
        """Take over entries of those who are gone, and what others have left lying for ``idle`` ms."""
        whose: list[Arg] = [len(gone), *gone, *others]
        return _entries(self.link.run(_TAKE, self.stream, self.name, consumer, limit, idle, *whose))

    def commit(self, consumer: str, entries: Sequence[str], *, delete: bool) -> list[str]:
        """Take entries off the list; return those that are another's by now."""
        lost = list[str]()
        for at in range(0, len(entries), _AT_ONCE):
            args = (self.name, consumer, "1" if delete else "", *entries[at : at + _AT_ONCE])
            lost += [entry.decode() for entry in self.link.run(_COMMIT, self.stream, *args, durable=True)]
        return lost

    def leave(self, consumer: str) -> None:
        """Remove a consumer, unless it has something still."""
        self.link.run(_LEAVE, self.stream, self.name, consumer)

    # -- how far it is --------------------------------------------------------------------------------------------

    def standing(self) -> Standing | None:
        """Return how far it is, None when there is no such group."""
        try:
            found = self._call("XINFO", "GROUPS", self.stream)
        except BackendError as error:
            if is_gone(error):
                return None
            raise
        return self._standing(found)

    def _standing(self, found: Sequence[Sequence[Any]]) -> Standing | None:
        for fields in map(_fields, found):
            if fields["name"] == self.name.encode():
                return Standing(fields["last-delivered-id"].decode(), fields.get("lag"))
        return None

    def note_standing(self) -> None:
        """Write down where it would have to be made again, if that has changed."""
        # In this order: what is delivered in between, and not finished, is behind what was seen of it.
        groups, pending = self.link.call(
            self.stream, ("XINFO", "GROUPS", self.stream), ("XPENDING", self.stream, self.name)
        )
        standing = self._standing(groups)
        if standing is None:
            return
        stood = standing.delivered
        if pending[0]:
            stood = entry_at(min(offset_of(stood), offset_of(pending[1].decode()) - 1))
        if stood != self._stood:
            self.notes.stand(stood)
            self._stood = stood

    def first_undelivered(self, standing: Standing) -> str | None:
        """Return the first entry that nobody was given."""
        first = self._call("XRANGE", self.stream, f"({standing.delivered}", "+", "COUNT", 1)
        return first[0][0].decode() if first else None

    def consumers(self) -> list[Consumer]:
        """Return the consumers; none when the group is gone."""
        try:
            found = self._call("XINFO", "CONSUMERS", self.stream, self.name)
        except BackendError as error:
            if is_gone(error):
                return []
            raise
        each = map(_fields, found)
        return [Consumer(one["name"].decode("utf-8", "surrogateescape"), one["pending"], one["idle"]) for one in each]

    def without(self, consumers: Sequence[Consumer], living: Collection[str]) -> tuple[list[str], list[str]]:
        """Return those of these consumers who are ours and gone, and those of other programs who have entries."""
        each = [(one, self.keys.holder(one.name)) for one in consumers]
        gone = [one.name for one, holder in each if holder is not None and holder not in living]
        return gone, [one.name for one, holder in each if holder is None and one.pending]

    def first_pending(self, consumer: str) -> str | None:
        """Return the oldest entry that a consumer has."""
        found = self._call("XPENDING", self.stream, self.name, "-", "+", 1, consumer)
        return found[0][0].decode() if found else None

    def is_pending(self, entry: str) -> bool:
        """Tell whether a consumer has this entry."""
        try:
            return bool(self._call("XPENDING", self.stream, self.name, entry, entry, 1))
        except BackendError as error:
            if is_gone(error):
                return False
            raise

    def _call(self, *command: Arg) -> Any:
        return ask(self.link, self.stream, *command)


def ask(link: Link, stream: str, *command: Arg) -> Any:
    """Return the reply to one command about a stream; a key that is something else is told as that."""
    try:
        return link.call(stream, command)[0]
    except BackendError as error:
        if _code(error) != "WRONGTYPE":
            raise
        text = f"{link.options.text}: what the key {stream!r} holds is no stream (WRONGTYPE): name another stream"
        raise BackendError(text) from error.__cause__


def entries_in(reply: Any) -> list[Entry]:
    """Return the entries in what XREADGROUP answers for one stream."""
    return _entries(reply[0][1]) if reply else []


def _entries(found: Sequence[Any]) -> list[Entry]:
    return [(entry.decode(), pairs) for entry, pairs in found]


def _fields(pairs: Sequence[Any]) -> dict[str, Any]:
    return {name.decode(): value for name, value in zip(pairs[::2], pairs[1::2], strict=True)}


def is_gone(error: HoldfastError) -> bool:
    """Tell whether a command failed because the group, or the stream, is not there."""
    reply = error.__cause__
    return isinstance(reply, Reply) and ("NOGROUP" in str(reply) or "no such key" in str(reply))


def _code(error: HoldfastError) -> str:
    return error.__cause__.code if isinstance(error.__cause__, Reply) else ""
