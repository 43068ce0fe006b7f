"""Crowds of jobs that stumble or come due at once: each is done, none is left over, none delivered too often."""

import signal

import pytest

from holdfast.config import QueueSettings
from holdfast.delivery import State
from tests.faults.checker import Promises
from tests.faults.history import QUEUE, Started, by_job

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KEEP_ALL = QueueSettings(done_most=1_000_000)
PLANNED = Promises(crashes=0)


def stop(*workers):
    for worker in workers:
        worker.signal(signal.SIGTERM)
        assert worker.wait(60) == 0, worker.said


def test_three_thousand_jobs_that_fail_once_and_are_retried_without_delay_are_all_done(stage):
    """Streamfleet lost 498 of as many."""
    stage.backend.declare(QUEUE, KEEP_ALL)
    ids = stage.send("stumble", count=3_000)
    worker = stage.worker("--concurrency", 8)

    stage.wait_for_acks(ids, within=120)

    stop(worker)
    finals = stage.finals()
    assert {final.state for final in finals} == {State.DONE}
    assert {final.attempts for final in finals} == {2}
    assert len(finals) == 3_000
    stats = stage.backend.stats(QUEUE)
    assert (stats.ready, stats.scheduled, stats.running, stats.dead) == (0, 0, 0, 0)
    assert stage.findings(PLANNED) == []


def test_two_thousand_jobs_that_come_due_at_once_are_delivered_once_each_to_four_workers(stage):
    """core-queue made 3 500 deliveries of them."""
    stage.backend.declare(QUEUE, KEEP_ALL)
    workers = [stage.worker("--concurrency", 4, ttl=30.0) for _ in range(4)]
    stage.wait_for_holders(4)
    ids = stage.send("step", 0, count=2_000, delay=3)

    stage.wait_for_acks(ids, within=120)

    stop(*workers)
    starts = by_job(stage.history.of(Started))
    assert len(starts) == 2_000
    assert {len(runs) for runs in starts.values()} == {1}
    assert len({run.pid for runs in starts.values() for run in runs}) > 1, "one worker took them all"
    assert stage.findings(PLANNED) == []
