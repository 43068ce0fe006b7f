"""Zeros ahead of small appends: room that nothing was written to is no torn end, no damage, and does not stay."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.errors import CorruptLog
from holdfast.logged import Columns
from holdfast.stores.disk.files import Buffer, Files
from holdfast.stores.disk.format import HEADER
from holdfast.stores.disk.partition import Partition
from holdfast.stores.disk.writer import AHEAD
from tests.disk.conftest import Disk
from tests.disk.partitions import reboot
from tests.disk.test_recovery import batches_of, overwrite

BODIES = [b"%03d" % number + b"m" * 197 for number in range(100)]


def filled(partition: Partition) -> None:
    for body in BODIES:
        partition.append(Columns([body]))


def room_of(path: Path) -> int:
    """Return how many bytes of a segment lie behind its batches."""
    return path.stat().st_size - batches_of(path)[-1].end


def test_small_durable_appends_lie_over_zeros_that_were_written_ahead_of_them(disk: Disk) -> None:
    partition = disk.open()
    filled(partition)
    (path,) = disk.logs()

    size = path.stat().st_size
    assert 0 < room_of(path) <= size // 2, "no more than lies before it"
    assert size % 4096 == 0
    partition.append(Columns([b"one more"]))
    assert path.stat().st_size == size


def test_there_is_never_more_room_than_a_quarter_of_a_mebibyte(disk: Disk) -> None:
    partition = disk.open()
    for _ in range(8):
        partition.append(Columns([bytes(200_000)]))
    partition.append(Columns([b"small"]))
    (path,) = disk.logs()

    assert 0 < room_of(path) <= AHEAD


@pytest.mark.parametrize("sync", ["interval", "os"])
def test_appends_that_are_not_synced_one_by_one_make_no_room(disk: Disk, sync: str) -> None:
    filled(disk.open(sync=sync))
    (path,) = disk.logs()

    assert room_of(path) == 0


def test_large_appends_make_no_room(disk: Disk) -> None:
    partition = disk.open()
    for _ in range(10):
        partition.append(Columns([b"l" * 100_000]))
    (path,) = disk.logs()

    assert room_of(path) == 0


def test_a_killed_writers_room_is_no_torn_end_and_is_cut_off(disk: Disk) -> None:
    filled(disk.open())
    (path,) = disk.logs()
    end = batches_of(path)[-1].end
    assert room_of(path) > HEADER

    assert disk.open().next == len(BODIES)

    assert disk.reports == []
    assert list(disk.directory.glob("*.torn")) == []
    assert path.stat().st_size == end + HEADER, "the footer lies right behind the batches"
    assert disk.bodies() == BODIES


def test_readers_after_a_power_cut_end_where_the_room_begins(disk: Disk) -> None:
    filled(disk.open())
    reboot(disk.directory)

    assert disk.bodies() == BODIES
    assert disk.reader().ends().next == len(BODIES)


def test_of_a_torn_end_within_the_room_only_what_was_written_is_kept_aside(disk: Disk) -> None:
    partition = disk.open()
    filled(partition)
    for body in (b"b" * 200, b"c" * 200):
        partition.write(Columns([body]))
    (path,) = disk.logs()
    b, c = batches_of(path)[-2:]
    written = path.read_bytes()[c.position : c.end]
    overwrite(path, b.position, bytes(b.size))

    disk.open()

    assert disk.happened() == ["torn"]
    (torn,) = disk.directory.glob("*.torn")
    assert torn.read_bytes() == bytes(b.size) + written
    assert disk.bodies() == BODIES


def test_an_append_that_came_back_as_zeros_alone_leaves_no_trace(disk: Disk) -> None:
    partition = disk.open()
    filled(partition)
    partition.write(Columns([b"b" * 200]))
    (path,) = disk.logs()
    b = batches_of(path)[-1]
    overwrite(path, b.position, bytes(b.size))

    disk.open()

    assert disk.reports == []
    assert disk.bodies() == BODIES


def test_zeros_where_there_were_durable_batches_are_damage_with_room_behind_them_too(disk: Disk) -> None:
    filled(disk.open())
    (path,) = disk.logs()
    batches = batches_of(path)
    a, z = batches[50], batches[-1]
    overwrite(path, a.position, bytes(z.position - a.position))

    partition = disk.open()

    assert disk.happened() == ["damage"]
    with pytest.raises(CorruptLog, match=f"bytes {a.position} to {z.position} .* offsets 50 to 99 "):
        disk.reader().read(50, limit=9, max_bytes=999)
    assert partition.append(Columns([b"next"])).offset == len(BODIES)
    assert disk.bodies(99) == [BODIES[99], b"next"]


def test_a_mark_alone_behind_zeros_says_that_they_are_damage(disk: Disk) -> None:
    partition = disk.open()
    filled(partition)
    disk.clock.move(10)
    partition.upkeep()
    (path,) = disk.logs()
    *_, last, mark = batches_of(path)
    assert mark.messages == 0
    overwrite(path, last.position, bytes(last.size))

    disk.open()

    assert disk.happened() == ["damage"]
    assert disk.reader().ends().next == len(BODIES)


@pytest.mark.parametrize("end", ["close", "roll"])
def test_room_does_not_stay(disk: Disk, end: str) -> None:
    partition = disk.open()
    filled(partition)
    path = disk.logs()[0]
    getattr(partition, end)()

    assert path.stat().st_size == batches_of(path)[-1].end + (HEADER if end == "roll" else 0)
    assert disk.open().next == len(BODIES)
    assert disk.reports == []


def test_a_close_whose_cut_was_lost_is_a_close_all_the_same(disk: Disk) -> None:
    partition = disk.open()
    filled(partition)
    partition.close()
    (path,) = disk.logs()
    os.truncate(path, path.stat().st_size + 5000)

    partition = disk.open()
    assert disk.logs() == [path], "it goes on in the same segment"
    partition.append(Columns([b"more"]))
    partition.roll()

    assert disk.bodies() == [*BODIES, b"more"]
    assert disk.reports == []


class NoRoomForZeros(Files):
    """A disk that has room for what is appended, and for nothing ahead of it."""

    def write(self, fd: int, pieces: Sequence[Buffer], at: int) -> int:
        if not any(bytes(pieces[0])):
            raise OSError(errno.ENOSPC, "no room")
        return super().write(fd, pieces, at)


def test_a_disk_without_room_to_spare_takes_appends_all_the_same(disk: Disk) -> None:
    partition = disk.open(NoRoomForZeros())
    filled(partition)
    (path,) = disk.logs()

    assert room_of(path) == 0
    assert disk.reports == []
    assert disk.bodies() == BODIES
