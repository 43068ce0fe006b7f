"""Consumers of streams that are killed: nothing is lost, only what was not finished comes again, soon."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast import State
from holdfast.capabilities import JobFilter
from tests.redis.programs import until
from tests.redis.streams import Stream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

COMMAND = str(Path(sys.executable).with_name("holdfast"))
SUPERVISED = (COMMAND, "worker", "tests.redis.stream_program:app", "--queues", "orders.billing")
TTL = 4.0


class Handled(Stream):
    """The stream, and what programs say they have handled."""

    def runs(self):
        """Return what was handled so far, as pairs of the entry's number and the process."""
        return [tuple(map(int, said.split())) for said in self.place.ask("LRANGE", "handled", "0", "-1")]

    def wait_for(self, count):
        return until(lambda: self.runs() if len(self.runs()) >= count else None, f"{count} runs", 30, self.runs)


@pytest.fixture
def orders(redis_place):
    return Handled(redis_place)


@pytest.fixture
def start(orders):
    """Start programs; they end with the test."""
    made = []

    def start(*command):
        environment = os.environ | {"HOLDFAST_URL": orders.url}
        made.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return made[-1]

    yield start
    for program in made:
        if program.poll() is None:
            program.terminate()
    for program in made:
        try:
            program.wait(20)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def program(ttl=TTL):
    return sys.executable, "-m", "tests.redis.stream_program", str(ttl)


def test_another_worker_takes_over_what_a_killed_one_had_within_its_ttl_and_a_second(orders, start):
    first = start(*program())
    for number in range(100):
        orders.add(n=str(number))
    orders.wait_for(100)
    until(lambda: orders.pending() == [], "all finished")
    for number in range(100, 103):
        orders.add(n=str(number), wait="1")
    orders.wait_for(103)
    second = start(*program())
    until(lambda: len(orders.consumers()) == 2, "both are consumers", 30, orders.consumers)

    first.kill()
    killed = time.monotonic()
    orders.place.ask("SET", "go", "1")
    runs = orders.wait_for(106)
    took = time.monotonic() - killed

    until(lambda: orders.pending() == [], "all finished")
    again = sorted(number for number, process in orders.runs() if process == second.pid)
    assert again == [100, 101, 102]
    assert {number for number, _ in runs} == set(range(103))
    assert took < TTL + 1


def test_under_a_supervisor_what_a_killed_process_had_runs_again_within_two_seconds(orders, start):
    start(*SUPERVISED, "--processes", "2")
    until(lambda: orders.groups() and len(orders.consumers()) == 2, "both are consumers", 30)
    orders.add(n="0", wait="1")
    ((_, victim),) = orders.wait_for(1)

    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    orders.place.ask("SET", "go", "1")
    orders.wait_for(2)
    took = time.monotonic() - killed

    until(lambda: orders.pending() == [], "all finished")
    assert took < 2


def test_an_entry_that_kills_its_process_is_buried_after_three_and_the_others_are_handled(orders, start):
    for number in range(20):
        orders.add(n=str(number), **({"kill": "1"} if number == 7 else {}))
    start(*SUPERVISED, "--processes", "2")
    app = orders.open()

    def letters():
        return app.queue("orders.billing").browse(JobFilter(states=(State.DEAD,))).jobs

    try:
        (letter,) = until(letters, "buried", 60, orders.runs)
        until(lambda: orders.pending() == [], "all finished")
        assert (letter.crashes, letter.reason) == (3, "worker died: SIGKILL")
        assert letter.id == f"orders/billing/{orders.ids()[7]}"
    finally:
        app.close()
    runs = [number for number, _ in orders.runs()]
    assert (runs.count(7), set(runs)) == (3, set(range(20)))
