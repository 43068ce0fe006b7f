"""One member of a group, in the process that made it.

It keeps what it holds, and asks the file for one number to know that this still stands; only when that number is
another, or a member has died, does it read or write more. So a poll that finds nothing writes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from holdfast.clock import Clock
from holdfast.contract import LogMember
from holdfast.errors import BackendError, Closed, CorruptLog, LeaseLost, OffsetGone
from holdfast.logged import Assigned, Chunk, Offset, WhenGone
from holdfast.stores.budget import Budget, cut
from holdfast.stores.refused import offset_gone
from holdfast.stores.sqlite.connection import Connection
from holdfast.stores.sqlite.file import Reader
from holdfast.stores.sqlite.logs import members, reading
from holdfast.stores.sqlite.logs.liveness import Instant, MemberRow, ended
from holdfast.stores.sqlite.logs.members import Member, Standing
from holdfast.stores.sqlite.logs.places import PartitionRow
from holdfast.stores.sqlite.logs.wakes import Wakes
from holdfast.stores.sqlite.writer import Transaction, Writer

T = TypeVar("T")
News = Sequence[PartitionRow]
LOOK = 0.25
"""How often, in seconds, a poll looks whether other members have died."""


class Lender(Protocol):
    """What a member needs of the logs it belongs to. ``beaten`` is when (boot ms) each holder was last written down."""

    reader: Reader
    writer: Writer
    wakes: Wakes
    clock: Clock
    beaten: dict[str, int]

    def now(self) -> Instant:
        """Return the time."""

    def write(self, function: Callable[[Transaction], T], *, quiet: bool = False) -> T:
        """Carry out ``function`` in a transaction; wake who waits unless it is ``quiet``."""

    def left(self, member: SqliteMember) -> None:
        """Forget a member."""


class SqliteMember(LogMember):
    """Reads for a holder; its place in the file is that of ``member``."""

    def __init__(self, logs: Lender, member: Member, when_gone: WhenGone) -> None:
        self._logs, self._member, self._when_gone = logs, member, when_gone
        self._standing: Standing | None = None
        self._assigned: dict[int, Assigned] = {}
        self._positions: dict[int, tuple[int, int]] = {}  # the version it was taken at, and what is polled next
        self._rests: dict[int, Chunk] = {}  # of appends that were not polled to their end
        self._others: list[MemberRow] = []
        self._looked = 0.0
        self._turn = 0
        self._pid = os.getpid()
        self._interrupted = self._left = False

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
        enough = min(min_bytes, max_bytes)
        look = partial(self._look, busy, without)
        news = look()
        if wait > 0 and not self._interrupted and not self._suffices(news, limit, enough):
            with self._logs.wakes.listening():
                self._logs.writer.attend()
                news = self._await(time.monotonic() + wait, limit, enough, look)
        self._interrupted = False
        return self._take(news, Budget(limit, max_bytes))

    def _await(self, end: float, limit: int, enough: int, look: Callable[[], News]) -> News:
        while True:
            rings = self._logs.wakes.rings(self._member.log.number)
            news = look()
            left = end - time.monotonic()
            if left <= 0 or self._interrupted or self._suffices(news, limit, enough):
                return news
            self._doze(rings, end)

    def _doze(self, rings: int, end: float) -> None:
        """Wait for the bell, for the end, or until this member has to beat or others may have died."""
        log, wakes = self._member.log.number, self._logs.wakes
        while wakes.rings(log) == rings and (left := end - time.monotonic()) > 0:
            wakes.wait(log, rings, min(left, LOOK))
            now = self._logs.now()
            if self._is_beat_due(now) or ended(self._others, now):
                return

    def _look(self, busy: Collection[int], without: Collection[int]) -> News:
        """Share, and return those partitions held in which there is something to read, or what is next is gone."""
        self._check_member()
        self._share(busy)
        places = [(index, position) for index, (_, position) in self._positions.items() if index not in without]
        if not places:
            return []
        news = self._logs.reader.read(lambda connection: reading.news(connection, self._member.log, places))
        if self._when_gone != "error":
            for partition in filter(self._is_gone, news):
                version, _ = self._positions[partition.index]
                to = partition.first if self._when_gone == "earliest" else partition.next
                self._positions[partition.index] = (version, to)
        return news

    def _is_gone(self, partition: PartitionRow) -> bool:
        """Tell whether that is not there which is to be polled next."""
        return not partition.first <= self._positions[partition.index][1] <= partition.next

    def _suffices(self, news: News, limit: int, min_bytes: int) -> bool:
        """Tell whether there is enough to return, or to raise."""
        if any(map(self._is_gone, news)):
            return True
        messages = sum(part.next - self._positions[part.index][1] for part in news)
        if messages >= limit or min_bytes <= 1:
            return messages > 0
        return self._logs.reader.read(lambda connection: self._bodies(connection, news)) >= min_bytes

    def _bodies(self, connection: Connection, news: News) -> int:
        """Return the bytes of the bodies to be polled; of an append that was begun, all."""
        positions = [(part, self._positions[part.index][1]) for part in news]
        return sum(part.bodies - reading.before(connection, part, position)[1] for part, position in positions)

    def _take(self, news: News, budget: Budget) -> list[Chunk]:
        """Take what there is, partition after partition, each time from another one on.

        When a read fails, what came before it is polled again: nobody has got it.
        """
        self._turn += 1
        first = self._turn % len(news) if news else 0
        taken, wrong = list[Chunk](), None
        for partition in (*news[first:], *news[:first]):
            try:
                taken += self._take_from(partition, budget)
            except (OffsetGone, CorruptLog) as error:
                wrong = error
        if wrong is not None and not taken:
            raise wrong
        for chunk in taken:
            self._positions[chunk.partition] = (chunk.version, chunk.next)
        return taken

    def _take_from(self, partition: PartitionRow, budget: Budget) -> list[Chunk]:
        version, position = self._positions[partition.index]
        if self._is_gone(partition):
            raise offset_gone(self._member.log.name, partition.ends(), position)
        rest = self._rests.pop(partition.index, None)
        taken: list[Chunk] = []
        if rest is not None and rest.base == position:
            taken, rest = cut(rest, budget)
            position += sum(map(len, taken))
        if rest is None or rest.base != position:
            log = self._member.log
            try:
                more, rest = self._logs.reader.read(lambda file: reading.read(file, log, partition, position, budget))
            except CorruptLog:
                if not taken:
                    raise
                more, rest = [], None  # what there is goes first; the error comes again
            taken += more
        if rest is not None:
            self._rests[partition.index] = rest
        return [msgspec.structs.replace(chunk, version=version) for chunk in taken]

    def interrupt(self) -> None:
        self._interrupted = True
        self._logs.wakes.ring(self._member.log.number)

    # -- sharing --------------------------------------------------------------------------------------------------

    def _share(self, busy: Collection[int]) -> None:
        """See to it that this member lives, and holds its share; stand where the group stands in what is new."""
        changes = self._logs.reader.read(lambda connection: members.changes(connection, self._member))
        if changes is None:
            raise members.removed(self._member)
        if self._standing is None or changes != self._standing.changes:
            self._stand(self._logs.reader.read(lambda connection: members.standing(connection, self._member)))
        standing = self._standing
        if standing is None:
            raise members.removed(self._member)
        now = self._logs.now()
        dead = self._dead(now)
        if dead or not standing.registered or standing.lacking() or standing.surplus(busy):
            self._stand(self._logs.write(lambda tx: members.share(tx, self._member, dead, busy)))
            self._logs.beaten[self._member.holder.id] = now.uptime
        elif self._is_beat_due(now):
            self._beat(now)

    def _dead(self, now: Instant) -> set[int]:
        """Return the other members that have died; processes are looked for every ``LOOK`` seconds.

        Asks the file nothing while those that are known live.
        """
        silent = any(row.is_silent(now) for row in self._others)
        if not silent and time.monotonic() - self._looked < LOOK:
            return set()
        self._looked = time.monotonic()
        if not ended(self._others, now):
            return set()
        self._others = self._logs.reader.read(lambda connection: members.others(connection, self._member))
        return ended(self._others, now)

    def _stand(self, standing: Standing | None) -> None:
        """Take up what is new, from the group's place on; drop what is no longer held."""
        self._standing = standing
        held = {} if standing is None else standing.held
        self._others, self._looked = [] if standing is None else standing.others, 0.0
        for index in self._positions.keys() - held:
            del self._positions[index], self._assigned[index]
            self._rests.pop(index, None)
        for index, its in held.items():
            known, place = self._positions.get(index), its.place
            if known is None or known[0] != place.version:
                self._positions[index] = (place.version, place.next)
                self._assigned[index] = its
                self._rests.pop(index, None)

    def _is_beat_due(self, now: Instant) -> bool:
        holder = self._member.holder
        return now.uptime - self._logs.beaten.get(holder.id, -1 << 62) >= holder.ttl * 1000 / 3

    def _beat(self, now: Instant) -> None:
        holder, boot = self._member.holder, self._member.boot
        if not self._logs.write(lambda tx: members.keep_alive(tx, holder, boot), quiet=True):
            raise members.retired(holder)
        self._logs.beaten[holder.id] = now.uptime

    # -- commit ---------------------------------------------------------------------------------------------------

    def commit(self, offsets: Sequence[Offset], *, durable: bool = False) -> dict[int, int]:
        self._check_member()
        now = self._logs.now()
        due = self._is_beat_due(now)

        def command(tx: Transaction) -> members.Committed:
            if due:
                members.keep_alive(tx, self._member.holder, self._member.boot)
            return members.commit(tx, self._member, offsets)

        committed = self._logs.write(command, quiet=True)
        if due:
            self._logs.beaten[self._member.holder.id] = now.uptime
        if committed.lost:
            raise LeaseLost(
                f"{self._member}: partitions {', '.join(map(str, sorted(committed.lost)))} are no longer held by this "
                "member, or were sought; what it polled there before is delivered again"
            )
        return committed.places

    # -- the rest -------------------------------------------------------------------------------------------------

    def assigned(self) -> dict[int, Assigned]:
        self._check_member()
        return dict(self._assigned)

    def leave(self) -> None:
        if self._left:
            return
        self._left = True
        if self._pid == os.getpid():  # else it is its parent's, which goes on with it
            self._logs.left(self)
            try:
                self._logs.write(lambda tx: members.leave(tx, self._member))
            except (BackendError, Closed):
                self._logs.wakes.ring_all()  # its ttl, or the end of its process, tells the others

    def _check_member(self) -> None:
        self._logs.reader.check_open()
        if self._left:
            raise Closed(f"this member has left {self._member}")
        if self._pid != os.getpid():
            raise Closed("a member does not outlive a fork; join in the new process")
