"""What every worker does for the store beside its jobs."""

import subprocess
import sys

import msgspec
import pytest

from holdfast.config import QueueSettings
from holdfast.delivery import Ack, HolderInfo, State
from holdfast.events import Done, Dropped, Expired, Rescued, Retired
from holdfast.heartbeat import Heartbeat, process_start, this_process
from holdfast.testing.clock import MovableClock
from holdfast.worker import housekeeping as housekeeping_module
from holdfast.worker.housekeeping import RETIRE_EVERY, TIDY_AT_LEAST, TIDY_EVERY, Housekeeping
from holdfast.worker.published import Published
from tests.worker.faulty import Faulty


@pytest.fixture
def clock():
    return MovableClock(ticking=False)


@pytest.fixture
def faulty(store):
    return Faulty(store)


@pytest.fixture
def heartbeat(faulty, clock):
    heartbeat = Heartbeat(faulty, this_process("me", ttl=30), clock=clock)
    yield heartbeat
    heartbeat.stop()
    heartbeat.join(10)


@pytest.fixture
def housekeeping(faulty, heartbeat, events, clock):
    return Housekeeping(faulty, heartbeat, events, clock)


def hold(store, holder, queue="q"):
    """Let ``holder`` lease what is ready."""
    store.beat(holder)
    return store.lease(queue, holder.id, "lease", limit=10, kinds=["k"], max_format=1)


def settle_in(housekeeping, heartbeat, clock):
    """Let it have done what it does once."""
    heartbeat.hold(["q"], ["k"])
    for _ in range(2):
        housekeeping.run(busy=False)
        clock.move(RETIRE_EVERY)
    housekeeping.run(busy=False)


@pytest.fixture
def child(store):
    """A process that holds the store, and ends when the test says so."""
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        start = process_start(child.pid)
        store.beat(msgspec.structs.replace(this_process(), id="child#1", pid=child.pid, pid_start=start))
        yield child


def ok(delivery, context):
    return None


def test_it_is_done_at_once_and_then_when_it_is_time(housekeeping, faulty, clock):
    housekeeping.run()
    housekeeping.run()
    assert faulty.calls["tidy"] == 1
    assert 0 < housekeeping.due_in <= RETIRE_EVERY

    clock.move(TIDY_EVERY)
    housekeeping.run()
    assert (faulty.calls["tidy"], faulty.calls["holders"]) == (2, 1)

    clock.move(RETIRE_EVERY)
    housekeeping.run()
    assert faulty.calls["holders"] == 2


def test_what_its_rounds_cannot_do_follows_without_a_pause(*, housekeeping, store, send, monkeypatch):
    monkeypatch.setattr(housekeeping_module, "MOST_ROUNDS", 2)
    store.declare("q", QueueSettings(done_most=0))
    jobs = send(*[b""] * 4500)
    store.beat(HolderInfo(id="other#1", ttl=30))
    leased = store.lease("q", "other#1", "lease", limit=len(jobs), kinds=["k"], max_format=1)
    store.settle([Ack(delivery.receipt) for delivery in leased])

    kept = []
    while not kept or housekeeping.due_in == 0:
        housekeeping.run(busy=False)
        kept.append(store.stats("q").done)

    assert kept == [2500, 500, 0]


def test_while_nothing_happens_the_store_is_asked_once_a_minute(housekeeping, heartbeat, faulty, clock):
    settle_in(housekeeping, heartbeat, clock)
    before = (faulty.calls["tidy"], faulty.calls["holders"])

    for _ in range(int(TIDY_AT_LEAST / RETIRE_EVERY) - 2):
        clock.move(RETIRE_EVERY - 0.01)
        housekeeping.run(busy=False)
    assert (faulty.calls["tidy"], faulty.calls["holders"]) == before

    clock.move(2 * RETIRE_EVERY)
    housekeeping.run(busy=False)
    clock.move(RETIRE_EVERY)
    housekeeping.run(busy=False)
    assert (faulty.calls["tidy"], faulty.calls["holders"]) == (before[0] + 1, before[1] + 1)


def test_a_silent_holder_is_found_when_its_time_is_over_and_not_before(*, housekeeping, heartbeat, send, store, clock):
    (job,) = send(b"")
    hold(store, HolderInfo(id="other#1", ttl=10))
    heartbeat.hold(["q"], ["k"])
    housekeeping.run(busy=False)

    clock.move(9.9)
    housekeeping.run(busy=False)
    assert store.get("q", job).state is State.RUNNING
    assert housekeeping.due_in <= 0.1

    clock.move(0.1)
    housekeeping.run(busy=False)
    assert store.get("q", job).state is State.READY


def test_better_news_of_a_holder_puts_the_next_look_off(*, housekeeping, heartbeat, faulty, store, clock):
    other = HolderInfo(id="other#1", ttl=10)
    store.beat(other)
    heartbeat.hold(["q"], ["k"])
    housekeeping.run(busy=False)
    clock.move(9)
    store.beat(other)

    clock.move(1)
    housekeeping.run(busy=False)

    assert faulty.calls["tidy"] == 1
    assert heartbeat.next_end == clock.boot() + 9000


def test_after_one_silent_holder_the_next_is_awaited(*, housekeeping, heartbeat, faulty, store, clock):
    store.beat(HolderInfo(id="first#1", ttl=10))
    store.beat(HolderInfo(id="second#1", ttl=15))
    heartbeat.hold(["q"], ["k"])
    housekeeping.run(busy=False)

    clock.move(10)
    housekeeping.run(busy=False)
    clock.move(5)
    housekeeping.run(busy=False)

    assert [holder.name for holder in store.holders()] == ["me"]
    assert faulty.calls["tidy"] == 3


def test_a_known_holder_whose_process_has_gone_is_found_without_asking_the_store(
    *, housekeeping, heartbeat, faulty, child, clock, ear
):
    settle_in(housekeeping, heartbeat, clock)
    before = faulty.calls["holders"]
    clock.move(RETIRE_EVERY)
    housekeeping.run(busy=False)
    assert faulty.calls["holders"] == before

    child.communicate()
    clock.move(RETIRE_EVERY)
    housekeeping.run(busy=False)

    assert [event.holder.id for event in ear.heard(Retired)] == ["child#1"]


def test_a_holder_that_came_while_the_worker_started_is_known(*, housekeeping, request, clock, ear):
    housekeeping.run(busy=False)
    child = request.getfixturevalue("child")  # before the worker waits for work, where it would hear of it
    clock.move(RETIRE_EVERY)
    housekeeping.run(busy=False)

    child.communicate()
    clock.move(RETIRE_EVERY)
    housekeeping.run(busy=False)

    assert [event.holder.id for event in ear.heard(Retired)] == ["child#1"]


def test_what_expired_is_told(housekeeping, send, store, clock, ear):
    (job,) = send(b"", expires_in=5)
    clock.move(6)

    housekeeping.run()

    assert [event.count for event in ear.heard(Expired)] == [1]
    assert store.get("q", job).state is State.EXPIRED


def test_dead_letters_that_retention_drops_are_told(housekeeping, send, store, clock, ear):
    store.declare("q", QueueSettings(dead_for=10))
    send(b"", b"", max_attempts=1)
    for delivery in hold(store, HolderInfo(id="other#1", ttl=60)):
        delivery.bury("of no use")
        store.settle([delivery.settlement])
    clock.move(11)

    housekeeping.run()

    assert [event.count for event in ear.heard(Dropped)] == [2]


def test_nothing_is_told_when_nothing_happened(housekeeping, events, ear):
    housekeeping.run()

    assert not ear.heard((Expired, Dropped, Rescued, Retired))


def test_a_store_that_cannot_is_asked_again_the_next_time(housekeeping, faulty, clock):
    faulty.fail("tidy", 1)
    housekeeping.run(busy=False)

    clock.move(TIDY_EVERY)
    housekeeping.run(busy=False)

    assert (faulty.calls["tidy"], faulty.calls["holders"]) == (2, 1)


def test_a_machine_that_slept_does_not_take_its_own_jobs_for_those_of_the_dead(
    housekeeping, heartbeat, send, store, clock
):
    (job,) = send(b"")
    store.lease("q", heartbeat.hold(["q"], ["k"]), "lease", limit=1, kinds=["k"], max_format=1)

    clock.move(3600)
    housekeeping.run()

    assert store.get("q", job).state is State.RUNNING


def test_jobs_of_a_holder_that_went_silent_are_run(worker, send, store, clock, ear):
    send(b"")
    store.beat(HolderInfo(id="silent#1", ttl=10))
    store.lease("q", "silent#1", "lease", limit=1, kinds=["k"], max_format=1)
    worker(ok)

    clock.move(11)

    assert ear.wait_for(Rescued)[0].count == 1
    assert ear.wait_for(Done)[0].job.attempt == 2


def test_jobs_of_a_process_that_has_gone_are_run_before_its_ttl_ends(worker, send, store, ear):
    gone = msgspec.structs.replace(this_process(), id="gone#1", pid_start=1)  # this pid, of an earlier process
    send(b"")
    hold(store, gone)

    worker(ok)

    (retired,) = ear.wait_for(Retired)
    assert (retired.holder.id, retired.jobs) == ("gone#1", 1)
    ear.wait_for(Done)


@pytest.mark.parametrize("begun", [False, True], ids=["at the start", "later"])
def test_of_a_process_that_has_gone_only_what_had_started_is_charged_though_its_ttl_is_over_too(
    *, housekeeping, heartbeat, send, store, clock, begun
):
    published = Published(clock)
    published.open(1)
    published.hold("gone#1")
    gone = msgspec.structs.replace(this_process(ttl=2.0), id="gone#1", pid_start=1, published=published.path)
    if begun:
        settle_in(housekeeping, heartbeat, clock)
    jobs = send(b"started", b"waiting")
    started, _ = hold(store, gone)
    published.begin(started)
    if begun:
        heartbeat.renew()

    clock.move(3)
    housekeeping.run(busy=False)

    assert [(store.get("q", job).attempts, store.get("q", job).crashes) for job in jobs] == [(1, 1), (0, 0)]


def test_what_a_wait_has_found_is_run_before_the_house_is_kept(*, worker, send, faulty, ear, monkeypatch):
    monkeypatch.setattr(housekeeping_module, "TIDY_EVERY", 0.0)
    worker(ok, backend=faulty)
    faulty.wait_for_calls("wait", 1)

    with faulty.hold("tidy") as tidying:
        send(b"")
        ear.wait_for(Done)

        tidying.wait()


def test_the_house_is_kept_though_each_wait_finds_something(*, worker, store, faulty, monkeypatch):
    monkeypatch.setattr(housekeeping_module, "TIDY_EVERY", 0.0)
    monkeypatch.setattr(store, "wait", lambda *_: True)  # as where other workers are always the first

    worker(ok, backend=faulty)

    faulty.wait_for_calls("tidy", 3)
