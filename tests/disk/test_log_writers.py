"""Who may write a log of the disk store, and who tidies one that nobody writes."""

import errno
from pathlib import Path

import pytest

from holdfast.clock import SYSTEM
from holdfast.config import LogSettings
from holdfast.delivery import HolderInfo
from holdfast.errors import BackendError
from holdfast.logged import Columns, LogTidied, Offset, Start
from holdfast.message import Level
from holdfast.stores.disk import DiskLogs
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.format import HEADER
from holdfast.stores.disk.logs import writer_lock
from holdfast.stores.disk.logs.directory import log_directory
from holdfast.stores.disk.logs.open_log import OpenLog
from holdfast.stores.disk.logs.retention import floors
from holdfast.stores.disk.logs.writer_lock import WriterLock, current_writer
from holdfast.stores.disk.options import PartitionOptions, SegmentInfo
from tests.stores.disk_harness import DiskLogHarness

LOG = "events"


@pytest.fixture
def harness(tmp_path):
    with DiskLogHarness(tmp_path) as harness:
        yield harness


@pytest.fixture
def logs(harness):
    logs = harness.open_logs()
    logs.declare(LOG, LogSettings())
    return logs


def opened(logs, files=None):
    directory = log_directory(files or Files(), logs.root, LOG)
    return OpenLog(directory, directory.load(), directory.files.identity(directory.settings_path))


# -- the lock -----------------------------------------------------------------------------------------------------


def test_every_writer_has_a_higher_epoch_than_all_before_it(logs):
    class Overtaken(Files):
        """Somebody else writes, and ends, just before the lock is taken."""

        def lock(self, fd):
            WriterLock(opened(logs), SYSTEM).release()
            return super().lock(fd)

    lock = WriterLock(opened(logs, Overtaken()), SYSTEM)

    assert lock.epoch == 2
    lock.release()


def test_who_comes_to_write_waits_for_one_who_passes(logs, monkeypatch):
    passing = WriterLock(opened(logs), SYSTEM, passing=True)
    assert current_writer(opened(logs).directory).passing
    monkeypatch.setattr(writer_lock.time, "sleep", lambda seconds: passing.release())

    WriterLock(opened(logs), SYSTEM).release()


def test_who_passes_does_not_wait_for_a_writer(logs, monkeypatch):
    lock = WriterLock(opened(logs), SYSTEM)
    monkeypatch.setattr(writer_lock.time, "sleep", None)

    with pytest.raises(BackendError, match="is written by another App of this process"):
        WriterLock(opened(logs), SYSTEM, passing=True)
    lock.release()


def test_nobody_waits_for_ever_for_one_who_passes(logs, monkeypatch):
    monkeypatch.setattr(writer_lock, "PATIENCE", 0.2)
    passing = WriterLock(opened(logs), SYSTEM, passing=True)

    with pytest.raises(BackendError, match="is written by another App of this process"):
        WriterLock(opened(logs), SYSTEM)
    passing.release()


def test_a_note_of_an_earlier_release_is_understood(logs):
    (logs.root / LOG / "lock").write_bytes(b'{"pid":1,"host":"there","since":5,"epoch":41}')

    lock = WriterLock(opened(logs), SYSTEM)

    assert lock.epoch == 42
    lock.release()


def test_the_lock_of_a_log_that_was_made_anew_is_not_taken_for_the_old_one(harness, logs):
    old = opened(logs)
    logs.destroy(LOG)
    logs.declare(LOG, LogSettings())

    with pytest.raises(BackendError, match="was removed in this instant"):
        WriterLock(old, SYSTEM)
    assert logs.append(LOG, 0, Columns([b"a"])).offset == 0


# -- how safe -----------------------------------------------------------------------------------------------------


class Told(Files):
    """Tells in which order files were synced and removed."""

    def __init__(self):
        self.done, self.names = [], {}

    def open(self, path, flags):
        fd = super().open(path, flags)
        self.names[fd] = path
        return fd

    def sync(self, fd):
        super().sync(fd)
        self.done.append(("sync", self.names[fd]))

    def remove(self, path):
        super().remove(path)
        self.done.append(("remove", path))


def newest(logs, partition):
    return sorted((logs.root / LOG / str(partition)).glob("*.log"))[-1]


def test_a_flush_in_a_process_that_does_not_write_makes_safe_what_others_wrote(tmp_path):
    """Whatever its own URL says of how it would write."""
    writer = DiskLogs(tmp_path / "data", SYSTEM, PartitionOptions(sync="os"))
    writer.declare(LOG, LogSettings(partitions=2))
    writer.append(LOG, 1, Columns([b"a"]))
    files = Told()
    logs = DiskLogs(tmp_path / "data", SYSTEM, files=files)

    assert logs.flush(LOG) is Level.SYNCED
    assert files.done == [("sync", newest(logs, 1))]
    writer.close()
    logs.close()


def test_a_flush_makes_safe_what_a_dead_writer_left_in_other_partitions(tmp_path):
    dead = DiskLogs(tmp_path / "data", SYSTEM, PartitionOptions(sync="os"))
    dead.declare(LOG, LogSettings(partitions=2))
    dead.append(LOG, 1, Columns([b"a"]))
    dead.abandon()  # its lock is free, and nothing else was done
    files = Told()
    logs = DiskLogs(tmp_path / "data", SYSTEM, PartitionOptions(sync="os"), files)
    logs.append(LOG, 0, Columns([b"b"]))
    files.done.clear()

    assert logs.flush(LOG) is Level.SYNCED
    assert {path for what, path in files.done if what == "sync"} == {newest(logs, 0), newest(logs, 1)}
    logs.close()


class Failing(Files):
    """Fails the next so many syncs of segments; what they were about is clean then, as the system sees it."""

    def __init__(self):
        self.fails, self.written = 0, set()

    def sync(self, fd):
        if self.fails and is_segment(fd):
            self.fails -= 1
            raise OSError(errno.EIO, "planted")
        super().sync(fd)

    def write(self, fd, pieces, at):
        if is_segment(fd):
            self.written.add(at)
        return super().write(fd, pieces, at)


def is_segment(fd):
    return Path(f"/proc/self/fd/{fd}").readlink().suffix == ".log"


@pytest.fixture
def unsure(tmp_path):
    """A writer whose sync has just failed, with what it appended before; and another process, as it were."""
    files = Failing()
    writer = DiskLogs(tmp_path / "data", SYSTEM, PartitionOptions(sync="os", reserve_bytes=0), files)
    writer.declare(LOG, LogSettings())
    writer.append(LOG, 0, Columns([b"a"]))
    others = DiskLogs(tmp_path / "data", SYSTEM, files=Failing())
    yield writer, files, others
    others.close()
    writer.close()


def fail(writer, files, times=1):
    files.fails = times
    with pytest.raises(BackendError):
        writer.flush(LOG)


def test_a_flush_beside_a_writer_whose_sync_failed_does_not_say_that_all_is_well(unsure):
    """A second sync would succeed, and be about nothing."""
    writer, files, others = unsure
    fail(writer, files)

    with pytest.raises(BackendError, match="only its writer can tell") as told:
        others.flush(LOG)

    assert (told.value.retryable, told.value.outcome_unknown) == (True, True)
    writer.append(LOG, 0, Columns([b"b"]))
    assert others.flush(LOG) is Level.SYNCED
    assert bodies(others) == [b"a", b"b"]


def test_a_flush_after_the_death_of_a_writer_whose_sync_failed_writes_it_once_more(unsure):
    writer, files, others = unsure
    fail(writer, files)
    writer.abandon()

    assert others.flush(LOG) is Level.SYNCED
    assert HEADER in others.files.written
    assert bodies(others) == [b"a"]


def test_a_flush_that_failed_itself_is_not_believed_when_it_is_repeated(unsure):
    writer, _, others = unsure
    others.files.fails = 1
    with pytest.raises(BackendError):
        others.flush(LOG)

    with pytest.raises(BackendError, match="only its writer can tell"):
        others.flush(LOG)
    with pytest.raises(BackendError):
        writer.flush(LOG)  # it may have lost what the writer has not synced
    writer.append(LOG, 0, Columns([b"b"]))
    assert others.flush(LOG) is Level.SYNCED
    assert bodies(others) == [b"a", b"b"]


def test_what_a_flush_of_another_process_made_safe_is_not_given_up_by_its_writer(unsure):
    writer, files, others = unsure
    assert others.flush(LOG) is Level.SYNCED
    writer.append(LOG, 0, Columns([b"b"]))
    fail(writer, files, times=2)

    with pytest.raises(BackendError, match="is lost"):
        writer.append(LOG, 0, Columns([b"c"]))

    assert bodies(others) == [b"a"]


def bodies(logs):
    return [body for chunk in logs.read(LOG, 0, 0, limit=99, max_bytes=9999) for body in chunk.bodies]


# -- a log that nobody writes -------------------------------------------------------------------------------------


@pytest.fixture
def reader(harness, logs):
    """Another handle, which has the log open, after one writer has ended."""
    logs.declare(LOG, LogSettings(keep_for=100, until_consumed=True, group_expiry=1000))
    logs.append(LOG, 0, Columns([b"a", b"b"]))
    reader = harness.open_logs()
    reader.ends(LOG)
    return reader


def test_a_log_whose_writer_has_ended_is_trimmed_by_who_reads_it(harness, logs, reader):
    logs.close()
    harness.elapse(101)

    assert reader.tidy().messages == 2
    assert (reader.ends(LOG)[0].first, reader.ends(LOG)[0].next) == (2, 2)
    assert current_writer(opened(reader).directory) is None


def test_a_log_that_is_written_is_left_to_its_writer(harness, logs, reader):
    harness.elapse(101)

    assert reader.tidy().messages == 0
    assert logs.tidy().messages == 2


def test_a_log_that_nobody_writes_keeps_what_a_group_needs_until_the_group_expires(harness, logs, reader):
    reader.join(LOG, "readers", HolderInfo(id="here#1", ttl=10), start=Start()).leave()
    logs.close()
    harness.elapse(101)
    assert reader.tidy() == LogTidied()
    harness.elapse(1000)

    tidied = reader.tidy()

    assert (tidied.messages, tidied.groups) == (2, ((LOG, "readers"),))


def test_a_log_that_has_nothing_to_trim_is_not_touched(harness, logs, reader):
    logs.close()
    before = (reader.root / LOG / "lock").read_bytes()

    assert reader.tidy() == LogTidied()
    assert (reader.root / LOG / "lock").read_bytes() == before


def test_whoever_trimmed_a_log_leaves_it_to_the_next_writer(harness, logs, reader):
    logs.close()
    harness.elapse(101)
    reader.tidy()

    assert harness.open_logs().append(LOG, 0, Columns([b"c"])).offset == 2


# -- what goes ----------------------------------------------------------------------------------------------------


def test_what_groups_have_read_goes_after_their_places_are_on_the_disk(tmp_path):
    """A power cut would set them back to what is no longer there."""
    files = Told()
    logs = DiskLogs(tmp_path / "data", SYSTEM, files=files)
    logs.syncer.dirty = lambda file: None
    logs.declare(LOG, LogSettings(keep_bytes=0, until_consumed=True))
    member = logs.join(LOG, "readers", HolderInfo(id="here#1", ttl=10), start=Start())
    logs.append(LOG, 0, Columns([b"a"]))
    [chunk] = member.poll(limit=9, wait=0)
    files.done.clear()
    member.commit([Offset(0, chunk.next, chunk.version)])
    place = logs.root / LOG / "groups" / "readers" / "0"
    assert ("sync", place) not in files.done

    assert logs.tidy().messages == 1
    assert files.done.index(("sync", place)) < files.done.index(("remove", logs.root / LOG / "0" / f"{0:020}.log"))
    logs.close()


def segment(base, next_, last_time):
    return SegmentInfo(base, next_, 100, last_time, last_time, True, next_ - base)


def test_a_segment_that_damage_took_all_times_from_is_not_taken_to_be_old():
    """What can be restored from a copy stays as long as what came after it."""
    settings = LogSettings(keep_for=10, keep_most=3)
    segments = {0: [segment(0, 1, 100), segment(1, 2, None), segment(2, 3, 15_000), segment(3, 4, None)]}

    assert floors(settings, segments, 20_000) == {0: 1}
    assert floors(settings, segments, 26_000) == {0: 3}


def test_of_several_partitions_the_damaged_one_does_not_go_first():
    segments = {0: [segment(0, 5, None)], 1: [segment(0, 5, 100), segment(5, 9, 200)]}

    assert floors(LogSettings(keep_for=None, keep_most=9), segments, 1000) == {0: 0, 1: 5}
