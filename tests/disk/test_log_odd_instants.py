"""What happens to logs of the disk store in the instants between two file operations."""

import pytest

from holdfast.clock import SYSTEM
from holdfast.config import LogSettings
from holdfast.delivery import HolderInfo
from holdfast.errors import Closed
from holdfast.logged import Columns, Offset, Start
from holdfast.stores.disk import DiskLogs
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.options import PartitionOptions

LOG, GROUP = "events", "readers"


class Between(Files):
    """Does something once, just before a file of this name is locked, or fails its syncs."""

    def __init__(self):
        self.names, self.before_lock, self.broken = {}, {}, ""

    def open(self, path, flags):
        fd = super().open(path, flags)
        self.names[fd] = path
        return fd

    def lock(self, fd):
        self.before_lock.pop(self.names[fd].name, lambda: None)()
        return super().lock(fd)

    def sync(self, fd):
        if self.broken and self.broken in str(self.names[fd]):
            raise OSError(5, "the disk is broken")
        super().sync(fd)


@pytest.fixture
def opened(tmp_path):
    """Return what opens the same directory again and again."""
    stores = []

    def open_(files=None, **options):
        stores.append(DiskLogs(tmp_path / "data", SYSTEM, PartitionOptions(**options), files))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


def join(logs, holder="here#1"):
    return logs.join(LOG, GROUP, HolderInfo(id=holder, ttl=30), start=Start())


def told(caplog):
    return [record.getMessage() for record in caplog.records]


# -- two owners ---------------------------------------------------------------------------------------------------


def test_a_partition_is_not_taken_in_a_group_that_was_removed_in_this_instant(opened):
    """Its file would be locked, and another member would have that of the new group."""
    files = Between()
    logs, other = opened(files), opened()
    logs.declare(LOG, LogSettings())
    logs.append(LOG, 0, Columns([b"a"]))
    member = join(logs)
    taken = []

    def replaced():
        other.forget(LOG, GROUP)
        second = join(other, "there#1")
        taken.extend(second.poll(limit=9, wait=0))

    files.before_lock["0"] = replaced
    assert member.poll(limit=9, wait=0) == []
    with pytest.raises(Closed):
        member.poll(limit=9, wait=0)
    assert [list(one.bodies) for one in taken] == [[b"a"]]


# -- what closing could not do --------------------------------------------------------------------------------------


def test_all_partitions_are_closed_also_when_one_cannot_be(opened, caplog):
    files = Between()
    logs = opened(files, sync="os")
    logs.declare(LOG, LogSettings(partitions=3))
    for number in range(3):
        logs.append(LOG, number, Columns([b"a"]))
    files.broken = "/0/"
    closed = []
    files.close = lambda fd: (closed.append(files.names[fd]), Files.close(files, fd))[1]

    logs.close()

    segments = {path.parent.name for path in closed if path.suffix == ".log"}
    assert segments == {"0", "1", "2"}


def test_a_commit_that_a_leaving_member_cannot_sync_is_reported(opened, caplog):
    files = Between()
    logs = opened(files)
    logs.syncer.dirty = lambda file: None
    logs.declare(LOG, LogSettings())
    logs.append(LOG, 0, Columns([b"a"]))
    member = join(logs)
    [chunk] = member.poll(limit=9, wait=0)
    member.commit([Offset(0, chunk.next, chunk.version)])
    files.broken = "/groups/"

    member.leave()

    assert any("the disk is broken" in text and "come again" in text for text in told(caplog))
    files.broken = ""


# -- a writer that is replaced in this process -----------------------------------------------------------------------


def test_an_append_that_meets_a_repair_in_its_own_process_goes_on_with_the_next_writer(opened, monkeypatch):
    logs = opened()
    logs.declare(LOG, LogSettings())
    logs.append(LOG, 0, Columns([b"a"]))
    writer = logs._writers[LOG]
    append = writer.append

    def late(*given):
        logs.repair(LOG)
        return append(*given)

    monkeypatch.setattr(writer, "append", late)

    assert logs.append(LOG, 0, Columns([b"b"])).offset == 1
