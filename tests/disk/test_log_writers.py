"""Who may write a log of the disk store, and who tidies one that nobody writes."""

import pytest

from holdfast.clock import SYSTEM
from holdfast.config import LogSettings
from holdfast.errors import BackendError
from holdfast.logged import Columns
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.logs import writer_lock
from holdfast.stores.disk.logs.directory import log_directory
from holdfast.stores.disk.logs.open_log import OpenLog
from holdfast.stores.disk.logs.writer_lock import WriterLock, current_writer
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

    with pytest.raises(BackendError, match="is written by process"):
        WriterLock(opened(logs), SYSTEM, passing=True)
    lock.release()


def test_nobody_waits_for_ever_for_one_who_passes(logs, monkeypatch):
    monkeypatch.setattr(writer_lock, "PATIENCE", 0.2)
    passing = WriterLock(opened(logs), SYSTEM, passing=True)

    with pytest.raises(BackendError, match="is written by process"):
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
