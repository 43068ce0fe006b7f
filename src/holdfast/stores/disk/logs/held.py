"""A partition that a member holds: the group's place there, and how far the member has read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from holdfast.logged import Assigned, Chunk, Offset
from holdfast.stores.disk.logs.catalogue import Catalogue
from holdfast.stores.disk.logs.groups import GroupDirectory
from holdfast.stores.disk.logs.offset_file import OffsetFile, Place, Slots
from holdfast.stores.disk.logs.open_log import OpenLog
from holdfast.stores.versions import version_at


class Reading(NamedTuple):
    """What a member reads: a group of a log, of the logs that are open here."""

    store: Catalogue
    log: OpenLog
    group: GroupDirectory


class Held:
    """``place`` is the group's as this member knows it, ``position`` the offset it reads next, ``taken`` the place
    from which it reads, as its members are told.
    """

    def __init__(self, log: OpenLog, number: int, file: OffsetFile, place: Place) -> None:
        self.file, self.place = file, place
        self._log, self._number = log, number
        self._stand(place)

    def _stand(self, place: Place) -> None:
        self.place, self.position = place, place.next
        self.taken = Assigned(Offset(self._number, place.next, place.version, place.finished), place.begun)

    def sought(self) -> bool:
        """Look whether somebody else has moved the place; then stand there, and tell so."""
        newest = self.file.read().newest
        if newest.version == self.place.version:
            return False
        self._stand(newest)
        return True

    def read(self, room: tuple[int, int]) -> list[Chunk]:
        """Return messages from the position on, as many as there is room for, but at least one if there is one."""
        limit, max_bytes = room
        chunks = self._log.read(self._number, self.position, limit, max_bytes)
        return [msgspec.structs.replace(chunk, version=self.place.version) for chunk in chunks]

    def commit(self, offset: Offset, now: int) -> Place | None:
        """Move the place; return what it is then, None when this is no longer its version."""
        with self.file.turn():
            found = self.file.read()
            newest = found.newest
            if newest.version != offset.version:
                return None
            if offset.next < newest.next or (offset.next, offset.finished) == (newest.next, newest.finished):
                return newest
            place = msgspec.structs.replace(newest, next=offset.next, finished=offset.finished, time=now)
            self.place = self.file.write(found, place)
            return self.place


def take(reading: Reading, number: int, holder: str) -> Held | None:
    """Become the one who holds a partition; None when another does. ``FileNotFoundError``: the group is gone."""
    store, log, group = reading
    file = OffsetFile(store.files, group.partition(number))
    try:
        if not file.own():
            file.close()
            return None
        with file.turn():
            file.check_name()  # whoever removes the group from now on outdates what is written here
            found = file.read()
            end = log.ends(number).next  # asked for last: somebody may just have sought to what was just appended
            place = safe_place(store.report, group, number, found, end)
            now = store.clock.wall()
            version = max(found.newest.version + 1, version_at(now))  # above those of an earlier group of this name
            place = msgspec.structs.replace(place, version=version, time=now, begun=place.begun or group.begun())
            written = file.write(found, place)
            file.put_owner(holder)
    except BaseException:
        file.close()
        raise
    store.syncer.dirty(file)
    return Held(log, number, file, written)


def safe_place(report: Callable[[str], None], group: GroupDirectory, number: int, found: Slots, end: int) -> Place:
    """Return the place that was found, and report what is wrong with it: it never lies beyond the log's ``end``.

    Messages that a power cut took from the end, and others that came in their place since, would be left out else.
    """
    name, place = f"group {group.name!r} of log {group.log!r}, partition {number}", found.newest
    if found.damaged:
        report(f"{name}: an offset slot is damaged; the group goes on from the other, at {place.next}")
    if place.next > end:
        report(f"{name}: its offset {place.next} is beyond the end of the log, and was set back to {end}")
        return msgspec.structs.replace(place, next=end, finished=(), begun=place.begun and place.begun + 1)
    if place.finished and place.finished[-1] >= end:
        finished = tuple(at for at in place.finished if at < end)
        return msgspec.structs.replace(place, finished=finished, begun=place.begun and place.begun + 1)
    return place
