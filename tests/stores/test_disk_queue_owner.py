"""What becomes of the disk store's queues when processes die, meet, or fork, and when the disk fails."""

import errno
import gc
import os
import signal
import socket
import subprocess
import sys
import tracemalloc

import pytest

from holdfast.capabilities import JobFilter
from holdfast.config import QueueSettings
from holdfast.delivery import Ack, HolderInfo, Receipt, State
from holdfast.errors import BackendError, QueueFull, UsageError
from holdfast.message import Message
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.options import PartitionOptions
from holdfast.stores.disk.queue import DiskQueues, backend
from holdfast.stores.disk.queue.findings import damage_findings
from holdfast.stores.disk.queue.sockets import ask
from holdfast.testing.clock import MovableClock
from holdfast.testing.conformance.programs import CHILD
from tests.stores.disk_queue_harness import DiskHarness

QUEUE = "work"

pytestmark = pytest.mark.slow  # `make quick` is for memory and SQLite


class KilledHarness(DiskHarness):
    """Its other processes tell the time by the system's clock, and so does the store here."""

    def __init__(self, folder):
        super().__init__(folder)
        self.clock = MovableClock()

    def address(self):
        self.close()
        return f"disk:{self._folder}", None


@pytest.fixture
def harness(tmp_path):
    with KilledHarness(tmp_path) as harness:
        yield harness


def messages(*ids, size=0):
    return [Message(id=one, body=b"x" * size) for one in ids]


def lease(store, limit=100, holder="w#1"):
    store.beat(HolderInfo(id=holder, ttl=1000, queues=(QUEUE,), kinds=("",)))
    lease_id = os.urandom(8).hex()
    return store.lease(QUEUE, holder, lease_id, limit=limit, kinds=("",), max_format=1)


# -- kills ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_a_killed_sender_was_told_is_stored(harness):
    told = harness.kill("send", after=20)

    stored = {one.id for one in lease(harness.open(), 10_000)}

    assert set(told) <= stored
    assert len(stored) <= len(told) + 1


@pytest.mark.slow
def test_the_leases_of_a_killed_worker_are_its_until_it_is_retired(harness):
    harness.open().send(QUEUE, messages(*map(str, range(10))))
    told = harness.kill("lease", after=10)

    store = harness.open()

    assert lease(store) == []
    ran, token = told[0].split()
    assert store.retire(CHILD, "worker died: SIGKILL", [Receipt(QUEUE, ran, int(token))]) == 10
    assert {one.id: one.attempt for one in lease(store)} == {str(one): 2 if str(one) == ran else 1 for one in range(10)}


@pytest.mark.slow
def test_no_token_is_given_twice_whoever_was_killed(harness):
    harness.open().send(QUEUE, messages("job"))
    [told] = harness.kill("lease", after=1)
    store = harness.open()
    store.retire(CHILD, "worker died: SIGKILL")

    [again] = lease(store)

    assert again.token > int(told.split()[1]) + 1_000_000


@pytest.mark.slow
def test_what_a_killed_worker_was_told_is_done_is_done(harness):
    harness.open().send(QUEUE, messages(*map(str, range(300))))
    told = harness.kill("settle", after=20)
    store = harness.open()
    store.retire(CHILD, "worker died: SIGKILL")

    again = {one.id for one in lease(store, 300)}

    assert not again & set(told)
    assert len(again) + store.stats(QUEUE).done == 300


# -- owners ---------------------------------------------------------------------------------------------------

OWN = """
import sys
import holdfast.message
import tracemalloc
from holdfast.config import parse_url
from holdfast.stores import open_store
store = open_store(parse_url(sys.argv[1]))
store.queues()
print("owned", flush=True)
for line in sys.stdin:
    print(eval(line), flush=True)
"""


@pytest.fixture
def owner(harness):
    """Another process that owns the queues; it prints what each line that it is sent comes to."""
    url, _ = harness.address()
    process = subprocess.Popen(
        [sys.executable, "-c", OWN, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    with process:
        assert process.stdout.readline() == "owned\n"
        yield process
        process.kill()


def told(owner, line):
    owner.stdin.write(line + "\n")
    return owner.stdout.readline().strip()


@pytest.mark.slow
def test_operators_commands_go_through_the_owner(harness, owner):
    told(owner, "store.send('work', [holdfast.message.Message(id=i, body=b'') for i in ('a', 'b', 'c')])")
    store = harness.open()

    store.pause(QUEUE)
    cancelled = store.cancel(QUEUE, ["a"], reason="not needed")
    page = store.browse(QUEUE, JobFilter(states=(State.READY,)), limit=1)

    assert cancelled == {"a": State.CANCELLED}
    assert [one.id for one in page.jobs] == ["c"]
    assert store.get(QUEUE, "a").reason == "not needed"
    assert store.replay(QUEUE, ["a"]).moved == ("a",)
    assert store.flush(QUEUE, State.READY) == 3
    assert store.stats(QUEUE).paused
    assert told(owner, "store.stats('work').paused, store.stats('work').ready") == "(True, 0)"
    with pytest.raises(UsageError, match="cannot be removed"):
        store.flush(QUEUE, State.RUNNING)
    assert any("is paused" in one.what for one in store.examine())


@pytest.mark.slow
def test_the_owner_answers_on_after_nonsense_and_while_somebody_hangs(harness, owner):
    store = harness.open()
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.connect(str(store.directory / "socket"))
        store.declare(QUEUE, QueueSettings())
        with pytest.raises(BackendError, match="ValueError"):
            ask(store.directory, "browse", (QUEUE, JobFilter(), 100, "nonsense", True))

        assert store.stats(QUEUE).ready == 0


@pytest.mark.slow
def test_a_second_process_is_told_which_one_owns_the_queues(harness, owner):
    store = harness.open()
    with pytest.raises(BackendError, match=f"process {owner.pid} on"):
        store.send(QUEUE, messages("job"))
    owner.send_signal(signal.SIGKILL)
    owner.wait()

    assert not store.send(QUEUE, messages("job"))[0].duplicate


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_of_a_fork_has_nothing_of_its_parents(harness):
    store = harness.open()
    store.send(QUEUE, messages("a"))
    child = os.fork()
    if child == 0:  # what fails here must not run the rest of the tests
        try:
            store.send(QUEUE, messages("b"))
        except BackendError as error:
            os._exit(0 if str(os.getppid()) in str(error) else 2)
        os._exit(1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.send(QUEUE, messages("c"))
    assert [one.id for one in lease(store)] == ["a", "c"]


# -- the disk -------------------------------------------------------------------------------------------------


class Failing(Files):
    """Files whose syncs fail while they are told to, and whose disk has only so much left."""

    def __init__(self):
        self.left = 1 << 40
        self.syncs_fail = False

    def free(self, path):
        return self.left

    def sync(self, fd):
        if self.syncs_fail:
            raise OSError(errno.EIO, "the disk")
        super().sync(fd)


@pytest.fixture
def files():
    return Failing()


@pytest.fixture
def store(tmp_path, files):
    options = PartitionOptions(reserve_bytes=0, segment_bytes=1 << 16)
    store = DiskQueues(tmp_path, options, MovableClock(ticking=False), files=files)
    yield store
    files.syncs_fail = False
    store.close()


def test_a_full_disk_takes_nothing_and_lets_what_is_there_be_worked_off(store, files):
    store.send(QUEUE, messages("a"))
    files.left = 1 << 20

    with pytest.raises(QueueFull, match="full"):
        store.send(QUEUE, messages("b"))

    [delivery] = lease(store)
    assert store.settle([Ack(delivery.receipt)]) == []
    files.left = 1 << 40
    store.send(QUEUE, messages("b"))
    assert store.stats(QUEUE).ready == 1


def test_after_a_failed_sync_the_store_goes_on_with_what_the_disk_has(store, files):
    store.send(QUEUE, messages("a"))
    files.syncs_fail = True
    with pytest.raises(BackendError) as failed:
        store.send(QUEUE, messages("b"))
    files.syncs_fail = False

    again = store.send(QUEUE, messages("a", "b"))

    assert failed.value.outcome_unknown
    assert again[0].duplicate
    assert {one.id for one in lease(store)} == {"a", "b"}


# -- memory ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_waiting_job_costs_less_than_300_bytes_of_memory_whatever_its_body(tmp_path):
    jobs, options = 100_000, PartitionOptions(sync="os", reserve_bytes=0)
    store = DiskQueues(tmp_path, options)
    store.declare(QUEUE, QueueSettings())
    tracemalloc.start()
    for _ in range(jobs // 1000):
        store.send(QUEUE, [Message(body=b"x" * 1000, headers={"a": "b"}) for _ in range(1000)])
    store._journal._recent.clear()  # of what was just written so many bytes are kept, not so many for each job
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert store.stats(QUEUE).ready == jobs
    assert used / jobs < 300
    store.close()


# -- space ----------------------------------------------------------------------------------------------------


def work_off(store, rounds):
    for number in range(rounds):
        store.send(QUEUE, messages(*(f"{number}-{one}" for one in range(10)), size=1000))
        assert store.settle([Ack(one.receipt) for one in lease(store)]) == []
        store.tidy()


def size_of(store):
    return sum(one.bytes for one in store._journal.segments())


def test_a_snapshot_gives_back_the_room_of_jobs_that_are_done(store, monkeypatch):
    monkeypatch.setattr("holdfast.stores.disk.queue.space.LEAST", 1 << 16)
    store.declare(QUEUE, QueueSettings(done_for=0, dedupe_window=0))

    work_off(store, 100)

    assert size_of(store) < 600_000


def test_a_damaged_snapshot_is_left_for_the_one_before(store, tmp_path):
    store.send(QUEUE, messages("a"))
    store._write_snapshot(store._journal)
    store.send(QUEUE, messages("b"))
    store._write_snapshot(store._journal)
    store.send(QUEUE, messages("c"))
    store._let_go()
    newest = max((tmp_path / "queues").glob("snapshot-*"))
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")

    assert [one.id for one in lease(store)] == ["a", "b", "c"]
    assert store.stats(QUEUE) == store.stats(QUEUE)
    assert store.get(QUEUE, "a").state is State.RUNNING


# -- rot ------------------------------------------------------------------------------------------------------


def rot(folder, body):
    """Change one byte of a body where it lies in the journal."""
    for path in (folder / "queues" / "journal").glob("*.log"):
        data = path.read_bytes()
        if (at := data.find(body)) >= 0:
            with path.open("r+b") as file:
                file.seek(at)
                file.write(bytes([body[0] ^ 1]))
            return
    raise AssertionError(f"{body!r} is in no segment")


@pytest.fixture
def rotten(store, tmp_path):
    """A store with jobs a, b and c, whose bodies are no longer in memory, and that of b not on the disk either."""
    for one in "abc":
        store.send(QUEUE, [Message(id=one, body=f"the body of {one}".encode())])
    store._journal._recent.clear()
    rot(tmp_path, b"the body of b")
    return store


def test_a_job_whose_body_is_damaged_becomes_a_dead_letter_and_the_others_are_leased(rotten):
    leased = lease(rotten)

    assert [(one.id, one.body) for one in leased] == [("a", b"the body of a"), ("c", b"the body of c")]
    assert rotten.stats(QUEUE).dead == 1
    [letter] = rotten.browse(QUEUE, JobFilter(states=(State.DEAD,))).jobs
    assert letter.id == "b"
    assert letter.reason.startswith("its body is damaged: ")
    assert "journal" in letter.reason
    assert lease(rotten) == []


def test_a_dead_letter_whose_body_is_damaged_is_one_after_a_reopen_too(rotten):
    lease(rotten)
    rotten._write_snapshot(rotten._journal)  # so that opening need not read what is damaged
    rotten._release()

    job = rotten.get(QUEUE, "b")

    assert (job.state, job.body, job.runs[0].outcome) == (State.DEAD, b"", "buried")
    assert job.reason.startswith("its body is damaged: ")


def test_a_damaged_result_is_not_taken_for_none(store, tmp_path):
    store.send(QUEUE, messages("a"))
    [delivery] = lease(store)
    store.settle([Ack(delivery.receipt, result=b"the result", keep_result=60)])
    store._journal._recent.clear()
    rot(tmp_path, b"the result")

    outcome = store.outcomes(QUEUE, ["a"])["a"]

    assert outcome.state is State.DEAD
    assert "its result is damaged" in outcome.error.message


def test_the_doctor_tells_of_damage_in_the_journal(rotten):
    [error] = [one for one in rotten.examine() if one.level == "error"]

    assert "are damaged" in error.what
    assert "00000000000000000000.log" in error.what


def test_who_does_not_own_the_queues_reads_every_byte_of_them_himself(rotten, tmp_path, monkeypatch):
    """It may take longer than anybody waits for the owner's answer."""
    read = []
    monkeypatch.setattr(backend, "damage_findings", lambda *given: read.append(1) or damage_findings(*given))
    guest = DiskQueues(tmp_path, PartitionOptions())
    monkeypatch.setattr(rotten, "examine", None)

    found = guest.examine()

    assert [one.what for one in found if "a journal of" in one.what] != []
    assert [one.level for one in found if "are damaged" in one.what] == ["error"]
    assert read == [1]
    guest.close()


def test_the_doctor_tells_of_a_snapshot_that_is_damaged(store, tmp_path):
    for one in "ab":
        store.send(QUEUE, messages(one))
        store._write_snapshot(store._journal)
    assert not [one for one in store.examine() if "is damaged" in one.what]
    newest = max(store.directory.glob("snapshot-*"))
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")

    [warned] = [one for one in store.examine() if "is damaged" in one.what]

    assert (warned.level, warned.what) == ("warn", f"{newest} is damaged")


def test_a_journal_that_cannot_be_replayed_is_examined_all_the_same(rotten):
    rotten._release()

    with pytest.raises(BackendError, match=r"journal is damaged.*bytes.*restore the directory"):
        rotten.queues()
    closed, damage, *_ = [one for one in rotten.examine() if one.level == "error"]
    assert "cannot be opened" in closed.what
    assert "are damaged" in damage.what
