"""Waiting on a file costs a look for every change by others, and none for what this process says of its own life."""

import threading
from concurrent.futures import Future

import pytest

from benchmarks.ours.statements import Statements
from holdfast.config import LogSettings, parse_url
from holdfast.delivery import HolderInfo, Report
from holdfast.logged import Columns, Start
from holdfast.message import Message
from holdfast.stores import open_store

PATIENCE = 10
FILTER = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.fixture(params=["apsw", pytest.param("sqlite3", marks=[FILTER, pytest.mark.again])])
def open_handle(tmp_path, request):
    handles = []

    def open_handle():
        handles.append(open_store(parse_url(f"sqlite:///{tmp_path}/jobs.db?driver={request.param}")))
        return handles[-1]

    yield open_handle
    for handle in handles:
        handle.close()


@pytest.fixture
def statements(monkeypatch):
    return Statements(monkeypatch.setattr)


class Waiter:
    """One wait of a store, in a thread of its own; on return it has looked for the first time."""

    def __init__(self, store, statements):
        self.woken = Future()
        self._statements = statements
        looks = self.looks
        threading.Thread(target=lambda: self.woken.set_result(store.wait(["q"], [""], PATIENCE))).start()
        self.wait_for_looks(looks + 1)

    @property
    def looks(self):
        return sum(count for sql, count in list(self._statements.made.items()) if "json_group_array(id)" in sql)

    def wait_for_looks(self, count):
        for _ in range(PATIENCE * 1000):
            if self.looks >= count:
                return
            threading.Event().wait(0.001)
        raise AssertionError(f"{self.looks} looks, {count} expected")


def me(number=1):
    return HolderInfo(id=f"me#{number}", ttl=30)


def test_beats_of_this_process_cause_no_look(open_handle, statements):
    store = open_handle()
    store.beat(me())
    waiter = Waiter(store, statements)
    threading.Event().wait(0.05)  # the first look around of the writer, which knows of nothing yet
    looks = waiter.looks

    for _ in range(20):
        store.beat(me())
        threading.Event().wait(0.005)

    assert waiter.looks == looks
    store.interrupt()
    assert waiter.woken.result(PATIENCE) is False


def test_reports_of_this_process_cause_no_look(open_handle, statements):
    store = open_handle()
    store.beat(me())
    store.send("q", [Message(body=b"")])
    [delivery] = store.lease("q", "me#1", "1", limit=1, kinds=[""], max_format=1)
    waiter = Waiter(store, statements)
    threading.Event().wait(0.05)
    looks = waiter.looks

    for number in range(20):
        assert store.report([Report(delivery.receipt, number / 20)]) == []
        threading.Event().wait(0.005)

    assert waiter.looks == looks
    store.interrupt()
    assert waiter.woken.result(PATIENCE) is False


def test_a_beat_of_another_process_causes_one_look(open_handle, statements):
    store, other = open_handle(), open_handle()
    other.beat(me(2))
    waiter = Waiter(store, statements)
    threading.Event().wait(0.05)
    looks = waiter.looks

    other.beat(me(2))

    waiter.wait_for_looks(looks + 1)
    threading.Event().wait(0.1)
    assert waiter.looks == looks + 1
    store.interrupt()


def test_appends_of_this_process_cause_no_look(open_handle, statements):
    store = open_handle()
    logs = store.open_logs()
    logs.declare("events", LogSettings())
    waiter = Waiter(store, statements)
    threading.Event().wait(0.05)
    looks = waiter.looks

    for _ in range(20):
        logs.append("events", 0, Columns([b"x"]))
        threading.Event().wait(0.005)

    assert waiter.looks == looks
    store.interrupt()
    assert waiter.woken.result(PATIENCE) is False


def test_a_poll_that_waits_asks_nothing_while_nothing_changes(open_handle, statements):
    logs = open_handle().open_logs()
    logs.declare("events", LogSettings())
    members = [logs.join("events", "readers", me(number), start=Start()) for number in (1, 2)]
    for member in (*members, *members):
        member.poll(limit=1, wait=0)
    waiting = Future()
    thread = threading.Thread(target=lambda: waiting.set_result(members[0].poll(limit=1, wait=PATIENCE)))
    thread.start()
    threading.Event().wait(0.2)  # it has looked, and the writer has looked around
    statements.clear()

    threading.Event().wait(1.0)

    assert statements.count == 0
    members[0].interrupt()
    assert waiting.result(PATIENCE) == []


def test_a_send_of_another_process_wakes(open_handle, statements):
    store, other = open_handle(), open_handle()
    waiter = Waiter(store, statements)

    other.send("q", [Message(body=b"")])

    assert waiter.woken.result(PATIENCE) is True


def test_waits_that_follow_each_other_share_one_look(open_handle, statements):
    store = open_handle()
    store.beat(me())
    for _ in range(3):
        store.wait(["q"], [""], 0.3)
    statements.clear()

    for seconds in (0.3, 0.3, 0.01, 0.01):
        assert not store.wait(["q"], [""], seconds)

    assert statements.count == 0


def test_a_short_wait_sees_what_another_process_did_just_before(open_handle, statements):
    store, other = open_handle(), open_handle()
    for _ in range(20):
        store.wait(["q"], [""], 0)
        other.send("q", [Message(body=b"")])
        assert store.wait(["q"], [""], 0)
        other.destroy("q")


def test_a_new_holder_ends_a_wait_once(open_handle, statements):
    store, other = open_handle(), open_handle()
    waiter = Waiter(store, statements)

    other.beat(me(2))

    assert waiter.woken.result(PATIENCE) is True
    assert not store.wait(["q"], [""], 0.3)


def test_a_lease_that_finds_nothing_wakes_nobody(open_handle, statements):
    store = open_handle()
    store.beat(me())
    waiter = Waiter(store, statements)
    threading.Event().wait(0.05)
    looks = waiter.looks

    for number in range(5):
        store.lease("q", "me#1", str(number), limit=1, kinds=[""], max_format=1)
    threading.Event().wait(0.1)

    assert waiter.looks == looks
    store.interrupt()


def test_a_round_of_tidying_with_nothing_to_tidy_takes_two_statements(open_handle, statements):
    store = open_handle()
    store.beat(me())
    for queue in "abc":
        store.send(queue, [Message(body=b""), Message(body=b"", delay=100), Message(body=b"", expires_in=100)])
    store.tidy()
    statements.clear()

    store.tidy()

    assert statements.count == 2
