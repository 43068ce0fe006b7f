"""What readers meet whose view is older than what lies there, and what they stand on when it goes."""

import pytest

from holdfast.errors import CorruptLog
from holdfast.logged import Columns
from holdfast.stores.disk import readable
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.verify import repair
from tests.disk.conftest import STORE, Disk
from tests.disk.test_verify import batches_of, overwrite


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
