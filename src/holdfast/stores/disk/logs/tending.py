"""What the process that writes a log does for its groups: it asks where they stand, sets back, expires and sweeps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec

from holdfast.stores.disk.logs.directory import sweep
from holdfast.stores.disk.logs.groups import GroupDirectory, group_directories
from holdfast.stores.disk.logs.held import safe_place
from holdfast.stores.disk.logs.offset_file import offset_file, sync_place
from holdfast.stores.disk.logs.open_log import OpenLog
from holdfast.stores.disk.logs.registry import roll
from holdfast.stores.disk.logs.retention import Segments, ends_or_goes, floors, held_back
from holdfast.stores.disk.turns import turn


def nexts(log: OpenLog) -> dict[str, list[int]]:
    """Return where each group of the log stands in each partition."""
    numbers = range(log.settings.partitions)
    return {
        group.name: [group.place(number).next for number in numbers]
        for group in group_directories(log.directory)
        if group.exists()
    }


def kept_from(log: OpenLog, segments: Segments, now: int) -> dict[int, int]:
    """Return, for each partition, the offset below which nothing is kept, groups heeded; always a segment's end."""
    if not log.settings.until_consumed:
        return floors(log.settings, segments, now)
    groups = nexts(log)
    settings = log.settings.with_groups() if groups else log.settings
    return held_back(floors(settings, segments, now), groups)


def is_due(log: OpenLog, now: int) -> bool:
    """Tell whether something would go, or be ended, if somebody tidied the log. Changes nothing."""
    segments = log.segments()
    return any(
        ends_or_goes(log.settings.with_groups(), segments[number], floor, now)
        for number, floor in kept_from(log, segments, now).items()
    )


def sync_places(log: OpenLog, partition: int) -> None:
    """Put on the disk where all groups stand in a partition: what they have read is about to go.

    A power cut would set them back to where they were synced last, and nothing would be there any more.
    """
    for group in group_directories(log.directory):
        with suppress(FileNotFoundError):  # no place yet, or no group any more
            sync_place(group.files, group.partition(partition))


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
            if _is_expired(group, log, now) and _remove_expired(group, log, now):
                expired.append((log.name, group.name))
    return tuple(expired)


def _remove_expired(group: GroupDirectory, log: OpenLog, now: int) -> bool:
    """Remove it if it is still the one that is expired: another process tidies too, and somebody makes it anew."""
    with turn(group.files, log.directory.turn_path):
        expired = _is_expired(group, log, now)
        if expired:
            group.remove()
        return expired


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
