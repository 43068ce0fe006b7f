"""The directory of one group: its places, its members, the deaths it was charged with.

::

    <log>/groups/<group>/changes            8 bytes that change with everything members must see at once, the ms (i64)
                                            when one of them was last seen, 8 bytes drawn when the group was made
                         <partition>        see :mod:`holdfast.stores.disk.logs.offset_file`; without a file: place 0
                         <partition>.turn   held by whoever writes that file; says who holds the partition
                         members/<id>       locked by a live member; says its holder
                         crashes            the deaths, as JSON, replaced as a whole
                         turn               held while the crashes are changed

A member that dies leaves its file behind, unlocked; whoever looks next removes it.
"""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from holdfast.logged import Crashes
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.logs.directory import (
    LogDirectory,
    aside,
    keep_name,
    make_directories,
    named,
    opened,
    quoted,
    remove_tree,
    replace,
    whole,
    write_all,
)
from holdfast.stores.disk.logs.offset_file import OffsetFile, Place, look, offset_file
from holdfast.stores.disk.turns import turn

_CHANGES = struct.Struct("<8sq8s")
_SEEN = struct.Struct("<q")
_CRASHES = msgspec.json.Decoder(dict[int, dict[int, Crashes]])


class Changes(NamedTuple):
    """What a group's file ``changes`` says; ``made`` tells a group from an earlier one of its name."""

    bell: bytes
    seen: int
    made: bytes


class GroupDirectory(msgspec.Struct, frozen=True):
    """One group's directory. What needs it to exist raises ``FileNotFoundError`` when it is gone."""

    log: str
    name: str
    path: Path
    files: Files

    @property
    def changes(self) -> Path:
        return self.path / "changes"

    def exists(self) -> bool:
        """Tell whether there is such a group."""
        return self.files.identity(self.changes) is not None

    def partition(self, partition: int) -> Path:
        """Return the offset file of a partition."""
        return self.path / str(partition)

    def place(self, partition: int) -> Place:
        """Return the place in a partition."""
        return self.look(partition)[0]

    def look(self, partition: int) -> tuple[Place, str | None]:
        """Return the place in a partition, and the holder that reads it now. Changes nothing."""
        return look(self.files, self.partition(partition))

    def make(self, nexts: Sequence[int], now: int) -> None:
        """Make the group, with these places; durable on return. One that exists is left as it is."""
        make_directories(self.files, self.path.parent)
        made = aside(self.path, "new")
        self.files.make_directory(made)
        self.files.make_directory(made / "members")
        keep_name(self.files, made, self.name)
        with opened(self.files, made / "changes", os.O_RDWR | os.O_CREAT) as fd:
            write_all(self.files, fd, _CHANGES.pack(*Changes(secrets.token_bytes(8), now, secrets.token_bytes(8))))
            self.files.sync(fd)
        for partition, next_ in enumerate(nexts):
            if next_:  # no file says the same as one that says 0
                self._begin(made / str(partition), next_, now)
        self.files.sync_directory(made)
        try:
            self.files.rename(made, self.path)
        except OSError:
            if not self.exists():
                raise
            remove_tree(self.files, made)
        self.files.sync_directory(self.path.parent)

    def _begin(self, path: Path, next_: int, now: int) -> None:
        with offset_file(self.files, path) as file, file.turn():
            file.write(file.read(), Place(next=next_, time=now))
            file.sync_in_turn()

    def remove(self) -> None:
        """Let the group be no more, durably; commits that come later lose. ``FileNotFoundError`` without one."""
        gone = aside(self.path, "gone")
        self.files.rename(self.path, gone)
        self.files.sync_directory(self.path.parent)
        dismantle(msgspec.structs.replace(self, path=gone))

    # -- what members see at once ---------------------------------------------------------------------------------

    def ring(self) -> None:
        """Let every member look at everything at its next poll; one that waits is woken."""
        with opened(self.files, self.changes, os.O_RDWR) as fd:
            write_all(self.files, fd, secrets.token_bytes(8))

    def touch(self, now: int) -> None:
        """Note that a member was seen. Not synced."""
        with opened(self.files, self.changes, os.O_RDWR) as fd:
            write_all(self.files, fd, _SEEN.pack(now), 8)

    def look_for_changes(self) -> Changes | None:
        """Return what is there now; None when the group is gone."""
        try:
            with opened(self.files, self.changes, os.O_RDONLY) as fd:
                data = self.files.read(fd, _CHANGES.size, 0)
        except FileNotFoundError:
            return None
        return Changes._make(_CHANGES.unpack(data.ljust(_CHANGES.size, b"\0")))

    def begun(self) -> int:
        """Return what ``Assigned.begun`` is before any seek: of this group alone, whatever the clock says."""
        changes = self.look_for_changes()
        if changes is None:
            raise FileNotFoundError(f"{self.changes} is gone")
        return (int.from_bytes(changes.made, "little") >> 2) + 1

    # -- deaths ---------------------------------------------------------------------------------------------------

    def crashes(self, partition: int, place: Place) -> dict[int, Crashes]:
        """Return what was charged to messages of a partition that are not finished."""
        charged = self._crashes().get(partition, {})
        return {at: one for at, one in charged.items() if at >= place.next and at not in place.finished}

    def charge(self, partition: int, offset: int, run: int, reason: str) -> Crashes:
        """Note a death; see ``LogGroups.charge``."""
        with turn(self.files, self.path / "turn"):
            place = self.place(partition)
            if offset < place.next or offset in place.finished:
                return Crashes()
            kept = self.crashes(partition, place)
            known = kept.get(offset, Crashes())
            kept[offset] = known.charged(run, reason)
            if kept[offset] is not known:
                self._put_crashes({**self._crashes(), partition: kept})
            return kept[offset]

    def pardon(self, partitions: Sequence[int]) -> None:
        """Forget the deaths in these partitions."""
        if self.files.identity(self.path / "crashes") is None:
            return
        with turn(self.files, self.path / "turn"):
            known = self._crashes()
            kept = {partition: at for partition, at in known.items() if partition not in partitions}
            if kept != known:
                self._put_crashes(kept)

    def _crashes(self) -> Mapping[int, dict[int, Crashes]]:
        try:
            return _CRASHES.decode(whole(self.files, self.path / "crashes"))
        except FileNotFoundError:
            return {}

    def _put_crashes(self, crashes: Mapping[int, Mapping[int, Crashes]]) -> None:
        replace(self.files, self.path / "crashes", msgspec.json.encode(crashes))


def group_directory(log: LogDirectory, group: str) -> GroupDirectory:
    """Return where a group lies, whether there is one or not."""
    return GroupDirectory(log.name, group, log.groups_path / quoted(group), log.files)


def group_directories(log: LogDirectory) -> list[GroupDirectory]:
    """Return the groups of a log, by name."""
    return [GroupDirectory(log.name, name, path, log.files) for name, path in named(log.files, log.groups_path).items()]


def dismantle(group: GroupDirectory) -> None:
    """Remove the files of a group that was renamed out of place; members that have them open lose everything."""
    for name in group.files.list(group.path):
        if name.isdecimal():
            with offset_file(group.files, group.path / name) as file:
                outdate(file)
    group.ring()
    remove_tree(group.files, group.path)


def outdate(file: OffsetFile) -> None:
    """Raise the version of a place, so that its member's commits lose."""
    with file.turn():
        found = file.read()
        file.write(found, msgspec.structs.replace(found.newest, version=found.newest.version + 1))
