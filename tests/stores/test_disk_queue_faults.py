"""What the disk store's queues promise when syncs fail, snapshots rot, the power is cut, and space runs out."""

import errno
import random
import threading
from pathlib import Path

import pytest

from holdfast.delivery import Ack, HolderInfo, State
from holdfast.errors import BackendError, QueueFull
from holdfast.message import Message
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.options import PartitionOptions
from holdfast.stores.disk.queue import DiskQueues, records
from holdfast.testing.clock import MovableClock
from tests.disk.crashes import crashes
from tests.disk.layers import seeds, share
from tests.disk.partitions import rebooted
from tests.disk.simulated import SimulatedDisk

QUEUE = "work"
ROOT = Path("/disk")
OPTIONS = PartitionOptions(reserve_bytes=0, segment_bytes=1 << 16, idle_mark=3600)

pytestmark = pytest.mark.slow


def messages(*ids, size=0):
    return [Message(id=one, body=b"x" * size) for one in ids]


def lease(store, limit=100, holder="w#1"):
    store.beat(HolderInfo(id=holder, ttl=1000, queues=(QUEUE,), kinds=("",)))
    return store.lease(QUEUE, holder, random.randbytes(8).hex(), limit=limit, kinds=("",), max_format=1)


def opened(folder, files=None, options=OPTIONS):
    return DiskQueues(folder, options, MovableClock(ticking=False), files=files)


# -- syncs that fail ------------------------------------------------------------------------------------------


class Refusing(Files):
    """Files whose syncs fail while they are told to: all of them, or the next one, for which they wait to be told."""

    def __init__(self):
        self.fail = False
        self.reached, self.go = threading.Event(), threading.Event()
        self.hold_next = False

    def sync(self, fd):
        if self.hold_next:
            self.hold_next = False
            self.reached.set()
            assert self.go.wait(10)
            raise OSError(errno.EIO, "the disk")
        if self.fail:
            raise OSError(errno.EIO, "the disk")
        super().sync(fd)


def test_nobody_is_answered_whose_record_went_with_a_failed_sync(tmp_path):
    files = Refusing()
    store = opened(tmp_path, files)
    store.send(QUEUE, messages("first"))
    told = {}

    def send(job):
        try:
            told[job] = store.send(QUEUE, messages(job))
        except BackendError as error:
            told[job] = error

    files.hold_next = True
    threads = [threading.Thread(target=send, args=(f"job {number}",)) for number in range(6)]
    threads[0].start()
    assert files.reached.wait(10)
    for thread in threads[1:]:
        thread.start()
    while store._journal.next < 2 * len(threads) + 3:  # until all have written theirs
        threading.Event().wait(0.001)
    files.go.set()
    for thread in threads:
        thread.join()

    stored = {job for job, answer in told.items() if not isinstance(answer, BackendError)}
    assert all(answer.outcome_unknown for answer in told.values() if isinstance(answer, BackendError))
    assert stored <= {one.id for one in lease(store)}
    store.close()


def test_what_a_failed_sync_left_in_the_systems_memory_is_not_taken_for_stored(tmp_path):
    files = Refusing()
    store = opened(tmp_path, files)
    store.send(QUEUE, messages("a"))
    files.fail = True
    with pytest.raises(BackendError):
        store.send(QUEUE, messages("b"))
    with pytest.raises(BackendError):
        store.stats(QUEUE)  # the disk still refuses
    files.fail = False

    [again] = store.send(QUEUE, messages("b"))

    assert not again.duplicate
    store.close()
    store = opened(tmp_path)
    assert [one.id for one in lease(store)] == ["a", "b"]
    store.close()


# -- power cuts -----------------------------------------------------------------------------------------------


def test_a_token_is_not_given_twice_by_a_power_cut_right_after_an_opening(tmp_path):
    disk = SimulatedDisk()
    store = opened(ROOT, disk)
    store.send(QUEUE, messages("job"))
    store.close()
    start, nodes = disk.image(), dict(disk.names)
    disk.trace.clear()
    store = opened(ROOT, disk)
    [first] = lease(store)
    disk.note(("leased", [(first.id, first.token)]))
    lease(store)  # a beat: the power is cut behind a step

    for crash in crashes(disk.trace, random.Random(1), 8, start, nodes):
        judge(crash, f"step {crash.at}")


def test_a_token_is_not_given_twice_by_a_power_cut_behind_a_snapshot():
    """What is behind it may all be lost, and the snapshot says nothing of an orderly close."""
    disk = SimulatedDisk()
    store = opened(ROOT, disk)
    store.send(QUEUE, messages("job"))
    store._write_snapshot(store._journal)
    start, nodes = disk.image(), dict(disk.names)
    disk.trace.clear()
    [first] = lease(store)
    disk.note(("leased", [(first.id, first.token)]))
    lease(store)  # a beat: the power is cut behind a step

    for crash in crashes(disk.trace, random.Random(1), 8, start, nodes):
        judge(crash, f"step {crash.at}")


@share(8, 400)
def test_what_was_acknowledged_survives_a_power_cut_at_any_instant(cases, record_property):
    states = 0
    for seed in seeds(cases, record_property):
        draw = random.Random(seed)
        disk = SimulatedDisk()
        start = disk.image()
        lived(disk, draw)
        for crash in draw.sample(found := list(crashes(disk.trace, draw, 2, start, {})), min(40, len(found))):
            states += 1
            judge(crash, f"seed {seed}, step {crash.at}")
    record_property("states", states)


def lived(disk, draw):
    """Let a store live, and note what it said."""
    store, number = opened(ROOT, disk, OPTIONS_SMALL), 0
    store.queues()
    for _ in range(25):
        match draw.randrange(8):
            case 0 | 1 | 2:
                sent = [str(number + one) for one in range(draw.randint(1, 4))]
                number += len(sent)
                store.send(QUEUE, messages(*sent, size=draw.choice((10, 1500))))
                disk.note(("sent", sent))
            case 3 | 4:
                leased = lease(store, draw.randint(1, 4))
                disk.note(("leased", [(one.id, one.token) for one in leased]))
                if draw.random() < 0.7:
                    store.settle([Ack(one.receipt) for one in leased])
                    disk.note(("done", [one.id for one in leased]))
            case 5:
                store.tidy()
            case 6:
                store._write_snapshot(store._journal)
            case 7:
                store.close()
                store = opened(ROOT, disk, OPTIONS_SMALL)
                store.queues()
    store.close()


OPTIONS_SMALL = PartitionOptions(reserve_bytes=0, segment_bytes=4096, idle_mark=3600)


def judge(crash, where):
    """Open what a power cut left, and hold it against what was said."""
    store = opened(ROOT, SimulatedDisk(rebooted(crash.image)), OPTIONS_SMALL)
    said = {verb: [one for kind, many in crash.facts if kind == verb for one in many] for verb in ("sent", "done")}
    tokens = {}
    for kind, many in crash.facts:
        tokens.update(many if kind == "leased" else ())
    for job in said["sent"]:
        assert store.get(QUEUE, job) is not None, f"{where}: {job} is lost"
    for job in said["done"]:
        assert store.get(QUEUE, job).state is State.DONE, f"{where}: {job} is done no more"
    store.retire("w#1", "gone")
    for one in lease(store, 1000, holder="w#2"):
        assert one.token > tokens.get(one.id, 0), f"{where}: {one.id} has token {one.token} again"
    store.close()


# -- snapshots and formats ------------------------------------------------------------------------------------


def worked(folder, rounds=40):
    """Leave a directory whose journal lacks its beginning."""
    store = opened(folder)
    for number in range(rounds):
        store.send(QUEUE, messages(f"{number}", size=4000))
        store.settle([Ack(one.receipt) for one in lease(store)])
    store.flush(QUEUE, State.DONE)
    for _ in range(2):
        store.send(QUEUE, messages(random.randbytes(4).hex()))
        store._write_snapshot(store._journal)
    assert store._journal.first > 0
    store.close()
    return folder / "queues"


def test_a_store_without_a_whole_snapshot_is_refused_when_its_journal_lacks_the_beginning(tmp_path):
    queues = worked(tmp_path)
    for path in queues.glob("snapshot-*"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")

    with pytest.raises(BackendError, match="newest snapshot that is whole"):
        opened(tmp_path).queues()


def test_a_snapshot_of_a_later_release_is_refused_and_not_passed_over(tmp_path):
    newest = max(worked(tmp_path).glob("snapshot-*"))
    data = bytearray(newest.read_bytes())
    data[8] += 1
    newest.write_bytes(data)

    with pytest.raises(BackendError, match="a later release of Holdfast wrote"):
        opened(tmp_path).queues()


def test_a_journal_of_a_later_release_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "FORMAT", records.FORMAT + 1)
    store = opened(tmp_path)
    store.send(QUEUE, messages("a"))
    store.close()
    monkeypatch.undo()

    with pytest.raises(BackendError, match="entries of format 2, which a later release of Holdfast wrote"):
        opened(tmp_path).queues()


def test_a_beat_does_not_wait_while_a_snapshot_is_written(tmp_path):
    files = Refusing()
    store = opened(tmp_path, files)
    store.send(QUEUE, messages("a"))
    lease(store)
    wrote, go, write = threading.Event(), threading.Event(), store._snapshots.write

    def slowly(number, body):
        wrote.set()
        assert go.wait(10)
        return write(number, body)

    store._snapshots.write = slowly
    thread = threading.Thread(target=store._write_snapshot, args=(store._journal,))
    thread.start()
    assert wrote.wait(10)

    assert store.beat(HolderInfo(id="w#1", ttl=1000, queues=(QUEUE,), kinds=("",))).alive
    go.set()
    thread.join()
    store.close()


# -- copies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True])
def test_jobs_that_wait_for_long_do_not_keep_all_that_is_behind_them(tmp_path, monkeypatch, again):
    monkeypatch.setattr("holdfast.stores.disk.queue.space.LEAST", 1 << 16)
    store = opened(tmp_path)
    waiting = {f"waits {number}": random.randbytes(500) for number in range(20)}
    store.send(QUEUE, [Message(id=one, body=body, delay=3600) for one, body in waiting.items()])
    for number in range(80):
        store.send(QUEUE, messages(*(f"{number}-{one}" for one in range(10)), size=1000))
        store.settle([Ack(one.receipt) for one in lease(store)])
        store.flush(QUEUE, State.DONE)
        store.tidy()

    assert sum(one.bytes for one in store._journal.segments()) < 600_000
    if again:
        store.close()
        store = opened(tmp_path)
    store.queues()
    store._journal.flush()
    store._journal._recent.clear()
    assert {one: store.get(QUEUE, one).body for one in waiting} == waiting
    store._clock.move(3601)
    assert {one.id: one.body for one in lease(store)} == waiting
    store.close()


def test_a_damaged_body_does_not_keep_all_that_is_behind_it(tmp_path, monkeypatch):
    """It is not copied, for it cannot be; its segment goes without it."""
    monkeypatch.setattr("holdfast.stores.disk.queue.space.LEAST", 1 << 16)
    store = opened(tmp_path)
    waiting = {f"waits {number}": random.randbytes(500) for number in range(6)}
    for one, body in waiting.items():
        store.send(QUEUE, [Message(id=one, body=body, delay=3600)])
    store._journal._recent.clear()
    [segment] = (store.directory / "journal").glob("*.log")
    at = segment.read_bytes().index(waiting.pop("waits 3"))
    with segment.open("r+b") as file:
        file.seek(at)
        file.write(b"rot")
    for number in range(80):
        store.send(QUEUE, messages(*(f"{number}-{one}" for one in range(10)), size=1000))
        store.settle([Ack(one.receipt) for one in lease(store)])
        store.flush(QUEUE, State.DONE)
        store.tidy()

    assert sum(one.bytes for one in store._journal.segments()) < 600_000
    assert not segment.exists()
    for _ in range(2):
        store._journal.flush()
        store._journal._recent.clear()
        assert {one: store.get(QUEUE, one).body for one in waiting} == waiting
        store.close()
        store = opened(tmp_path)
        store.queues()
    store._clock.move(3601)
    assert {one.id: one.body for one in lease(store)} == waiting
    assert store.get(QUEUE, "waits 3").state is State.DEAD
    store.close()


# -- no room --------------------------------------------------------------------------------------------------


class Crowded(Files):
    """Files of a disk that says it has room, and has none from the ``at``-th call that needs some on."""

    def __init__(self):
        self.left = None

    def _need(self):
        if self.left is not None:
            if self.left == 0:
                raise OSError(errno.ENOSPC, "no space left on device")
            self.left -= 1

    def open(self, path, flags):
        if "lock" not in path.name:
            self._need()
        return super().open(path, flags)

    def write(self, fd, pieces, at):
        self._need()
        return super().write(fd, pieces, at)

    def sync(self, fd):
        self._need()
        super().sync(fd)

    def free(self, path):
        return 1 << 40


@pytest.mark.parametrize("at", range(8))
def test_a_disk_that_fills_up_at_any_call_loses_nothing_that_was_acknowledged(tmp_path, at):
    files = Crowded()
    store = opened(tmp_path, files, OPTIONS_SMALL)
    told, done = set(), set()
    for number in range(12):
        files.left = at if number in (3, 4, 7) else None
        job = f"{number}"
        try:
            store.send(QUEUE, messages(job, size=1000))
            told.add(job)
            leased = lease(store, 1)
            store.settle([Ack(one.receipt) for one in leased])
            done.update(one.id for one in leased)
        except (QueueFull, BackendError):
            pass
    files.left = None

    assert store.send(QUEUE, messages("last"))
    for job in told:
        assert store.get(QUEUE, job) is not None
    assert {store.get(QUEUE, job).state for job in done} <= {State.DONE}
    before = {one.id for one in store._engine.places[QUEUE].machine.heads.values()}
    store.close()
    store = opened(tmp_path)
    store.queues()
    assert {one.id for one in store._engine.places[QUEUE].machine.heads.values()} == before
    store.close()
