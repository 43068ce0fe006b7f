"""What the process that writes a log does for its groups: it asks where they stand, sets back, expires and sweeps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec

from holdfast.stores.disk.logs.directory import sweep
from holdfast.stores.disk.logs.groups import GroupDirectory, group_directories
from holdfast.stores.disk.logs.held import safe_place
from holdfast.stores.disk.logs.offset_file import offset_file
from holdfast.stores.disk.logs.open_log import OpenLog
from holdfast.stores.disk.logs.registry import roll


def nexts(log: OpenLog) -> dict[str, list[int]]:
    """Return where each group of the log stands in each partition."""
    numbers = range(log.settings.partitions)
    return {
        group.name: [group.place(number).next for number in numbers]
        for group in group_directories(log.directory)
        if group.exists()
    }


def idle(group: GroupDirectory, partitions: int, now: int) -> float | None:
    """Return the seconds since the group was last seen; None when it is gone."""
    changes = group.look_for_changes()
    if changes is None:
        return None
    seen = max([changes.seen, *(group.place(number).time for number in range(partitions))])
    return max(0, now - seen) / 1000


def set_back(log: OpenLog, partition: int, end: int, now: int, report: Callable[[str], None]) -> None:
    """Set back the places of groups that are beyond the end of a partition just opened."""
    for group in group_directories(log.directory):
        with suppress(FileNotFoundError):  # somebody forgets it in this instant
            place = group.place(partition)
            if place.next > end or (place.finished and place.finished[-1] >= end):
                _set_back(group, partition, end, now, report)


def _set_back(group: GroupDirectory, partition: int, end: int, now: int, report: Callable[[str], None]) -> None:
    with offset_file(group.files, group.partition(partition)) as file, file.turn():
        found = file.read()
        safe = safe_place(report, group, partition, found, end)
        if safe != found.newest:
            file.write(found, msgspec.structs.replace(safe, version=safe.version + 1, time=now))
            file.sync_in_turn()
    group.ring()


def expire(log: OpenLog, now: int) -> tuple[tuple[str, str], ...]:
    """Remove the groups that nobody has read for longer than they are kept; return them."""
    expired = []
    for group in group_directories(log.directory):
        with suppress(FileNotFoundError):
            if _is_expired(group, log, now):
                group.remove()
                expired.append((log.name, group.name))
    return tuple(expired)


def _is_expired(group: GroupDirectory, log: OpenLog, now: int) -> bool:
    members = roll(group)
    if members.live or members.dead:
        group.touch(now)
        return False
    expiry, seconds = log.settings.group_expiry, idle(group, log.settings.partitions, now)
    return expiry is not None and seconds is not None and seconds > expiry


def sweep_log(log: OpenLog, now: int) -> None:
    """Remove what crashes left half made and half removed in a log."""
    directory = log.directory
    for path in (directory.path, directory.groups_path):
        sweep(directory.files, path, now)
    for group in group_directories(directory):
        sweep(directory.files, group.path, now)
        sweep(directory.files, group.path / "members", now)
