"""What is remembered of producers is what is on the disk: after a failed sync, an interrupt, and a power cut."""

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.errors import BackendError
from holdfast.logged import Columns, Producer
from holdfast.stores.disk.files import Buffer, Files
from holdfast.stores.disk.format import HEADER
from tests.disk.conftest import Disk
from tests.disk.crashes import Platter
from tests.disk.partitions import ByHand, opened, reboot, rebooted
from tests.disk.simulated import SimulatedDisk
from tests.disk.test_failures import FaultyFiles, failing

A, B, C = (Producer(7, 0, sequence) for sequence in range(3))


class InterruptedTail(Files):
    """Real files, but that a signal comes when readers are told."""

    armed = False

    def write(self, fd: int, pieces: Sequence[Buffer], at: int) -> int:
        if self.armed and Path(f"/proc/self/fd/{fd}").readlink().name == "tail":
            self.armed = False
            raise KeyboardInterrupt
        return super().write(fd, pieces, at)


def test_a_repeat_of_an_append_that_was_synced_and_then_interrupted_is_known_for_one(disk: Disk) -> None:
    files = InterruptedTail()
    partition = disk.open(files)
    partition.append(Columns([b"a"]), A)
    files.armed = True
    with pytest.raises(KeyboardInterrupt):
        partition.append(Columns([b"b"]), B)

    placed = partition.append(Columns([b"b"]), B)

    assert (placed.offset, placed.duplicate) == (1, True)
    partition.append(Columns([b"c"]), C)
    assert disk.bodies() == [b"a", b"b", b"c"]


def test_an_append_that_was_lost_with_the_first_sync_of_its_segment_is_stored_when_it_is_repeated(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files, sync="os")
    partition.append(Columns([b"a"]), A)
    files.on_sync = failing(2)  # also what is written anew
    for call in (partition.flush, lambda: partition.append(Columns([b"a"]), A)):
        with pytest.raises(BackendError):
            call()

    placed = partition.append(Columns([b"a"]), A)

    assert not placed.duplicate
    assert disk.bodies() == [b"a"]


def test_producers_are_known_behind_segments_that_were_given_up_empty(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files)
    partition.append(Columns([b"a"]), A)
    partition.roll()
    files.on_sync = failing()
    with pytest.raises(BackendError):
        partition.append(Columns([b"b"]), B)
    partition.append(Columns([b"other"]))
    last = disk.logs()[-1]
    os.truncate(last, HEADER)  # as if the power had been cut before its first sync
    reboot(disk.directory)
    assert len(disk.logs()) == 3

    placed = disk.open().append(Columns([b"a"]), A)

    assert (placed.offset, placed.duplicate) == (0, True)


class Shortened(FaultyFiles):
    """Real files that do something before a file is shortened."""

    def __init__(self) -> None:
        super().__init__()
        self.on_truncate = lambda: None

    def truncate(self, fd: int, size: int) -> None:
        self.on_truncate()
        super().truncate(fd, size)


def test_what_is_taken_back_while_a_sync_fails_does_not_vouch_for_it(disk: Disk) -> None:
    files = Shortened()
    partition = disk.open(files)
    partition.append(Columns([b"a"]))
    (path,) = disk.logs()
    old = path.stat().st_ino
    at_disk, go_on = threading.Event(), threading.Event()

    def hold(_: int) -> None:
        files.on_sync = None
        at_disk.set()
        assert go_on.wait(10)
        raise OSError(errno.EIO, "no")

    def append() -> None:
        with pytest.raises(BackendError):
            partition.append(Columns([b"b"]))

    def let_it_fail() -> None:
        go_on.set()
        appender.join(10)

    files.on_sync = hold
    appender = threading.Thread(target=append)
    appender.start()
    assert at_disk.wait(10)
    before = len(files.synced)
    files.on_write, files.on_truncate = failing(1, errno.ENOSPC), let_it_fail
    with pytest.raises(BackendError):
        partition.write(Columns([b"c"]))
    files.on_write, files.on_truncate = None, lambda: None
    partition.append(Columns([b"d"]))

    assert old not in files.synced[before:], "a second sync may say that all is well"
    assert disk.bodies() == [b"a", b"d"]


def test_producers_are_known_when_all_they_appended_was_dropped_and_then_the_power_was_cut() -> None:
    disk = SimulatedDisk()
    start = disk.image()
    partition = opened(disk, upkeep=ByHand())
    partition.append(Columns([b"a"]), A)
    partition.roll()
    partition.drop_until(1)
    platter = Platter(start, {})
    for step in disk.trace:
        platter.follow(step)

    again = opened(SimulatedDisk(rebooted(platter.safe())), epoch=2, upkeep=ByHand())

    placed = again.append(Columns([b"a"]), A)
    assert (placed.offset, placed.duplicate) == (0, True)
