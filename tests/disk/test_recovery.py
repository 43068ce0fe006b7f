"""What an opening makes of files that a power cut, a killed process or rot left behind."""

import os
from pathlib import Path

import pytest

from holdfast.errors import BackendError, CorruptLog
from holdfast.logged import Columns
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.format import HEADER, BatchHeader, parse_segment
from holdfast.stores.disk.segment import walk
from holdfast.stores.disk.verify import verify
from tests.disk.conftest import Disk
from tests.disk.partitions import reboot
from tests.disk.test_failures import FaultyFiles, failing

A, B, C, D, E = (name * 40 for name in (b"a", b"b", b"c", b"d", b"e"))


def batches_of(path: Path) -> list[BatchHeader]:
    """Return the headers of a segment's batches, up to the first that is none."""
    fd = os.open(path, os.O_RDONLY)
    try:
        header = parse_segment(os.pread(fd, HEADER, 0))
        assert header is not None
        return [batch for batch, _ in walk(Files(), fd, header.mark, HEADER, os.fstat(fd).st_size)]
    finally:
        os.close(fd)


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def before_damage(disk: Disk) -> list[bytes]:
    """Return what one read from the front returns: it ends at damage."""
    return [body for chunk in disk.reader().read(0, limit=99, max_bytes=9999) for body in chunk.bodies]


def test_unsynced_appends_that_came_back_in_part_are_cut_off_and_kept_aside(disk: Disk) -> None:
    partition = disk.open()
    partition.append(Columns([A]))
    for body in (B, C, D, E):
        partition.write(Columns([body]))
    (path,) = disk.logs()
    _, b, _, d, e = batches_of(path)
    overwrite(path, b.position, bytes(e.position - b.position))

    partition = disk.open()

    assert disk.happened() == ["torn"]
    assert disk.bodies() == [A]
    (torn,) = disk.directory.glob("*.torn")
    assert torn.read_bytes().endswith(E + bytes(e.size - HEADER - 4 - len(E)))
    assert partition.append(Columns([B])).offset == 5, "nobody is to meet an offset that was seen a second time"
    assert disk.bodies() == [A, B]
    assert d.base == 3


def test_durable_appends_that_are_damaged_are_told_from_that_and_the_rest_is_served(disk: Disk) -> None:
    partition = disk.open()
    for body in (A, B, C, D, E):
        partition.append(Columns([body]))
    (path,) = disk.logs()
    _, b, _, d, _ = batches_of(path)
    overwrite(path, b.position, bytes(d.position - b.position))

    for _ in range(2):
        partition = disk.open()
        reader = disk.reader()
        assert [list(chunk.bodies) for chunk in reader.read(0, limit=9, max_bytes=999)] == [[A]]
        for offset in (1, 2):
            with pytest.raises(CorruptLog, match=f"bytes {b.position} to {d.position} .* offsets 1 to 3 "):
                reader.read(offset, limit=9, max_bytes=999)
        assert disk.bodies(3)[:2] == [D, E]
        partition.append(Columns([A]))
    assert disk.happened() == ["damage"]
    assert disk.bodies(3) == [D, E, A, A]


@pytest.mark.parametrize("part", ["header", "body"])
def test_a_torn_group_behind_damage_is_no_damage(disk: Disk, part: str) -> None:
    partition = disk.open()
    partition.append(Columns([A]))
    partition.append(Columns([B]))
    partition.write(Columns([C]))
    partition.write(Columns([D]))
    (path,) = disk.logs()
    _, b, c, d = batches_of(path)
    at = b.position if part == "header" else b.position + HEADER + 8
    overwrite(path, at, b"\xff" * 8)
    overwrite(path, c.position + HEADER, b"\xff" * 8)

    for _ in range(2):
        disk.open()
        assert before_damage(disk) == [A]
        with pytest.raises(CorruptLog, match=f"bytes {b.position} to {c.position} .* offsets 1 to 2 "):
            disk.reader().read(1, limit=9, max_bytes=999)
    assert "damage" in disk.happened()
    assert d.base == 3


def test_what_a_killed_process_wrote_is_all_there(disk: Disk) -> None:
    partition = disk.open(sync="os")
    for number in range(100):
        partition.append(Columns([b"%d" % number]))

    assert disk.open().next == 100
    assert disk.bodies() == [b"%d" % number for number in range(100)]
    assert disk.reports == []


def test_a_segment_that_never_had_a_message_goes(disk: Disk) -> None:
    disk.open()
    (path,) = disk.logs()
    os.truncate(path, 30)

    partition = disk.open()

    assert partition.append(Columns([A])).offset == 0
    assert (disk.bodies(), disk.happened()) == ([A], [])


def test_a_clean_close_is_gone_on_from_and_a_kill_is_not(disk: Disk) -> None:
    disk.open().append(Columns([A]))
    partition = disk.open()
    partition.append(Columns([B]))
    partition.close()
    assert len(disk.logs()) == 2
    disk.open().append(Columns([C]))
    assert len(disk.logs()) == 2
    assert disk.bodies() == [A, B, C]


def test_the_last_append_is_known_for_damaged_once_a_mark_was_written(disk: Disk) -> None:
    partition = disk.open()
    partition.append(Columns([A]))
    partition.append(Columns([B]))
    disk.clock.move(1)
    partition.upkeep()
    (path,) = disk.logs()
    b = batches_of(path)[1]
    overwrite(path, b.position + HEADER + 4, b"rot")

    partition = disk.open()

    assert before_damage(disk) == [A]
    assert disk.happened() == ["damage"]
    assert partition.append(Columns([C])).offset == 2


def test_a_footer_that_is_damaged_costs_nothing(disk: Disk) -> None:
    partition = disk.open()
    for body in (A, B):
        partition.append(Columns([body]))
        partition.roll()
    partition.append(Columns([C]))
    partition.close()
    for path in disk.logs()[:2]:
        overwrite(path, path.stat().st_size - 10, b"rot")
    assert disk.bodies() == [A, B, C]
    disk.open()
    assert disk.bodies() == [A, B, C]
    assert disk.reports == []


def test_a_lost_tail_and_index_are_made_again(disk: Disk) -> None:
    partition = disk.open(segment_bytes=1 << 20, sync="os")
    for number in range(300):
        partition.append(Columns([b"%05d" % number * 2000]))
    partition.close()
    for path in (*disk.directory.glob("*.idx"), disk.directory / "tail"):
        path.write_bytes(b"nonsense" * 10)
    reader = disk.reader()
    assert [bytes(reader.read(offset, limit=1, max_bytes=1)[0].bodies[0][:5]) for offset in (0, 77, 299)] == [
        b"00000",
        b"00077",
        b"00299",
    ]
    assert disk.open().next == 300


def test_a_rotten_byte_is_found_or_does_no_harm(disk: Disk) -> None:
    partition = disk.open()
    for body in (A, B):
        partition.append(Columns([body]))
    partition.roll()
    for body in (C, D):
        partition.append(Columns([body]))
    partition.close()
    for path in disk.logs():
        whole = path.read_bytes()
        for at in range(0, len(whole), 9):  # the proofs of rot go through all of them
            copy = Disk(disk.directory.with_name(f"{path.stem[-1]}-{at}"))
            copy.directory.mkdir()
            for other in disk.directory.iterdir():
                (copy.directory / other.name).write_bytes(other.read_bytes())
            overwrite(copy.directory / path.name, at, bytes([whole[at] ^ 0x40]))
            copy.open()
            assert served(copy) == ([A, B, C, D], 0) or len(served(copy)[0]) == 3, f"{path.name} at {at}"
            copy.close()


def served(disk: Disk) -> tuple[list[bytes], int]:
    """Return what can be read of four messages, and how many are said to be damaged; none may be just missing."""
    reader, bodies, damaged = disk.reader(), list[bytes](), 0
    for offset in range(4):
        try:
            chunk = reader.read(offset, limit=1, max_bytes=1)[0]
        except CorruptLog:
            damaged += 1
        else:
            assert chunk.base == offset
            bodies.append(chunk.bodies[0])
    assert len(bodies) + damaged == 4
    return bodies, damaged


def test_a_segment_in_the_middle_that_became_shorter_is_damage(disk: Disk) -> None:
    partition = disk.open()
    for body in (A, B, C):
        partition.append(Columns([body]))
        if body != C:
            partition.roll()
    partition.close()
    os.truncate(disk.logs()[1], 0)
    for _ in range(2):
        disk.open()
        assert before_damage(disk) == [A]
        with pytest.raises(CorruptLog) as told:
            disk.reader().read(1, limit=9, max_bytes=99)
        assert (told.value.first, told.value.next) == (1, 2)
        assert disk.bodies(2) == [C]


def test_offsets_that_were_shown_and_lost_are_not_given_again(disk: Disk) -> None:
    partition = disk.open(sync="os")
    partition.append(Columns([A]))
    partition.close()
    (path,) = disk.logs()
    kept = path.read_bytes()
    disk.open(sync="os").append(Columns([B] * 4))
    path.write_bytes(kept)  # as after a power cut: what was not synced is gone

    assert disk.open(sync="os").append(Columns([C])).offset == 5
    assert disk.bodies() == [A, C]


def test_a_segment_that_never_had_a_message_and_was_given_up_is_gone_on_from(disk: Disk) -> None:
    """Its footer was taken for that of a segment with messages, and the next one was to have its name: for ever."""
    files = FaultyFiles()
    partition = disk.open(files)
    files.on_sync = failing(2)
    for _ in range(2):
        with pytest.raises(BackendError):
            partition.append(Columns([A]))

    partition = disk.open()

    assert partition.append(Columns([B])).offset == 1
    assert disk.bodies(1) == [B]


def test_a_segment_whose_header_never_reached_the_disk_leaves_the_one_before_the_last(disk: Disk) -> None:
    """The offsets between the two were called damaged, though nothing had been told of them."""
    files = FaultyFiles()
    partition = disk.open(files)
    partition.append(Columns([A]))
    (path,) = disk.logs()
    end = path.stat().st_size
    files.on_sync = failing(1)
    with pytest.raises(BackendError):
        partition.append(Columns([B]))
    partition.append(Columns([C]))
    os.truncate(path, end)  # as a power cut leaves them: no footer, and a name without a header
    os.truncate(disk.logs()[1], 0)
    (disk.directory / "tail").unlink()
    assert disk.bodies() == [A]

    partition = disk.open()

    assert disk.bodies() == [A]
    assert partition.append(Columns([D])).offset == 2
    assert disk.bodies() == [A, D]
    assert disk.happened() == ["failed sync"]


def test_the_only_segment_is_never_gone_with_the_offset_that_it_names(disk: Disk) -> None:
    """Power was cut twice in a log from which everything had been dropped: it gave offsets a second time."""
    partition = disk.open()
    partition.append(Columns([A, B, C]))
    partition.roll()
    partition.drop_until(3)
    files = FaultyFiles()
    files.on_write = failing()
    (disk.directory / "tail").unlink()
    with pytest.raises(BackendError):
        disk.open(files)
    (disk.directory / "tail").unlink()

    assert disk.open().append(Columns([D])).offset >= 3

    assert disk.bodies(3) == [D]


def test_what_came_back_in_a_segment_that_was_dropped_does_not_reach_into_the_one_behind_it(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files)
    partition.append(Columns([b"a"]))
    files.on_sync = failing()
    with pytest.raises(BackendError):
        partition.append(Columns([b"b"]))
    (path,) = disk.logs()
    unsynced = path.read_bytes()
    partition.append(Columns([b"c"]))
    assert partition.drop_until(1)[0] == 1
    path.write_bytes(unsynced)  # as if neither the removal nor the cut had reached the disk, but the append had
    reboot(disk.directory)
    disk.reports.clear()

    for _ in range(2):
        disk.open()

    assert disk.reports == []
    assert verify(disk.directory, Files()).damages == ()
    assert disk.bodies() == [b"a", b"c"]


def test_a_segment_that_comes_back_before_its_removal_was_safe_has_what_it_had(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files)
    partition.append(Columns([b"a"]))
    files.on_sync = failing()
    with pytest.raises(BackendError):
        partition.append(Columns([b"b"]))
    (path,) = disk.logs()
    partition.append(Columns([b"c"]))
    stable = path.read_bytes()[:-HEADER]
    partition.drop_until(1)
    path.write_bytes(stable)  # as if neither the removal nor the footer had reached the disk
    reboot(disk.directory)

    disk.open()

    assert disk.bodies() == [b"a", b"c"]
