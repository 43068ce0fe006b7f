"""What a worker says of itself: to the store with each beat, to its program when asked, and to whoever outlives it."""

import asyncio
import threading
from collections import Counter
from queue import SimpleQueue

import pytest

from holdfast import __version__
from holdfast.delivery import Burial, GiveBack, Nack, State
from holdfast.events import BeforeRetry, Done, Leased, LoopBlocked, LoopLag, Stalled, Stuck
from holdfast.retry import Retry
from holdfast.worker import Worker, housekeeping
from tests.worker.conftest import PATIENCE, handler, wait_for_ready
from tests.worker.faulty import Faulty


@pytest.fixture
def faulty(store):
    return Faulty(store)


def known(store, told=lambda holder: True):
    """Return the one holder that the store knows, as soon as it tells so of itself."""
    for _ in range(1000):
        holders = store.holders()
        if holders and told(holders[0]):
            return holders[0]
        store.wait(["nothing"], ["nothing"], 0.01)
    raise AssertionError(holders)


# -- what each beat tells -------------------------------------------------------------------------------------


def test_a_beat_tells_slots_memory_and_version(worker, store):
    worker(lambda delivery, context: None, concurrency=3)

    holder = known(store)

    assert (holder.state, holder.slots, holder.used, holder.running) == ("working", 3, 0, ())
    assert holder.version == __version__
    assert 1_000_000 < holder.memory < 100_000_000_000


def test_a_beat_tells_which_jobs_run_and_for_how_long(*, worker, store, send, barrier, clock):
    jobs = send(b"", b"")
    worker(barrier, concurrency=4)
    barrier.wait_for_entries(2)

    clock.move(5)
    holder = known(store, lambda holder: holder.running)

    assert holder.used == 2
    assert {(job.queue, job.id, job.kind) for job in holder.running} == {("q", job, "k") for job in jobs}
    assert all(5 <= job.seconds < 10 for job in holder.running)


def test_of_many_jobs_those_that_have_run_longest_are_told(*, worker, store, send, barrier, clock):
    send(*[b""] * 5)
    worker(barrier, concurrency=30)
    barrier.wait_for_entries(5)
    clock.move(60)
    send(*[b""] * 25)
    barrier.wait_for_entries(25)

    clock.move(5)
    holder = known(store, lambda holder: holder.used == 30)

    assert len(holder.running) == 20
    assert sum(job.seconds >= 60 for job in holder.running) == 5


def test_the_loop_tells_about_once_a_second_how_long_it_took_to_answer(worker, store, clock, ear):
    async def run(delivery, context): ...

    worker(run, is_async=True)
    known(store)

    for count in (1, 2):
        clock.move(1)
        lags = ear.wait_for(LoopLag, count)
    clock.move(10)

    assert all(0 <= event.seconds < 10 for event in lags)
    assert 0 <= known(store, lambda holder: holder.lag is not None).lag < 10


def test_a_beat_tells_for_how_long_the_loop_has_been_blocked(*, worker, store, send, barrier, clock, ear):
    async def block(delivery, context):
        barrier(delivery, context)  # as a call without await does

    send(b"")
    worker(block, is_async=True)
    barrier.wait_for_entries()
    for _ in range(3):
        clock.move(1)
    ear.wait_for(LoopBlocked)  # it was asked, and cannot answer

    clock.move(30)

    known(store, lambda holder: holder.lag is not None and holder.lag >= 30)


def test_a_worker_without_a_loop_has_no_lag(worker, store, send, ear):
    send(b"")
    worker(lambda delivery, context: None)
    ear.wait_for(Done)

    assert known(store).lag is None
    assert not ear.heard(LoopLag)


# -- quiet ----------------------------------------------------------------------------------------------------


def test_a_quiet_worker_leases_nothing_more_and_stays(worker, store, send, ear):
    started = worker(lambda delivery, context: None)
    known(store)

    started.quiet()
    known(store, lambda holder: holder.state == "quiet")  # told at once, not with the next beat
    send(b"")

    assert started.join(0.1) is None
    assert store.stats("q").ready == 1
    started.work()
    ear.wait_for(Done)
    known(store, lambda holder: holder.state == "working")


@pytest.fixture
def waits(store, monkeypatch):
    """Tells of each wait of the store that begins, and that is over."""
    monkeypatch.setattr(housekeeping, "RETIRE_EVERY", 10 * PATIENCE)  # which ends waits too
    begun, over, wait = SimpleQueue(), SimpleQueue(), store.wait

    def noted(*args):
        begun.put(None)
        woken = wait(*args)
        over.put(None)
        return woken

    monkeypatch.setattr(store, "wait", noted)
    return begun, over


def test_a_worker_that_falls_quiet_waits_for_work_no_longer(worker, waits):
    """It would take wake-ups that others wait for."""
    begun, over = waits
    started = worker(lambda delivery, context: None)
    begun.get(timeout=PATIENCE)

    started.quiet()

    over.get(timeout=PATIENCE)


def test_a_wait_that_another_worker_heard_the_end_of_is_ended_soon_all_the_same(worker, store, waits, monkeypatch):
    """An interrupt ends the waits of its store that go on, and one that has not quite begun is not among those."""
    begun, over = waits
    started = worker(lambda delivery, context: None)
    begun.get(timeout=PATIENCE)
    with monkeypatch.context() as heard_elsewhere:
        heard_elsewhere.setattr(store, "interrupt", lambda: None)
        started.quiet()

    over.get(timeout=PATIENCE)


def test_when_it_falls_quiet_prefetched_jobs_go_back_unburned_and_running_ones_go_on(worker, store, send, barrier, ear):
    def run(delivery, context):
        if delivery.body != b"quick":  # after which many are leased ahead
            barrier(delivery, context)

    send(b"quick", *[b""] * 20)
    started = worker(run, concurrency=1)
    barrier.wait_for_entries()
    ear.wait_for(Leased, 3)

    started.quiet()
    started.quiet()
    wait_for_ready(store)
    barrier.let_go()

    ear.wait_for(Done, 2)
    stats = store.stats("q")
    assert (stats.done, stats.ready, stats.running) == (2, 19, 0)
    started.stop()
    assert started.join(PATIENCE).given_back >= 1


def test_a_worker_that_is_to_drain_does_not_end_while_it_is_quiet(worker, store, send, barrier):
    send(b"", b"")
    started = worker(barrier, drain=True, concurrency=1, embedded=True)
    barrier.wait_for_entries()

    started.quiet()
    barrier.let_go()
    known(store, lambda holder: holder.state == "quiet" and store.stats("q").done == 1)

    assert started.join(0.1) is None
    started.work()
    assert started.join(PATIENCE).done == 2


def test_falling_quiet_again_and_again_under_load_loses_and_burns_nothing(worker, store, send, ear):
    ran = Counter()

    async def run(delivery, context):
        ran[delivery.id] += 1

    jobs = send(*[b"a"] * 1500) + send(*[b"b"] * 1500, kind="plain")
    plain = handler(lambda delivery, context: ran.update([delivery.id]), kind="plain")
    started = worker(handler(run, is_async=True), plain, concurrency=3)

    turns = 0
    while store.stats("q").done < 3000:  # the test's own timeout ends it
        started.quiet()
        while (stats := store.stats("q")).running:
            assert started.health().why == "it is quiet"
        assert store.stats("q").done == stats.done
        started.work()
        turns += 1
        ear.wait_for(Done, min(3000, stats.done + 1))

    assert turns > 1
    assert ran == Counter(jobs)


def test_a_quiet_worker_whose_holder_was_ended_begins_another(worker, store, clock):
    started = worker(lambda delivery, context: None)
    first = known(store).id
    started.quiet()

    store.retire(first, "thought dead")
    clock.move(11)

    assert known(store, lambda holder: holder.id != first).state == "quiet"


def test_a_worker_does_what_it_is_told_from_afar_for_as_long_as_it_is_told(worker, store, send, clock, ear):
    started = worker(lambda delivery, context: None)
    holder = known(store).id

    assert store.command(holder, "quiet")
    for _ in range(3):  # it is told again with each beat
        clock.move(11)
    known(store, lambda holder: holder.state == "quiet")
    send(b"")
    assert store.command(holder, "work")
    clock.move(11)
    ear.wait_for(Done)

    assert store.command(holder, "stop")
    clock.move(11)
    assert started.join(PATIENCE).done == 1


def test_a_worker_that_its_program_quiets_stays_so_though_it_was_told_to_work_before(worker, store, clock):
    started = worker(lambda delivery, context: None)
    holder = known(store).id
    store.command(holder, "quiet")
    clock.move(11)
    known(store, lambda holder: holder.state == "quiet")
    store.command(holder, "work")
    clock.move(11)
    known(store, lambda holder: holder.state == "working")

    started.quiet()
    known(store, lambda holder: holder.state == "quiet")
    clock.move(11)
    started.work()
    started.quiet()

    assert known(store, lambda holder: holder.state == "quiet")
    assert started.health().why == "it is quiet"


# -- health ---------------------------------------------------------------------------------------------------


def hale(started):
    """Return its health once it is ready."""
    for _ in range(1000):
        if (health := started.health()).ready:
            return health
        threading.Event().wait(0.01)
    raise AssertionError(health)


def test_a_worker_that_leases_is_live_and_ready(worker):
    assert hale(worker(lambda delivery, context: None)).why == ""


def test_a_worker_is_not_ready_before_it_has_started(store):
    health = Worker(store, ["q"], [handler(lambda delivery, context: None)]).health()

    assert (health.live, health.ready, health.why) == (True, False, "it has not been started")


def test_a_quiet_worker_is_live_and_not_ready(worker):
    started = worker(lambda delivery, context: None)
    hale(started)

    started.quiet()

    assert started.health().why == "it is quiet"
    assert started.health().live


def test_a_worker_that_stops_is_live_and_not_ready_and_one_that_has_ended_is_neither(worker, send, barrier):
    send(b"")
    started = worker(barrier)
    barrier.wait_for_entries()

    started.stop()
    stopping = started.health()
    barrier.let_go()
    started.join(PATIENCE)

    assert (stopping.live, stopping.ready, stopping.why) == (True, False, "it is stopping")
    assert (started.health().live, started.health().ready, started.health().why) == (False, False, "it has ended")


def test_a_worker_that_cannot_lease_is_live_and_not_ready(*, worker, faulty, clock, ear):
    faulty.fail("beat", 1000)
    started = worker(lambda delivery, context: None, backend=faulty)
    faulty.wait_for_calls("beat", 1)

    for _ in range(3):
        clock.move(30)
    ear.wait_for(Stalled)

    health = started.health()
    assert (health.live, health.ready) == (True, False)
    assert health.why.startswith("it cannot lease: ")


def test_a_worker_whose_settler_has_died_is_not_live(*, worker, store, send, monkeypatch):
    started = worker(lambda delivery, context: None)
    hale(started)

    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    started._settler._reports = None  # a bug that ends its thread
    send(b"")
    started._settler.join(PATIENCE)

    assert started.health().why == "its settler died"
    assert not started.health().live


def test_a_worker_whose_own_thread_hangs_is_not_live(*, worker, send, events, barrier, clock, monkeypatch):
    monkeypatch.setattr("holdfast.worker.worker.MOST_SILENT", 0.05)
    hung, let_go = threading.Event(), threading.Event()

    def hang(event):
        hung.set()
        let_go.wait(PATIENCE)

    events.listen(Stuck, hang)
    send(b"", timeout=30)
    started = worker(barrier)
    barrier.wait_for_entries()

    clock.move(31)
    assert hung.wait(PATIENCE)
    while (health := started.health()).live:  # the test's own timeout ends it
        pass
    let_go.set()

    assert health.why.startswith("its own thread has not turned for ")


# -- on an event loop -----------------------------------------------------------------------------------------


def test_a_worker_of_a_program_on_an_event_loop_never_blocks_it(store, send, events):
    started, loop_turned = threading.Event(), threading.Event()

    def run(delivery, context):
        started.set()
        assert loop_turned.wait(PATIENCE)  # while the worker is joined

    async def program():
        async with Worker(store, ["q"], [handler(run)], events=events) as worker:
            await asyncio.to_thread(started.wait, PATIENCE)
            asyncio.get_running_loop().call_later(0.01, loop_turned.set)
        return worker.join(0)

    send(b"")
    assert asyncio.run(program()).done == 1


# -- the last word --------------------------------------------------------------------------------------------


def test_what_settles_the_jobs_that_outlive_their_worker_in_threads_is_known_before_its_process_ends(
    *, worker, store, send, barrier, clock, ear
):
    (late,) = send(b"late", timeout=30)
    (last,) = send(b"last", timeout=30, max_attempts=1)
    (other,) = send(b"other")
    retry = Retry(base=7, jitter="none")
    started = worker(handler(barrier, retry=retry), concurrency=3, grace=0)
    barrier.wait_for_entries(3)
    clock.move(31)
    started.stop(now=True)
    assert started.join(PATIENCE).abandoned == 3

    settled = {settlement.receipt.id: settlement for settlement in started.abandoned()}

    assert isinstance(settled[late], Nack)
    assert (settled[late].delay, settled[late].reason) == (7, "timeout")
    assert isinstance(settled[last], Burial)
    assert settled[last].reason == "timeout"
    assert settled[other] == GiveBack(settled[other].receipt)
    assert store.settle(list(settled.values())) == []
    assert store.get("q", other).attempts == 0
    assert store.get("q", late).state is State.SCHEDULED
    assert len(ear.heard(BeforeRetry)) == 1
