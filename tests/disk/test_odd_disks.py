"""What the layers of the proof found, each once more by itself."""

import os
from contextlib import suppress

import pytest

from holdfast.errors import BackendError, CorruptLog
from holdfast.logged import Columns
from holdfast.stores.disk.format import FOOTER_MAGIC, HEADER
from tests.disk.conftest import Disk
from tests.disk.failing import FailingDisk, Failure
from tests.disk.partitions import FOLDER, found, opened
from tests.disk.simulated import Node, SimulatedDisk, Sync, Write

FOOTER = FOOTER_MAGIC.to_bytes(8, "little")


def test_the_end_of_a_log_whose_torn_end_was_cut_off_is_behind_its_last_message(disk: Disk) -> None:
    """Offsets that were jumped over looked like messages that nobody could read: a group's lag was never 0."""
    partition = disk.open()
    partition.append(Columns([b"a", b"b"]))
    partition.write(Columns([b"torn"]))
    os.truncate(disk.logs()[-1], disk.logs()[-1].stat().st_size - 8)
    (disk.directory / "tail").unlink()

    partition = disk.open()

    ends = disk.reader().ends()
    assert (ends.first, ends.next) == (0, 2)
    assert disk.reader().read(2, limit=1, max_bytes=1) == []
    assert partition.append(Columns([b"c"])).offset > 2
    assert disk.bodies(2) == [b"c"]


def test_a_segment_that_begins_like_another_is_damaged_and_the_rest_of_it_is_read(disk: Disk) -> None:
    """The salt of the other was taken for its own, and its messages were gone without a word."""
    partition = disk.open()
    for number in range(3):
        partition.append(Columns([bytes([number]) * 200] * 2))
        partition.append(Columns([bytes([number]) * 300] * 2))
        partition.roll()
    partition.close()
    first, second, *_ = disk.logs()
    data = bytearray(first.read_bytes())
    data[: HEADER + 100] = second.read_bytes()[: HEADER + 100]
    first.write_bytes(data)

    for look_again in (False, True):
        if look_again:
            disk.open().close()
        with pytest.raises(CorruptLog) as raised:
            disk.bodies(0)
        assert (raised.value.first, raised.value.next) == (0, 2)
        assert [body[:1] for body in disk.bodies(2)] == [bytes([number]) for number in (0, 0, 1, 1, 1, 1, 2, 2, 2, 2)]


@pytest.mark.parametrize("call", ["open", "read", "size", "list"])
def test_what_the_disk_refuses_a_reader_is_an_error_of_the_store(call: str) -> None:
    whole = SimulatedDisk()
    partition = opened(whole)
    partition.append(Columns([b"a"]))
    partition.close()
    disk = FailingDisk(Failure(call, 1, "EIO"), whole.image())

    with pytest.raises(BackendError, match="cannot be read"):
        found(disk, FOLDER)
    assert [body for _, body in found(disk, FOLDER).messages] == [b"a"]


@pytest.mark.parametrize("call", ["open", "read", "write", "sync"])
def test_a_partition_that_cannot_be_opened_leaves_no_file_open(call: str) -> None:
    for nth in range(1, 5):
        disk = FailingDisk(Failure(call, nth, "EIO"))
        with suppress(BackendError):
            opened(disk).close()
        assert disk.descriptors == 0


def test_a_footer_is_written_only_when_what_it_vouches_for_is_synced() -> None:
    """A power cut kept the footer and lost a page before it: what had not been synced was called damage."""
    disk = SimulatedDisk()
    partition = opened(disk, sync="os")
    partition.append(Columns([b"a" * 5000]))
    partition.roll()
    partition.append(Columns([b"b" * 5000]))
    disk.abandon()
    opened(disk, epoch=2).close()

    written: set[Node] = set()
    for step in disk.trace:
        if isinstance(step, Write) and len(step.data) == HEADER and step.data.startswith(FOOTER):
            assert step.node not in written
        elif isinstance(step, Write):
            written.add(step.node)
        elif isinstance(step, Sync):
            written.discard(step.node)
    assert sum(content.count(FOOTER) for content in disk.image().files.values()) == 2


def test_a_segment_that_was_opened_again_is_not_gone_on_with_after_a_crash() -> None:
    """Its file may look as it did when it was closed, with bytes of lost appends behind its end, which came back."""
    disk = SimulatedDisk()
    opened(disk).close()
    again = opened(disk, epoch=2, sync="os")
    (before,) = logs_of(disk)

    again.append(Columns([b"lost"]))

    steps = [step for step in disk.trace if isinstance(step, Write | Sync) and step.node is disk.names[before]]
    mark, sync, lost = steps[-3:]
    assert isinstance(mark, Write)
    assert isinstance(lost, Write)
    assert (len(mark.data), type(sync), b"lost" in lost.data) == (HEADER, Sync, True)
    disk.abandon()
    disk.names[before].content[lost.at :] = b""
    salt = disk.names[before].content[32:40]
    opened(disk, epoch=3).append(Columns([b"new"]))
    assert [disk.names[name].content[32:40] == salt for name in logs_of(disk)] == [False]


def logs_of(disk: SimulatedDisk) -> list[str]:
    return [name for name in disk.names if name.endswith(".log")]
