"""Workers killed with SIGKILL in the midst of their work: nothing is lost, and it goes on soon."""

import random

import pytest

from tests.faults.checker import Promises
from tests.faults.harness import TTL
from tests.faults.rounds import rounds, summary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

JOBS = 1_000


@rounds(50)
def test_a_fresh_worker_takes_over_from_a_killed_supervisor_and_its_children(stages, rounds, record_property):
    """Whoever takes over must first be there: how long Python takes to start is no matter of the library's."""
    seconds, starting = [], []
    for round_ in range(rounds):
        stage, draw = stages(), random.Random(round_)
        sender = stage.sender("step", 0.005, count=JOBS)
        worker = stage.worker("--concurrency", 10)
        stage.wait_for_starts(draw.randrange(1, JOBS // 2))
        dead = {holder.id for holder in stage.backend.holders()}
        killed = stage.kill_tree(worker)
        last = stage.worker("--concurrency", 10, "--drain")
        starting.append(stage.wait_for_newcomer(dead) - killed)
        assert sender.wait() == 0, sender.said

        assert last.wait(3 * 20) == 0, last.said
        promises = Promises(recovery=starting[-1] + 3 * (TTL + 1))
        assert stage.findings(promises) == [], f"round {round_}\n{last.said}"
        seconds += stage.recoveries()
    record_property("jobs", JOBS * rounds)
    record_property("interrupted", len(seconds))
    record_property("start of another", summary(starting))
    record_property("recovery", summary(seconds))
