"""The logs of the memory store are bounded, give back what they no longer keep, and end with their store."""

import pytest

from holdfast.config import LogSettings, parse_url
from holdfast.delivery import HolderInfo
from holdfast.errors import Closed, QueueFull
from holdfast.logged import Columns, Start
from holdfast.stores import open_logs
from holdfast.stores.memory import MemoryBackend
from holdfast.stores.memory.logs import MemoryLogs
from holdfast.stores.memory.logs.partition import MOVED
from holdfast.testing.conformance.cases import PATIENCE, PROMPT, beside

BODY = b"x" * 1000


@pytest.fixture
def logs():
    logs = MemoryLogs(max_bytes=5000)
    for name in ("one", "two"):
        logs.declare(name, LogSettings())
    yield logs
    logs.close()


def fill(logs):
    for name in ("one", "two"):
        logs.append(name, 0, Columns([BODY, BODY]))


def test_all_logs_count_against_the_limit(logs):
    fill(logs)

    with pytest.raises(QueueFull, match="max_log_bytes"):
        logs.append("one", 0, Columns([BODY]))

    assert logs.ends("one")[0].next == 2


def test_messages_without_a_body_count_too(logs):
    with pytest.raises(QueueFull):
        logs.append("one", 0, Columns([b""] * 1000))


def test_a_destroyed_log_makes_room(logs):
    fill(logs)
    logs.destroy("two")

    assert logs.append("one", 0, Columns([BODY])).offset == 2


def test_what_retention_drops_makes_room(logs):
    fill(logs)
    logs.declare("two", LogSettings(keep_most=0))
    logs.tidy()

    assert logs.append("one", 0, Columns([BODY])).offset == 2


def test_compressed_messages_take_less_room(logs):
    logs.declare("one", LogSettings(compression="zstd"))
    for _ in range(10):
        logs.append("one", 0, Columns([BODY]))

    assert len(logs.read("one", 0, 0, limit=100, max_bytes=1 << 20)) == 10


def test_a_long_life_leaves_no_dropped_appends_behind():
    logs = MemoryLogs()
    logs.declare("one", LogSettings(keep_most=10))
    for number in range(20 * MOVED):
        logs.append("one", 0, Columns([b"%d" % number]))
        logs.tidy()

    [ends] = logs.ends("one")
    kept = logs.read("one", 0, ends.first, limit=100, max_bytes=1 << 20)
    assert [chunk.bodies[0] for chunk in kept] == [b"%d" % number for number in range(20 * MOVED - 10, 20 * MOVED)]
    assert len(logs._logs["one"].partitions[0]._appends) <= 2 * MOVED + 20


def test_a_member_that_waits_is_not_idle():
    logs = MemoryLogs()
    logs.declare("one", LogSettings())
    member = logs.join("one", "readers", HolderInfo(id="reader#1", ttl=0.001), start=Start())
    waiting = beside(lambda: member.poll(limit=1, wait=PATIENCE))
    while not member._polling:
        pass

    [group] = logs.groups("one")

    assert (group.members, group.idle) == (("reader#1",), 0.0)
    logs.append("one", 0, Columns([b"a"]))
    assert len(waiting.result(PROMPT)) == 1


def test_the_logs_end_with_their_store():
    store = MemoryBackend()
    logs = store.open_logs()
    store.close()

    assert store.open_logs() is logs
    with pytest.raises(Closed):
        logs.logs()


def test_the_limit_is_an_option_of_the_url():
    logs = open_logs(parse_url("memory:?max_log_bytes=100"))
    logs.declare("one", LogSettings())

    with pytest.raises(QueueFull):
        logs.append("one", 0, Columns([BODY]))
