"""The same judge on the memory store: its workers are threads of one process, which can be stopped but not killed."""

import os
import random
import threading
import time

import pytest

from holdfast import CONTEXT, App, Context, Retry
from holdfast.capabilities import JobFilter
from holdfast.config import QueueSettings
from holdfast.testing import MovableClock
from tests.faults.checker import Final, Promises, check
from tests.faults.history import QUEUE, Accepted, History, Offered, Paused, Refused, Sent, Started
from tests.faults.telling import Teller

PATIENCE = 30
TTL = 2.0


class Room:
    """An App on a memory store, its workers, and what they tell. Some jobs wait until ``gate`` is set."""

    def __init__(self, folder):
        self.history, self.clock, self.gate = History(folder / "history"), MovableClock(), threading.Event()
        self.app = app = App("memory:", clock=self.clock, logger=None)
        telling, at_once = Teller(self.history.notes, app), Retry(base=0, jitter="none")

        @app.task(queue=QUEUE, name="step", retry=at_once)
        def step(*, ctx: Context = CONTEXT) -> None:
            with telling(ctx):
                time.sleep(0.0005)

        @app.task(queue=QUEUE, name="cling", retry=at_once)
        def cling(*, ctx: Context = CONTEXT) -> None:
            with telling(ctx):
                assert self.gate.wait(PATIENCE)

        app.queue(QUEUE).declare(QueueSettings(done_most=1_000_000))

    def send(self, task, count, **options):
        calls = [self.app.tasks[task].using(**options).call() for _ in range(count)]
        self.history.notes.note(*(Offered(id=one.message.id, key=one.message.key) for one in calls))
        self.app.enqueue_many(calls)
        self.history.notes.note(Sent(ids=tuple(one.message.id for one in calls)))

    def worker(self, **options):
        worker = self.app.worker([QUEUE], **{"concurrency": 8, "ttl": TTL, "embedded": False, "grace": 5.0} | options)
        worker.start()
        return worker

    def wait_for_starts(self, count, since=0):
        self.history.wait(lambda: len(self.history.of(Started, since=since)) >= count, f"{count} starts")

    def findings(self, promises):
        jobs = self.app.queue(QUEUE).jobs(JobFilter(), bodies=False)
        finals = [Final(job.id, job.state, job.token, job.attempts, job.crashes, job.reason) for job in jobs]
        return check(self.history.facts(), finals, promises)[:20]


@pytest.fixture
def room(tmp_path):
    room = Room(tmp_path)
    yield room
    room.gate.set()
    room.app.close()
    room.history.close()


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 8])
@pytest.mark.timeout(120)
def test_workers_stopped_under_load_again_and_again_lose_burn_and_reorder_nothing(room, slots):
    draw = random.Random(slots)
    for _ in range(20):
        room.send("step", 20)
        room.send("step", 20, key=draw.choice(["a", "b"]))
    for _ in range(10):
        worker = room.worker(concurrency=slots)
        room.wait_for_starts(draw.randrange(1, 20), since=len(room.history.facts()))
        worker.stop()
        assert worker.join(PATIENCE) is not None

    assert room.worker(drain=True, concurrency=slots).join(PATIENCE) is not None

    assert room.findings(Promises(crashes=0, fifo=slots == 1)) == []


def test_a_worker_that_lost_its_leases_completes_nothing_that_another_has(room):
    """Nobody can stop a thread for longer than its ttl, so its holder is ended as another worker would have it."""
    room.send("cling", 4)
    late = room.worker(concurrency=4)
    room.wait_for_starts(4)
    room.history.notes.note(Paused(pids=(os.getpid(),)))
    room.app.backend.retire(late.holder, "thought dead", None)
    room.worker(concurrency=4)
    room.wait_for_starts(8)

    room.gate.set()
    room.history.wait(lambda: len(room.history.of(Accepted, Refused)) >= 8, "all runs are settled", PATIENCE)

    assert len(room.history.of(Refused)) == 4
    assert room.findings(Promises(silent=True)) == []


@pytest.mark.parametrize("hours", [1, -1])
def test_a_wall_clock_set_ahead_or_back_changes_nothing_but_what_is_due(room, hours):
    room.send("step", 1, delay=1800)
    room.send("step", 200, key="k")
    room.worker(concurrency=4)
    room.wait_for_starts(20)

    room.clock.set_wall(hours * 3600)
    room.send("step", 200)

    room.wait_for_starts(400 + (hours == 1))
    room.clock.set_wall(3600 - hours * 3600)
    room.wait_for_starts(401)
    room.history.wait(lambda: len(room.history.of(Accepted)) == 401, "all is done", PATIENCE)
    assert room.findings(Promises(crashes=0, lateness=6.0)) == []
