"""Logs when servers lose things, are full or restarted, and when processes die between two steps."""

import itertools
import random
import threading

import pytest

from holdfast.config import LogSettings, parse_url
from holdfast.errors import BackendError, HoldfastError, LeaseLost, OffsetGone, QueueFull
from holdfast.heartbeat import this_process
from holdfast.logged import Columns, Offset, Start
from holdfast.stores import open_logs
from holdfast.stores.redis.logs import room
from holdfast.stores.redis.scripts import Script
from holdfast.testing.conformance.cases import beside
from tests.redis.programs import until

LOG, GROUP = "events", "readers"
PART = ":messages", ":index", ":ends"
pytestmark = pytest.mark.filterwarnings("ignore:.*keeps nothing on its disk:RuntimeWarning")


@pytest.fixture
def opened(redis_place):
    handles = []

    def opened(url=f"{redis_place.url}?prefix={redis_place.prefix}"):
        handles.append(open_logs(parse_url(url)))
        return handles[-1]

    yield opened
    for handle in handles:
        handle.close()


@pytest.fixture
def logs(opened):
    logs = opened()
    logs.declare(LOG, LogSettings())
    return logs


def append(logs, *bodies):
    return logs.append(LOG, 0, Columns([body.encode() for body in bodies])).offset


def join(logs, group=GROUP, **options):
    return logs.join(LOG, group, this_process(f"{group}#1"), start=Start(), **options)


def bodies(chunks):
    return [body.decode() for chunk in chunks for body in chunk.bodies]


def polled(member, wait=5.0):
    return bodies(member.poll(limit=100, wait=wait))


def read_on(member):
    chunks = member.poll(limit=100, wait=5)
    member.commit([Offset(chunk.partition, chunk.next, chunk.version) for chunk in chunks])
    return bodies(chunks)


def key(logs, what):
    return logs.places.keys.part(LOG, 0) + what


def ask(logs, command, *keys_and_more):
    return logs.places.link.call(logs.places.keys.part(LOG, 0), (command, *keys_and_more))[0]


def saved(logs):
    """Return what puts the partition back to where it is now, as a failover does that loses what came after."""
    copies = {what: ask(logs, "DUMP", key(logs, what)) for what in PART}

    def put_back():
        for what, copy in copies.items():
            ask(logs, "RESTORE", key(logs, what), 0, copy, "REPLACE")

    return put_back


def hold_time(logs):
    """Append all from now on at one time, as after a clock that was ahead."""
    ask(logs, "HSET", key(logs, ":ends"), "time", 1 << 42)


# -- servers that lose what they had ------------------------------------------------------------------------------


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


def break_all(logs, redis_place):
    """Break all connections, as it happens when a server is replaced, and wait until that can be seen."""
    redis_place.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    idle = logs.places.link._idle
    until(lambda: not any(one.is_fresh for each in idle.values() for one in each), "all connections break")


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


# -- full servers -------------------------------------------------------------------------------------------------


def test_a_full_server_is_read_and_emptied(redis_servers, opened):
    server = redis_servers.single()
    logs = opened(server.url)
    logs.declare(LOG, LogSettings(keep_most=10))
    member, other = join(logs), join(logs, "other")
    polled(other, wait=0)
    append(logs, *["x" * 1000] * 100)
    append(logs, "last")
    server.configure(maxmemory=1)

    with pytest.raises(QueueFull):
        append(logs, "more")
    chunks = member.poll(limit=1000, wait=5)
    member.commit([Offset(0, 50, chunks[0].version, (60, 61))])
    logs.seek(LOG, "other", {0: 101})
    logs.charge(LOG, GROUP, 0, 55, run=1, reason="SIGKILL")
    member.leave()
    again = join(logs)
    assert len(polled(again)) == 51
    assert again.assigned()[0].place.finished == (60, 61)
    other.leave()
    logs.forget(LOG, "other")
    logs.declare(LOG, LogSettings(keep_most=0))
    assert logs.tidy().messages == 101
    logs.destroy(LOG)


# -- steps that somebody left undone ------------------------------------------------------------------------------


def test_a_log_that_was_half_declared_is_appended_to(logs):
    ask(logs, "DEL", key(logs, ":ends"))

    assert append(logs, "a") == 0


def test_a_log_that_was_half_destroyed_is_erased_by_who_tidies(logs, opened):
    append(logs, "a")
    logs.places.run(Script.load("logs/end"), LOG)

    opened().tidy()

    assert ask(logs, "EXISTS", *(key(logs, what) for what in PART)) == 0
    assert logs.places.names.all() == []


def test_a_log_that_was_half_destroyed_is_made_again_empty(logs, opened):
    logs.declare(LOG, LogSettings(partitions=3))
    logs.append(LOG, 2, Columns([b"old"]))
    logs.places.run(Script.load("logs/end"), LOG)
    other = opened()

    other.declare(LOG, LogSettings())

    assert append(other, "new") == 0
    assert bodies(other.read(LOG, 0, 0, limit=9, max_bytes=99)) == ["new"]
    assert ask(other, "EXISTS", *(key(other, what) for what in PART)) == 3
    other.declare(LOG, LogSettings(partitions=3))
    assert other.ends(LOG)[2].next == 0


def test_a_cut_that_was_not_made_is_made_by_who_tidies(logs, opened):
    append(logs, "a")
    append(logs, "b")
    log = logs.places.look(LOG)
    logs.places.run(Script.load("logs/floor"), LOG, log.life, 0, 1)

    assert opened().tidy().messages == 1
    assert bodies(logs.read(LOG, 0, 1, limit=9, max_bytes=99)) == ["b"]


def test_room_that_was_taken_and_not_used_is_given_back_by_who_tidies(logs):
    logs.declare(LOG, LogSettings(limit_bytes=1000))
    log = logs.places.look(LOG)
    assert room.take(logs.places, log, 900)
    with pytest.raises(QueueFull):
        append(logs, "x" * 200)

    logs.tidy()

    assert append(logs, "x" * 200) == 0


def test_a_holder_that_was_half_retired_is_dismissed_by_who_tidies(logs, opened):
    member = join(logs)
    polled(member, wait=0)
    logs.places.link.run(Script.load("logs/readers"), logs.places.keys.store, "", "retire", f"{GROUP}#1")

    opened().tidy()

    append(logs, "a")
    assert polled(join(opened(), GROUP + " two")) == ["a"]
    with pytest.raises(LeaseLost):
        polled(member)


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
