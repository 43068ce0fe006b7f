"""The groups of the logs of a SQLite file: the part of the contract that remembers who has read what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from holdfast.clock import Clock
from holdfast.contract import LogGroups
from holdfast.delivery import HolderInfo
from holdfast.logged import Crashes, GroupInfo, Lag, Start, WhenGone
from holdfast.stores.sqlite.file import Reader
from holdfast.stores.sqlite.logs import groups, members, standing
from holdfast.stores.sqlite.logs.liveness import Instant
from holdfast.stores.sqlite.logs.member import SqliteMember
from holdfast.stores.sqlite.logs.places import log_of
from holdfast.stores.sqlite.logs.wakes import Wakes
from holdfast.stores.sqlite.writer import Transaction, Writer

T = TypeVar("T")


class SqliteGroups(LogGroups):
    """Groups, and the members of this process. The reading connection is the logs' own, the writer is the store's."""

    def __init__(self, reader: Reader, writer: Writer, clock: Clock, boot: str) -> None:
        self.reader, self.writer, self.clock = reader, writer, clock
        self.wakes = Wakes(clock)
        self.beaten: dict[str, int] = {}
        """When (boot ms) each holder of this process was last written down as alive."""
        self._boot = boot
        self._members: set[SqliteMember] = set()

    def now(self) -> Instant:
        """Return the time."""
        return Instant(self.clock.wall(), self.clock.boot(), self._boot)

    def write(self, function: Callable[[Transaction], T], *, quiet: bool = False) -> T:
        """Carry out ``function`` as the writer does, then wake who waits for any log unless it is ``quiet``.

        ``Closed`` when the logs are closed, if not their store.
        """
        self.reader.check_open()
        result = self.writer.run(function, quiet=True)  # who waits for jobs need not look
        if not quiet:
            self.wakes.ring_all()
        return result

    def join(
        self, log: str, group: str, holder: HolderInfo, *, start: Start, when_gone: WhenGone = "error"
    ) -> SqliteMember:
        joined = self.write(lambda tx: members.join(tx, log_of(tx, log), group, holder, start=start, boot=self._boot))
        self.beaten[holder.id] = self.clock.boot()
        member = SqliteMember(self, joined, when_gone)
        self._members.add(member)
        return member

    def left(self, member: SqliteMember) -> None:
        """Forget a member."""
        self._members.discard(member)

    def groups(self, log: str) -> list[GroupInfo]:
        return self.reader.read(lambda connection: standing.infos(connection, log_of(connection, log), self.now()))

    def lag(self, log: str, group: str) -> list[Lag]:
        now = self.now()
        return self.reader.read(lambda connection: standing.lags(connection, log_of(connection, log), group, now))

    def seek(self, log: str, group: str, offsets: Mapping[int, int]) -> None:
        self.write(lambda tx: groups.seek(tx, log_of(tx, log), group, offsets, self._boot))

    def forget(self, log: str, group: str) -> bool:
        return self.write(lambda tx: groups.forget(tx, log_of(tx, log), group))

    def charge(self, log: str, group: str, partition: int, offset: int, *, run: int, reason: str) -> Crashes:
        message = partition, offset
        return self.write(
            lambda tx: groups.charge(tx, log_of(tx, log), group, message, run=run, reason=reason), quiet=True
        )

    def crashes(self, log: str, group: str, partition: int) -> dict[int, Crashes]:
        return self.reader.read(
            lambda connection: groups.crashes(connection, log_of(connection, log), group, partition)
        )

    def beat(self, holder: HolderInfo) -> bool:
        alive = self.write(lambda tx: members.keep_alive(tx, holder, self._boot), quiet=True)
        if alive:
            self.beaten[holder.id] = self.clock.boot()
        return alive

    def retire(self, holder: str) -> int:
        return self.write(lambda tx: members.retire(tx, holder, self._boot))
