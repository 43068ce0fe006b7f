"""Reading a partition through, and taking out of it what is damaged."""

import os
from pathlib import Path

import pytest

from holdfast.errors import CorruptLog
from holdfast.logged import Columns
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.format import HEADER
from holdfast.stores.disk.options import Damage
from holdfast.stores.disk.verify import repair, verify
from tests.disk.conftest import STORE, Disk
from tests.disk.test_recovery import batches_of, overwrite

BODIES = [b"%d" % number * 50 for number in range(8)]


def filled(disk: Disk) -> None:
    partition = disk.open()
    for number, body in enumerate(BODIES):
        partition.append(Columns([body]))
        if number == 3:
            partition.roll()
    partition.close()


def test_an_intact_partition_has_no_findings(disk: Disk) -> None:
    filled(disk)
    steps: list[tuple[int, int]] = []
    findings = verify(disk.directory, Files(), lambda *step: steps.append(step))
    assert (findings.damages, findings.notes, findings.segments, findings.messages) == ((), (), 2, 8)


def test_an_index_that_is_wrong_is_worth_a_note(disk: Disk) -> None:
    partition = disk.open()
    for _ in range(3):
        partition.append(Columns([bytes(100_000)]))
    partition.roll()
    (index,) = disk.directory.glob("*.idx")
    index.write_bytes(b"nonsense")
    assert str(index) in verify(disk.directory, Files()).notes[0]
    assert len(disk.bodies(2)) == 1


@pytest.mark.parametrize("segment", [0, 1])
@pytest.mark.parametrize("part", ["batch", "body", "two", "last", "segment header"])
def test_what_is_damaged_is_found_taken_out_and_gone_for_good(disk: Disk, segment: int, part: str) -> None:
    filled(disk)
    path = disk.logs()[segment]
    batches = [batch for batch in batches_of(path) if batch.messages]
    victims = {"batch": [1], "body": [1], "two": [1, 2], "last": [3], "segment header": []}[part]
    for victim in victims:
        batch = batches[victim]
        overwrite(path, batch.position + (HEADER + 9 if part == "body" else 16), b"rot!")
    if not victims:
        overwrite(path, 40, b"rot!")
    lost = [4 * segment + victim for victim in victims]
    begin = batches[victims[0]].position if victims else 0
    end = batches[victims[-1]].end if victims else HEADER
    first = lost[0] if lost else 4 * segment

    damages = verify(disk.directory, Files()).damages
    assert (damages[0].damage.begin, damages[-1].damage.end) == (begin, end)
    repaired = repair(disk.directory, Files(), store=STORE, report=disk.reports.append)
    assert (repaired.offsets, repaired.bytes) == (len(lost), end - begin)
    assert sum(Path(kept).stat().st_size for kept in repaired.kept) == end - begin

    for _ in range(2):
        assert disk.bodies() == [body for number, body in enumerate(BODIES) if number not in lost]
        assert verify(disk.directory, Files()).damages == ()
        disk.reports.clear()
        assert disk.open().next == 8
        assert disk.reports == []
    assert damages[0].damage.first == first


@pytest.mark.parametrize("behind", [0, 30, 70])
def test_what_a_file_that_got_shorter_has_lost_is_taken_out_too(disk: Disk, behind: int) -> None:
    """Damage without bytes stayed: readers met it for ever."""
    filled(disk)
    path = disk.logs()[0]
    batch = [batch for batch in batches_of(path) if batch.messages][2]
    os.truncate(path, batch.position + behind)

    assert [(one.damage.first, one.damage.next) for one in verify(disk.directory, Files()).damages] == [(2, 4)]
    repaired = repair(disk.directory, Files(), store=STORE, report=disk.reports.append)
    assert (repaired.offsets, repaired.bytes) == (2, behind)

    for _ in range(2):
        assert verify(disk.directory, Files()).damages == ()
        assert disk.bodies() == BODIES[:2] + BODIES[4:]
        disk.reports.clear()
        assert disk.open().next == 8
        assert disk.reports == []


def test_a_segment_that_is_missing_is_found_and_read_around_and_done_without_for_good(disk: Disk) -> None:
    partition = disk.open()
    for number, body in enumerate(BODIES):
        partition.append(Columns([body]))
        if number in (2, 5):
            partition.roll()
    partition.close()
    missing = disk.logs()[1]
    missing.unlink()

    (damaged,) = verify(disk.directory, Files()).damages
    assert (Path(damaged.path), damaged.damage) == (missing, Damage(0, 0, 3, 6))
    reader = disk.reader()
    assert [body for chunk in reader.read(0, limit=9, max_bytes=1 << 20) for body in chunk.bodies] == BODIES[:3]
    with pytest.raises(CorruptLog, match="a segment is missing") as caught:
        reader.read(3, limit=9, max_bytes=1 << 20)
    assert (caught.value.first, caught.value.next) == (3, 6)
    assert disk.bodies(6) == BODIES[6:]
    assert repair(disk.directory, Files(), store=STORE, report=disk.reports.append).offsets == 3

    for _ in range(2):
        assert disk.bodies() == BODIES[:3] + BODIES[6:]
        assert verify(disk.directory, Files()).damages == ()
        disk.reports.clear()
        assert disk.open().next == 8
        assert disk.reports == []
