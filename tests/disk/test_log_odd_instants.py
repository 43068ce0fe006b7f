"""What happens to logs of the disk store in the instants between two file operations."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.clock import SYSTEM
from holdfast.config import LogSettings
from holdfast.delivery import HolderInfo
from holdfast.errors import BackendError, Closed
from holdfast.logged import Columns, Offset, Start
from holdfast.stores.disk import DiskLogs
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.options import PartitionOptions

LOG, GROUP = "events", "readers"


class Between(Files):
    """Does something once, just before a file of this name is opened or locked, or fails its syncs."""

    def __init__(self):
        self.names, self.before_open, self.before_lock, self.broken = {}, {}, {}, ""

    def open(self, path, flags):
        self.before_open.pop(path.name, lambda: None)()
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


def test_who_takes_a_partition_sees_what_was_appended_and_sought_to_in_this_instant(opened, caplog):
    files = Between()
    logs, other = opened(files), opened()
    other.declare(LOG, LogSettings())
    other.append(LOG, 0, Columns([b"a"]))
    member = join(logs)

    def sought():
        other.append(LOG, 0, Columns([b"b"]))
        other.seek(LOG, GROUP, {0: 2})

    files.before_lock["0.turn"] = sought
    assert member.poll(limit=9, wait=0) == []
    assert member.assigned()[0].place.next == 2
    assert told(caplog) == []


# -- a poll that fails ------------------------------------------------------------------------------------------------


def test_what_a_poll_had_found_before_it_failed_comes_with_the_next(opened):
    files = Between()
    logs = opened(files)
    logs.declare(LOG, LogSettings(partitions=2))
    for number in range(2):
        logs.append(LOG, number, Columns([b"a", b"b"]))
    member = join(logs)
    member.poll(limit=9, wait=0, without=(0, 1))

    def broken():
        raise OSError(24, "too many files are open")

    files.before_open["changes"] = lambda: files.before_open.update(changes=broken)  # when it looks again
    with pytest.raises(BackendError):
        member.poll(limit=9, wait=5, min_bytes=1000)

    assert sorted((one.partition, one.base, len(one)) for one in member.poll(limit=9, wait=0)) == [(0, 0, 2), (1, 0, 2)]


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


# -- a store that is closed meanwhile --------------------------------------------------------------------------------


def test_a_member_that_joins_while_the_store_is_closed_does_not_stay(opened, monkeypatch):
    """It would count as one that lives, and nobody could end it."""
    logs, other = opened(), opened()
    logs.declare(LOG, LogSettings())
    make = logs._make
    monkeypatch.setattr(logs, "_make", lambda *given: (make(*given), logs.close()))

    with pytest.raises(Closed):
        join(logs)

    assert other.groups(LOG)[0].members == ()


def test_a_store_is_closed_while_a_member_looks_for_its_log(opened, monkeypatch):
    """Neither waits for the other."""
    logs, other = opened(), opened()
    logs.declare(LOG, LogSettings())
    member = join(logs)
    looking, closing = threading.Event(), threading.Event()
    look, leave = logs.log, logs.leave_all

    def slowly(name):
        looking.set()
        assert closing.wait(10)
        other.destroy(LOG)
        return look(name)

    monkeypatch.setattr(logs, "log", slowly)
    monkeypatch.setattr(logs, "leave_all", lambda: (closing.set(), leave()))
    with ThreadPoolExecutor() as pool:
        polling = pool.submit(member.poll, limit=1, wait=0)
        assert looking.wait(10)
        ending = pool.submit(logs.close)

        assert isinstance(polling.exception(10), Closed)
        ending.result(10)


def test_places_that_cannot_be_synced_are_told_once_until_they_are(opened, caplog):
    synced, failed = threading.Semaphore(0), threading.Semaphore(0)

    class Told(Between):
        def sync(self, fd):
            try:
                super().sync(fd)
            except OSError:
                failed.release()
                raise
            if self.names[fd].name == "0":
                synced.release()

    files = Told()
    logs = opened(files)
    logs.declare(LOG, LogSettings())
    logs.append(LOG, 0, Columns([b"a"]))
    member = join(logs)
    files.broken = "/groups/"
    member.poll(limit=9, wait=0)

    for _ in range(3):
        assert failed.acquire(timeout=10)
    files.broken = ""
    assert synced.acquire(timeout=10)
    member.leave()

    assert len([text for text in told(caplog) if "could not be synced" in text]) == 1


def test_a_member_of_a_log_that_was_destroyed_leaves_without_a_word(opened, caplog):
    logs = opened()
    logs.declare(LOG, LogSettings())
    logs.append(LOG, 0, Columns([b"a"]))
    member = join(logs)
    member.poll(limit=9, wait=0)

    logs.destroy(LOG)
    member.leave()

    assert told(caplog) == []
