"""Waits of several processes: one marker wakes one of them, and none is lost with who took it."""

import time
from contextlib import closing
from queue import SimpleQueue
from types import SimpleNamespace

import pytest

from holdfast.config import parse_url
from holdfast.delivery import Ack, HolderInfo
from holdfast.errors import BackendError
from holdfast.message import Message
from holdfast.stores import open_store
from holdfast.stores.redis.blocking import Blocking
from holdfast.testing.conformance.cases import PATIENCE, PROMPT, beside
from tests.redis.programs import until

QUEUE, WORKER = "work", "worker#1"


@pytest.fixture
def one(harness):
    one = harness.open()
    one.beat(HolderInfo(id=WORKER, ttl=1000, queues=(QUEUE,), kinds=("", "mail")))
    return one


@pytest.fixture
def two(harness):
    return harness.open()


def send(store, number=1, **options):
    store.send(QUEUE, [Message(body=b"", **options) for _ in range(number)])


def wait(store, timeout=PATIENCE, kinds=("",)):
    return store.wait((QUEUE,), kinds, timeout)


def lease(store, limit=1, kinds=("",)):
    return store.lease(QUEUE, WORKER, "lease", limit=limit, kinds=kinds, max_format=1)


def until_blocked(harness, number):
    """Return when so many connections wait at the server."""
    end = time.monotonic() + PATIENCE
    while f"blocked_clients:{number}\r" not in harness.place.ask("INFO", "clients") + "\r":
        assert time.monotonic() < end, "nobody waits"


def test_one_job_wakes_one_of_two(harness, one, two):
    waits = [beside(lambda: wait(one, 1.0)), beside(lambda: wait(two, 1.0))]
    until_blocked(harness, 2)

    send(one)

    assert sum(woken.result(PROMPT) for woken in waits) >= 1
    assert len(lease(one, 5)) == 1


def test_a_lease_that_leaves_jobs_wakes_the_next(harness, one, two):
    waiting = beside(lambda: wait(two))
    until_blocked(harness, 1)
    send(one, 2)
    assert waiting.result(PROMPT)
    lease(one, 1)

    assert wait(two, 0.5)


def test_what_a_closed_handle_took_wakes_another(harness, one, two):
    waiting = beside(lambda: wait(one))
    until_blocked(harness, 1)
    send(two)
    assert waiting.result(PROMPT)
    key = f"{harness.place.prefix}queue:{{{QUEUE}}}:wake:1:"
    assert harness.place.ask("EXISTS", key) == 0

    one.close()

    assert harness.place.ask("EXISTS", key) == 1


def test_a_wait_without_a_lease_after_it_keeps_no_marker(harness, one):
    waiting = beside(lambda: wait(one))
    until_blocked(harness, 1)
    send(one)
    waiting.result(PROMPT)

    wait(one, 0)

    assert harness.place.ask("EXISTS", f"{harness.place.prefix}queue:{{{QUEUE}}}:wake:1:") == 1


def test_a_paused_queue_wakes_nobody_before_it_goes_on(harness, one, two):
    one.pause(QUEUE)
    waiting = beside(lambda: wait(two))
    until_blocked(harness, 1)

    send(one)

    until_blocked(harness, 1)
    assert not waiting.done()
    one.resume(QUEUE)
    assert waiting.result(PROMPT)


def test_what_a_holder_that_died_had_taken_wakes_another(harness, one, two):
    send(one)
    one.settle([Ack(granted.receipt) for granted in lease(one)])  # the queue knows it, and it holds nothing
    waiting = beside(lambda: wait(one))
    until_blocked(harness, 1)
    send(two)
    assert waiting.result(PROMPT)

    two.retire(WORKER, "died")

    assert harness.place.ask("EXISTS", f"{harness.place.prefix}queue:{{{QUEUE}}}:wake:1:") == 1


def test_an_idle_wait_looks_and_blocks(harness, one):
    wait(one, 0.01)
    harness.place.ask("CONFIG", "RESETSTAT")

    wait(one, 0.3)

    stats = harness.place.ask("INFO", "commandstats")
    calls = [line for line in stats.splitlines() if line.startswith(("cmdstat_evalsha", "cmdstat_bzpopmin"))]
    assert sum(int(line.partition("calls=")[2].partition(",")[0]) for line in calls) == 2


def test_a_wait_at_a_server_that_says_nothing_ends_when_another_call_fails(redis_servers):
    server = redis_servers.single()
    with closing(open_store(parse_url(f"{server.url}?timeout=0.3"))) as store:
        waiting = beside(lambda: wait(store, 10 * PATIENCE))
        until(lambda: "blocked_clients:1\r" in server.ask("INFO", "clients") + "\r", "it waits")
        with server.paused():
            with pytest.raises(BackendError):
                store.stats(QUEUE)

            with pytest.raises(BackendError):
                waiting.result(PATIENCE)


def test_a_queue_that_goes_on_wakes_everybody(harness, one, two):
    one.pause(QUEUE)
    two.beat(HolderInfo(id="other#1", ttl=1000))
    assert lease(one) == two.lease(QUEUE, "other#1", "lease", limit=1, kinds=("",), max_format=1) == []
    send(one, 2)
    waits = [beside(lambda: wait(one)), beside(lambda: wait(two))]
    until_blocked(harness, 2)

    harness.open().resume(QUEUE)

    assert all(woken.result(PROMPT) for woken in waits)


def test_what_a_wait_took_that_failed_wakes_another(harness, one, monkeypatch):
    send(one, delay=3600)
    lease(one, kinds=("mail",))
    looks = [one._waits.look, None]

    def look(*args):
        found = looks.pop(0)
        if found is None:
            raise BackendError("away", retryable=True)
        return found(*args)

    monkeypatch.setattr(one._waits, "look", look)
    with pytest.raises(BackendError):
        wait(one)
    monkeypatch.undo()

    wait(one, 0)

    assert harness.place.ask("EXISTS", f"{harness.place.prefix}queue:{{{QUEUE}}}:wake") == 1


def test_a_worker_that_took_a_marker_and_is_full_of_another_queue_wakes_another(harness, one):
    key = f"{harness.place.prefix}queue:{{second}}:wake:1:"
    one.beat(HolderInfo(id=WORKER, ttl=1000, queues=(QUEUE, "second"), kinds=("",)))
    waiting = beside(lambda: one.wait((QUEUE, "second"), ("",), PATIENCE))
    until_blocked(harness, 1)
    one.send("second", [Message(body=b"")])
    assert waiting.result(PROMPT)
    assert harness.place.ask("EXISTS", key) == 0
    send(one)

    assert len(lease(one)) == 1

    assert harness.place.ask("EXISTS", key) == 1


def test_a_worker_that_was_told_of_a_due_time_and_is_full_of_another_queue_tells_another(harness, one):
    key = f"{harness.place.prefix}queue:{{{QUEUE}}}:wake"
    one.beat(HolderInfo(id=WORKER, ttl=1000, queues=(QUEUE, "second"), kinds=("",)))
    waiting = beside(lambda: one.wait((QUEUE, "second"), ("",), PATIENCE))
    until_blocked(harness, 1)
    send(one, delay=3600)
    assert harness.place.ask("EXISTS", key) == 0
    one.send("second", [Message(body=b"")])
    assert waiting.result(PROMPT)

    assert lease(one) == []
    assert len(one.lease("second", WORKER, "other lease", limit=1, kinds=("",), max_format=1)) == 1

    assert harness.place.ask("EXISTS", key) == 1


def test_what_a_holder_that_died_had_heard_of_due_times_is_told_again(harness, one, two):
    key = f"{harness.place.prefix}queue:{{{QUEUE}}}:wake"
    send(two, delay=3600)
    assert lease(one) == []  # the queue knows it now
    waiting = beside(lambda: wait(one))
    until(lambda: harness.place.ask("EXISTS", key) == 0, "the marker is taken")
    send(two)
    assert waiting.result(PROMPT)

    two.retire(WORKER, "died")

    assert harness.place.ask("EXISTS", key) == 1


CALLS = {"beat": lambda store: store.beat(HolderInfo(id=WORKER, ttl=1000)), "tidy": lambda store: store.tidy()}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_a_worker_took_that_neither_leases_nor_waits_wakes_another_soon(harness, one, call):
    """It has fallen quiet, or stops while jobs run; it beats, and keeps house."""
    key = f"{harness.place.prefix}queue:{{{QUEUE}}}:wake:1:"
    waiting = beside(lambda: wait(one))
    until_blocked(harness, 1)
    send(one)
    assert waiting.result(PROMPT)
    assert harness.place.ask("EXISTS", key) == 0

    call(one)

    assert harness.place.ask("EXISTS", key) == 1


@pytest.fixture
def asked(harness, one, monkeypatch):
    """One has taken a marker; the calls that are to put it back, of which the first has failed."""
    waiting = beside(lambda: wait(one))
    until_blocked(harness, 1)
    send(one)
    assert waiting.result(PROMPT)
    asked, run_all = [], one._link.run_all

    def refused_once(calls):
        asked.append(calls)
        return run_all(calls) if len(asked) > 1 else [BackendError("away", retryable=True) for _ in calls]

    monkeypatch.setattr(one._link, "run_all", refused_once)
    one._waits.put_back()
    assert len(asked) == 1
    return asked


def test_what_a_server_did_not_take_back_is_put_back_later(harness, one, asked, monkeypatch):
    monkeypatch.setattr("holdfast.stores.redis.waits.time", SimpleNamespace(monotonic=lambda: time.monotonic() + 60))

    one._waits.put_back()

    assert harness.place.ask("EXISTS", f"{harness.place.prefix}queue:{{{QUEUE}}}:wake:1:") == 1


def test_a_server_that_took_nothing_back_is_left_alone_before_it_is_asked_again(one, asked):
    """It may say nothing for seconds each time, in which nothing is heard of those that are there."""
    one._waits.put_back()

    assert len(asked) == 1


def test_a_server_that_grants_leases_again_is_asked_at_once(one, asked):
    lease(one, kinds=("mail",))

    one._waits.put_back()

    assert len(asked) == 2


def test_a_marker_that_was_lost_on_its_way_is_put_back(harness, one, monkeypatch):
    key = f"{harness.place.prefix}queue:{{{QUEUE}}}:wake"
    send(one, delay=3600)

    def lost(blocking, commands, timeout):
        assert harness.place.ask("ZPOPMIN", key)
        raise BackendError("broken", retryable=True)

    monkeypatch.setattr(Blocking, "wait", lost)
    with pytest.raises(BackendError):
        wait(one)
    monkeypatch.undo()

    wait(one, 0)

    assert harness.place.ask("EXISTS", key) == 1


def test_a_due_time_that_is_nearly_there_is_waited_for_and_not_for_ever(harness, one, monkeypatch):
    """Servers before 7.0 take 0.001 s for nothing, which is for ever."""
    asked = SimpleQueue()
    wait_for = Blocking.wait

    def noted(blocking, commands, timeout):
        asked.put(min(float(command[-1]) for _, command in commands))
        return wait_for(blocking, commands, timeout)

    monkeypatch.setattr(Blocking, "wait", noted)
    send(one, delay=0.001)  # by a clock that stands

    waiting = beside(lambda: wait(one))

    assert asked.get(timeout=PATIENCE) > 0.001
    one.interrupt()
    assert not waiting.result(PROMPT)
