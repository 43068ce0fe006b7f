"""Logs whose servers lose what they had, all of it or what came last, and masters that are killed."""

import itertools
import os
import random
import threading

import pytest

from holdfast.config import LogSettings
from holdfast.errors import BackendError, Closed, HoldfastError, LeaseLost, OffsetGone
from holdfast.heartbeat import this_process
from holdfast.logged import Columns, Offset, Producer, Start
from holdfast.testing.conformance.cases import beside
from tests.redis.logs import (
    GROUP,
    LOG,
    PART,
    append,
    ask,
    bodies,
    break_all,
    hold_time,
    join,
    key,
    polled,
    read_on,
    saved,
    saved_slot,
)
from tests.redis.programs import until

LONG = 60.0
"""Seconds after which a cluster would find out by itself."""
pytestmark = pytest.mark.filterwarnings("ignore:.*keeps nothing on its disk:RuntimeWarning")


def test_scripts_that_are_gone_are_sent_again(redis_servers, opened):
    server = redis_servers.single()
    logs = opened(server.url)
    logs.declare(LOG, LogSettings())
    member = join(logs)
    append(logs, "a")
    server.forget_scripts()

    append(logs, "b")

    assert read_on(member) == ["a", "b"]


def test_a_server_that_lost_everything_is_taken_as_new(redis_servers, opened):
    server = redis_servers.single()
    logs = opened(server.url)
    logs.declare(LOG, LogSettings(partitions=2))
    member = join(logs)
    append(logs, "a", "b")
    assert read_on(member) == ["a", "b"]
    server.flush()

    assert append(logs, "c") == 0
    assert polled(member) == ["c"]
    assert logs.logs() == {LOG: LogSettings(partitions=2)}


def test_a_log_that_was_destroyed_is_not_made_again(logs, opened):
    opened().destroy(LOG)

    with pytest.raises(HoldfastError, match="there is no log"):
        append(logs, "a")


def test_a_partition_that_is_lost_goes_on_where_the_groups_are(logs):
    member = join(logs)
    append(logs, "a", "b", "c")
    read_on(member)
    for what in (*PART, ":producers", ":used"):
        ask(logs, "DEL", key(logs, what))

    assert append(logs, "d") == 3
    assert read_on(member) == ["d"]


def test_nothing_is_passed_over_in_a_partition_that_went_back(logs, opened):
    """The server lost what had been committed; the appender hears nothing of it."""
    member = join(logs)
    append(logs, "a")
    put_back = saved(logs)
    append(logs, "b", "c")
    read_on(member)
    put_back()
    assert polled(member, wait=0) == []

    append(logs, "d")

    assert read_on(member) == ["d"]


def test_who_opens_a_partition_that_went_back_appends_behind_the_groups(logs, opened):
    member = join(logs)
    append(logs, "a")
    put_back = saved(logs)
    append(logs, "b", "c")
    read_on(member)
    put_back()

    assert append(opened(), "d") == 3
    assert read_on(member) == ["d"]


def test_what_is_in_hand_when_a_partition_goes_back_is_not_committed_over_what_comes(logs):
    member = join(logs)
    append(logs, "a")
    put_back = saved(logs)
    append(logs, "b", "c")
    chunks = member.poll(limit=100, wait=5)
    put_back()
    polled(member, wait=0)
    append(logs, "d")

    with pytest.raises(LeaseLost):
        member.commit([Offset(0, 3, chunks[0].version)])
    assert polled(member) == ["a", "d"] or logs.lag(LOG, GROUP)[0].next == 0


def test_what_is_appended_where_a_lost_tail_was_is_read_though_the_end_is_again_where_the_member_stood(logs):
    """Two messages were lost and two others appended before the member looked: nothing tells but what lies there."""
    member = join(logs)
    hold_time(logs)
    append(logs, "a")
    put_back = saved(logs)
    append(logs, "b")
    append(logs, "c")
    assert polled(member) == ["a", "b", "c"]
    put_back()
    append(logs, "d")
    append(logs, "e")

    append(logs, "f")

    assert polled(member) == ["a", "d", "e", "f"]


def test_what_was_fetched_ahead_and_lost_hides_nothing_that_was_appended_in_its_place(logs):
    """Less than that was appended, and the member has polled no further than to where it ends."""
    member = join(logs)
    append(logs, "a")
    put_back = saved(logs)
    append(logs, "b", "c", "d", "e")
    assert bodies(member.poll(limit=3, wait=5)) == ["a", "b", "c"]
    put_back()

    append(logs, "f", "g")

    assert polled(member) == ["a", "f", "g"]


def test_a_lost_tail_is_told_in_a_program_that_seeds_its_random_numbers(logs):
    member = join(logs)
    hold_time(logs)
    append(logs, "a")
    put_back = saved(logs)
    random.seed(1)
    append(logs, "b")
    assert polled(member) == ["a", "b"]
    put_back()

    random.seed(1)
    append(logs, "c")

    append(logs, "d")
    assert polled(member) == ["a", "c", "d"]


def test_what_comes_on_a_connection_made_since_the_last_look_is_looked_at(logs, monkeypatch):
    """It may lead to a server that lost what was read, and follow upon what was appended in its place."""
    member = join(logs)
    append(logs, "a")
    put_back = saved(logs)
    append(logs, "b")
    assert polled(member) == ["a", "b"]
    wait = member._blocking.wait

    def late(*args):
        monkeypatch.undo()
        put_back()
        append(logs, "c")
        append(logs, "d")
        return wait(*args)

    monkeypatch.setattr(member._blocking, "wait", late)

    assert polled(member) == ["a", "c", "d"]


@pytest.mark.parametrize("when", ["before it commits", "as it begins to"])
def test_what_was_in_hand_is_not_committed_over_what_was_appended_in_its_place(logs, redis_place, monkeypatch, when):
    """All connections broke; the member has not polled since."""
    link, member = logs.places.link, join(logs)
    hold_time(logs)
    append(logs, "a")
    put_back = saved(logs)
    append(logs, "b")
    append(logs, "c")
    chunks = member.poll(limit=100, wait=5)
    put_back()
    append(logs, "d")
    append(logs, "e")
    if when == "before it commits":
        break_all(logs, redis_place)
    else:
        probes = itertools.chain([lambda: break_all(logs, redis_place)], itertools.repeat(lambda: None))
        probe = link.probe
        monkeypatch.setattr(link, "probe", lambda key: (probe(key), next(probes)()))

    with pytest.raises(LeaseLost):
        member.commit([Offset(0, 3, chunks[0].version)])
    assert polled(member) == ["a", "d", "e"]


def test_what_is_in_hand_is_kept_while_connections_do_not_last(logs, redis_place, monkeypatch):
    link, member = logs.places.link, join(logs)
    append(logs, "a")
    (chunk,) = member.poll(limit=100, wait=5)
    with monkeypatch.context() as breaking:
        breaking.setattr(link, "probe", lambda key: break_all(logs, redis_place))
        with pytest.raises(BackendError, match="connections to its servers do not last") as caught:
            member.commit([Offset(0, 1, chunk.version)])
    assert caught.value.retryable

    assert member.commit([Offset(0, 1, chunk.version)]) == {0: 1}


def test_a_gap_is_read_over(logs, opened):
    slow, fast = join(logs, "slow"), join(logs)
    append(logs, "a")
    put_back = saved(logs)
    append(logs, "b", "c")
    read_on(fast)
    put_back()
    append(opened(), "d")

    assert read_on(slow) == ["a", "d"]
    assert logs.lag(LOG, "slow")[0].messages == 0


def test_a_group_whose_next_message_is_behind_a_gap_is_told_how_old_that_is(logs, opened):
    """What lay before the gap has gone by retention, so that nothing is left before it."""
    slow, fast = join(logs, "slow"), join(logs)
    append(logs, "a")
    read_on(slow)
    put_back = saved(logs)
    append(logs, "b", "c")
    read_on(fast)
    put_back()
    append(opened(), "d")
    logs.declare(LOG, LogSettings(keep_most=1))
    logs.tidy()
    (lag,) = logs.lag(LOG, "slow")

    assert lag.messages > 0
    assert lag.age is not None


def test_an_offset_that_is_no_id_of_any_stream_is_gone_like_every_other(logs):
    append(logs, "a")

    with pytest.raises(OffsetGone):
        logs.read(LOG, 0, 1 << 64 | 5, limit=1, max_bytes=1)


def test_a_repeat_that_needs_no_room_is_told_from_a_new_append_though_connections_broke(logs, redis_place):
    logs.declare(LOG, LogSettings(limit_bytes=400))
    columns, producer = Columns([b"x" * 300]), Producer("p", 0, 0)
    first = logs.append(LOG, 0, columns, producer=producer)
    break_all(logs, redis_place)

    repeat = logs.append(LOG, 0, columns, producer=producer)

    assert (repeat.offset, repeat.duplicate) == (first.offset, True)


def test_a_child_of_a_fork_knows_less_of_its_connections_than_its_parent(logs, opened, redis_place):
    """What its parent had seen of them says nothing of its own."""
    member = join(opened())
    for _ in range(3):
        append(logs, "a")
        break_all(logs, redis_place)
    append(logs, "b")
    read_on(member)
    put_back = saved(logs)
    append(opened(), "c", "d")
    assert read_on(member) == ["c", "d"]
    put_back()
    break_all(logs, redis_place)

    child = os.fork()
    if not child:
        try:
            append(logs, "e")
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert read_on(member) == ["e"]


# -- the slot of a log by itself ----------------------------------------------------------------------------------


def test_a_log_whose_slot_alone_was_lost_keeps_its_messages_and_is_read_from_the_first(logs, opened, redis_place):
    member = logs.join(LOG, GROUP, this_process("one"), start=Start("latest"))
    append(logs, "a", "b")
    assert read_on(member) == ["a", "b"]
    saved_slot(logs)(lose=True)
    break_all(logs, redis_place)

    assert append(logs, "c") == 2
    assert polled(member) == ["a", "b", "c"]
    assert read_on(join(opened(), "others")) == ["a", "b", "c"]


def test_what_a_partition_still_has_of_a_log_that_was_destroyed_does_not_come_back(logs, opened):
    append(logs, "old")
    put_back = saved(logs)
    opened().destroy(LOG)
    put_back()

    logs.declare(LOG, LogSettings())

    append(logs, "new")
    assert polled(join(logs)) == ["new"]


def test_a_log_of_which_only_its_partitions_are_left_is_read_again(logs, opened, redis_place):
    append(logs, "a")
    part = logs.places.keys.part(LOG, 0).encode()
    for one in ask(logs, "KEYS", f"{redis_place.prefix}*"):
        if not one.startswith(part):
            ask(logs, "DEL", one)
    again = opened()

    again.declare("another", LogSettings())
    again.declare(LOG, LogSettings())

    assert polled(join(again)) == ["a"]


def test_a_log_whose_slot_was_lost_begins_where_retention_had_cut_it(logs, redis_place):
    logs.declare(LOG, LogSettings(keep_most=1))
    append(logs, "a")
    append(logs, "b")
    logs.tidy(limit=100)
    saved_slot(logs)(lose=True)
    break_all(logs, redis_place)

    assert read_on(join(logs)) == ["b"]


def test_who_did_not_declare_a_log_whose_slot_was_lost_is_told_who_brings_it_back(logs, opened, redis_place):
    append(logs, "a")
    saved_slot(logs)(lose=True)

    with pytest.raises(BackendError, match="who declares it brings it back") as caught:
        append(opened(), "b")
    assert caught.value.retryable


def test_a_group_that_was_lost_is_read_from_the_first_message_and_one_that_was_removed_ends(logs, redis_place):
    put_back = saved_slot(logs)
    lost = logs.join(LOG, GROUP, this_process("one"), start=Start("latest"))
    lost.poll(limit=1, wait=0)
    append(logs, "a", "b")
    put_back()
    break_all(logs, redis_place)

    assert read_on(lost) == ["a", "b"]
    assert logs.forget(LOG, GROUP)
    with pytest.raises(Closed, match="was removed"):
        lost.poll(limit=1, wait=0)


def test_a_log_whose_slot_forgot_a_change_of_settings_is_appended_to(logs, opened, redis_place):
    append(logs, "a")
    put_back = saved_slot(logs)
    logs.declare(LOG, LogSettings(keep_for=60.0))
    put_back()
    break_all(logs, redis_place)

    assert [append(logs, "b"), append(opened(), "c")] == [1, 2]
    assert logs.logs() == {LOG: LogSettings()}


def test_of_a_thousand_partitions_whose_group_went_back_each_begins_anew(logs, redis_place):
    logs.declare(LOG, LogSettings(partitions=1200))
    member = join(logs)
    member.poll(limit=1, wait=0)
    put_back = saved_slot(logs)
    logs.seek(LOG, GROUP, dict.fromkeys(range(1200), 0))
    member.poll(limit=1, wait=0)
    put_back()
    break_all(logs, redis_place)

    member.poll(limit=1, wait=0)

    append(logs, "a")
    assert read_on(member) == ["a"]


# -- failovers ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sentinels", "cluster"])
def test_no_acknowledged_message_is_lost_or_passed_over_when_the_master_is_killed(redis_servers, opened, kind):
    servers = getattr(redis_servers, kind)()
    logs, reading = opened(f"{servers.url}?wait=1"), opened(f"{servers.url}?wait=1")
    logs.declare(LOG, LogSettings())
    part = key(logs, ":ends")
    acknowledged, read, refusals, done = list[str](), list[str](), list[BackendError](), threading.Event()

    def send():
        for number in itertools.count():
            try:
                append(logs, str(number))
                acknowledged.append(str(number))
            except BackendError as error:
                refusals.append(error)
            if done.wait(0.001):
                return

    def consume():
        member = join(reading)
        while not done.is_set() or set(acknowledged) - set(read):
            try:
                chunks = member.poll(limit=50, wait=0.2)
                read.extend(bodies(chunks))
                member.commit([Offset(chunk.partition, chunk.next, chunk.version) for chunk in chunks], durable=True)
            except LeaseLost:
                continue
            except BackendError as error:
                refusals.append(error)
                done.wait(0.05)

    working = [beside(work) for work in (send, consume)]
    until(lambda: len(acknowledged) > 50, "appends go")
    killed = servers.kill_master() if kind == "sentinels" else servers.kill_owner(part)
    servers.promoted(killed, *([] if kind == "sentinels" else [part]))
    killed.start()
    before = len(acknowledged)
    until(lambda: len(acknowledged) > before + 50 and len(read) > before, "appends and reads go on", 30)
    done.set()
    for work in working:
        work.result(30)

    assert not set(acknowledged) - set(read)
    assert all(error.retryable for error in refusals)


def apart(cluster, logs):
    """Return the name of a log whose partition has another server than its own slot and the store's."""
    keys = logs.places.keys
    for name in (f"log{number}" for number in range(200)):
        part = cluster.owner(keys.part(name, 0))
        if part not in (cluster.owner(keys.log(name)), cluster.owner(keys.store)):
            return name
    raise AssertionError("all lie together")


def cut_off(replica):
    """Let a replica hear nothing more of its master."""
    replica.ask("CONFIG", "SET", "masterauth", "wrong")
    replica.ask("CLIENT", "KILL", "TYPE", "master")
    until(lambda: "master_link_status:down" in replica.ask("INFO", "replication"), "the replica is cut off")


def done(act):
    """Act until the servers let it; return what came of it."""

    def tried():
        try:
            return (act(),)
        except BackendError:
            return None

    return until(tried, "it is done", 30)[0]


@pytest.mark.slow
def test_nothing_is_committed_over_what_took_the_place_of_what_a_silent_master_had(redis_servers, opened, monkeypatch):
    """No connection breaks: the master hangs, and its replica, which lacks what came last, takes over."""
    monkeypatch.setattr("holdfast.stores.redis.logs.member.SURE", 0)  # as if that had taken a while
    cluster = redis_servers.cluster(node_timeout=LONG)
    url = f"{cluster.url}?timeout=1"
    logs, others = opened(url), opened(url)
    log = apart(cluster, logs)
    logs.declare(log, LogSettings())
    member = logs.join(log, GROUP, this_process("one"), start=Start())
    part = logs.places.keys.part(log, 0)
    old, new = cluster.owner(part), cluster.replica_of(cluster.owner(part))
    until(lambda: new.follows(old), "the replica follows")
    cut_off(new)
    others.append(log, 0, Columns([b"a", b"b"]))
    (chunk,) = member.poll(limit=100, wait=5)

    with old.paused():
        new.ask("CLUSTER", "FAILOVER", "TAKEOVER")
        done(lambda: opened(url).append(log, 0, Columns([b"c", b"d"])))
        with pytest.raises((BackendError, LeaseLost)):
            member.commit([Offset(0, chunk.next, chunk.version)])
        assert done(lambda: bodies(member.poll(limit=100, wait=1))) == ["c", "d"]


@pytest.mark.slow
def test_an_appender_that_finds_its_way_back_to_an_earlier_master_appends_behind_the_groups(redis_servers, opened):
    """Its connection to it has never broken, and is older than its last look."""
    cluster = redis_servers.cluster(node_timeout=LONG)
    url = f"{cluster.url}?timeout=1"
    reading, idle, busy = opened(url), opened(url), opened(url)
    log = apart(cluster, reading)
    reading.declare(log, LogSettings())
    member = reading.join(log, GROUP, this_process("one"), start=Start())
    idle.append(log, 0, Columns([b"a"]))
    part = reading.places.keys.part(log, 0)
    one = cluster.owner(part)
    two = cluster.fail_over(part)
    cluster.settle()
    idle.append(log, 0, Columns([b"b"]))
    until(lambda: one.follows(two), "the earlier master follows")
    cut_off(one)
    done(lambda: busy.append(log, 0, Columns([b"c", b"d"])))
    read = []
    while "d" not in read:
        read += done(lambda: read_on(member))

    two.kill()
    one.ask("CLUSTER", "FAILOVER", "TAKEOVER")
    done(lambda: idle.read(log, 0, 0, limit=1, max_bytes=1))  # which hears of it, and looks no groups up

    assert done(lambda: idle.append(log, 0, Columns([b"e"]))).offset >= 4
    assert done(lambda: read_on(member)) == ["e"]
