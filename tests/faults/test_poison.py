"""Jobs that take more memory than they may in a process of their own: buried at the third, and no neighbour pays."""

import signal

import pytest

from holdfast.delivery import MAX_CRASHES, State
from tests.faults.checker import Promises
from tests.faults.history import Started
from tests.faults.stores import ABOUT_PROCESSES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), ABOUT_PROCESSES]

ENDS = frozenset({State.DONE, State.DEAD})


def assert_only_the_killers_are_buried(stage, killers, reason, worker):
    dead = {final.id: final for final in stage.ended(State.DEAD)}
    assert set(dead) == set(killers), worker.said
    assert {final.crashes for final in dead.values()} == {MAX_CRASHES}
    assert all(reason in final.reason for final in dead.values()), dead
    assert stage.findings(Promises(ends=ENDS, killers=frozenset(killers))) == [], worker.said


def test_an_isolated_job_that_takes_too_much_memory_is_buried_and_nobody_else_notices(stage):
    worker = stage.worker("--concurrency", 2)
    killers = stage.send("hog.isolated")
    stage.send("step", 0.02, count=50)
    stage.send("step.isolated", 0.02, count=5)

    stage.wait_until_idle(60)

    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.said
    stage.found_dead(*{start.pid for start in stage.history.of(Started) if start.id in killers})
    assert_only_the_killers_are_buried(stage, killers, "memory", worker)
    assert sum(final.crashes for final in stage.finals()) == MAX_CRASHES
