"""What the layers of the proof found, each once more by itself."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.errors import BackendError, CorruptLog, OffsetGone, UsageError
from holdfast.logged import Columns, Producer
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.format import FOOTER_MAGIC, HEADER
from holdfast.stores.disk.verify import repair
from tests.disk.conftest import STORE, Disk
from tests.disk.failing import FailingDisk, Failure
from tests.disk.partitions import FOLDER, found, opened
from tests.disk.simulated import Node, SimulatedDisk, Sync, Write
from tests.disk.test_recovery import batches_of, overwrite

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


def test_a_power_cut_in_an_empty_segment_forgets_no_producer(disk: Disk) -> None:
    """What stood for them at its front was not synced: the repeat of an append before it was stored again."""
    partition = disk.open()
    partition.append(Columns([b"a"]), Producer(7, 1, 0))
    partition.roll()
    os.truncate(disk.logs()[-1], HEADER)

    partition = disk.open()

    assert partition.append(Columns([b"a"]), Producer(7, 1, 0)).duplicate
    with pytest.raises(UsageError, match="gap"):
        partition.append(Columns([b"c"]), Producer(7, 1, 2))


def test_a_segment_whose_first_sync_failed_is_no_damage(disk: Disk) -> None:
    """Nothing in it was ever acknowledged; a power cut had taken its end, and where it was to be."""
    files = FaultySync()
    partition = disk.open(files)
    partition.append(Columns([b"a"]))
    partition.roll()
    files.fails = True
    with pytest.raises(BackendError):
        partition.append(Columns([b"lost"]))
    partition.append(Columns([b"b"]))
    assert disk.bodies() == [b"a", b"b"]
    for rest in (b"", b"x" * 100):
        second = disk.logs()[1]
        second.write_bytes(second.read_bytes()[:HEADER] + rest)

        assert disk.bodies() == [b"a", b"b"], "a reader"
        disk.open()

        assert disk.bodies() == [b"a", b"b"], "an opening"
        assert "damage" not in disk.happened()


class FaultySync(Files):
    """The next sync fails when it is told."""

    fails = False

    def sync(self, fd: int) -> None:
        if self.fails:
            self.fails = False
            raise OSError(errno.EIO, "planted")
        super().sync(fd)


class Retention(Files):
    """Lets what a test wants happen just before a directory is listed, or a file opened."""

    before_list: Callable[[], object] | None = None
    before_open: Callable[[], object] | None = None

    def list(self, path: Path) -> list[str]:
        act, self.before_list = self.before_list, None
        if act is not None:
            act()
        return super().list(path)

    def open(self, path: Path, flags: int) -> int:
        if path.suffix == ".log":
            act, self.before_open = self.before_open, None
            if act is not None:
                act()
        return super().open(path, flags)


def test_what_retention_drops_while_a_reader_looks_is_gone_and_not_jumped_over(disk: Disk) -> None:
    partition = disk.open()
    for body in (b"a", b"b", b"c"):
        partition.append(Columns([body]))
        partition.roll()
    files = Retention()
    files.before_list = lambda: partition.drop_until(1)

    with pytest.raises(OffsetGone) as gone:
        disk.reader(files).read(0, limit=9, max_bytes=99)

    assert (gone.value.first, gone.value.next) == (1, 3)


def test_the_ends_and_times_are_told_also_while_retention_drops(disk: Disk) -> None:
    partition = disk.open()
    for body in (b"a", b"b", b"c"):
        partition.append(Columns([body]))
        partition.roll()
    files = Retention()
    files.before_open = lambda: partition.drop_until(1)
    assert disk.reader(files).ends().first == 1
    files.before_open = lambda: partition.drop_until(2)
    assert disk.reader(files).find(0) == 2


def test_a_footer_that_its_writer_may_take_back_is_not_mapped(disk: Disk) -> None:
    """The sync behind it failed, the file became shorter, and a mapped file that does so kills its reader."""
    files = FaultySync()
    partition = disk.open(files)
    partition.append(Columns([b"a"]))
    reader, seen = disk.reader(), list[list[bytes]]()

    def sync(fd: int) -> None:
        if os.pread(fd, 8, os.fstat(fd).st_size - HEADER) == FOOTER:
            seen.append([body for chunk in reader.read(0, limit=9, max_bytes=99) for body in chunk.bodies])
            raise OSError(errno.EIO, "planted")
        Files.sync(files, fd)

    files.sync = sync  # type: ignore[method-assign]
    with pytest.raises(BackendError):
        partition.roll()
    assert seen == [[b"a"]]
    assert [segment._map for segment in reader._open.values()] == [None]
    partition.append(Columns([b"b"]))
    assert disk.bodies() == [b"a", b"b"]
    assert [body for chunk in reader.read(0, limit=9, max_bytes=99) for body in chunk.bodies] == [b"a", b"b"]


def test_an_index_that_a_power_cut_left_in_part_leads_nobody_into_damage(disk: Disk) -> None:
    partition = disk.open()
    for _ in range(12):
        partition.append(Columns([bytes(70_000)]))
    partition.close()
    (index,) = disk.directory.glob("*.idx")
    data = bytearray(index.read_bytes())
    for entry in range(len(data) // 16 - 2):
        data[16 * entry + 4] ^= 0xFF
    index.write_bytes(data)
    for opened_again in (False, True):
        if opened_again:
            disk.open()
        for offset in range(12):
            assert disk.reader().read(offset, limit=1, max_bytes=1)[0].base == offset


def test_damage_behind_a_gap_is_not_jumped_over_with_it(disk: Disk) -> None:
    partition = disk.open()
    for body in (b"a", b"b", b"c", b"d"):
        partition.append(Columns([body * 100]))
    partition.close()
    _, second, third, *_ = batches_of(disk.logs()[0])
    overwrite(disk.logs()[0], second.position, b"rot!")
    repair(disk.directory, Files(), store=STORE, report=disk.reports.append)
    overwrite(disk.logs()[0], third.position, b"rot!")
    for offset in (1, 2):
        with pytest.raises(CorruptLog) as raised:
            disk.reader().read(offset, limit=9, max_bytes=999)
        assert (raised.value.first, raised.value.next) == (2, 3)


def test_an_opening_reads_a_segment_that_is_full_of_holes_a_few_times_and_not_once_a_hole(disk: Disk) -> None:
    partition = disk.open(sync="os")
    for _ in range(300):
        partition.append(Columns([bytes(4000)]))
    (path,) = disk.logs()
    size = path.stat().st_size
    for at in range(8192, size, 16_384):
        overwrite(path, at, bytes(4096))
    files = Counting()

    disk.open(files)

    assert files.bytes < 20 * size


class Counting(Files):
    """Counts what is read."""

    bytes = 0

    def read(self, fd: int, size: int, at: int) -> bytes:
        data = super().read(fd, size, at)
        self.bytes += len(data)
        return data


def test_a_partition_is_opened_on_a_full_disk_with_the_room_that_is_kept_for_it() -> None:
    disk = SimulatedDisk()
    opened(disk, reserve_bytes=4096).append(Columns([b"a"]))
    full = FailingDisk(Failure("write", 1, "ENOSPC"), disk.image())

    partition = opened(full, epoch=2, reserve_bytes=4096)

    assert full.happened
    assert partition.append(Columns([b"b"])).offset > 0
    assert [body for _, body in found(full).messages] == [b"a", b"b"]
