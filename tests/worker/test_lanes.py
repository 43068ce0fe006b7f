"""Lanes: slots that only some queues or kinds take, beside those that all share."""

import asyncio
import threading

import pytest

from holdfast.errors import UsageError
from holdfast.events import Done, Leased
from holdfast.worker import Lane, Worker, WorkerOptions, fetcher
from holdfast.worker.runners.threads import ThreadRunner
from holdfast.worker.wanting import Place, Want, places
from tests.worker.conftest import PATIENCE, handler
from tests.worker.faulty import Faulty

URGENT = Lane(slots=1, queues=["urgent"])


def ok(delivery, context):
    return None


def blocking_in(barrier, *queues):
    """Return a handler whose jobs of these queues wait, while others end at once."""

    def run(delivery, context):
        if delivery.queue in queues:
            barrier(delivery, context)

    return run


def test_a_lane_works_while_the_shared_slots_are_saturated(worker, send, barrier, ear):  # G-T15, G-T29
    send(*[b""] * 5)
    worker(blocking_in(barrier, "q"), queues=("q", "urgent"), concurrency=2, lanes=[URGENT])
    barrier.wait_for_entries(2)

    send(b"", b"", queue="urgent")

    assert {event.job.queue for event in ear.wait_for(Done, 2)} == {"urgent"}


def test_a_lane_takes_no_jobs_of_others(*, worker, send, store, barrier, ear):  # G-T29
    mail = Lane(slots=1, queues=["mail"])
    send(*[b""] * 5)
    send(*[b""] * 5, queue="mail")
    worker(barrier, queues=("q", "urgent", "mail"), concurrency=2, embedded=True, lanes=[URGENT, mail])
    barrier.wait_for_entries(3)

    taken = [event.job.queue for event in ear.wait_for(Leased, 3)]

    assert taken.count("q") <= 2
    assert store.stats("q").running + store.stats("mail").running == 3


def test_jobs_of_a_lane_take_shared_slots_too(worker, send, barrier, store):
    send(*[b""] * 5, queue="urgent")
    worker(barrier, queues=("q", "urgent"), concurrency=2, embedded=True, lanes=[URGENT])

    barrier.wait_for_entries(3)

    assert store.stats("urgent").running == 3


def test_a_lane_may_be_of_kinds(worker, send, barrier, ear):
    send(*[b""] * 3, kind="slow")
    lane = Lane(slots=1, kinds=["quick"])
    worker(handler(barrier, "slow"), handler(ok, "quick"), concurrency=1, lanes=[lane])
    barrier.wait_for_entries()

    send(b"", kind="quick")

    assert ear.wait_for(Done)[0].job.kind == "quick"


def test_a_lane_of_a_queue_and_a_kind_takes_what_fits_both(*, worker, send, barrier, ear, store):
    lane = Lane(slots=1, kinds=["quick"], queues=["urgent"])
    send(b"", kind="slow")
    worker(handler(barrier, "slow"), handler(ok, "quick"), queues=("q", "urgent"), concurrency=1, lanes=[lane])
    barrier.wait_for_entries()

    (left,) = send(b"", kind="quick")
    (done,) = send(b"", kind="quick", queue="urgent")

    assert ear.wait_for(Done)[0].job.id == done
    assert store.get("q", left).state == "ready"


def test_lanes_of_different_sorts_all_work_while_the_shared_slots_are_saturated(worker, send, barrier, ear):
    lanes = [URGENT, Lane(slots=1, kinds=["quick"])]
    send(*[b""] * 3, kind="slow")
    worker(handler(barrier, "slow"), handler(ok, "quick"), queues=("q", "urgent"), concurrency=1, lanes=lanes)
    barrier.wait_for_entries()

    send(b"", kind="quick")
    ear.wait_for(Done)
    send(b"", kind="slow", queue="urgent")

    barrier.wait_for_entries()


def test_a_lane_whose_turn_to_be_waited_for_did_not_come_is_not_forgotten(
    *, store, worker, send, barrier, ear, monkeypatch
):
    monkeypatch.setattr(fetcher, "SLICE", PATIENCE)  # so that each wait is for one place alone
    faulty = Faulty(store)
    lanes = [URGENT, Lane(slots=1, kinds=["quick"])]
    send(b"", kind="slow")
    queues, handlers = ("q", "urgent"), (handler(barrier, "slow"), handler(ok, "quick"))
    worker(*handlers, backend=faulty, queues=queues, concurrency=1, embedded=True, busy_poll=0.02, lanes=lanes)
    barrier.wait_for_entries()
    faulty.wait_for_calls("wait", faulty.calls["wait"] + 5)

    send(b"", kind="quick")

    assert ear.wait_for(Done)[0].job.kind == "quick"


def test_the_event_loop_counts_the_slots_of_a_lane_for_itself(worker, send, ear):
    loops, entered, most = set(), threading.Semaphore(0), []
    ends = asyncio.Event()

    async def run(delivery, context):
        loops.add(asyncio.get_running_loop())
        if delivery.queue == "q":
            entered.release()
            await ends.wait()

    send(*[b""] * 5)
    started = worker(run, queues=("q", "urgent"), is_async=True, concurrency=2, grace=0, lanes=[URGENT])
    for _ in range(2):
        assert entered.acquire(timeout=PATIENCE)

    send(b"", b"", queue="urgent")

    assert {event.job.queue for event in ear.wait_for(Done, 2)} == {"urgent"}
    assert len(loops) == 1
    assert not entered.acquire(blocking=False)
    most.append(started)
    started.stop(now=True)
    assert started.join(PATIENCE).given_back >= 2


def test_what_was_leased_ahead_for_shared_slots_moves_to_a_lane_that_is_free(worker, send, barrier, ear):
    def run(delivery, context):
        if delivery.body != b"quick":
            barrier(delivery, context)

    lane = Lane(slots=1, queues=["urgent"])
    send(b"quick", b"", queue="q", priority=5)  # after the quick one, many are leased ahead
    send(b"", queue="urgent", priority=4)
    send(*[b"quick"] * 10, queue="urgent")
    worker(run, queues=("q", "urgent"), concurrency=1, lanes=[lane])
    barrier.wait_for_entries(2)  # the one slot and the lane

    assert len(ear.wait_for(Leased, 3)) >= 3
    barrier.let_go()
    assert len(ear.wait_for(Done, 13)) == 13


def test_a_stop_gives_back_what_a_lane_has_not_started(worker, send, store, barrier):
    send(*[b""] * 6, queue="urgent")
    started = worker(barrier, queues=("q", "urgent"), concurrency=1, lanes=[URGENT])
    barrier.wait_for_entries(2)

    started.stop()
    barrier.let_go()

    assert started.join(PATIENCE).done == 2
    assert store.stats("urgent").ready == 4


def test_a_worker_with_lanes_drains(worker, send):
    send(*[b""] * 20)
    send(*[b""] * 20, queue="urgent")

    async def awaited(delivery, context): ...

    send(*[b""] * 20, kind="awaited", queue="urgent")
    lanes = [URGENT, Lane(slots=2, kinds=["awaited"])]
    both = (handler(ok), handler(awaited, "awaited", is_async=True))

    report = worker(*both, queues=("q", "urgent"), concurrency=2, lanes=lanes, drain=True).join(30)

    assert report.done == 60


@pytest.mark.parametrize(
    ("lane", "message"),
    [
        ({"slots": 0, "queues": ["q"]}, "1 or more"),
        ({"slots": 1}, "which queues or kinds"),
        ({"slots": 1, "queues": "urgent"}, r"Lane\(queues=\['urgent'\]\)"),
        ({"slots": 1, "queues": ["urgnt"]}, "'urgnt'.*urgent"),
        ({"slots": 1, "kinds": ["other"]}, "kind 'other'"),
    ],
)
def test_a_lane_that_makes_no_sense_is_refused(store, lane, message):
    with pytest.raises(UsageError, match=message):
        Worker(store, ["q", "urgent"], [handler(ok)], options=WorkerOptions(lanes=[Lane(**lane)]))


def a_want(kinds, queues=None):
    return Want(ThreadRunner.__new__(ThreadRunner), 1, frozenset(kinds), queues)


def test_what_is_wanted_is_asked_in_one_place_where_that_is_exact():
    assert places([a_want("ab"), a_want("c")], ["q", "r"]) == [Place(("q", "r"), frozenset("abc"))]
    assert places([a_want("ab", ("q",)), a_want("ab")], ["q", "r"]) == [Place(("q", "r"), frozenset("ab"))]
    assert places([a_want("a", ("q",)), a_want("b", ("q",))], ["q", "r"]) == [Place(("q",), frozenset("ab"))]
    assert places([a_want("a", ("q",)), a_want("ab", ("r",))], ["q", "r"]) == [
        Place(("q",), frozenset("a")),
        Place(("r",), frozenset("ab")),
    ]
