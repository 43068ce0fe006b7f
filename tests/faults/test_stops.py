"""Workers that are told to stop under load: they end in time, burn nothing, and lose nothing."""

import random
import signal
import time

import pytest

from holdfast.delivery import State
from tests.faults.checker import Promises
from tests.faults.rounds import rounds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

GRACE = 5.0
MARGIN = 2.0
"""Seconds after its grace in which a worker has ended."""
UNENDED = frozenset({State.READY, State.DONE})
PLANNED = Promises(crashes=0)
"""A stop is planned: it charges nobody with anything."""


@rounds(50)
def test_a_worker_stopped_under_load_ends_in_time_and_burns_nothing(stages, rounds, record_property):
    slowest = 0.0
    for round_ in range(rounds):
        stage, draw = stages(), random.Random(round_)
        sender = stage.sender("step", 0.005, count=600, batch=20, keys=random.Random(round_).choice([0, 50]))
        worker = stage.worker("--concurrency", 10, "--grace", GRACE)
        stage.wait_for_starts(draw.randrange(1, 300))
        pids = worker.tree()

        told = time.monotonic()
        worker.signal(draw.choice([signal.SIGTERM, signal.SIGINT]))
        code = worker.wait(3 * (GRACE + MARGIN))
        took = time.monotonic() - told
        stage.wait_for_end(pids)

        assert code == 0, worker.said
        assert took < GRACE + MARGIN, worker.said
        assert sender.wait() == 0, sender.said
        last = stage.worker("--drain")
        assert last.wait() == 0, last.said
        assert stage.findings(PLANNED) == [], f"round {round_}\n{worker.said}"
        slowest = max(slowest, took)
    record_property("slowest stop", round(slowest, 2))
    record_property("jobs", 600 * rounds)


@rounds(10)
def test_a_second_signal_leaves_no_grace_and_burns_nothing_either(stages, rounds, record_property):
    slowest = 0.0
    for round_ in range(rounds):
        stage = stages()
        waiting = stage.send("linger", count=5) + stage.send("step", 0.2, count=20)
        worker = stage.worker("--concurrency", 10, "--grace", 60)
        stage.wait_for_starts(10)
        pids = worker.tree()

        told = time.monotonic()
        worker.signal(signal.SIGTERM)
        worker.signal(signal.SIGINT)  # two of one kind may count as one
        worker.wait(3 * MARGIN)
        took = time.monotonic() - told
        stage.wait_for_end(pids)

        assert took < 3 * MARGIN
        assert stage.findings(Promises(crashes=0, ends=UNENDED)) == [], f"round {round_}\n{worker.said}"
        assert {final.id for final in stage.finals()} == set(waiting)
        assert all(final.attempts == 0 for final in stage.ended(State.READY)), "a stop has burned an attempt"
        slowest = max(slowest, took)
    record_property("slowest stop", round(slowest, 2))
