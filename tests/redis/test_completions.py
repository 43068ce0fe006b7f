"""Waiting for jobs on Redis and Valkey: over one connection, through whatever servers and clients do."""

import asyncio
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.config import QueueSettings, parse_url
from holdfast.delivery import Ack, GiveBack, HolderInfo, State
from holdfast.errors import BackendError, QueueFull
from holdfast.message import Message
from holdfast.stores import open_store
from holdfast.stores.redis import watched
from holdfast.tasks.results import Waiters
from holdfast.testing.conformance.cases import PATIENCE, QUEUE, beside
from tests.redis.harness import RedisHarness
from tests.redis.programs import until
from tests.redis.waits import __file__ as WAITS

KEYS = f"queue:{{{QUEUE}}}"
HOLDER = HolderInfo(id="worker#1", ttl=1_000_000.0, kinds=("",), queues=(QUEUE,))


@pytest.fixture
def store(harness):
    return harness.open()


@pytest.fixture
def open_on():
    """Open stores on servers of the test's own; they are closed before the servers."""
    opened = []

    def open_on(url):
        opened.append(open_store(parse_url(url)))
        return opened[-1]

    yield open_on
    for store in opened:
        store.close()


def send(store, *job_ids, queue=QUEUE, **options):
    store.send(queue, [Message(id=job_id, body=b"", **options) for job_id in job_ids])


LEASES = ["ending"]


def end(store, number=1, queue=QUEUE):
    """Let so many jobs be done; what may have been leased by a call that failed is given back before."""
    store.beat(HOLDER)
    store.settle([GiveBack(queue=queue, lease_id=LEASES[-1])])
    LEASES.append(f"ending {len(LEASES)}")  # one that was given back grants nothing any more
    deliveries = store.lease(queue, HOLDER.id, LEASES[-1], limit=number, kinds=("",), max_format=1)
    assert store.settle([Ack(delivery.receipt) for delivery in deliveries]) == []
    return len(deliveries)


def end_all(store, number, queue=QUEUE):
    """Let jobs be done, again after errors, until so many are."""

    def ended():
        end(store, number, queue)
        return store.stats(queue).done == number

    again_and_again(ended)


def again_and_again(call):
    """Call until it succeeds, as the core does; what fails meanwhile is to be retryable."""

    def tried():
        try:
            return call() or True
        except BackendError as error:
            if not error.retryable:
                raise
            return False

    return until(tried, "the servers are back", 30.0)


def all_of(watch, number=1):
    """Wait until so many jobs have ended, as the core does: again after errors."""
    ended = []
    while len(ended) < number:
        try:
            ended += watch.wait(PATIENCE)
        except BackendError as error:
            if not error.retryable:
                raise
    return [job_id for _, job_id in ended]


def blocked(ask):
    """Return how many clients are blocked on streams."""
    return sum("cmd=xread" in line for line in ask("CLIENT", "LIST").splitlines())


def replicate(master):
    """Return when a replica has all that was written so far."""
    with master.wire() as wire:
        wire.ask("SET", KEYS, "written")
        assert wire.ask("WAIT", 1, 10_000) == 1


def waiting(watch, ask, number=1):
    """Begin to wait for so many ends in another thread, and return when it blocks."""
    before = blocked(ask)
    future = beside(lambda: all_of(watch, number))
    until(lambda: blocked(ask) > before, "the watch waits")
    return future


def left(place):
    """Return the keys of watches, as what they are of the queue."""
    begin = f"{place.prefix}{KEYS}:watch"
    return sorted(key.removeprefix(begin).partition(":")[0] for key in place.ask("KEYS", f"{place.prefix}*:watch*"))


# -- how it is told -----------------------------------------------------------------------------------------------


def test_ten_thousand_wait_over_one_connection(harness, store):
    names, own = [str(number) for number in range(10_000)], f" name={harness.name_of(store)} "
    send(store, *names)

    def connections():
        lines = harness.place.ask("CLIENT", "LIST").splitlines()
        return [line for line in lines if own in line]

    async def wait_for_all(executor, loop):
        waiters = Waiters(lambda: store, lambda call: loop.run_in_executor(executor, call))
        one = asyncio.create_task(waiters.wait_async((QUEUE, "0"), None))
        await loop.run_in_executor(executor, until, lambda: blocked(harness.place.ask), "one waits")
        with_one = len(connections())
        tasks = [asyncio.create_task(waiters.wait_async((QUEUE, name), None)) for name in names[1:]]
        known = f"{harness.place.prefix}{KEYS}:watched"
        await loop.run_in_executor(
            executor, until, lambda: harness.place.ask("HLEN", known) == 10_000, "all are registered"
        )
        with_all = len(connections())
        await loop.run_in_executor(executor, end, harness.open(), 10_000)
        outcomes = await asyncio.gather(one, *tasks)
        await loop.run_in_executor(executor, waiters.close)
        return with_one, with_all, {outcome.state for outcome in outcomes}

    async def main():
        with ThreadPoolExecutor(4) as executor:
            return await wait_for_all(executor, asyncio.get_running_loop())

    with_one, with_all, states = asyncio.run(main())

    assert with_all == with_one
    assert states == {State.DONE}
    assert left(harness.place) == []


def test_only_one_connection_blocks_for_many_queues(harness, store):
    watch = store.watch()
    for number in range(5):
        send(store, "job", queue=f"queue {number}")
        watch.add(f"queue {number}", ["job"])
    first = waiting(watch, harness.place.ask)

    assert blocked(harness.place.ask) == 1
    end(harness.open(), queue="queue 3")
    assert first.result(PATIENCE) == ["job"]


def test_a_job_is_told_once(harness, store):
    send(store, "job", "other")
    watch = store.watch()
    watch.add(QUEUE, ["job", "other"])
    told = waiting(watch, harness.place.ask)
    end(store)
    first = told.result(PATIENCE)

    harness.cut(store)

    assert again_and_again(lambda: watch.wait(0.01) == [])
    again_and_again(lambda: end(store))
    assert first + all_of(watch) == ["job", "other"]


def test_a_job_added_while_the_watch_waits_wakes_it(harness, store):
    send(store, "one", "two")
    end(store)
    watch = store.watch()
    watch.add(QUEUE, ["two"])
    told = waiting(watch, harness.place.ask)

    watch.add(QUEUE, ["one"])

    assert told.result(PATIENCE) == ["one"]


def test_what_was_read_is_dropped(harness, store, monkeypatch):
    monkeypatch.setattr(watched, "BEAT", 0.001)
    send(store, *(str(number) for number in range(50)))
    watch = store.watch()
    watch.add(QUEUE, [str(number) for number in range(50)])
    watch.wait(0)
    for _ in range(40):
        end(store)
        assert len(watch.wait(PATIENCE)) == 1

    [stream] = harness.place.ask("KEYS", "*:watch:*")
    assert harness.place.ask("XLEN", stream) < 20, "what was read since the last beat"


def test_of_jobs_that_are_gone_nothing_is_kept(harness, store):
    send(store, "removed", "flushed", "done", kind="")
    watch = store.watch()
    watch.add(QUEUE, ["removed", "flushed", "done"])
    watch.wait(0)
    assert harness.place.ask("HLEN", f"{harness.place.prefix}{KEYS}:watched") == 3

    store.remove(QUEUE, ["removed"])
    store.flush(QUEUE, State.READY)

    assert left(harness.place) == ["", "ers"], "its stream, and that there is a watch"
    assert sorted(all_of(watch, 3)) == ["done", "flushed", "removed"]


# -- who leaves ---------------------------------------------------------------------------------------------------


def test_a_closed_watch_leaves_nothing(harness, store):
    send(store, *(str(number) for number in range(2500)))
    watch, other = store.watch(), store.watch()
    for each in (watch, other):
        each.add(QUEUE, [str(number) for number in range(2500)])
        each.wait(0)

    watch.close()

    assert left(harness.place) == ["ed", "ers", "ing"], "those of the other"
    end(store)
    assert other.wait(PATIENCE) == [(QUEUE, "0")]
    other.close()
    assert left(harness.place) == []


def test_a_closed_store_leaves_nothing(harness, store):
    send(store, "job")
    watch = store.watch()
    watch.add(QUEUE, ["job"])
    told = waiting(watch, harness.place.ask)

    store.close()

    told.exception(PATIENCE)
    assert left(harness.place) == []


def test_what_a_killed_client_left_is_collected_when_its_time_is_over(harness, store):
    names = [str(number) for number in range(2500)]
    send(store, *names)
    url, clock = harness.address()
    child = subprocess.Popen([sys.executable, WAITS, url, clock, *names], stdout=subprocess.PIPE)
    with child.stdout as output:
        assert output.readline() == b"waits\n"
    child.kill()
    child.wait()

    store.tidy()
    assert left(harness.place) == ["ed", "ers", "ing"], "its time is not over"
    harness.elapse(watched.TTL + 1)
    while store.tidy(100).more:
        pass

    assert left(harness.place) == []


def test_a_destroyed_queue_keeps_no_watch(harness, store):
    send(store, "job")
    watch = store.watch()
    watch.add(QUEUE, ["job"])
    told = waiting(watch, harness.place.ask)

    store.destroy(QUEUE)

    assert told.result(PATIENCE) == ["job"]
    [stream] = harness.place.ask("KEYS", f"{harness.place.prefix}*:watch*")
    assert 0 < harness.place.ask("PTTL", stream) <= 60_000


def test_a_client_that_was_paused_for_too_long_registers_anew(harness, store, monkeypatch):
    monkeypatch.setattr(watched, "BEAT", 0.05)
    send(store, "ends", "lives")
    watch = store.watch()
    watch.add(QUEUE, ["ends", "lives"])
    watch.wait(0)
    harness.elapse(watched.TTL + 1)
    harness.open().tidy()
    assert left(harness.place) == []

    told = beside(lambda: all_of(watch))
    until(lambda: blocked(harness.place.ask) and left(harness.place), "it has registered")
    end(harness.open())

    assert told.result(PATIENCE) == ["ends"]


# -- what servers do ----------------------------------------------------------------------------------------------


def test_a_registration_that_was_lost_is_made_again(harness, store, monkeypatch):
    """As by a failover to a replica that did not have it yet."""
    monkeypatch.setattr(watched, "BEAT", 0.05)
    monkeypatch.setattr(watched, "LOOK_EVERY", 3600.0)
    send(store, "one", "two")
    watch = store.watch()
    watch.add(QUEUE, ["one", "two"])
    watch.wait(0)
    [known] = harness.place.ask("KEYS", "*:watching:*")
    harness.place.ask("SREM", known, "one")
    harness.place.ask("HDEL", f"{harness.place.prefix}{KEYS}:watched", "one")

    watch.wait(0.2)

    assert harness.place.ask("HLEN", f"{harness.place.prefix}{KEYS}:watched") == 2


def test_a_job_that_vanished_is_seen_to_be_gone(harness, store, monkeypatch):
    """As by eviction: no script has ended it."""
    monkeypatch.setattr(watched, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(watched, "BEAT", 0.05)
    send(store, "job", "other")
    watch = store.watch()
    watch.add(QUEUE, ["job", "other"])
    watch.wait(0)

    assert harness.place.ask("HDEL", f"{harness.place.prefix}{KEYS}:plain", "job") == 1

    assert watch.wait(PATIENCE) == [(QUEUE, "job")]
    watch.wait(0.1)
    assert harness.place.ask("HKEYS", f"{harness.place.prefix}{KEYS}:watched") == ["other"]


def test_a_cut_connection_delays_and_never_hangs(harness, store):
    send(store, "job")
    watch = store.watch()
    watch.add(QUEUE, ["job"])
    told = waiting(watch, harness.place.ask)

    harness.cut(store)
    until(lambda: blocked(harness.place.ask), "it waits again")
    end(harness.open())

    assert told.result(PATIENCE) == ["job"]


def test_a_flush_ends_all_waits(redis_servers, open_on, monkeypatch):
    monkeypatch.setattr(watched, "BEAT", 0.05)
    server = redis_servers.single()
    store = open_on(server.url)
    send(store, "one", "two")
    watch = store.watch()
    watch.add(QUEUE, ["one", "two"])
    told = waiting(watch, server.ask, 2)

    server.flush()

    assert sorted(told.result(PATIENCE)) == ["one", "two"]


@pytest.mark.parametrize("keeps", ["yes", "no"])
def test_a_restart_delays_and_never_hangs(redis_servers, open_on, keeps):
    server = redis_servers.single(appendonly=keeps, appendfsync="always")
    store = open_on(server.url)
    send(store, "job")
    watch = store.watch()
    watch.add(QUEUE, ["job"])
    told = waiting(watch, server.ask)

    server.restart()
    if keeps == "yes":
        until(lambda: blocked(server.ask), "it waits again")
        end_all(store, 1)

    assert told.result(PATIENCE) == ["job"]


def test_a_full_server_tells_of_ends(redis_servers, open_on):
    server = redis_servers.single(maxmemory_policy="noeviction")
    store = open_on(server.url)
    send(store, "job", "other")
    server.configure(maxmemory=1)
    with pytest.raises(QueueFull):
        send(store, "one more")
    watch = store.watch()
    watch.add(QUEUE, ["job", "other"])
    told = waiting(watch, server.ask, 1)
    server.configure(maxmemory=0)
    store.beat(HOLDER)
    [delivery] = store.lease(QUEUE, HOLDER.id, "lease", limit=1, kinds=("",), max_format=1)
    server.configure(maxmemory=1)

    store.settle([Ack(delivery.receipt)])

    assert told.result(PATIENCE) == ["job"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["single", "sentinels", "cluster"])
def test_who_waits_for_a_result_outlives_the_death_of_the_server(redis_servers, open_on, kind):
    """Through the whole of the library: threads that have called ``job.result()``."""
    on = getattr(redis_servers, kind)(appendonly="yes", appendfsync="always")
    waiters_store, store = open_on(on.url), open_on(on.url)
    names = [str(number) for number in range(20)]
    send(store, *names)
    waiters = Waiters(lambda: waiters_store, asyncio.to_thread)
    outcomes = [beside(lambda name=name: waiters.wait((QUEUE, name), PATIENCE)) for name in names]
    assert end(store) == 1
    assert outcomes[0].result(PATIENCE).state is State.DONE

    master = {"single": lambda: on, "sentinels": lambda: on.master, "cluster": lambda: on.owner(KEYS)}[kind]()
    if kind != "single":
        replicate(master)
    if kind == "single":
        on.restart()
    elif kind == "sentinels":
        on.promoted(on.kill_master())
    else:
        on.promoted(on.kill_owner(KEYS), KEYS)
    end_all(store, 20)

    assert {outcome.result(PATIENCE).state for outcome in outcomes} == {State.DONE}
    waiters.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sentinels", "cluster"])
def test_a_failover_delays_and_never_hangs(redis_servers, open_on, kind):
    on = getattr(redis_servers, kind)()
    store = open_on(f"{on.url}?wait=1")
    queues = [f"queue {number}" for number in range(6)]
    watches = [store.watch(), store.watch()]
    for queue in queues:
        send(store, "before", "after", queue=queue)
        for watch in watches:
            watch.add(queue, ["before", "after"])
    told = [beside(lambda watch=watch: all_of(watch, 2 * len(queues))) for watch in watches]
    for queue in queues:
        assert end(store, queue=queue) == 1

    if kind == "sentinels":
        on.promoted(dead := on.kill_master())
    else:
        on.promoted(dead := on.kill_owner(key := f"queue:{{{queues[0]}}}"), key)
    dead.start()  # one replica must have what is written
    for queue in queues:
        end_all(store, 2, queue)

    for one in told:
        assert sorted(one.result(2 * PATIENCE)) == ["after"] * len(queues) + ["before"] * len(queues)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sentinels", "cluster"])
def test_a_failover_while_both_live_delays_and_never_hangs(redis_servers, open_on, kind):
    on = getattr(redis_servers, kind)()
    store = open_on(f"{on.url}?wait=1")
    send(store, "job")
    watch = store.watch()
    watch.add(QUEUE, ["job"])
    told = beside(lambda: all_of(watch))
    store.declare("other", QueueSettings())

    on.fail_over() if kind == "sentinels" else on.fail_over(KEYS)
    end_all(store, 1)

    assert told.result(2 * PATIENCE) == ["job"]


class Life:
    """A watch, jobs that come and end, and what disturbs it; all by chance."""

    def __init__(self, harness, seed):
        self.harness, self.chance = harness, random.Random(seed)
        self.store, self.others = harness.open(), harness.open()
        self.watch, self.watches = self.store.watch(), f"{harness.place.prefix}{KEYS}:watch"
        self.watched, self.ended, self.told = set(), set(), []

    def sends(self):
        job_ids = [f"{len(self.watched)}-{number}" for number in range(self.chance.choice([1, 5, 1200]))]
        send(self.others, *job_ids)
        self.watch.add(QUEUE, job_ids)
        self.watched.update(job_ids)

    def ends(self):
        self.others.beat(HOLDER)
        limit = self.chance.choice([1, 3, 700])
        deliveries = self.others.lease(QUEUE, HOLDER.id, "ending", limit=limit, kinds=("",), max_format=1)
        self.ended.update(delivery.id for delivery in deliveries)
        self.others.settle([Ack(delivery.receipt) for delivery in deliveries])

    def discards(self):
        waited_for = sorted(self.watched - set(self.told))
        gone = set(self.chance.sample(waited_for, min(3, len(waited_for))))
        self.watch.discard(QUEUE, gone)
        self.watched -= gone

    def is_cut(self):
        self.harness.cut(self.store)

    def is_collected(self):
        self.harness.elapse(watched.TTL + 1)
        while self.others.tidy().more:
            pass

    def is_half_forgotten(self):
        for key in self.harness.place.ask("KEYS", f"{self.watches}ing:*"):
            for job_id in self.harness.place.ask("SRANDMEMBER", key, 2):
                self.harness.place.ask("SREM", key, job_id)
                self.harness.place.ask("HDEL", f"{self.watches}ed", job_id)

    def is_told_nothing(self):
        for key in self.harness.place.ask("KEYS", f"{self.watches}:*"):
            self.harness.place.ask("DEL", key)

    def is_forgotten(self):
        for key in self.harness.place.ask("KEYS", f"{self.watches}*"):
            self.harness.place.ask("DEL", key)

    def waits(self):
        try:
            self.told += [job_id for _, job_id in self.watch.wait(0.005)]
        except BackendError as error:
            if not error.retryable:
                raise
        assert self.ended.issuperset(self.told)

    def turn(self):
        usual = [self.sends, self.ends, self.discards, self.waits, self.waits]
        rare = [self.is_cut, self.is_collected, self.is_half_forgotten, self.is_told_nothing, self.is_forgotten]
        self.chance.choice(usual * 3 + rare)()


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_each_job_is_told_once(harness, seed, monkeypatch):
    monkeypatch.setattr(watched, "BEAT", 0.01)
    monkeypatch.setattr(watched, "LOOK_EVERY", 0.1)
    life = Life(harness, seed)

    for _ in range(150):
        life.turn()
    while end(life.others, 1000):
        pass
    life.ended = life.watched | life.ended
    until(lambda: life.waits() or life.watched <= set(life.told), "all are told")

    assert len(life.told) == len(set(life.told))
    life.watch.close()
    assert left(harness.place) == []


# -- clusters -----------------------------------------------------------------------------------------------------


def test_on_a_cluster_each_queue_is_waited_for_where_it_is(cluster_place, tmp_path):
    with RedisHarness(cluster_place, tmp_path) as harness:
        store, watch = (opened := harness.open()), opened.watch()
        queues = [f"queue {number}" for number in range(6)]
        for queue in queues:
            send(store, "job", "last", queue=queue)
            watch.add(queue, ["job", "last"])
        told = beside(lambda: [queue for queue, _ in watch.wait(PATIENCE)])
        until(lambda: sum(blocked(node.ask) for node in cluster_place.on.masters) == len(queues), "it waits everywhere")

        end(harness.open(), queue="queue 4")

        assert told.result(PATIENCE) == ["queue 4"]


def test_under_sentinels_a_watch_is_told(sentinel_place, tmp_path):
    with RedisHarness(sentinel_place, tmp_path) as harness:
        store = harness.open()
        send(store, "job")
        watch = store.watch()
        watch.add(QUEUE, ["job"])
        told = waiting(watch, sentinel_place.ask)

        end(harness.open())

        assert told.result(PATIENCE) == ["job"]
