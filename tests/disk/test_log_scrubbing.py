"""Sealed files that are read again in the background."""

import errno

import pytest

from holdfast.config import LogSettings
from holdfast.logged import Columns
from holdfast.stores.disk import DiskLogs
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.logs import backend
from holdfast.stores.disk.logs.scrubbing import EVERY
from tests.stores.disk_harness import DiskLogHarness

LOG = "events"
BODY = b"x" * 10_000


@pytest.fixture
def harness(tmp_path):
    with DiskLogHarness(tmp_path) as harness:
        yield harness


@pytest.fixture
def logs(harness):
    """Three sealed segments of two appends each, and one that is written."""
    logs = harness.open_logs()
    logs.declare(LOG, LogSettings(keep_for=None))
    for _ in range(3):
        logs.append(LOG, 0, Columns([BODY]))
        logs.append(LOG, 0, Columns([BODY]))
        logs.roll(LOG)
    return logs


def segments(logs):
    return sorted((logs.root / LOG / "0").glob("*.log"))


def rot(path):
    data = bytearray(path.read_bytes())
    data[12_000] ^= 1  # in the second append
    path.write_bytes(data)


def told(caplog):
    return [record.getMessage() for record in caplog.records if "are damaged" in record.getMessage()]


def found(logs):
    return [one.what for one in logs.examine() if one.level == "error"]


class Counted(Files):
    """Counts the bytes that are read of segments, and can fail to."""

    def __init__(self):
        self.read_bytes, self.names, self.unreadable = 0, {}, ""

    def open(self, path, flags):
        fd = super().open(path, flags)
        self.names[fd] = path.name
        return fd

    def read(self, fd, size, at):
        if self.names[fd] == self.unreadable and size > 1000:
            raise OSError(errno.EIO, "the disk cannot read this")
        data = super().read(fd, size, at)
        if self.names[fd].endswith(".log"):
            self.read_bytes += len(data)
        return data


def elsewhere(harness, logs):
    """Return another handle, whose reads are counted, when the first has let go of the log."""
    logs.close()
    counted = DiskLogs(logs.root.parent, harness.clock, files=Counted())
    harness._handles.append(counted)
    counted.ends(LOG)
    counted.files.read_bytes = 0
    return counted


# -- what is found ------------------------------------------------------------------------------------------------


def test_damage_is_told_once_and_seen_from_any_process(harness, logs, caplog):
    rot(segments(logs)[1])
    before = segments(logs)[1].read_bytes()

    for _ in range(3):
        logs.tidy()
        harness.elapse(EVERY)

    assert len(told(caplog)) == 1
    assert str(segments(logs)[1]) in told(caplog)[0]
    assert "offsets 3 to 4 " in told(caplog)[0]
    assert ["offsets 3 to 4 " in what for what in found(harness.open_logs())] == [True]
    assert segments(logs)[1].read_bytes() == before


def test_a_log_without_damage_has_no_finding(logs, caplog):
    logs.tidy()

    assert told(caplog) == []
    assert found(logs) == []


def test_a_damaged_header_is_found(logs, caplog):
    data = bytearray(segments(logs)[0].read_bytes())
    data[20] ^= 1
    segments(logs)[0].write_bytes(data)

    logs.tidy()

    assert "bytes 0 to 64" in told(caplog)[0]


def test_what_the_disk_cannot_read_is_damaged_and_the_rest_is_read(harness, logs, caplog):
    second, third = segments(logs)[1:3]
    logs = elsewhere(harness, logs)
    logs.files.unreadable = second.name
    rot(third)

    logs.tidy()

    assert [str(path) in text for path, text in zip((second, third), told(caplog), strict=True)] == [True, True]


def test_what_was_taken_out_is_no_longer_known(logs):
    rot(segments(logs)[1])
    logs.tidy()
    logs.repair(LOG)
    assert found(logs) == []

    logs.tidy()
    assert found(logs) == []


def test_damage_that_retention_has_removed_is_no_longer_known(harness, logs):
    rot(segments(logs)[0])
    logs.tidy()
    assert found(logs)

    logs.declare(LOG, LogSettings(keep_bytes=0))
    logs.tidy()

    assert found(logs) == []
    harness.elapse(EVERY)
    logs.tidy()
    assert b'"damages":[]' in (logs.root / LOG / "scrubbed").read_bytes()


# -- when, and how much -------------------------------------------------------------------------------------------


def test_what_was_read_is_not_read_again_before_its_time_also_after_a_restart(harness, logs):
    logs.tidy()
    again = elsewhere(harness, logs)
    again.tidy()
    assert again.files.read_bytes < 3000  # headers, to see whether anything is to be trimmed

    harness.elapse(EVERY)
    again.tidy()

    assert again.files.read_bytes > 6 * len(BODY)


def test_a_round_reads_a_bounded_amount_and_the_next_goes_on_from_there(harness, logs, monkeypatch, caplog):
    monkeypatch.setattr(backend, "ROUND", 5000)  # one append
    rot(segments(logs)[2])
    rounds = 0

    while not told(caplog):
        logs.tidy()
        logs = harness.reopen()  # the first of them ends nothing: it has to be opened to be tidied
        logs.ends(LOG)
        rounds += 1

    assert rounds == 6


def test_a_writer_that_goes_on_reads_its_new_segments_in_their_time(harness, logs, caplog):
    logs.tidy()
    logs.append(LOG, 0, Columns([BODY, BODY]))
    logs.roll(LOG)
    rot(segments(logs)[3])
    logs.tidy()
    assert told(caplog) == []

    harness.elapse(EVERY)
    logs.tidy()

    assert len(told(caplog)) == 1


def test_a_log_that_is_written_is_read_by_its_writer_alone(harness, logs, caplog):
    rot(segments(logs)[0])
    other = harness.open_logs()
    other.ends(LOG)

    other.tidy()
    assert told(caplog) == []
    logs.tidy()
    assert len(told(caplog)) == 1


def test_what_remembers_may_be_lost(logs, caplog):
    (logs.root / LOG / "scrubbed").write_bytes(b"nonsense")
    rot(segments(logs)[0])

    logs.tidy()

    assert len(told(caplog)) == 1
