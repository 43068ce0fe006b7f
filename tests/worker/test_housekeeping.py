"""What every worker does for the store beside its jobs."""

import msgspec
import pytest

from holdfast.config import QueueSettings
from holdfast.delivery import HolderInfo, State
from holdfast.events import Done, Dropped, Expired, Rescued, Retired
from holdfast.heartbeat import Heartbeat, this_process
from holdfast.worker.housekeeping import RETIRE_EVERY, TIDY_EVERY, Housekeeping
from tests.worker.faulty import Faulty


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


def ok(delivery, context):
    return None


def test_it_is_done_at_once_and_then_when_it_is_time(housekeeping, faulty, clock):
    housekeeping.run()
    housekeeping.run()
    assert faulty.calls["tidy"] == 1
    assert 0 < housekeeping.due_in <= TIDY_EVERY

    clock.move(TIDY_EVERY)
    housekeeping.run()
    assert (faulty.calls["tidy"], faulty.calls["holders"]) == (2, 1)

    clock.move(RETIRE_EVERY)
    housekeeping.run()
    assert faulty.calls["holders"] == 2


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
    housekeeping.run()

    clock.move(TIDY_EVERY)
    housekeeping.run()

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
