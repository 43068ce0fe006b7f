"""What logs of the disk store meet that others do not: shortened files, syncs of commits, retention by files."""

import threading

import pytest

from holdfast.clock import SYSTEM
from holdfast.config import LogSettings
from holdfast.delivery import HolderInfo
from holdfast.errors import QueueFull
from holdfast.logged import Columns, Offset, Start
from holdfast.message import Level
from holdfast.stores.disk import DiskLogs
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.logs import member, waking
from holdfast.testing.clock import MovableClock
from tests.stores.disk_harness import DiskLogHarness

LOG = "events"
BODY = b"x" * 1000


@pytest.fixture
def harness(tmp_path):
    with DiskLogHarness(tmp_path) as harness:
        yield harness


@pytest.fixture
def logs(harness):
    logs = harness.open_logs()
    logs.declare(LOG, LogSettings())
    return logs


def append(logs, *bodies, partition=0):
    return logs.append(LOG, partition, Columns(list(bodies))).offset


def join(logs, group="readers", holder="here#1"):
    return logs.join(LOG, group, HolderInfo(id=holder, ttl=30), start=Start())


def commit(member, chunks, *, durable=False):
    return member.commit([Offset(one.partition, one.next, one.version) for one in chunks], durable=durable)


def place(harness, group="readers"):
    return harness.root / "logs" / LOG / "groups" / group / "0"


# -- a log that is shorter than its groups think ----------------------------------------------------------------


def shorten(harness, logs):
    """Let a group commit the end of four messages, and the log lose the last two of them."""
    append(logs, b"a", b"b")
    harness.seal(logs, LOG)
    append(logs, b"c", b"d")
    reader = join(logs)
    commit(reader, reader.poll(limit=9, wait=0))
    harness.close()
    for file in (harness.root / "logs" / LOG / "0").glob("*2.*"):
        file.unlink()
    (harness.root / "logs" / LOG / "0" / "tail").unlink()


def test_an_offset_beyond_the_end_is_set_back_by_who_takes_the_partition(harness, logs, caplog):
    shorten(harness, logs)
    logs = harness.open_logs()
    reader = join(logs)

    assert reader.poll(limit=9, wait=0) == []
    assert reader.assigned()[0].place.next == 2
    assert "its offset 4 is beyond the end of the log, and was set back to 2" in caplog.text


def test_an_offset_beyond_the_end_is_set_back_before_anything_is_appended(harness, logs, caplog):
    shorten(harness, logs)
    logs = harness.open_logs()

    append(logs, b"new c", b"new d", b"new e")

    assert "was set back to 2" in caplog.text
    assert [chunk.bodies for chunk in join(logs).poll(limit=9, wait=0)] == [[b"new c", b"new d", b"new e"]]


def test_a_damaged_slot_is_reported(harness, logs, caplog):
    append(logs, b"a", b"b")
    reader = join(logs)
    for _ in range(2):
        commit(reader, reader.poll(limit=1, wait=0), durable=True)
    harness.close()
    data = bytearray(place(harness).read_bytes())
    data[24] ^= 1
    place(harness).write_bytes(data)

    join(harness.open_logs()).poll(limit=9, wait=0)

    assert "an offset slot is damaged" in caplog.text


# -- commits and the disk -----------------------------------------------------------------------------------------


class Synced(Files):
    """Tells when the offset file of a partition has been synced."""

    def __init__(self):
        self.told = threading.Semaphore(0)
        self._fds = set()

    def open(self, path, flags):
        fd = super().open(path, flags)
        if path.parent.parent.name == "groups" and path.name == "0":
            self._fds.add(fd)
        else:
            self._fds.discard(fd)
        return fd

    def sync(self, fd):
        super().sync(fd)
        if fd in self._fds:
            self.told.release()

    def drain(self):
        while self.told.acquire(blocking=False):
            pass


@pytest.fixture
def synced(tmp_path):
    files = Synced()
    logs = DiskLogs(tmp_path, SYSTEM, files=files)
    logs.declare(LOG, LogSettings())
    logs.files = files
    yield logs
    logs.close()


def polled(logs):
    append(logs, b"a", b"b", b"c")
    reader = join(logs)
    chunks = reader.poll(limit=1, wait=0)
    assert logs.files.told.acquire(timeout=10)  # that of taking the partition
    logs.files.drain()
    return reader, chunks


def test_a_commit_is_on_the_disk_soon(synced):
    reader, chunks = polled(synced)

    commit(reader, chunks)

    assert synced.files.told.acquire(timeout=10)


def test_a_durable_commit_is_on_the_disk_on_return(synced):
    reader, chunks = polled(synced)

    commit(reader, chunks, durable=True)

    assert synced.files.told.acquire(blocking=False)


def test_many_commits_share_a_sync(synced):
    append(synced, *[b"x"] * 200)
    reader = join(synced)
    reader.poll(limit=1, wait=0)
    assert synced.files.told.acquire(timeout=10)
    synced.files.drain()

    for _ in range(100):
        commit(reader, reader.poll(limit=1, wait=0))
    reader.leave()

    syncs = 0
    while synced.files.told.acquire(blocking=False):
        syncs += 1
    assert 1 <= syncs < 50


# -- retention ----------------------------------------------------------------------------------------------------


def test_of_two_groups_one_slow_and_one_dead_each_keeps_what_it_needs(harness, logs):
    """The dead one is told by what it pins, and goes by policy alone."""
    logs.declare(LOG, LogSettings(until_consumed=True, keep_bytes=0, group_expiry=3600))
    slow, dead = join(logs, "slow"), join(logs, "dead")
    for _ in range(6):
        append(logs, BODY)
        harness.seal(logs, LOG)
    commit(dead, dead.poll(limit=1, wait=0))
    commit(slow, slow.poll(limit=4, wait=0))
    dead.leave()

    assert logs.tidy().messages == 1
    pins = {info.name: info.pins for info in logs.groups(LOG)}
    assert pins["dead"] > 3 * len(BODY)
    assert pins["slow"] == 0

    harness.elapse(3000)
    assert logs.tidy().messages == 0
    harness.elapse(1000)
    tidied = logs.tidy()
    assert (tidied.groups, tidied.messages) == (((LOG, "dead"),), 3)
    assert len(slow.poll(limit=9, wait=0)) == 2
    harness.elapse(100_000)
    assert logs.tidy().messages == 0


def fill(logs, body):
    """Append until it is refused; return how many went, and the refusal."""
    for count in range(1000):
        try:
            append(logs, body)
        except QueueFull as error:
            return count, error
    raise AssertionError("the limit was never reached")


def test_a_full_log_refuses_and_resumes_when_its_groups_have_read_on(harness, logs):
    logs.declare(LOG, LogSettings(until_consumed=True, keep_bytes=0, limit_bytes=1 << 20))
    reader, large = join(logs), b"x" * 50_000
    count, refusal = fill(logs, large)
    assert 15 < count < 21
    assert 0 < refusal.retry_after <= 1

    commit(reader, reader.poll(limit=99, wait=0, max_bytes=1 << 30))
    with pytest.raises(QueueFull):  # not looked at again in the same second
        append(logs, large)
    harness.elapse(1)

    assert append(logs, large) == count


def test_a_refused_append_costs_no_look_at_the_files(harness, tmp_path):
    class Counted(Files):
        calls = 0

        def list(self, path):
            Counted.calls += 1
            return super().list(path)

    clock = MovableClock(ticking=False)
    logs = DiskLogs(tmp_path / "counted", clock, files=Counted())
    try:
        logs.declare(LOG, LogSettings(limit_bytes=10_000, keep_bytes=0, until_consumed=True))
        join(logs)
        fill(logs, BODY)
        before = Counted.calls
        for _ in range(100):
            with pytest.raises(QueueFull):
                append(logs, BODY)
        assert Counted.calls == before
    finally:
        logs.close()


def test_a_quiet_log_lets_go_of_what_is_old(harness, logs):
    """Though all of it, old and new, fits the file that is being written."""
    logs.declare(LOG, LogSettings(keep_for=800))
    for _ in range(12):
        append(logs, BODY)
        harness.elapse(150)
        logs.tidy()

    ends = logs.ends(LOG)[0]

    assert ends.next - ends.first < 9
    assert ends.next - ends.first >= 800 // 150


# -- waiting without the kernel's help --------------------------------------------------------------------------


def test_without_inotify_a_poll_is_woken_all_the_same(harness, logs, monkeypatch):
    monkeypatch.setattr(member, "new_waker", waking.Looking)
    reader, got = join(logs), []
    thread = threading.Thread(target=lambda: got.extend(reader.poll(limit=9, wait=30)))
    thread.start()

    append(logs, b"a")

    thread.join(10)
    assert [chunk.bodies for chunk in got] == [[b"a"]]


def test_without_inotify_a_poll_can_be_interrupted(harness, logs, monkeypatch):
    monkeypatch.setattr(member, "new_waker", waking.Looking)
    reader = join(logs)
    thread = threading.Thread(target=lambda: reader.poll(limit=9, wait=30))
    thread.start()

    reader.interrupt()

    thread.join(10)
    assert not thread.is_alive()


# -- how safe -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sync", "level"), [("always", Level.SYNCED), ("interval", Level.WRITTEN), ("os", Level.WRITTEN)]
)
def test_an_append_is_as_safe_as_the_url_says_and_a_flush_makes_it_safe(tmp_path, sync, level):
    with DiskLogHarness(tmp_path, f"?sync={sync}") as harness:
        logs = harness.open_logs()
        logs.declare(LOG, LogSettings())

        assert logs.features.level == level
        assert logs.append(LOG, 0, Columns([b"a"])).level == level
        assert logs.flush(LOG) == Level.SYNCED
