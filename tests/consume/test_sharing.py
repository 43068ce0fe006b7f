"""Workers that share a group: partitions change hands, and what fails between two steps is done once."""

import threading
from secrets import token_hex

import pytest

from holdfast import CONTEXT, App, Context
from holdfast.clock import SYSTEM
from holdfast.config import LogSettings, parse_url
from holdfast.delivery import Ack, HolderInfo
from holdfast.errors import BackendError
from holdfast.events import Lost
from holdfast.logged import LogMessage, Start
from holdfast.message import Message
from holdfast.stores import open_store
from holdfast.testing.clock import MovableClock
from holdfast.testing.faults import Faults
from holdfast.worker.consuming.reading import Reading
from tests.consume.conftest import AT_ONCE, Orders, dead, wait_until


@pytest.fixture
def four(orders):
    """The log with four partitions."""
    orders.log.declare(LogSettings(partitions=4))
    return orders


def members(orders):
    """Return how many partitions each member holds."""
    held = [lag.member for lag in orders.lag() if lag.member is not None]
    return sorted(held.count(one) for one in set(held))


def test_two_workers_share_the_partitions_and_one_takes_over(four, worker, heard):
    @four.app.consume(log="orders", group="billing")
    def bill(message: LogMessage) -> None:
        heard.note((message.partition, message.offset))

    first = worker()
    wait_until(lambda: four.log.groups() and members(four) == [4])
    worker()
    wait_until(lambda: members(four) == [2, 2])
    for partition in range(4):
        four.append(b"", b"", partition=partition)
    heard.wait_for(8)

    first.stop()
    wait_until(lambda: members(four) == [4])
    for partition in range(4):
        four.append(b"", partition=partition)
    heard.wait_for(12)
    four.wait_for_lag(0)

    assert sorted(heard) == [(partition, offset) for partition in range(4) for offset in range(3)]


def test_a_worker_that_always_has_messages_gives_partitions_up_too(four, worker, heard):
    @four.app.consume(log="orders", group="billing", order="partition")
    def bill(message: LogMessage) -> None:
        heard.note((message.partition, message.offset))
        four.append(b"", partition=message.partition)  # there is always another one

    for partition in range(4):
        four.append(b"", b"", b"", partition=partition)
    worker(concurrency=2)
    heard.wait_for(20)
    worker(concurrency=2)

    wait_until(lambda: members(four) == [2, 2])
    for partition in range(4):
        its = [offset for other, offset in list(heard) if other == partition]
        assert its == sorted(its)


def test_a_partition_stays_until_its_running_message_is_done(four, worker, heard, barrier):
    @four.app.consume(log="orders", group="billing")
    def bill(message: LogMessage, *, ctx: Context = CONTEXT) -> None:
        barrier(None, ctx)
        heard.note(message.partition)

    for partition in range(4):
        four.append(b"", partition=partition)
    worker(concurrency=4)
    barrier.wait_for_entries(4)
    worker(concurrency=4)
    wait_until(lambda: len(four.log.groups()[0].members) == 2)
    assert members(four) == [4]

    barrier.let_go()
    heard.wait_for(4)
    wait_until(lambda: members(four) == [2, 2])
    four.wait_for_lag(0)
    assert sorted(heard) == [0, 1, 2, 3]


def test_what_was_leased_ahead_is_handled_by_whoever_comes_next(orders, worker, heard, barrier):
    @orders.app.consume(log="orders", group="billing")
    def bill(message: LogMessage, *, ctx: Context = CONTEXT) -> None:
        if message.offset == 0:
            barrier(None, ctx)
        heard.note((message.offset, ctx.delivery.attempt))

    orders.append(*[b""] * 50)
    first = worker(concurrency=1, embedded=False)
    barrier.wait_for_entries()
    first.stop()
    barrier.let_go()
    first.join(30)
    worker(concurrency=4)
    heard.wait_for(50)
    orders.wait_for_lag(0)

    assert sorted(heard) == [(offset, 1) for offset in range(50)]


def test_a_forgotten_group_makes_what_runs_count_for_nothing(orders, worker, heard, barrier, ear):
    @orders.app.consume(log="orders", group="billing")
    def bill(message: LogMessage, *, ctx: Context = CONTEXT) -> None:
        heard.note(message.offset)
        if len(heard) == 1:
            barrier(None, ctx)

    orders.append(b"")
    worker()
    barrier.wait_for_entries()
    orders.log.group("billing").forget()
    barrier.let_go()
    ear.wait_for(Lost)
    heard.wait_for(2)
    orders.wait_for_lag(0)

    assert heard == [0, 0]


# -- faults -----------------------------------------------------------------------------------------------------


@pytest.fixture
def faults():
    faults = Faults()
    yield faults
    faults.mend()


@pytest.fixture
def frail(url, faults):
    """An App whose store fails on command."""
    app = App(url[0])
    with app._life.lend(faults.wrap(open_store(parse_url(url[0]))), SYSTEM):
        yield app
    app.close()


def test_a_dead_letter_whose_outcome_is_unknown_appears_once(frail, faults, worker, heard):
    orders = Orders(frail)

    @frail.consume(log="orders", group="billing", retry=1)
    def bill(body: bytes) -> None:
        heard.note(body)
        if body == b"bad":
            raise ValueError("no")

    orders.append(b"bad", b"good", key="a")
    faults.fail("put_dead", after=True)
    worker(frail)
    heard.wait_for(2)
    orders.wait_for_lag(0)

    assert (heard, len(dead(frail))) == ([b"bad", b"good"], 1)


def test_a_message_is_not_finished_before_its_dead_letter_is_stored(frail, faults, worker, heard):
    orders = Orders(frail)

    @frail.consume(log="orders", group="billing", retry=1)
    def bill(body: bytes) -> None:
        heard.note(body)
        raise ValueError("no")

    orders.append(b"bad")
    with faults.hold("put_dead") as hold:
        worker(frail)
        hold.wait()
        assert sum(lag.messages for lag in orders.lag()) == 1
    orders.wait_for_lag(0)
    assert len(dead(frail)) == 1


def test_what_follows_a_message_is_stored_before_its_end(frail, faults, worker, heard):
    orders = Orders(frail)

    @frail.task(queue="orders.billing")
    def remind() -> None:
        heard.note("reminded")

    @frail.consume(log="orders", group="billing")
    def bill(body: bytes, *, ctx: Context = CONTEXT) -> None:
        ctx.then(remind.call())

    orders.append(b"")
    faults.fail("send", times=2, after=True)
    worker(frail)
    heard.wait_for(1)
    orders.wait_for_lag(0)

    assert heard == ["reminded"]


def test_logs_that_are_away_for_a_while_lose_nothing(orders, worker, heard, monkeypatch):
    store, away, refused = orders.app.log_backend, threading.Event(), threading.Event()
    join = store.join

    def join_frail(*args, **options):
        member = join(*args, **options)
        commit = member.commit

        def commit_frail(*args, **options):
            if away.is_set():
                refused.set()
                raise BackendError("the logs are away", retryable=True)
            return commit(*args, **options)

        monkeypatch.setattr(member, "commit", commit_frail)
        return member

    monkeypatch.setattr(store, "join", join_frail)

    @orders.app.consume(log="orders", group="billing")
    def bill(message: LogMessage) -> None:
        heard.note(message.offset)

    away.set()
    orders.append(*[b""] * 10)
    worker()
    assert refused.wait(10)
    away.clear()
    orders.wait_for_lag(0)

    assert sorted(heard) == list(range(10))


def test_a_message_that_killed_three_processes_is_buried_before_it_runs(orders, work, heard):
    @orders.app.consume(log="orders", group="billing", retry=AT_ONCE)
    def bill(message: LogMessage, *, ctx: Context = CONTEXT) -> None:
        heard.note((message.offset, ctx.delivery.crashes, ctx.delivery.attempt))

    orders.append(*[b""] * 3)
    orders.seek({0: 0})
    store = orders.app.log_backend
    for run in (1, 1, 2, 3):
        store.charge("orders", "billing", 0, 1, run=run, reason="worker died: SIGKILL")
    store.charge("orders", "billing", 0, 2, run=1, reason="worker died: SIGKILL")
    work()

    (letter,) = dead(orders.app)
    assert sorted(heard) == [(0, 0, 1), (2, 1, 2)]
    assert (letter.id, letter.reason, letter.crashes) == ("orders/billing/0/1", "worker died: SIGKILL", 3)


def test_a_quiet_worker_lets_others_have_its_partitions(four, worker, heard):
    @four.app.consume(log="orders", group="billing")
    def bill(message: LogMessage) -> None:
        heard.note(message.partition)

    first = worker()
    wait_until(lambda: four.log.groups() and members(four) == [4])
    first.quiet()
    wait_until(lambda: members(four) == [])
    first.work()
    wait_until(lambda: members(four) == [4])
    for partition in range(4):
        four.append(b"", partition=partition)
    heard.wait_for(4)


def test_a_job_beside_a_group_is_leased_as_soon_as_no_message_is_there(orders):
    served = orders.app._life.served([Reading(log="orders", group="billing", kind="bill")])
    served.beat(HolderInfo(id="w#1", ttl=30))

    def lease():
        return served.lease("orders.billing", "w#1", token_hex(8), limit=9, kinds=["bill", "next"], max_format=1)

    orders.append(b"")
    found = []
    wait_until(lambda: found.extend(lease()) or found)
    served.send("orders.billing", [Message(id="next", body=b"", kind="next")])
    served.settle([Ack(found[0].receipt)])  # which might have let another message run

    assert [job.id for job in lease()] == ["next"]
    served.retire("w#1", "it ended")


def test_a_stop_that_comes_as_a_quiet_source_goes_to_rest_ends_it(orders, worker, monkeypatch):
    @orders.app.consume(log="orders", group="billing")
    def bill(body: bytes) -> None: ...

    made = worker()
    wait_until(lambda: orders.log.groups() and members(orders) == [1])
    (source,) = made._backend._sources.values()
    say_last = source._say_last

    def stop_meanwhile():
        say_last()
        source.stop()
        source._wake.clear()  # as if the stop had come just before

    monkeypatch.setattr(source, "_say_last", stop_meanwhile)
    made.quiet()

    assert source.join(10)


def test_who_beats_for_a_silent_process_keeps_its_partitions_too():
    clock = MovableClock(ticking=False)
    with App("memory:", clock=clock, logger=None) as app:
        app.log("orders").declare(LogSettings())
        silent, other = (HolderInfo(id=name, pid=2**22 + 1, ttl=10) for name in ("child#1", "other#1"))
        member, newcomer = (app.log_backend.join("orders", "billing", one, start=Start()) for one in (silent, other))
        member.poll(limit=1, wait=0)
        supervisor = app._life.served()
        for _ in range(3):
            clock.move(6)
            supervisor.beat(silent)
        newcomer.poll(limit=1, wait=0)

        assert list(member.assigned()) == [0]
        assert list(newcomer.assigned()) == []
