"""Jobs that ignore their limit: a process is killed at it; a thread cannot be, and harms nobody all the same."""

import signal

import pytest

from holdfast.delivery import State
from tests.faults.checker import Promises
from tests.faults.harness import is_gone
from tests.faults.history import LIMIT, QUEUE, Started, now
from tests.faults.stores import ABOUT_PROCESSES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), ABOUT_PROCESSES]

ENDS = frozenset({State.DONE, State.DEAD})


def test_the_process_of_an_isolated_job_is_gone_within_a_second_of_its_limit(stage, record_property):
    worker = stage.worker("--concurrency", 1)
    [job] = stage.send("overrun.isolated")
    [first] = stage.wait_for_starts(1)

    assert is_gone(first.pid, 3 * 1.0 + LIMIT), worker.said
    late = now() - first.at - LIMIT

    followers = stage.send("step.isolated", 0, count=3)
    stage.wait_until_idle()
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.said
    stage.found_dead(*{start.pid for start in stage.history.of(Started) if start.id == job})
    record_property("gone after the limit", round(late, 3))
    assert late < 3 * 1.0
    view = stage.backend.get(QUEUE, job)
    assert (view.state, view.reason, view.crashes, view.attempts) == (State.DEAD, "timeout", 0, 2)
    assert [run.outcome for run in view.runs] == ["timeout", "timeout"]
    assert {final.id for final in stage.ended(State.DONE)} == set(followers)
    assert stage.findings(Promises(ends=ENDS, crashes=0)) == []


def test_a_killed_process_of_the_pool_costs_its_own_job_a_crash_and_no_other_anything(stage):
    worker = stage.worker("--concurrency", 2)
    victims = stage.send("step.isolated", 3)
    [first] = stage.wait_for_starts(1)
    stage.kill(first.pid)
    stage.send("step", 0.01, count=50)
    stage.send("step.isolated", 0, count=5)

    stage.wait_until_idle()

    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.said
    assert {final.id: final.crashes for final in stage.finals() if final.crashes} == dict.fromkeys(victims, 1)
    assert stage.findings(Promises(recovery=6.0)) == [], worker.said


def test_threads_that_ignore_their_limit_wedge_nothing_and_run_never_twice_at_once(stage, tmp_path):
    """Two of them, fewer than end a process: their slots are replaced, and they are timed out when they end."""
    gate = tmp_path / "gate"
    worker = stage.worker("--concurrency", 2)
    stuck = stage.send("overrun", str(gate), count=2)
    stage.wait_for_starts(2)
    others = stage.send("step", 0.01, count=50)

    stage.wait_for_acks(others)
    assert {final.id for final in stage.ended(State.RUNNING)} == set(stuck)
    assert len([start for start in stage.history.of(Started) if start.id in stuck]) == 2
    gate.touch()

    stage.wait_for_acks(stuck)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.said
    assert {final.attempts for final in stage.finals() if final.id in stuck} == {2}
    assert stage.findings(Promises(crashes=0)) == []
