"""The groups of logs, from any process: who joins, where they stand, what is set from outside."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from holdfast.clock import Clock
from holdfast.contract import LogGroups, LogMember
from holdfast.delivery import HolderInfo
from holdfast.errors import Closed, LeaseLost
from holdfast.logged import Crashes, GroupInfo, Lag, Start, WhenGone
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.logs.catalogue import Catalogue
from holdfast.stores.disk.logs.groups import GroupDirectory, group_directories, group_directory, outdate
from holdfast.stores.disk.logs.held import Reading
from holdfast.stores.disk.logs.member import DiskMember
from holdfast.stores.disk.logs.offset_file import Place, offset_file
from holdfast.stores.disk.logs.open_log import OpenLog
from holdfast.stores.disk.logs.registry import roll
from holdfast.stores.disk.logs.retention import pins
from holdfast.stores.disk.logs.tending import idle, nexts
from holdfast.stores.disk.turns import turn
from holdfast.stores.refused import no_group, offset_gone


class DiskGroups(Catalogue, LogGroups):
    """The groups. A member of this process is ended by its object, one of another by its file."""

    def __init__(self, root: Path, clock: Clock, files: Files) -> None:
        super().__init__(root, clock, files)
        self._members: dict[DiskMember, None] = {}
        self._retired: set[str] = set()

    # -- joining --------------------------------------------------------------------------------------------------

    def join(
        self, log: str, group: str, holder: HolderInfo, *, start: Start, when_gone: WhenGone = "error"
    ) -> LogMember:
        with self.at_work(log):
            its = self.log(log)
            where = group_directory(its.directory, group)
            while True:
                self._make(its, where, start)
                with suppress(FileNotFoundError):  # somebody forgot it in this instant
                    member = DiskMember(Reading(self, its, where), holder.id, when_gone, self._left)
                    return self._keep(member)
                self.log(log)

    def _make(self, log: OpenLog, group: GroupDirectory, start: Start) -> None:
        """Make the group if there is none; retention sees it, or it sees what retention has left."""
        if not group.exists():
            with turn(self.files, log.directory.turn_path):
                group.make([_begin(log, number, start) for number in range(log.settings.partitions)], self._now())

    def _keep(self, member: DiskMember) -> DiskMember:
        """Know of a member, so that closing ends it; ``Closed`` when that came before anybody knew of it."""
        self._members[member] = None
        if self._closed:
            self.leave_all()
        self.check_open()
        return member

    def _left(self, member: DiskMember) -> None:
        self._members.pop(member, None)

    def _now(self) -> int:
        return self.clock.wall()

    # -- looking --------------------------------------------------------------------------------------------------

    def groups(self, log: str) -> list[GroupInfo]:
        with self.at_work(log):
            its = self.log(log)
            groups = group_directories(its.directory)
            pinned = pins(its.settings.with_groups(), its.segments(), nexts(its), self._now())
            return [info for group in groups if (info := self._info(group, its, pinned.get(group.name, 0))) is not None]

    def _info(self, group: GroupDirectory, log: OpenLog, pinned: int) -> GroupInfo | None:
        seconds = idle(group, log.settings.partitions, self._now())
        if seconds is None:
            return None
        holders = tuple(sorted(set(roll(group).live.values())))
        return GroupInfo(log.name, group.name, holders, 0.0 if holders else seconds, pinned)

    def lag(self, log: str, group: str) -> list[Lag]:
        with self.at_work(log):
            its = self.log(log)
            where = self._group(its, group)
            return [self._lag(its, where, number) for number in range(its.settings.partitions)]

    def _lag(self, log: OpenLog, group: GroupDirectory, number: int) -> Lag:
        place, member = group.look(number)
        ends = log.ends(number)
        oldest = max(place.next, ends.first)
        age = None
        if oldest < ends.next:
            chunks = log.read(number, oldest, 1, 1)
            age = max(0, self._now() - chunks[0].time) / 1000 if chunks else None
        return Lag(number, place.next, max(0, ends.next - oldest), age, member, place.next < ends.first)

    def _group(self, log: OpenLog, group: str) -> GroupDirectory:
        where = group_directory(log.directory, group)
        if not where.exists():
            raise no_group(log.name, group, (one.name for one in group_directories(log.directory)))
        return where

    # -- changing -------------------------------------------------------------------------------------------------

    def seek(self, log: str, group: str, offsets: Mapping[int, int]) -> None:
        with self.at_work(log):
            its = self.log(log)
            for number in offsets:
                its.check(number)
            where = group_directory(its.directory, group)
            with turn(self.files, its.directory.turn_path):  # retention waits
                for number, offset in offsets.items():
                    _check_beside(its, number, offset)
                if not where.exists():
                    where.make([_begin(its, number, Start()) for number in range(its.settings.partitions)], self._now())
                for number, offset in offsets.items():
                    self._seek(where, number, offset)
            where.pardon(list(offsets))
            where.ring()

    def _seek(self, group: GroupDirectory, number: int, offset: int) -> None:
        with offset_file(self.files, group.partition(number)) as file, file.turn():
            found = file.read()
            begun = (found.newest.begun or group.begun()) + 1
            file.write(found, Place(offset, found.newest.version + 1, time=self._now(), begun=begun))
            file.sync_in_turn()

    def forget(self, log: str, group: str) -> bool:
        with self.at_work(log):
            where = group_directory(self.log(log).directory, group)
            try:
                where.remove()
            except FileNotFoundError:
                return False
            return True

    # -- deaths and holders ---------------------------------------------------------------------------------------

    def charge(self, log: str, group: str, partition: int, offset: int, *, run: int, reason: str) -> Crashes:
        with self.at_work(log):
            its = self.log(log)
            its.check(partition)
            return self._group(its, group).charge(partition, offset, run, reason)

    def crashes(self, log: str, group: str, partition: int) -> dict[int, Crashes]:
        with self.at_work(log):
            its = self.log(log)
            its.check(partition)
            where = self._group(its, group)
            return where.crashes(partition, where.place(partition))

    def beat(self, holder: HolderInfo) -> bool:
        with self.at_work():
            return holder.id not in self._retired

    def retire(self, holder: str) -> int:
        with self.at_work():
            self._retired.add(holder)
            why = f"holder {holder!r} was retired; join again under a new incarnation"
            mine = [member for member in list(self._members) if member.holder == holder]
            count = sum(member.end(LeaseLost, why) for member in mine)
            for group, partitions in self._every_group():
                with suppress(FileNotFoundError):
                    count += self._retire_elsewhere(group, partitions, holder)
            return count

    def _every_group(self) -> list[tuple[GroupDirectory, int]]:
        return [(group, log.settings.partitions) for log in self.every() for group in group_directories(log.directory)]

    def _retire_elsewhere(self, group: GroupDirectory, partitions: int, holder: str) -> int:
        """Take from members of other processes what they hold: commits lose at once, the rest when they look."""
        theirs = [id_ for id_, name in roll(group).live.items() if name == holder]
        if not theirs:
            return 0
        held = [number for number in range(partitions) if group.look(number)[1] == holder]
        for number in held:
            with offset_file(self.files, group.partition(number)) as file:
                outdate(file)
        for id_ in theirs:
            self.files.remove(group.path / "members" / id_)
        group.ring()
        return len(held)

    # -- the members of this process ------------------------------------------------------------------------------

    def wake(self, log: OpenLog) -> None:
        """Let members of this process look again that wait for this log, if nobody else tells them."""
        for member in list(self._members):
            member.look_again(log)

    def leave_all(self) -> None:
        """Let every member of this process leave; their polls and commits raise ``Closed``."""
        for member in list(self._members):
            member.end(Closed, "the store is closed")

    def abandon_members(self) -> None:
        """Let go of every member in a child just forked."""
        for member in list(self._members):
            member.abandon()


# -- places ---------------------------------------------------------------------------------------------------


def _begin(log: OpenLog, number: int, start: Start) -> int:
    if start.at == "time":
        return log.reader(number).find(start.value)
    ends = log.ends(number)
    if start.at == "latest":
        return ends.next
    if start.at == "earliest":
        return ends.first
    _check_beside(log, number, start.value)
    return start.value


def _check_beside(log: OpenLog, number: int, offset: int) -> None:
    ends = log.ends(number)
    if not ends.first <= offset <= ends.next:
        raise offset_gone(log.name, ends, offset)
