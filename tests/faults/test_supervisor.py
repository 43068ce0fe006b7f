"""What a supervisor adds: the jobs of a killed process run again in two seconds, whoever kills processes is buried, and
nobody is taken for dead who lives.
"""

import os
import random
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.delivery import State
from tests.faults.checker import Promises
from tests.faults.harness import TTL, is_gone
from tests.faults.history import Ended, Started
from tests.faults.rounds import rounds, summary
from tests.faults.test_poison import ENDS, assert_only_the_killers_are_buried
from tests.faults.test_stalls import STALL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

UNENDED = frozenset({State.READY, State.DONE})
JOBS, GRACE = 1_000, 5.0
RECOVERY = 2.0
"""Seconds after which what a killed process was at runs again."""
CGROUPS = Path("/sys/fs/cgroup/memory")
MEMORY = 400_000_000


@rounds(100)
def test_what_a_killed_child_was_at_is_soon_run_again_and_nothing_else_is_touched(stages, rounds, record_property):
    seconds = []
    for round_ in range(rounds):
        stage, draw = stages(), random.Random(round_)
        ids = stage.send("step", 0.005, count=JOBS)
        worker = stage.worker("--processes", 2, "--concurrency", 10)
        starts = stage.wait_for_starts(draw.randrange(1, JOBS // 2))
        victim = draw.choice(sorted({start.pid for start in starts[-20:]}))
        assert victim != worker.pid

        stage.kill(victim)

        stage.wait_until_idle(60)
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.said
        assert stage.findings(Promises(recovery=3 * RECOVERY)) == [], f"round {round_}\n{worker.said}"
        assert {final.id for final in stage.ended(State.DONE)} == set(ids)
        seconds += stage.recoveries()
    record_property("jobs", JOBS * rounds)
    record_property("interrupted", len(seconds))
    record_property("recovery", summary(seconds))


@rounds(20)
def test_children_of_a_killed_supervisor_stop_in_order(stages, rounds):
    """They see its end at once, let what runs end, and give the rest back: nobody is charged with anything."""
    for round_ in range(rounds):
        stage, draw = stages(), random.Random(round_)
        stage.send("step", 0.005, count=JOBS)
        worker = stage.worker("--processes", 2, "--concurrency", 10, "--grace", GRACE)
        stage.wait_for_starts(draw.randrange(1, JOBS // 2))
        children = worker.tree()[1:]

        stage.kill(worker.pid)

        stage.wait_for_end(children, within=3 * (GRACE + 2))
        last = stage.worker("--drain")
        assert last.wait(60) == 0, last.said
        assert stage.findings(Promises(crashes=0)) == [], f"round {round_}\n{worker.said}"


@STALL
def test_a_handler_that_holds_the_gil_keeps_its_lease(stage, stall):
    """No other thread of its process can beat meanwhile; the supervisor does, of a job that was there before it too."""
    [job] = stage.send("seize", stall * TTL)
    stage.worker("--concurrency", 2)
    stage.worker("--concurrency", 2)
    [start] = stage.wait_for_starts(1)

    stage.wait_for_acks([job], within=stall * TTL + 30)

    [end] = stage.history.of(Ended)
    assert end.at - start.at >= stall * TTL
    assert len(stage.history.of(Started)) == 1, "another worker took it for dead"
    assert stage.findings(Promises(crashes=0)) == []


def test_a_process_with_too_many_such_threads_is_replaced_and_they_are_timed_out_not_crashed(stage, tmp_path):
    worker = stage.worker("--processes", 1, "--concurrency", 3, "--grace", 1)
    stuck = stage.send("overrun", str(tmp_path / "never"), count=3)
    others = stage.send("step", 0.01, count=50)

    stage.wait_for_acks(others)
    stage.wait_until_idle()

    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.said
    stage.found_dead(*{start.pid for start in stage.history.of(Started) if start.id in stuck})
    dead = {final.id: final for final in stage.ended(State.DEAD)}
    assert set(dead) == set(stuck)
    assert {(final.reason, final.attempts, final.crashes) for final in dead.values()} == {("timeout", 2, 0)}
    assert stage.findings(Promises(ends=ENDS, crashes=0)) == [], worker.said


@rounds(20)
def test_a_job_that_kills_its_process_is_buried_at_the_third_and_its_neighbours_are_done(stages, rounds):
    for round_ in range(rounds):
        number = [signal.SIGKILL, signal.SIGSEGV][round_ % 2]
        stage = stages()
        stage.send("step", 0.02, count=50)
        killers = stage.send("kill", number)
        stage.send("step", 0.02, count=50)
        worker = stage.worker("--processes", 2, "--concurrency", 5)

        stage.wait_until_idle(60)

        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.said
        assert_only_the_killers_are_buried(stage, killers, f"worker died: {number.name}", worker)
        assert len([one for one in stage.finals() if one.state is State.DONE]) == 100


@contextmanager
def memory_cgroup(name):
    """Yield a group of processes that the kernel lets have so much memory, None where none can be made."""
    place = CGROUPS / name
    try:
        place.mkdir()
    except OSError:
        yield None
        return
    try:
        (place / "memory.limit_in_bytes").write_text(str(MEMORY))
        yield place
    finally:
        for pid in map(int, (place / "cgroup.procs").read_text().split()):  # none, unless the test has failed
            os.kill(pid, signal.SIGKILL)
            is_gone(pid, within=10)
        place.rmdir()


def test_a_job_that_takes_all_memory_is_buried_at_the_third_and_says_so(stage):
    stage.send("step", 0.02, count=20)
    with memory_cgroup(f"holdfast-{os.getpid()}") as place:
        if place is None:
            worker = stage.worker("--processes", 2, "--concurrency", 4, "--max-memory", MEMORY // 2)
            reason = "worker died: killed, over --max-memory"
        else:
            worker = stage.worker("--processes", 2, "--concurrency", 4, inside=place)
            reason = "worker died: SIGKILL (out of memory)"
        killers = stage.send("hog")
        stage.send("step", 0.02, count=20)

        stage.wait_until_idle(90)

        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.said
    stage.found_dead(*{start.pid for start in stage.history.of(Started) if start.id in killers})
    assert_only_the_killers_are_buried(stage, killers, reason, worker)


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
        worker.wait(3 * 2.0)
        took = time.monotonic() - told
        stage.wait_for_end(pids)
        stage.found_dead(*pids)  # with threads in it that could not be stopped

        assert took < 3 * 2.0
        assert stage.findings(Promises(crashes=0, ends=UNENDED)) == [], f"round {round_}\n{worker.said}"
        assert {final.id for final in stage.finals()} == set(waiting)
        assert all(final.attempts == 0 for final in stage.ended(State.READY)), "a stop has burned an attempt"
        slowest = max(slowest, took)
    record_property("slowest stop", round(slowest, 2))
