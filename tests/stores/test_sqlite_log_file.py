"""Logs in a SQLite file: what only this store does, seen through real files, other connections and other processes."""

import os
import subprocess
import sys
import threading
import time
import zlib
from itertools import pairwise
from pathlib import Path

import apsw
import pytest

from benchmarks.ours.statements import Statements
from holdfast.clock import SYSTEM
from holdfast.config import LogSettings, parse_url
from holdfast.delivery import HolderInfo
from holdfast.errors import BackendError, BodyTooLarge, CorruptLog, QueueFull
from holdfast.heartbeat import this_process
from holdfast.logged import Columns, Crashes, Offset, Producer, Start
from holdfast.message import Level, Message
from holdfast.stores.sqlite import migrate, open_sqlite
from holdfast.stores.sqlite.logs import appends, reading, retention
from holdfast.testing.clock import SharedClock

PATIENCE = 10.0
READER = HolderInfo(id="reader#1", ttl=30.0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs.db"


@pytest.fixture
def clock(tmp_path):
    return SharedClock(tmp_path / "clock", ticking=False)


@pytest.fixture
def open_(path, clock):
    stores = []

    def open_(options="", **given):
        stores.append(open_sqlite(parse_url(f"sqlite:///{path}{options}"), clock=clock, **given))
        return stores[-1].open_logs()

    yield open_
    for store in stores:
        store.close()


@pytest.fixture
def logs(open_):
    logs = open_()
    logs.declare("events", LogSettings())
    return logs


@pytest.fixture
def outside(path, logs):
    """A connection that is not Holdfast's."""
    connection = apsw.Connection(str(path))
    yield connection
    connection.close()


@pytest.fixture
def begin():
    """Starts a process, and ends it with the test at the latest."""
    children = []

    def begin(program, *arguments, **options):
        children.append(subprocess.Popen([sys.executable, "-c", program, *arguments], **options))
        return children[-1]

    yield begin
    for child in children:
        child.kill()
        child.wait()


def append(logs, *bodies, partition=0, producer=None):
    return logs.append("events", partition, Columns(bodies), producer=producer)


def join(logs, holder=READER, group="readers"):
    return logs.join("events", group, holder, start=Start())


def polled(member, limit=1000, wait=0.0):
    return [body for chunk in member.poll(limit=limit, wait=wait) for body in chunk.bodies]


def read(logs, offset=0):
    return [body for chunk in logs.read("events", 0, offset, limit=1000, max_bytes=1 << 20) for body in chunk.bodies]


def rows(outside, table):
    return outside.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


# -- what is written, and when ------------------------------------------------------------------------------------


def changes(outside):
    return outside.execute("PRAGMA data_version").fetchone()[0]


def test_a_poll_that_finds_nothing_writes_nothing(logs, outside):
    member = join(logs)
    polled(member)
    before = changes(outside)

    for _ in range(100):
        polled(member)
    polled(member, wait=0.6)  # long enough to look after dead members twice

    assert changes(outside) == before


def test_polls_write_once_in_a_third_of_the_ttl(logs, outside, clock):
    member = join(logs)
    polled(member)
    before, written = changes(outside), 0

    for _ in range(60):
        clock.move(1)
        polled(member)
        written += changes(outside) != before
        before = changes(outside)

    assert written == 6


def test_beats_of_the_holder_do_for_its_polls(logs, outside, clock):
    member = join(logs)
    polled(member)
    clock.move(9)
    logs.beat(READER)
    before = changes(outside)

    clock.move(9)
    polled(member)

    assert changes(outside) == before


def test_an_append_is_one_row_whatever_it_holds(logs, outside):
    append(logs, *[b"x" * 100] * 1000)

    assert rows(outside, "holdfast_append") == 1


def test_an_append_that_does_not_wait_for_the_disk_says_so_until_it_is_flushed(open_):
    logs = open_("?sync=normal")
    logs.declare("events", LogSettings())

    assert append(logs, b"a").level is Level.WRITTEN
    assert logs.flush("events") is Level.SYNCED


def test_a_full_disk_refuses_appends_and_nothing_else(open_, path):
    def small(place):
        connection = apsw.Connection(place)
        connection.execute("PRAGMA max_page_count = 200")
        return connection

    logs = open_(client=small)
    logs.declare("events", LogSettings())
    append(logs, b"kept")

    with pytest.raises(QueueFull, match="the disk is full"):
        append(logs, b"x" * 1_000_000)

    member = join(logs)
    [chunk] = member.poll(limit=10, wait=0)
    assert list(chunk.bodies) == [b"kept"]
    assert member.commit([Offset(0, 1, chunk.version)]) == {0: 1}
    assert append(logs, b"small").offset == 1


# -- other handles ------------------------------------------------------------------------------------------------


def test_settings_that_another_process_declared_hold_for_the_next_append(logs, open_):
    append(logs, b"long enough")

    open_().declare("events", LogSettings(max_body=3, partitions=2))

    with pytest.raises(BodyTooLarge):
        append(logs, b"too long")
    assert append(logs, b"ok", partition=1).offset == 0


def test_a_log_that_another_process_made_anew_is_appended_to_from_its_beginning(logs, open_):
    append(logs, b"a", b"b")
    other = open_()
    other.destroy("events")
    other.declare("events", LogSettings())

    assert append(logs, b"c").offset == 0
    assert read(logs) == [b"c"]


def test_members_of_an_earlier_boot_are_dead(logs, open_, outside):
    append(logs, b"a")
    polled(join(logs))
    outside.execute("UPDATE holdfast_reader SET boot = 'an earlier one'")

    other = join(open_(), HolderInfo(id="other#1", ttl=30.0))

    assert polled(other) == [b"a"]


PROGRAM = """
import sys, time
from holdfast.clock import SYSTEM
from holdfast.config import parse_url
from holdfast.heartbeat import this_process
from holdfast.logged import Start
from holdfast.stores import open_store

member = open_store(parse_url(sys.argv[1])).open_logs().join("events", "readers", this_process(), start=Start())
print(len(member.poll(limit=1, wait=10)), flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_what_a_killed_process_held_is_taken_over_within_a_second(path, begin):
    store = open_sqlite(parse_url(f"sqlite:///{path}"), clock=SYSTEM)
    logs = store.open_logs()
    logs.declare("events", LogSettings())
    append(logs, b"a")
    child = begin(PROGRAM, f"sqlite:///{path}", stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"1\n"
    member = join(logs, this_process("stand-by#1"))
    assert polled(member) == []
    taken = []
    waiting = threading.Thread(target=lambda: taken.append((polled(member, wait=PATIENCE), time.monotonic())))
    waiting.start()

    child.kill()
    child.wait()
    killed = time.monotonic()
    child.stdout.close()
    waiting.join(PATIENCE)
    store.close()

    [(bodies, at)] = taken
    assert bodies == [b"a"]
    assert at - killed < 1.0


CROWD = """
import os, sys
from holdfast.clock import SYSTEM
from holdfast.config import parse_url
from holdfast.heartbeat import this_process
from holdfast.logged import Columns, Offset, Start
from holdfast.stores import open_store

role, url, name = sys.argv[1:]
logs = open_store(parse_url(url)).open_logs()
if role == "write":
    for number in range(200):
        logs.append("events", number % 4, Columns([f"{name} {number}".encode()]))
else:
    member = logs.join("events", "readers", this_process(f"{name}#1"), start=Start())
    while True:
        chunks = member.poll(limit=20, wait=0.5)
        for chunk in chunks:
            for message in chunk:
                os.write(1, f"{chunk.partition} {message.offset} {message.body.decode()}\\n".encode())  # at a stroke
        member.commit([Offset(chunk.partition, chunk.next, chunk.version) for chunk in chunks])
"""


@pytest.mark.slow
def test_of_many_processes_that_write_and_read_and_are_killed_every_message_is_handled_in_order(path, begin):
    url = f"sqlite:///{path}?sync=normal"
    store = open_sqlite(parse_url(url), clock=SYSTEM)
    logs = store.open_logs()
    logs.declare("events", LogSettings(partitions=4))
    handled = {number: [] for number in range(4)}
    enough = threading.Event()
    told, tell = os.pipe()  # one for all, so that lines lie in it in the order in which messages were handled

    def listen():
        with os.fdopen(told) as lines:
            for line in lines:
                partition, offset, body = line.rstrip("\n").split(" ", 2)
                handled[int(partition)].append((int(offset), body))
                if sum(len(set(found)) for found in handled.values()) == 600:
                    enough.set()

    readers = [begin(CROWD, "read", url, f"reader {number}", stdout=tell) for number in range(3)]
    writers = [begin(CROWD, "write", url, f"writer {number}", stdout=tell) for number in range(3)]
    os.close(tell)
    listener = threading.Thread(target=listen)
    listener.start()
    readers[0].kill()
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    readers[1].kill()
    assert enough.wait(30), {number: len(set(found)) for number, found in handled.items()}
    readers[2].kill()
    listener.join(PATIENCE)

    for partition, found in handled.items():
        chunks = logs.read("events", partition, 0, limit=1000, max_bytes=1 << 20)
        appended = [(message.offset, message.body.decode()) for chunk in chunks for message in chunk]
        assert list(dict.fromkeys(found)) == appended  # each for the first time in its order, and nothing else
        for name in range(3):
            its = [int(body.rsplit(" ", 1)[1]) for _, body in appended if body.startswith(f"writer {name} ")]
            assert its == list(range(partition, 200, 4))
    store.close()


FORKED = """
import os, sys
from holdfast.config import LogSettings, parse_url
from holdfast.errors import Closed
from holdfast.heartbeat import this_process
from holdfast.logged import Columns, Offset, Start
from holdfast.stores import open_store

logs = open_store(parse_url(f"sqlite:///{sys.argv[1]}")).open_logs()
logs.declare("events", LogSettings())
logs.append("events", 0, Columns([b"a"]))
member = logs.join("events", "readers", this_process(), start=Start())
[chunk] = member.poll(limit=10, wait=0)
child = os.fork()
if not child:
    try:
        member.poll(limit=10, wait=0)
    except Closed:
        member.leave()
        os._exit(0)
    os._exit(1)
_, status = os.waitpid(child, 0)
assert status == 0
assert member.commit([Offset(0, 1, chunk.version)]) == {0: 1}
"""


@pytest.mark.slow
def test_a_member_does_not_outlive_a_fork_and_its_parent_goes_on(path):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED, path], timeout=60, check=False)

    assert done.returncode == 0


# -- damage -------------------------------------------------------------------------------------------------------


def damage(outside, base, change):
    [(data,)] = outside.execute("SELECT data FROM holdfast_append WHERE base = ?", (base,)).fetchall()
    changed = change(data)
    outside.execute("UPDATE holdfast_append SET data = ? WHERE base = ?", (changed, base))
    return changed


def test_a_flipped_bit_is_an_error_there_and_nowhere_else(logs, outside):
    for number in range(3):
        append(logs, f"{number}a".encode(), f"{number}b".encode())
    damage(outside, 2, lambda data: data[:-1] + bytes([data[-1] ^ 1]))

    assert read(logs) == [b"0a", b"0b"]
    with pytest.raises(CorruptLog, match="'events', partition 0: the 12 bytes of offsets 2 to 3 are damaged"):
        read(logs, 3)
    assert read(logs, 4) == [b"2a", b"2b"]


def test_what_cannot_be_taken_apart_is_an_error_though_its_checksum_is_right(logs, outside):
    append(logs, b"a")
    changed = damage(outside, 0, lambda data: b"\xff" * 4 + data[4:])
    outside.execute("UPDATE holdfast_append SET crc = ?", (zlib.crc32(changed),))

    with pytest.raises(CorruptLog, match="lengths go beyond the data"):
        read(logs)


def test_a_group_is_told_of_damage_until_it_is_sought_beyond(logs, outside):
    for body in (b"a", b"b", b"c"):
        append(logs, body)
    damage(outside, 1, lambda data: bytes(len(data)))
    member = join(logs)
    assert polled(member) == [b"a"]

    for _ in range(2):
        with pytest.raises(CorruptLog):
            polled(member)
    logs.seek("events", "readers", {0: 2})

    assert polled(member) == [b"c"]


def test_the_rest_of_an_append_comes_before_the_damage_behind_it(logs, outside):
    append(logs, b"a", b"b")
    append(logs, b"c")
    damage(outside, 2, lambda data: bytes(len(data)))
    member = join(logs)

    assert [polled(member, limit=1), polled(member)] == [[b"a"], [b"b"]]
    with pytest.raises(CorruptLog):
        polled(member)


def test_what_a_poll_had_found_before_it_failed_comes_with_the_next(logs, monkeypatch):
    logs.declare("events", LogSettings(partitions=2))
    for number in range(2):
        append(logs, b"%d" % number, partition=number)
    member, read, calls = join(logs), reading.read, []

    def failing(*given):
        calls.append(given)
        if len(calls) == 2:
            raise BackendError("the disk is broken")
        return read(*given)

    monkeypatch.setattr(reading, "read", failing)
    with pytest.raises(BackendError):
        polled(member)

    assert sorted(polled(member)) == [b"0", b"1"]


# -- steps --------------------------------------------------------------------------------------------------------


def test_what_is_dropped_goes_in_steps_of_few_bytes(logs, monkeypatch):
    monkeypatch.setattr(retention, "STEP_BYTES", 25)
    for number in range(10):
        append(logs, f"{number:06}".encode())
    logs.declare("events", LogSettings(keep_most=1))
    made = Statements(monkeypatch.setattr).made

    done = logs.tidy()

    assert (done.messages, done.bytes, done.more) == (9, 90, False)
    assert made["COMMIT"] == 5  # two appends of ten bytes each
    assert read(logs, 9) == [b"000009"]


def test_a_round_drops_no_more_appends_than_it_may(logs, outside):
    for _ in range(10):
        append(logs, b"x")
    logs.declare("events", LogSettings(keep_most=1))

    rounds = [logs.tidy(4) for _ in range(3)]

    assert [(one.messages, one.more) for one in rounds] == [(4, True), (4, True), (1, False)]
    assert rows(outside, "holdfast_append") == 1


def test_nothing_is_dropped_that_a_group_was_set_back_to_meanwhile(logs, monkeypatch):
    logs.declare("events", LogSettings(keep_for=None, keep_most=1, until_consumed=True))
    for _ in range(5):
        append(logs, b"x")
    logs.seek("events", "readers", {0: 5})
    droppable = retention.droppable

    def then_sought(source, log, now):
        found = droppable(source, log, now)
        monkeypatch.undo()
        logs.writer.run(lambda tx: tx.execute("UPDATE holdfast_place SET next = 2"))
        return found

    monkeypatch.setattr(retention, "droppable", then_sought)
    logs.tidy()

    assert logs.ends("events")[0].first == 2


def test_what_a_destroy_left_behind_when_its_process_died_goes_with_the_next_rounds(logs, outside):
    for number in range(10):
        append(logs, b"x", producer=Producer(1, 0, number))
    logs.write(lambda tx: retention.destroy(tx, "events"))  # and then it died
    assert logs.logs() == {}

    rounds = 1
    while logs.tidy(4).more:
        rounds += 1

    assert rounds == 3
    assert [rows(outside, f"holdfast_{name}") for name in ("append", "partition", "producer", "place")] == [0, 0, 0, 0]


def test_a_destroyed_log_leaves_no_row(logs, outside):
    append(logs, b"x", producer=Producer(1, 0, 0))
    member = join(logs)
    polled(member)
    logs.charge("events", "readers", 0, 0, run=1, reason="died")

    assert logs.destroy("events") == 1

    tables = ("log", "partition", "append", "producer", "group", "place", "member", "crash")
    assert [rows(outside, f"holdfast_{name}") for name in tables] == [0] * len(tables)


def test_holders_are_forgotten_when_they_are_gone(logs, outside, clock):
    join(logs).leave()
    logs.retire("old#1")
    assert rows(outside, "holdfast_reader") == 2

    clock.move(31)
    logs.tidy()
    after_its_ttl = rows(outside, "holdfast_reader")
    clock.move(3600)
    logs.tidy()

    assert (after_its_ttl, rows(outside, "holdfast_reader")) == (1, 0)


def test_only_the_producers_that_appended_last_are_remembered(logs, outside, monkeypatch):
    monkeypatch.setattr(appends, "MOST_PRODUCERS", 3)
    largest = (1 << 64) - 1
    for id_, sequence in ((largest, 0), (2, 0), (3, 0), (largest, 1), (4, 0)):
        append(logs, b"x", producer=Producer(id_, 0, sequence))

    assert rows(outside, "holdfast_producer") == 3
    assert append(logs, b"x", producer=Producer(largest, 0, 1)).offset == 3  # remembered
    assert append(logs, b"x", producer=Producer(2, 0, 0)).offset == 5  # forgotten


# -- files of earlier releases ------------------------------------------------------------------------------------


def test_a_file_without_logs_gets_them(open_, path, clock, monkeypatch):
    known = migrate.known()
    monkeypatch.setattr(migrate, "known", lambda: tuple(number for number in known if number < 6))
    store = open_sqlite(parse_url(f"sqlite:///{path}"), clock=clock)
    store.send("work", [Message(id="a", body=b"kept")])
    store._reader.close()
    store._writer.close()
    monkeypatch.undo()

    logs = open_()
    logs.declare("events", LogSettings())

    assert append(logs, b"a").offset == 0
    with apsw.Connection(str(path)) as file:
        assert file.execute("SELECT body FROM holdfast_body").fetchall() == [(b"kept",)]


def test_a_log_that_the_first_version_wrote_is_read_and_goes_on(open_, path):
    file = apsw.Connection(str(path))
    file.execute((Path(__file__).parent / "fixtures" / "logs-6.sql").read_text())
    file.close()
    logs = open_()

    settings = LogSettings(partitions=2, keep_for=None, labels={"team": "a"}, compression="zstd")
    assert logs.logs() == {"events": settings}
    first, second = logs.read("events", 0, 0, limit=10, max_bytes=1000)
    assert [message.body for message in first] == [b"a", b"", b"c"]
    assert [message.key for message in first] == ["k", None, "näh"]
    assert [dict(message.headers) for message in first] == [{}, {"x": "y"}, {}]
    assert (second.time, logs.find("events", 0, second.time)) == (1_700_000_060_000, 3)
    assert append(logs, b"d", producer=Producer((1 << 64) - 1, 1, 7)).duplicate
    assert logs.crashes("events", "readers", 0) == {2: Crashes((1,), "SIGKILL")}
    member = join(logs)
    assert sorted(polled(member)) == [b"", b"c", b"compressed " * 20, b"compressed " * 20, b"d"]
    assert member.assigned()[0].place.finished == (3,)
    assert append(logs, b"e").offset == 4


# -- concurrency --------------------------------------------------------------------------------------------------


def test_appends_of_many_threads_share_commits(logs, monkeypatch):
    made = Statements(monkeypatch.setattr).made
    gate = threading.Barrier(16)

    def run():
        gate.wait(PATIENCE)
        for _ in range(20):
            append(logs, b"x")

    threads = [threading.Thread(target=run) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert logs.ends("events")[0].next == 320
    assert made["COMMIT"] < 320 / 2


def test_times_and_totals_rise_together(logs, outside, clock):
    for number in range(5):
        append(logs, *[b"x" * number] * (number + 1))
        clock.move(1 if number % 2 else -1)

    found = outside.execute("SELECT number, base, time, before, bodies FROM holdfast_append ORDER BY number").fetchall()
    for one, next_ in pairwise(found):
        assert all(value <= following for value, following in zip(one, next_, strict=True))
