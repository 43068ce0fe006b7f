"""Offset files: what is written comes back, and a torn slot costs one write at most."""

import random

import msgspec
import pytest

from holdfast.errors import Closed
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.format import FINISHED_MOST, SLOT
from holdfast.stores.disk.logs.offset_file import OffsetFile, Place, look, pack_finished, unpack_finished


@pytest.fixture
def path(tmp_path):
    return tmp_path / "0"


class Counting(Files):
    """Counts the syncs of files, and fails as many as it is told."""

    def __init__(self):
        self.syncs = self.failures = 0

    def sync(self, fd):
        self.syncs += 1
        if self.failures:
            self.failures -= 1
            raise OSError(5, "told to fail")
        super().sync(fd)


def write(file, *, sync=False, **fields):
    with file.turn():
        found = file.read()
        written = file.write(found, msgspec.structs.replace(found.newest, **fields))
    if sync:
        file.sync()
    return written


def test_a_new_file_says_0(path):
    assert OffsetFile(Files(), path).read().newest == Place()
    assert look(Files(), path) == (Place(), None)


def test_looking_makes_no_file(path):
    assert look(Files(), path) == (Place(), None)
    assert not path.exists()


def test_what_is_written_comes_back(path):
    file = OffsetFile(Files(), path)
    written = write(file, next=7, version=3, finished=(9, 12, 400), time=5)

    assert written == Place(7, 3, (9, 12, 400), 5, 1)
    assert OffsetFile(Files(), path).read().newest == written


def test_the_owner_is_known_for_as_long_as_it_has_the_file(path):
    file = OffsetFile(Files(), path)
    assert file.own()
    with file.turn():
        file.put_owner("reader#1")

    assert not OffsetFile(Files(), path).own()
    assert look(Files(), path)[1] == "reader#1"
    file.close()
    assert look(Files(), path)[1] is None


def test_a_file_that_was_let_go_of_is_closed(path):
    file = OffsetFile(Files(), path)
    file.close()
    file.close()

    with pytest.raises(Closed):
        file.sync()


def test_the_slot_that_is_on_the_disk_is_never_written(path):
    file = OffsetFile(Files(), path)
    slots = [[write(file, next=number), file.read().slot][1] for number in (1, 2, 3)]
    file.sync()
    slots += [[write(file, next=number), file.read().slot][1] for number in (4, 5)]

    assert slots[0] == slots[1] == slots[2] != slots[3] == slots[4]


def test_what_another_has_written_is_synced_before_the_next_write(path):
    files = Counting()
    file, other = OffsetFile(files, path), OffsetFile(Files(), path)
    write(file, next=1, sync=True)
    before = files.syncs
    write(other, next=2)
    slot = file.read().slot

    write(file, next=3)

    assert files.syncs == before + 1
    assert file.read().slot == 1 - slot


@pytest.mark.parametrize("cut", [0, 1, 30, 63, 64, 65])
def test_a_torn_slot_leaves_the_one_before(path, cut):
    file = OffsetFile(Files(), path)
    write(file, next=1, finished=(3, 5), sync=True)
    write(file, next=2, finished=(4, 6), sync=True)
    found = file.read()
    data = bytearray(path.read_bytes())
    begin = found.slot * SLOT + cut
    data[begin : begin + SLOT - cut] = bytes(SLOT - cut)
    path.write_bytes(data)

    after = OffsetFile(Files(), path).read()

    assert after.newest.next == 1
    assert after.damaged == (1 if cut else 0)


def test_every_flipped_bit_is_seen(path):
    file = OffsetFile(Files(), path)
    write(file, next=1, finished=(3,), sync=True)
    write(file, next=2, finished=(4,), sync=True)
    slot, whole = file.read().slot, path.read_bytes()
    for at in range(slot * SLOT, slot * SLOT + 65):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        newest = OffsetFile(Files(), path).read().newest
        assert newest.next == 1


def test_a_damaged_slot_is_written_next(path):
    file = OffsetFile(Files(), path)
    write(file, next=1, sync=True)
    write(file, next=2, sync=True)
    slot = file.read().slot
    data = bytearray(path.read_bytes())
    data[slot * SLOT + 25] ^= 1
    path.write_bytes(data)

    write(OffsetFile(Files(), path), next=3)

    found = file.read()
    assert (found.newest.next, found.slot, found.damaged) == (3, slot, 0)


def test_after_a_sync_that_failed_the_slot_is_written_again(path):
    files = Counting()
    file = OffsetFile(files, path)
    written = write(file, next=1)
    files.failures = 1
    with pytest.raises(OSError, match="told to fail"):
        file.sync()

    file.sync()

    newest = file.read().newest
    assert (newest.next, newest.serial > written.serial) == (1, True)


@pytest.mark.parametrize("seed", range(200))
def test_any_finished_list_comes_back(seed):
    draw = random.Random(seed)
    place = draw.randrange(1 << draw.randrange(1, 50))
    offsets = {place + draw.randrange(1 << draw.randrange(1, 34)) for _ in range(draw.randrange(60))}

    kept, packed = pack_finished(place, offsets | {place - 1})

    assert kept == tuple(sorted(offsets))
    assert tuple(unpack_finished(place, packed)) == kept


@pytest.mark.parametrize("step", [1, 127, 128, 1 << 20])
def test_of_a_long_list_the_lowest_are_kept(step):
    offsets = range(10, 10 + 5000 * step, step)

    kept, packed = pack_finished(10, offsets)

    assert len(packed) <= FINISHED_MOST
    assert kept == tuple(offsets)[: len(kept)]
    assert len(kept) >= FINISHED_MOST // 4
    assert tuple(unpack_finished(10, packed)) == kept
