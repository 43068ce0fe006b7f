"""What readers meet whose view is older than what lies there, and what they stand on when it goes."""

import pytest

from holdfast.errors import BackendError, CorruptLog
from holdfast.logged import Columns
from holdfast.stores.disk import readable
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.verify import repair, verify
from tests.disk.conftest import STORE, Disk
from tests.disk.test_verify import batches_of, overwrite


class Broken(Files):
    """A disk whose syncs fail while it is ``broken``, and on which no file can be made while it is ``full``."""

    broken = full = False

    def sync(self, fd):
        if self.broken:
            raise OSError(5, "the disk is broken")
        super().sync(fd)

    def rename(self, old, new):
        if self.full:
            raise OSError(28, "the disk is full")
        super().rename(old, new)


def jumped(disk, *, offset=1):
    """Return a partition that jumped over an offset, because the sync of its append failed, and its disk."""
    files = Broken()
    partition = disk.open(files)
    for _ in range(offset):
        partition.append(Columns([b"a"]))
    fail(partition, files)
    return partition, files


def fail(partition, files):
    files.broken = True
    with pytest.raises(BackendError):
        partition.append(Columns([b"lost"]))
    files.broken = False
    partition.flush()


def place(reader):
    ends = reader.ends()
    return ends.first, ends.next


def bodies(chunks):
    return [body for chunk in chunks for body in chunk.bodies]


# -- files that are not what the reader knows of them --------------------------------------------------------------


def test_a_reader_that_met_damage_reads_on_when_it_is_mended_though_nobody_writes(disk: Disk) -> None:
    partition = disk.open()
    for body in (b"a", b"b", b"c"):
        partition.append(Columns([body]))
    overwrite(
        disk.logs()[0], [batch for batch in batches_of(disk.logs()[0]) if batch.messages][1].position + 16, b"rot!"
    )
    reader = disk.reader()
    with pytest.raises(CorruptLog):
        reader.read(1, limit=9, max_bytes=99)

    repair(disk.directory, Files(), store=STORE, report=disk.reports.append)

    assert bodies(reader.read(1, limit=9, max_bytes=99)) == [b"c"]


def test_sealed_segments_are_read_while_an_opening_makes_the_empty_last_one_anew(disk: Disk) -> None:
    partition = disk.open()
    partition.append(Columns([b"a"]))
    partition.roll()
    disk.logs()[-1].unlink()

    reader = disk.reader()

    assert bodies(reader.read(0, limit=9, max_bytes=99)) == [b"a"]
    assert reader.read(1, limit=9, max_bytes=99) == []


def test_who_reads_across_appends_that_are_kept_unpacked_does_not_fill_the_room_for_them(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = disk.open(compression="lz4")
    for _ in range(2):
        partition.append(Columns([bytes(1 << 20)] * 4))
    reader = disk.reader()
    for _ in range(5):
        for offset, limit in ((4, 1), (0, 1), (0, 5)):
            reader.read(offset, limit=limit, max_bytes=1 << 30)
    unpackings, unpack = [], readable.unpack
    monkeypatch.setattr(readable, "unpack", lambda *given: unpackings.append(1) or unpack(*given))

    for offset in (4, 5, 6):
        reader.read(offset, limit=1, max_bytes=1 << 30)

    assert unpackings == []


# -- offsets that were jumped over ---------------------------------------------------------------------------------


def test_who_has_read_everything_reads_on_behind_a_jump_though_all_before_it_was_dropped(disk: Disk) -> None:
    partition, _ = jumped(disk)
    reader = disk.reader()

    assert partition.drop_until(1) == (1, 200)
    assert place(reader) == (1, 1)
    assert reader.read(1, limit=9, max_bytes=99) == []
    assert partition.drop_until(1) == (0, 0)
    partition.append(Columns([b"b"]))

    assert bodies(reader.read(1, limit=9, max_bytes=99)) == [b"b"]
    assert place(reader) == (1, 3)


def test_a_jump_is_still_one_after_the_next_opening(disk: Disk) -> None:
    partition, _ = jumped(disk)
    partition.drop_until(1)
    partition.append(Columns([b"b"]))
    partition.close()

    partition = disk.open()

    assert bodies(disk.reader().read(1, limit=9, max_bytes=99)) == [b"b"]
    assert partition.append(Columns([b"c"])).offset == 3
    assert verify(disk.directory, Files()).notes == ()
    assert disk.happened() == ["failed sync"]


def test_what_stands_for_a_jump_goes_with_what_is_behind_it(disk: Disk) -> None:
    partition, _ = jumped(disk)
    partition.drop_until(1)
    partition.append(Columns([b"b"]))
    partition.roll()

    partition.drop_until(3)

    assert place(disk.reader()) == (3, 3)
    assert len(disk.logs()) == 1


def test_a_full_disk_keeps_nothing_from_being_dropped(disk: Disk) -> None:
    partition, files = jumped(disk)
    files.full = True

    assert partition.drop_until(1) == (1, 200)

    assert place(disk.reader()) == (2, 2)
    assert not list(disk.directory.glob("*.tmp"))


def test_nobody_waits_for_offsets_that_were_jumped_over_again_and_again(disk: Disk) -> None:
    partition, files = jumped(disk)
    reader = disk.reader()
    for _ in range(2):
        fail(partition, files)

    assert place(reader) == (0, 1)
    (disk.directory / "tail").unlink()
    assert place(disk.reader()) == (0, 1)


def test_the_oldest_message_is_found_behind_a_segment_that_has_none(disk: Disk) -> None:
    partition, _ = jumped(disk, offset=0)
    partition.append(Columns([b"a"]))

    assert disk.reader().ends().oldest == 1_000_000


def test_a_partition_whose_last_segment_was_given_up_empty_can_be_opened(disk: Disk) -> None:
    files = Broken()
    partition = disk.open(files)
    partition.append(Columns([b"a"]))
    partition.roll()
    files.broken = True
    for _ in range(2):  # the second one cannot begin another segment, and then its process ends
        with pytest.raises(BackendError):
            partition.append(Columns([b"lost"]))

    disk.open().append(Columns([b"b"]))

    assert disk.bodies() == [b"a", b"b"]
