"""Logs as places: what each is, how it comes and goes in the slots that it has.

What a log is stands in its own slot, what a partition holds in the partition's. A log has a life, a number that rises
when one of its name is made again; each partition knows of whose life it is, and no script takes it for another's. So
whatever a process leaves half done, who comes next sees it and goes on: a partition that is missing is opened, one of
an earlier life is emptied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from holdfast.config import LogSettings
from holdfast.errors import BackendError
from holdfast.logged import Ends
from holdfast.stores.redis.answers import checked
from holdfast.stores.redis.connection import Arg
from holdfast.stores.redis.keys import Keys, Times
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.logs.names import LogNames
from holdfast.stores.redis.scripts import Script
from holdfast.stores.refused import fewer_partitions, no_log, no_partition

_DECLARE, _LOOK, _END, _ENDED = (Script.load(f"logs/{name}") for name in ("declare", "look", "end", "ended"))
_OPEN, _ERASE, _PLACE = (Script.load(f"logs/{name}") for name in ("open", "erase", "place"))
_ADOPT, _FLOOR = Script.load("logs/adopt"), Script.load("logs/floor")
_decode = msgspec.json.Decoder(LogSettings).decode


class Log(msgspec.Struct, frozen=True):
    """A log as its slot told of it: ``firsts`` is below what nothing is in each partition, ``furthest`` what no
    group has come to there. ``seen`` is how many breaks the link had had before.
    """

    name: str
    life: int
    revision: int
    settings: LogSettings
    firsts: tuple[int, ...]
    furthest: tuple[int, ...]
    seen: int

    @property
    def partitions(self) -> int:
        """How many there are."""
        return self.settings.partitions

    def lowest(self, partition: int) -> int:
        """Return the lowest offset that may be given next: no group has been there, and none was dropped there."""
        return max(self.firsts[partition], self.furthest[partition])

    def check(self, partition: int) -> None:
        """Raise ``UsageError`` when there is no such partition."""
        if not 0 <= partition < self.partitions:
            raise no_partition(self.name, partition, self.partitions)


class LogPlaces:
    """The logs of a store. Any thread."""

    def __init__(self, link: Link, keys: Keys, times: Times) -> None:
        self.link, self.keys, self.times = link, keys, times
        self.names = LogNames(link, keys, times)
        self._known: dict[str, Log] = {}
        self._declared: dict[str, tuple[LogSettings, bytes]] = {}  # and the birth of the servers' data then

    # -- scripts --------------------------------------------------------------------------------------------------

    def run(self, script: Script, log: str, *args: Arg, durable: bool = False, seen: int | None = None) -> Any:
        """Run a script of the log's slot; see ``Link.run``."""
        return self.link.run(script, self.keys.log(log), self.times(), *args, durable=durable, seen=seen)

    def run_part(
        self, script: Script, log: Log, partition: int, *args: Arg, durable: bool = False, seen: int | None = None
    ) -> Any:
        """Run a script of a partition's slot; see ``Link.run``."""
        key = self.keys.part(log.name, partition)
        return self.link.run(script, key, self.times(), log.life, *args, durable=durable, seen=seen)

    def run_parts(self, script: Script, log: Log, args: Iterable[tuple[int, Sequence[Arg]]]) -> list[Any]:
        """Run a script in several partitions at once.

        Those that are missing, or of an earlier life, are opened; a log that was made again meanwhile is looked up.
        """
        wanted, times = list(args), self.times()
        calls = [(script, self.keys.part(log.name, i), (times, log.life, *rest)) for i, rest in wanted]
        replies = checked(self.link.run_all(calls))
        stale = [i for (i, _), reply in zip(wanted, replies, strict=True) if reply == b"stale"]
        if not stale:
            return replies
        fresh = self.look(log.name)
        for i in stale:
            fresh.check(i)
            self.open(fresh, i)
        return self.run_parts(script, fresh, wanted)

    # -- what there is --------------------------------------------------------------------------------------------

    def all(self) -> list[Log]:
        """Return the logs, by name."""
        names, seen = self.names.all(), self.link.breaks
        replies = checked(self.link.run_all([(_LOOK, self.keys.log(name), (self.times(),)) for name in names]))
        return [_log(name, reply, seen) for name, reply in zip(names, replies, strict=True) if reply is not None]

    def known(self, name: str, partition: int = 0) -> Log:
        """Return what was known of a log, looked up if that is not enough; ``UsageError`` when there is none."""
        log = self._known.get(name)
        if log is None or not 0 <= partition < log.partitions:
            log = self.look(name)
            log.check(partition)
        return log

    def look(self, name: str) -> Log:
        """Look up a log; ``UsageError`` when there is none.

        One that its servers have lost is declared again if it was declared here; else that is a retryable error.
        """
        self._known.pop(name, None)
        seen = self.link.breaks
        reply = self.run(_LOOK, name)
        if reply is None and self._is_lost(name):
            if name not in self._declared:
                text = f"log {name!r} is being made, or its server has lost it; who declares it brings it back"
                raise BackendError(text, retryable=True)
            self.declare(name, self._declared[name][0])
            reply = self.run(_LOOK, name)
        if reply is None:
            raise no_log(name, self.names.all())
        self._known[name] = log = _log(name, reply, seen)
        return log

    def doubt(self, name: str) -> None:
        """Look it up again next time."""
        self._known.pop(name, None)

    def _is_lost(self, name: str) -> bool:
        """Tell whether a log is not there because the servers have lost it: nobody removed it.

        Who removes one leaves a sign in its slot until its name is forgotten.
        """
        if name in self._declared and self.names.birth() != self._declared[name][1]:
            return True
        (signs,) = self.link.call(self.keys.log(name), ("EXISTS", f"{self.keys.log(name)}:ended"))
        return not signs and self.names.number(name) is not None  # in this order: the sign goes last

    def ends(self, log: Log) -> list[Ends]:
        """Return what each partition holds, in order."""
        replies = self.run_parts(_PLACE, log, [(i, ()) for i in range(log.partitions)])
        return [
            Ends(i, first, end, size, None if oldest < 0 else oldest)
            for i, (first, end, size, oldest, *_) in enumerate(replies)
        ]

    # -- coming and going -----------------------------------------------------------------------------------------

    def declare(self, name: str, settings: LogSettings) -> None:
        """Make a log exist with these settings. Its name is noted before, and again when it is new: see ``destroy``."""
        was_known = self.names.number(name) is not None
        while True:
            life, birth = self.names.note(name)
            first, second, *rest = self._declared_as(name, life, settings, was_known=was_known, birth=int(birth))
            if first == b"fewer":
                raise fewer_partitions(name, int(second), settings.partitions)
            if first != b"ended":
                break
            self._erase(name, int(second), int(rest[0]))
            self.run(_ENDED, name, int(second))
            was_known = False
        if rest[0]:
            self.names.note(name)
        self._declared[name] = settings, birth
        log = self.look(name)
        for i in range(log.partitions):
            self.open(log, i)
        if rest[0] and log.life != life:
            firsts = [number for one in self.ends(log) for number in (one.partition, one.first)]
            self.run(_FLOOR, name, log.life, *firsts, durable=True)

    def _declared_as(self, name: str, life: int, settings: LogSettings, *, was_known: bool, birth: int) -> Any:
        """Declare a log in its slot. Where there is none it gets this life, or that of what its partitions hold: then
        the slot was lost. Of a log that was destroyed, and so is known no more, they may hold something as well.
        """
        fields = _fields(settings)
        reply = self.run(_DECLARE, name, "", *fields, durable=True)
        if reply[0] != b"new":
            return reply
        keys = [self.keys.part(name, i) for i in range(settings.partitions)]
        left = max(int(self.link.call(key, ("HGET", f"{key}:ends", "life"))[0] or 0) for key in keys)
        if left and (was_known or left < birth):  # or the store's slot was lost with all that it knew
            life = left
        return self.run(_DECLARE, name, life, *fields, durable=True)

    def open(self, log: Log, partition: int) -> None:
        """Make a partition that of the log's life and settings; durable on return."""
        found = self.run_part(_OPEN, log, partition, log.revision, log.lowest(partition), durable=True)
        if found > [log.life, log.revision]:
            self.run(_ADOPT, log.name, *found, durable=True)
            self.doubt(log.name)

    def destroy(self, name: str) -> int:
        """Remove a log; return how many messages it had.

        From the first step on it is not there; whoever makes one of that name meanwhile finishes the rest first, and
        its name stays if it was noted again.
        """
        self._declared.pop(name, None)
        self.doubt(name)
        number = self.names.number(name)
        ended = self.run(_END, name, durable=True)
        messages = 0 if ended is None else self._erase(name, *ended)
        if number is not None:
            self.names.forget(name, number)
        if ended is not None:
            self.run(_ENDED, name, ended[0])
        return messages

    def _erase(self, name: str, life: int, partitions: int) -> int:
        times = self.times()
        calls = [(_ERASE, self.keys.part(name, i), (times, life)) for i in range(partitions)]
        return sum(map(int, checked(self.link.run_all(calls, durable=True))))

    def finish_destroying(self) -> None:
        """Erase what is left of logs that somebody began to destroy."""
        for name in self.names.all():
            key = self.keys.log(name)
            if self.link.call(key, ("EXISTS", f"{key}:log", f"{key}:ended"), ("EXISTS", f"{key}:log")) == [1, 0]:
                self.destroy(name)


def _log(name: str, reply: Any, seen: int) -> Log:
    life, revision, settings, *places = reply
    return Log(name, life, revision, _decode(settings), tuple(places[::2]), tuple(places[1::2]), seen)


def _fields(settings: LogSettings) -> tuple[Arg, ...]:
    limit = "" if settings.limit_bytes is None else settings.limit_bytes
    return msgspec.json.encode(settings), settings.partitions, "1" if settings.until_consumed else "", limit
