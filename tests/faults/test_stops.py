"""Workers that are told to stop under load: they end in time, burn nothing, and lose nothing."""

import random
import signal
import time

import pytest

from tests.faults.checker import Promises
from tests.faults.rounds import rounds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

GRACE = 5.0
MARGIN = 2.0
"""Seconds after its grace in which a worker has ended."""
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
