"""One member of a group, in the process that made it.

It keeps what it holds, and asks with each look whether that still stands: in the same round trip as for what is new in
its partitions. Only when the group has changed, or another member has died, does it ask or write more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import msgspec

from holdfast.clock import Clock
from holdfast.contract import LogMember
from holdfast.delivery import HolderInfo
from holdfast.errors import BackendError, Closed, CorruptLog, HoldfastError, LeaseLost, UsageError
from holdfast.events import LOGGER
from holdfast.logged import Assigned, Chunk, Ends, Offset, Start, WhenGone
from holdfast.stores.budget import Budget
from holdfast.stores.redis.answers import checked
from holdfast.stores.redis.blocking import Blocking
from holdfast.stores.redis.connection import Arg
from holdfast.stores.redis.link import Call, Unsteady
from holdfast.stores.redis.logs.inbox import Inbox
from holdfast.stores.redis.logs.places import Log, LogPlaces
from holdfast.stores.redis.logs.readers import Reader, Readers, retired
from holdfast.stores.redis.logs.reading import READ, wanted
from holdfast.stores.redis.logs.standing import Standing, standing
from holdfast.stores.redis.logs.wakes import appended, waits
from holdfast.stores.redis.scripts import Script
from holdfast.stores.refused import offset_gone

_SHARE, _CHANGES, _COMMIT = Script.load("logs/share"), Script.load("logs/changes"), Script.load("logs/commit")
_LEAVE, _BACK, _LIFT = Script.load("logs/leave"), Script.load("logs/back"), Script.load("logs/lift")
_encode = msgspec.json.Encoder().encode
LOOK = 0.25
"""How often, in seconds, a member looks whether others have died."""
SLICE = 0.5
"""How long, in seconds, a wait at the servers lasts at the most: then it is looked who has died."""
SURE = 0.25
"""For how long, in seconds, a look at the partitions vouches for a commit: no server is taken for dead so soon."""
_FAR = 1 << 53
"""Beyond the end of every partition."""
_TRIES = 10
"""How often a commit looks again because its connection was made meanwhile: busy threads of a program make many."""
MOST_FINISHED = 4096
"""How many offsets finished beyond its place a group remembers in a partition, the lowest."""


class Lender(Protocol):
    """What a member needs of the logs it belongs to. ``beaten`` is when (boot ms) each holder was last told of."""

    places: LogPlaces
    readers: Readers
    clock: Clock
    beaten: dict[str, int]
    is_closed: bool

    def enter(self, name: str, group: str, holder: HolderInfo, start: Start) -> tuple[Log, int, int]:
        """Add a member; return its log and the numbers of its group and its own."""

    def beat(self, holder: HolderInfo, log: str = "") -> bool:
        """Keep a holder alive; False when it was retired."""

    def left(self, member: RedisMember) -> None:
        """Forget a member."""


class RedisMember(LogMember):
    """Reads for a holder. ``numbers`` are those of its group and its own."""

    def __init__(
        self,
        logs: Lender,
        log: Log,
        group: str,
        holder: HolderInfo,
        *,
        numbers: tuple[int, int],
        when_gone: WhenGone,
    ) -> None:
        self._logs, self._log, self._group, self._holder = logs, log, group, holder
        self._numbers, self._when_gone, self._birth = numbers, when_gone, logs.places.names.birth()
        self._blocking = Blocking(logs.places.link)
        self._standing: Standing | None = None
        self._assigned: dict[int, Assigned] = {}
        self._inboxes: dict[int, Inbox] = {}
        self._versions: dict[int, int] = {}  # the last one known of each partition
        self._others: dict[int, tuple[Reader, int]] = {}  # and until when (boot ms) it lives, as far as is known
        self._looked, self._serial, self._turn = 0.0, 0, 0
        self._breaks = self._breaks_seen = 0  # of the link, before all partitions, or some, were looked at last
        self._sure_until = 0.0  # SURE after that of all (time.monotonic)
        self._pid = os.getpid()
        self._interrupted = self._left = False

    def __str__(self) -> str:
        return f"group {self._group!r} of log {self._log.name!r}"

    # -- poll -----------------------------------------------------------------------------------------------------

    def poll(
        self,
        *,
        limit: int,
        wait: float,
        max_bytes: int = 16 << 20,
        min_bytes: int = 1,
        busy: Collection[int] = (),
        without: Collection[int] = (),
    ) -> list[Chunk]:
        end, enough = time.monotonic() + wait, min(min_bytes, max_bytes)
        news = self._look(busy, without, limit, max_bytes)
        while (left := end - time.monotonic()) > 0 and not self._interrupted and not _suffices(news, limit, enough):
            if not self._doze(left, news):
                news = self._look(busy, without, limit, max_bytes)
        self._interrupted = False
        return self._take(news, Budget(limit, max_bytes))

    def _doze(self, left: float, news: Sequence[Inbox]) -> bool:
        """Wait until there is more, the group changes, or it is time to beat or to look whether others have died.

        True when nothing is to be looked at again: there was more, which has been put where it belongs.
        """
        now = self._logs.clock.boot()
        due = self._logs.beaten.get(self._holder.id, now) + self._holder.ttl * 1000 / 3
        ends = (until for _, until in self._others.values())
        timeout = max(0.001, min(left, SLICE, *((instant - now) / 1000 for instant in (due, *ends))))
        places, log = self._logs.places, self._log.name
        inboxes = {one.partition: one for one in news}
        nexts = {partition: one.behind for partition, one in inboxes.items()}
        answers = self._blocking.wait(waits(places, log, self._serial, nexts, timeout), timeout)
        if places.link.breaks != self._breaks_seen:
            return False  # what came may follow upon other messages than those that were read
        found = appended(places, log, inboxes, answers)
        return found is not None and all(inboxes[one].add(log, appends) for one, appends in found.items())

    def _take(self, news: Sequence[Inbox], budget: Budget) -> list[Chunk]:
        """Take what there is, partition after partition, each time from another one on.

        What is wrong with one is raised when the others have nothing.
        """
        self._turn += 1
        first = self._turn % len(news) if news else 0
        taken, wrong = list[Chunk](), list[HoldfastError]()
        for inbox in (*news[first:], *news[:first]):
            try:
                taken += inbox.take(budget)
            except CorruptLog as error:
                wrong.append(error)
            if inbox.is_gone:
                ends = Ends(inbox.partition, inbox.first, inbox.end)
                wrong.append(offset_gone(self._log.name, ends, inbox.position))
        if wrong and not taken:
            raise wrong[-1]
        return taken

    def interrupt(self) -> None:
        self._interrupted = True
        self._blocking.interrupt()

    # -- looking --------------------------------------------------------------------------------------------------

    def _look(self, busy: Collection[int], without: Collection[int], limit: int, max_bytes: int) -> list[Inbox]:
        """Share, and return those partitions held, with what was fetched of them, that are not ``without``."""
        self._check_member()
        if self._standing is None:
            self._stand(self._ask("look"))
        while True:
            asked = [one for index, one in sorted(self._inboxes.items()) if index not in without]
            breaks, sure_until = self._logs.places.link.breaks, time.monotonic() + SURE
            changes, *replies = self._asked_for_news(asked, limit, max_bytes)
            if changes[0] is None:
                self._removed()
            elif self._standing is None or int(changes[0]) != self._standing.changes:
                self._stand(self._ask("look"))
            elif self._share(busy) and self._filled(asked, replies):
                self._serial, self._breaks_seen = int(changes[1]), breaks
                if not without:
                    self._breaks, self._sure_until = breaks, sure_until
                return asked

    def _asked_for_news(self, asked: Sequence[Inbox], limit: int, max_bytes: int) -> list[Any]:
        places, times = self._logs.places, self._logs.places.times()
        calls: list[Call] = [(_CHANGES, places.keys.log(self._log.name), (times, self._group))]
        for one in asked:
            ask = wanted(one.behind, max(0, limit - one.messages), max(1, max_bytes - one.bytes))
            calls.append((READ, places.keys.part(self._log.name, one.partition), (times, self._log.life, *ask)))
        return checked(places.link.run_all(calls))

    def _filled(self, asked: Sequence[Inbox], replies: Sequence[Any]) -> bool:
        """Put what was read where it belongs; False when something is to be looked at again."""
        is_sound = True
        for one, reply in zip(asked, replies, strict=True):
            if reply == b"stale":
                with suppress(UsageError):  # the log is no more: that is seen next
                    self._logs.places.open(self._logs.places.look(self._log.name), one.partition)
                is_sound = False
                continue
            if one.has_gone_back(*reply[:3]):
                self._go_back(one, reply[1])
                is_sound = False
                continue
            one.fill(self._log.name, *reply)
            if one.is_gone and self._when_gone != "error":
                one.jump(one.first if self._when_gone == "earliest" else one.end)
                is_sound = is_sound and one.position == one.end
        return is_sound

    def _go_back(self, inbox: Inbox, end: int) -> None:
        """The server of a partition has lost what was appended last; other messages may have those offsets by now.

        Nothing that is appended from now on may get an offset that a group has passed: the partition goes on where the
        groups are. Nor may what is in hand be committed over it: this group begins anew at its place.
        """
        LOGGER.warning(
            "log %r, partition %s: its server has lost what was appended last; it ends at %s, and was read to %s",
            self._log.name, inbox.partition, end, inbox.behind,
        )  # fmt: skip
        furthest = self._begin_anew(inbox.partition, end)
        if furthest > end:
            self._logs.places.run_part(_LIFT, self._log, inbox.partition, furthest, durable=True)
            self._begin_anew(inbox.partition, furthest)

    def _begin_anew(self, partition: int, end: int) -> int:
        """Give what is in hand up, unless a group has come further than that end; return what none has come to."""
        who, version = (self._group, self._numbers[0]), self._versions[partition]
        return int(self._logs.places.run(_BACK, self._log.name, *who, partition, end, version, durable=True))

    # -- sharing --------------------------------------------------------------------------------------------------

    def _ask(self, verb: str, dead: Collection[int] = (), busy: Collection[int] = ()) -> Any:
        args: list[Arg] = [self._group, *self._numbers, self._holder.id, verb, len(dead), *dead, *busy]
        return self._logs.places.run(_SHARE, self._log.name, *args)

    def _removed(self) -> None:
        """Raise ``Closed``, as the group is no more; begin anew when that is because the servers have lost it."""
        if self._logs.places.names.birth() == self._birth and not self._is_lost():
            raise Closed(f"{self} was removed; join again to begin anew")
        try:
            self._log, *numbers = self._logs.enter(self._log.name, self._group, self._holder, Start())
        except UsageError as error:
            raise BackendError(f"{self}: its servers have lost it: {error}", retryable=True) from error
        LOGGER.warning("%s: its servers have lost it; it begins anew at the first message", self)
        self._numbers, self._birth = (numbers[0], numbers[1]), self._logs.places.names.birth()
        self._inboxes.clear()
        self._assigned.clear()
        self._stand(self._ask("look"))

    def _is_lost(self) -> bool:
        """Tell whether the log's server has lost the group: the log is the same, and nobody removed the group."""
        places = self._logs.places
        try:
            life = places.look(self._log.name).life
        except UsageError:
            return False
        key = places.keys.log(self._log.name)
        (number,) = places.link.call(key, ("ZSCORE", f"{key}:forgotten", self._group))
        return life == self._log.life and (number is None or float(number) < self._numbers[0])

    def _share(self, busy: Collection[int]) -> bool:
        """See to it that this member lives, and holds its share; False when that has changed something."""
        standing_ = self._standing
        assert standing_ is not None
        dead = self._dead()
        if dead or not standing_.registered or standing_.is_lacking() or standing_.has_surplus(busy):
            if not self._logs.beat(self._holder, self._log.name):
                raise retired(self._holder)
            self._stand(self._ask("share", dead, busy))
            return False
        if self._is_beat_due() and not self._logs.beat(self._holder):
            raise retired(self._holder)
        return True

    def _dead(self) -> list[int]:
        """Return the other members that have died. Asks nothing while those that are known seem to live."""
        assert self._standing is not None
        others = self._standing.others
        now = self._logs.clock.boot()
        silent = any(until <= now for _, until in self._others.values())
        if not silent and time.monotonic() - self._looked < LOOK and self._others.keys() == others.keys():
            return []
        self._looked = time.monotonic()
        if silent or self._others.keys() != others.keys() or self._ended(now):
            known = self._logs.readers.ask(sorted(set(others.values())))
            self._others = {one: (known[holder], now + known[holder].left) for one, holder in others.items()}
        return self._ended(now)

    def _ended(self, now: int) -> list[int]:
        return [one for one, (reader, until) in self._others.items() if until <= now or reader.has_ended()]

    def _stand(self, reply: Any) -> None:
        """Take up what is new, from the group's place on; drop what is no longer held."""
        if reply == b"removed":
            self._standing = None
            self._removed()
            return
        self._standing = standing(reply)
        held = self._standing.held
        for index in self._assigned.keys() - held:
            del self._assigned[index]
            self._inboxes.pop(index, None)
        known = {index: one.version for index, one in self._inboxes.items()}
        new = {index: its for index, its in held.items() if its.place.version != known.get(index)}
        back = [index for index, its in new.items() if its.place.version <= self._versions.get(index, 0)]
        for index in back:  # the group's server has lost what came last: what was in hand then counts as held again
            self._begin_anew(index, _FAR)
        if back:
            self._stand(self._ask("look"))
            return
        for index, its in new.items():
            version = its.place.version
            self._inboxes[index] = Inbox(index, version, its.place.next)
            self._assigned[index], self._versions[index] = its, version

    def _is_beat_due(self) -> bool:
        now = self._logs.clock.boot()
        return now - self._logs.beaten.get(self._holder.id, -1 << 62) >= self._holder.ttl * 1000 / 3

    # -- commit ---------------------------------------------------------------------------------------------------

    def commit(self, offsets: Sequence[Offset], *, durable: bool = False) -> dict[int, int]:
        self._check_member()
        if self._is_beat_due():
            self._logs.beat(self._holder)
        places = self._committed([offset for offset in offsets if self._is_held(offset)], durable=durable)
        self._forget(partition for partition, place in places.items() if place < 0)
        lost = sorted(offset.partition for offset in offsets if places.get(offset.partition, -1) < 0)
        if lost:
            raise LeaseLost(
                f"{self}: partitions {', '.join(map(str, lost))} are no longer held by this member, or were sought; "
                "what it polled there before is delivered again"
            )
        return places

    def _is_held(self, offset: Offset) -> bool:
        """Tell whether what was polled may be committed, as far as is known: servers that went back may not know it."""
        inbox = self._inboxes.get(offset.partition)
        return inbox is not None and inbox.version == offset.version

    def _forget(self, partitions: Iterable[int]) -> None:
        """Read these anew: what was refused now may be its version again when the group's server has gone back."""
        for partition in partitions:
            del self._inboxes[partition]
            self._standing = None

    def _committed(self, offsets: Sequence[Offset], *, durable: bool) -> dict[int, int]:
        """Commit what is held; return the place in each partition, -1 where it was not held after all."""
        partitions = [offset.partition for offset in offsets]
        args = [part for offset in offsets for part in _committed(offset)]
        places, log, who = self._logs.places, self._log.name, (self._group, *self._numbers)
        for _ in range(_TRIES):
            self._check_past(partitions)
            self._check_ends(offsets)
            with suppress(Unsteady):  # then what is to be committed may have been lost just now
                replies = places.run(_COMMIT, log, *who, *args, durable=durable, seen=self._breaks)
                return dict(zip(partitions, replies, strict=True))
        raise BackendError(f"{self}: the connections to its servers do not last", retryable=True)

    def _check_past(self, partitions: Collection[int]) -> None:
        """See to it that nothing is committed that a server has lost, if one may have failed since the last look.

        A server that went without a word breaks no connection: that nothing was heard of for a while is reason enough.
        """
        places = self._logs.places
        for partition in partitions:
            places.link.probe(places.keys.part(self._log.name, partition))
        breaks, now = places.link.breaks, time.monotonic()
        if breaks == self._breaks and now < self._sure_until:
            return
        held = list(self._inboxes.values())
        _, *replies = self._asked_for_news(held, 0, 1)
        for one, reply in zip(held, replies, strict=True):
            if reply == b"stale":  # it is lost as a whole, and who appends begins it anew
                self._begin_anew(one.partition, _FAR)
            elif one.has_gone_back(*reply[:3]):
                self._go_back(one, reply[1])
        self._breaks, self._sure_until = breaks, now + SURE

    def _check_ends(self, offsets: Sequence[Offset]) -> None:
        """Raise ``OffsetGone`` for one that is beyond the end; what was polled is not."""
        for offset in offsets:
            if offset.next <= self._inboxes[offset.partition].end:
                continue
            ends = self._logs.places.ends(self._log)[offset.partition]
            if offset.next > ends.next:
                raise offset_gone(self._log.name, ends, offset.next)

    # -- the rest -------------------------------------------------------------------------------------------------

    def assigned(self) -> dict[int, Assigned]:
        self._check_member()
        return dict(self._assigned)

    def leave(self) -> None:
        if self._left:
            return
        self._left = True
        if self._pid != os.getpid():  # it is its parent's, which goes on with it
            return
        self._logs.left(self)
        with suppress(BackendError, Closed):  # its ttl, or the end of its process, tells the others
            self._logs.places.run(_LEAVE, self._log.name, self._group, *self._numbers, durable=True)
        self._blocking.close()

    def _check_member(self) -> None:
        if self._logs.is_closed:
            raise Closed(f"the logs of {self} are closed")
        if self._left:
            raise Closed(f"this member has left {self}")
        if self._pid != os.getpid():
            raise Closed("a member does not outlive a fork; join in the new process")


def _suffices(news: Sequence[Inbox], limit: int, min_bytes: int) -> bool:
    """Tell whether there is enough to return, or to raise."""
    if any(one.is_gone or one.is_damaged for one in news):
        return True
    messages = sum(one.end - one.position for one in news if one.is_filled)
    if messages >= limit or min_bytes <= 1:
        return messages > 0
    return sum(one.bytes for one in news) >= min_bytes


def _committed(offset: Offset) -> tuple[int, int, int, bytes]:
    beyond = sorted({one for one in offset.finished if one >= offset.next})[:MOST_FINISHED]
    return offset.partition, offset.next, offset.version, _encode(beyond) if beyond else b""
