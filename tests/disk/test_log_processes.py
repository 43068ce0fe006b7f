"""Logs in several processes: one writes, all read, and whoever dies is replaced at once."""

import os
import random
import statistics
import threading
import time

import pytest

from holdfast.config import LogSettings, parse_url
from holdfast.delivery import HolderInfo
from holdfast.errors import BackendError, Closed, LeaseLost, UsageError
from holdfast.logged import Columns, Offset, Start
from holdfast.stores import open_logs
from tests.disk.elsewhere import Elsewhere, Raised

pytestmark = pytest.mark.slow
LOG, GROUP = "events", "readers"
SOON = 1.0


@pytest.fixture
def url(tmp_path):
    return f"disk:{tmp_path}/data"


@pytest.fixture
def logs(url):
    logs = open_logs(parse_url(url))
    logs.declare(LOG, LogSettings())
    yield logs
    logs.close()


@pytest.fixture
def other(url):
    with Elsewhere(url) as other:
        yield other


def append(logs, *bodies, partition=0):
    return logs.append(LOG, partition, Columns([body.encode() for body in bodies])).offset


def join(logs, holder="here#1"):
    return logs.join(LOG, GROUP, HolderInfo(id=holder, ttl=30), start=Start())


def bodies(chunks):
    return [body.decode() for chunk in chunks for body in chunk.bodies]


# -- who writes -----------------------------------------------------------------------------------------------


def test_a_second_writer_is_told_who_the_first_is(logs, other):
    other.call("append", LOG, 0, "a")

    with pytest.raises(BackendError, match=f"process {other.pid} on .*append there, or close it") as caught:
        append(logs, "b")

    assert caught.value.retryable
    assert not caught.value.outcome_unknown
    assert logs.ends(LOG)[0].next == 1


def test_who_does_not_write_reads_joins_and_seeks(logs, other):
    other.call("append", LOG, 0, "a", "b")

    assert bodies(logs.read(LOG, 0, 0, limit=9, max_bytes=99)) == ["a", "b"]
    logs.seek(LOG, GROUP, {0: 1})
    assert bodies(join(logs).poll(limit=9, wait=10)) == ["b"]


def test_when_the_writer_is_killed_another_writes_at_once(logs, other):
    other.call("append", LOG, 0, "a")
    other.kill()

    assert append(logs, "b") == 1
    assert bodies(logs.read(LOG, 0, 0, limit=9, max_bytes=99)) == ["a", "b"]


def test_a_writer_that_closes_leaves_the_log_to_others(logs, other):
    append(logs, "a")
    with pytest.raises(Raised, match=f"process {os.getpid()}"):
        other.call("append", LOG, 0, "b")
    logs.close()

    assert other.call("append", LOG, 0, "b") == 1


def test_a_log_that_another_process_removed_is_gone_for_its_writer(logs, other):
    other.call("append", LOG, 0, "a")
    member = join(logs)
    member.poll(limit=9, wait=10)
    assert logs.destroy(LOG) == 1

    with pytest.raises(Raised, match="UsageError: there is no log"):
        other.call("append", LOG, 0, "b")
    logs.declare(LOG, LogSettings())
    with pytest.raises(Closed):
        member.poll(limit=9, wait=0)
    assert other.call("append", LOG, 0, "new") == 0
    assert bodies(join(logs).poll(limit=9, wait=10)) == ["new"]


# -- who reads ------------------------------------------------------------------------------------------------


def test_a_stand_by_takes_over_within_a_second_after_a_kill(logs, url):
    append(logs, "a", "b")
    member, took = join(logs), []
    for _ in range(3):
        with Elsewhere(url) as other:
            other.call("join", LOG, GROUP, "there#1")
            member.leave()
            assert other.call("poll", 10) == ["a", "b"]
            member = join(logs)
            assert member.poll(limit=9, wait=0) == []
            other.kill()
            began = time.monotonic()
            assert bodies(member.poll(limit=9, wait=10)) == ["a", "b"]
            took.append(time.monotonic() - began)

    assert statistics.median(took) < SOON


def test_exactly_what_was_not_committed_comes_again_in_order(logs, other):
    append(logs, *map(str, range(10)))
    other.call("join", LOG, GROUP, "there#1")
    other.call("poll", 10, 4)
    other.call("commit")
    other.call("poll", 10, 4)
    other.kill()

    assert bodies(join(logs).poll(limit=99, wait=10)) == [str(number) for number in range(4, 10)]


def test_an_append_in_one_process_ends_a_poll_in_another_soon(logs, other):
    other.call("join", LOG, GROUP, "there#1")
    took = []
    for number in range(50):
        other.begin("poll", 10)
        began = time.monotonic()
        append(logs, str(number))
        assert other.answer() == [str(number)]
        took.append(time.monotonic() - began)

    assert statistics.median(took) < 0.05


def test_a_seek_in_another_process_wins_over_the_commits_of_a_member(logs, other, tmp_path):
    place = tmp_path / "data" / "logs" / LOG / "groups" / GROUP / "0"
    append(logs, *map(str, range(100)))
    other.call("join", LOG, GROUP, "there#1")
    for offset in [*range(1, 60, 3), 0]:
        other.call("poll", 10, 1)
        before = place.read_bytes()
        other.begin("commit_until_lost")
        wait_until(lambda before=before: place.read_bytes() != before)
        logs.seek(LOG, GROUP, {0: offset})
        name, count = other.answer()

        assert (name, count > 0) == ("LeaseLost", True)
        assert logs.lag(LOG, GROUP)[0].next == offset
        assert other.call("poll", 10, 1) == [str(offset)]


def test_a_commit_that_was_on_its_way_when_a_seek_came_is_lost(logs, other):
    append(logs, *"abc")
    member = join(logs)
    chunk = member.poll(limit=2, wait=10)[0]

    other.call("seek", LOG, GROUP, 0, 1)

    with pytest.raises(LeaseLost):
        member.commit([Offset(0, chunk.next, chunk.version)], durable=True)
    assert bodies(member.poll(limit=9, wait=10)) == ["b", "c"]


def test_a_holder_that_another_process_retires_loses_its_partitions(logs, other):
    append(logs, "a")
    other.call("join", LOG, GROUP, "there#1")
    other.call("poll", 10)

    assert logs.retire("there#1") == 1

    with pytest.raises(Raised, match="LeaseLost"):
        other.call("commit")
    with pytest.raises(Raised, match="LeaseLost"):
        other.call("poll", 0)
    assert bodies(join(logs).poll(limit=9, wait=10)) == ["a"]


def test_a_group_that_another_process_forgets_ends_its_members(logs, other):
    append(logs, "a")
    other.call("join", LOG, GROUP, "there#1")
    other.call("poll", 10)

    assert logs.forget(LOG, GROUP)

    with pytest.raises(Raised, match="LeaseLost"):
        other.call("commit")
    with pytest.raises(Raised, match="Closed"):
        other.call("poll", 0)
    with pytest.raises(UsageError):
        logs.lag(LOG, GROUP)


# -- forks ----------------------------------------------------------------------------------------------------


def test_a_child_just_forked_holds_nothing_of_its_parents(logs, url):
    append(logs, "a")
    member = join(logs)
    member.poll(limit=9, wait=0)
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        try:
            member.poll(limit=1, wait=0)
        except Closed:
            os.write(ready[1], b"ok")
        os.read(done[0], 1)
        os._exit(0)
    try:
        assert os.read(ready[0], 2) == b"ok"
        append(logs, "b")
        logs.close()
        with Elsewhere(url) as other:
            assert other.call("append", LOG, 0, "c") == 2
            other.call("join", LOG, GROUP, "there#1")
            assert other.call("poll", 10) == ["a", "b", "c"]
    finally:
        os.write(done[1], b"x")
        os.waitpid(child, 0)
        for fd in (*ready, *done):
            os.close(fd)


# -- eight members, and one who writes ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1])
def test_killed_members_lose_and_mix_nothing(logs, url, tmp_path, seed):
    kill_at_random(logs, url, tmp_path, seed, seconds=4)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(2, 22))
def test_killed_members_lose_and_mix_nothing_for_long(logs, url, tmp_path, seed):
    kill_at_random(logs, url, tmp_path, seed, seconds=20)


def kill_at_random(logs, url, tmp_path, seed, *, seconds, partitions=6):
    """Let one process write, four read as each of two groups, and kill one of those again and again."""
    draw, groups = random.Random(seed), ("one", "two")
    logs.declare(LOG, LogSettings(partitions=partitions))
    writer, members = Elsewhere(url), []

    def start(group):
        member = Elsewhere(url)
        member.begin("consume", LOG, group, str(tmp_path / group))
        return group, member

    try:
        members = [start(group) for group in groups for _ in range(4)]
        writer.begin("produce", LOG, partitions, seconds)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            index = draw.randrange(len(members))
            group, member = members[index]
            member.kill()
            members[index] = start(group)
            threading.Event().wait(draw.random() / 2)
        counts = writer.answer()
        for group in groups:
            wait_until(lambda group=group: not any(lag.messages for lag in logs.lag(LOG, group)))
    finally:
        for one in [writer, *(member for _, member in members)]:
            one.kill()

    for group in groups:
        check_history((tmp_path / group).read_text().splitlines(), counts)


def wait_until(reached):
    """Look again and again for what other processes do."""
    end, never = time.monotonic() + 30, threading.Event()
    while not reached():
        assert time.monotonic() < end
        never.wait(0.001)


def check_history(lines, counts):
    """Every message was handled, in order for each partition; what comes again, comes after a change of owner."""
    following, versions = [0] * len(counts), [0] * len(counts)
    for line in lines:
        partition, version, offset, body = map(int, line.split())
        assert body == offset
        assert version >= versions[partition], "an owner went on after the next one began"
        if version > versions[partition]:
            assert offset <= following[partition], "messages were left out at a change of owner"
            versions[partition] = version
        else:
            assert offset == following[partition], "messages were mixed up"
        following[partition] = offset + 1
    assert following == counts
