"""The checker itself: it must find each kind of fault that is planted, and nothing in a history without one."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.delivery import State
from tests.faults.checker import Final, Promises, check, recoveries
from tests.faults.history import Accepted, Called, Died, Ended, Killed, Offered, Paused, Refused, Sent, Started

STRICT = Promises(recovery=2.0, lateness=5.0, fifo=True)
WORKER, OTHER = 100, 200


class Course:
    """A history in the making: each step happens 10 ms after the one before."""

    def __init__(self):
        self.facts, self.finals, self._at = [], {}, 1000.0

    def tell(self, kind, *, pid=WORKER, **fields):
        self._at += 0.01
        self.facts.append(kind(at=self._at, pid=pid, **fields))

    def elapse(self, seconds):
        self._at += seconds

    def send(self, job_id, **fields):
        self.tell(Offered, id=job_id, pid=1, **fields)
        self.tell(Sent, ids=(job_id,), pid=1)
        self.finals[job_id] = Final(job_id, State.READY, 0, 0)

    def start(self, job_id, *, pid=WORKER):
        final = self.change(job_id, token=self.finals[job_id].token + 1, attempts=self.finals[job_id].attempts + 1)
        for kind in (Called, Started):
            self.tell(kind, id=job_id, token=final.token, attempt=final.attempts, pid=pid)
        return final.token

    def end(self, job_id, token, outcome="returned", *, pid=WORKER):
        self.tell(Ended, id=job_id, token=token, outcome=outcome, pid=pid)
        if outcome == "returned":
            self.tell(Accepted, id=job_id, token=token, pid=pid)
            self.change(job_id, state=State.DONE)

    def kill(self, *job_ids, pid=WORKER):
        self.tell(Killed, pids=(pid,), pid=1)
        for job_id in job_ids:
            self.change(job_id, crashes=self.finals[job_id].crashes + 1)

    def do(self, job_id, *, pid=WORKER, **fields):
        self.send(job_id, **fields)
        self.end(job_id, self.start(job_id, pid=pid), pid=pid)

    def change(self, job_id, **fields):
        self.finals[job_id] = msgspec.structs.replace(self.finals[job_id], **fields)
        return self.finals[job_id]

    def findings(self, promises=STRICT):
        return {finding.rule for finding in check(self.facts, self.finals.values(), promises)}


@pytest.fixture
def course():
    return Course()


# -- histories in which all is as promised ------------------------------------------------------------------------


def test_a_clean_history_passes(course):
    course.do("a")
    course.do("b", key="k")
    course.do("c", key="k")

    assert course.findings() == set()


def test_a_crash_explains_a_second_run_its_charges_and_how_long_it_took(course):
    course.send("a")
    course.start("a")
    course.kill("a")
    course.elapse(1)
    course.end("a", course.start("a", pid=OTHER), pid=OTHER)

    assert course.findings() == set()
    assert recoveries(course.facts, course.finals.values()) == [pytest.approx(1.02)]


def test_a_failure_explains_a_second_run_and_two_attempts(course):
    course.send("a")
    course.end("a", course.start("a"), "failed")
    course.end("a", course.start("a"))

    assert course.findings() == set()


def test_a_process_stopped_for_too_long_explains_a_run_beside_its_own_and_a_refusal(course):
    course.send("a")
    first = course.start("a")
    course.tell(Paused, pids=(WORKER,))
    course.end("a", course.start("a", pid=OTHER), pid=OTHER)
    course.end("a", first, "stopped")
    course.tell(Refused, id="a", token=first)

    assert course.findings() == set()


def test_a_completion_that_its_killed_process_could_not_write_down_is_no_phantom(course):
    course.send("a")
    course.tell(Ended, id="a", token=course.start("a"), outcome="returned")
    course.kill()
    course.change("a", state=State.DONE)

    assert course.findings() == set()


def test_a_job_whose_sender_was_killed_before_the_answer_may_be_there_or_not(course):
    course.tell(Offered, id="a")
    course.tell(Offered, id="b")
    course.finals["b"] = Final("b", State.READY, 0, 0)

    assert course.findings() == set()


def test_another_run_of_a_job_that_ended_otherwise_than_done_is_allowed_where_said(course):
    course.send("a")
    course.end("a", course.start("a"), "failed")
    course.change("a", state=State.DEAD)

    assert course.findings(Promises(ends=frozenset({State.DEAD}))) == set()
    assert course.findings() == {"lost"}


def test_a_job_whose_handler_never_began_because_it_could_not_be_decoded_used_one_attempt(course):
    course.send("a")
    course.tell(Called, id="a", token=1, attempt=1)
    course.change("a", state=State.DEAD, token=1, attempts=1, reason="undecodable: …")

    assert course.findings(Promises(ends=frozenset({State.DEAD}))) == set()


def test_a_process_that_was_only_found_dead_may_have_died_at_once_after_its_last_word(course):
    course.send("a")
    course.start("a")
    course.change("a", crashes=1)
    course.end("a", course.start("a", pid=OTHER), pid=OTHER)
    course.elapse(60)
    course.tell(Died, pids=(WORKER,))

    assert course.findings() == set()


# -- planted faults -----------------------------------------------------------------------------------------------


def test_a_lost_job_is_found(course):
    course.send("a")
    del course.finals["a"]

    assert course.findings() == {"lost"}


def test_a_job_that_is_still_there_and_not_done_is_found(course):
    course.send("a")

    assert course.findings() == {"lost"}


def test_a_phantom_in_the_store_is_found(course):
    course.finals["a"] = Final("a", State.READY, 0, 0)

    assert course.findings() == {"phantom"}


def test_a_phantom_run_is_found(course):
    course.tell(Started, id="a", token=1, attempt=1)

    assert course.findings() == {"phantom"}


def test_a_job_done_without_a_run_is_found(course):
    course.send("a")
    course.change("a", state=State.DONE, token=1, attempts=0)

    assert course.findings() == {"phantom"}


def test_a_run_after_an_accepted_completion_is_found(course):
    course.do("a")
    course.start("a")

    assert "ran again" in course.findings()


def test_a_run_after_an_accepted_completion_is_found_after_a_kill_too(course):
    course.do("a")
    course.kill("a")
    course.start("a")

    assert "ran again" in course.findings()


def test_a_second_run_without_a_reason_is_found(course):
    course.send("a")
    course.tell(Ended, id="a", token=course.start("a"), outcome="returned")
    course.end("a", course.start("a"))

    assert "ran again" in course.findings()


def test_two_runs_at_once_are_found(course):
    course.send("a")
    first = course.start("a")
    course.end("a", course.start("a", pid=OTHER), pid=OTHER)
    course.tell(Ended, id="a", token=first, outcome="failed")

    assert "at once" in course.findings()


def test_a_run_that_begins_before_the_kill_of_the_first_is_found(course):
    course.send("a")
    course.start("a")
    second = course.start("a", pid=OTHER)
    course.kill("a")
    course.end("a", second, pid=OTHER)

    assert "at once" in course.findings()


def test_two_accepted_completions_are_found(course):
    course.send("a")
    first = course.start("a")
    course.tell(Paused, pids=(WORKER,))
    course.end("a", course.start("a", pid=OTHER), pid=OTHER)
    course.end("a", first)

    assert "completed twice" in course.findings()


def test_an_accepted_completion_that_the_store_forgot_is_found(course):
    course.do("a")
    course.change("a", state=State.DEAD)

    assert "completed twice" in course.findings(Promises(ends=frozenset(State)))


def test_a_token_given_twice_is_found(course):
    course.send("a")
    course.start("a")
    course.kill("a")
    course.change("a", token=0)
    course.end("a", course.start("a", pid=OTHER), pid=OTHER)

    assert "token" in course.findings()


def test_a_token_that_is_lower_than_before_is_found(course):
    course.send("a")
    course.change("a", token=5)
    course.start("a")
    course.kill("a")
    course.change("a", token=2)
    course.end("a", course.start("a", pid=OTHER), pid=OTHER)

    assert "token" in course.findings()


def test_a_lease_lost_by_a_process_that_was_never_stopped_is_found(course):
    course.send("a")
    first = course.start("a")
    course.tell(Ended, id="a", token=first, outcome="returned")
    course.tell(Refused, id="a", token=first)
    course.end("a", course.start("a", pid=OTHER), pid=OTHER)

    assert "refused" in course.findings()


def test_jobs_of_a_key_in_the_wrong_order_are_found(course):
    course.send("a", key="k")
    course.send("b", key="k")
    course.end("b", course.start("b"))
    course.end("a", course.start("a"))

    assert course.findings() == {"key order"}


def test_jobs_of_a_key_that_run_at_once_are_found(course):
    course.send("a", key="k")
    course.send("b", key="k")
    first = course.start("a")
    course.end("b", course.start("b", pid=OTHER), pid=OTHER)
    course.end("a", first)

    assert course.findings() == {"key order"}


def test_ready_jobs_in_the_wrong_order_are_found_where_their_order_is_promised(course):
    course.send("a")
    course.send("b")
    course.end("b", course.start("b"))
    course.end("a", course.start("a"))

    assert course.findings() == {"fifo"}
    assert course.findings(Promises()) == set()


def test_an_early_start_is_found(course):
    course.do("a", due=60.0)

    assert course.findings() == {"early"}


def test_a_late_start_is_found(course):
    course.send("a")
    course.elapse(STRICT.lateness + 1)
    course.end("a", course.start("a"))

    assert course.findings() == {"late"}


def test_an_attempt_charged_to_a_job_that_had_not_started_is_found(course):
    course.do("a")
    course.change("a", attempts=2)

    assert course.findings() == {"attempts"}


def test_a_crash_charged_to_a_job_that_had_not_started_is_found(course):
    course.send("a")
    course.kill("a")
    course.end("a", course.start("a", pid=OTHER), pid=OTHER)

    assert course.findings() == {"crashes"}


def test_a_neighbour_charged_twice_is_found(course):
    course.send("a")
    for pid in (WORKER, OTHER):
        course.start("a", pid=pid)
        course.kill("a", pid=pid)
    course.end("a", course.start("a", pid=300), pid=300)

    assert course.findings() == {"crashes"}
    assert course.findings(Promises(killers=frozenset({"a"}))) == set()


def test_a_crash_that_was_charged_to_nobody_is_found(course):
    course.send("a")
    course.start("a")
    course.kill()
    course.end("a", course.start("a", pid=OTHER), pid=OTHER)

    assert course.findings() == {"crashes"}


def test_a_slow_recovery_is_found(course):
    course.send("a")
    course.start("a")
    course.kill("a")
    course.elapse(STRICT.recovery + 1)
    course.end("a", course.start("a", pid=OTHER), pid=OTHER)

    assert course.findings() == {"recovery"}


def test_an_interrupted_job_that_never_ran_again_is_found(course):
    course.send("a")
    course.start("a")
    course.kill("a")

    assert course.findings() == {"lost", "recovery"}


# -- any history --------------------------------------------------------------------------------------------------


class Sure(Course):
    """A random history of one worker at a time, each of whose jobs comes to its end, whatever happens meanwhile."""

    def __init__(self, draw, jobs):
        super().__init__()
        self.draw, self.pid = draw, WORKER
        for number in range(jobs):
            self.send(f"j{number}", key="k" if draw.random() < 0.3 else None)
        waiting = list(self.finals)
        while waiting:
            if self.step(waiting[0]):
                waiting.pop(0)

    def step(self, job_id):
        """Let one run of a job come to one of its ends; tell whether the job is done."""
        token, chance = self.start(job_id, pid=self.pid), self.draw.random()
        if chance < 0.15:
            self.end(job_id, token, "failed", pid=self.pid)
        elif chance < 0.25:
            self.end(job_id, token, "stopped", pid=self.pid)
            self.change(job_id, attempts=self.finals[job_id].attempts - 1)
        elif chance < 0.4 and not self.finals[job_id].crashes:
            self.kill(job_id, pid=self.pid)
            self.pid += 1
        else:
            self.end(job_id, token, pid=self.pid)
        return self.finals[job_id].state is State.DONE


def plant(course, draw):
    """Spoil a history in one of many ways; return its name."""
    victim = draw.choice(list(course.finals))
    starts = [n for n, fact in enumerate(course.facts) if isinstance(fact, Started) and fact.id == victim]
    faults = {
        "loss": lambda: course.finals.pop(victim),
        "phantom": lambda: course.facts.remove(
            next(fact for fact in course.facts if isinstance(fact, Offered) and fact.id == victim)
        ),
        "duplicate": lambda: course.start(victim, pid=course.pid),
        "double completion": lambda: course.end(victim, course.start(victim, pid=course.pid), pid=course.pid),
        "repeated token": lambda: course.facts.append(
            msgspec.structs.replace(course.facts[starts[-1]], pid=999, at=course.facts[starts[-1]].at + 1e-4)
        ),
        "early start": lambda: plant_early(course, victim),
        "wrong charge": lambda: course.change(victim, attempts=course.finals[victim].attempts + 1),
        "wrong crash": lambda: course.change(victim, crashes=course.finals[victim].crashes + 1),
        "unfinished": lambda: course.change(victim, state=State.READY),
    }
    name = draw.choice(list(faults))
    faults[name]()
    return name


def plant_early(course, victim):
    for place, fact in enumerate(course.facts):
        if isinstance(fact, Offered) and fact.id == victim:
            course.facts[place] = msgspec.structs.replace(fact, due=1e6)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(), jobs=st.integers(1, 12))
def test_any_legal_history_passes_and_one_fault_in_it_is_found(seed, jobs):
    draw = random.Random(seed)
    course = Sure(draw, jobs)
    assert course.findings(Promises(fifo=False, recovery=2.0)) == set()

    fault = plant(course, draw)

    assert course.findings(Promises(fifo=False, recovery=2.0)), f"a planted {fault} was not found"
