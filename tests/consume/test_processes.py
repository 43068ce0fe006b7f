"""Consumers under kills: what was not committed is handled again, in order, and a message that kills is buried."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast import App
from holdfast.capabilities import JobFilter
from holdfast.config import LogSettings
from tests.consume.conftest import PATIENCE, dead, wait_until
from tests.consume.program import STEPS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

STORES = ("sqlite", "disk")
ON_SQLITE = pytest.mark.parametrize("place", ["sqlite"], indirect=True)
ON_DISK = pytest.mark.parametrize("place", ["disk"], indirect=True)
COMMAND = str(Path(sys.executable).with_name("holdfast"))
WORKER = (COMMAND, "worker", "tests.consume.program:app", "--queues", "orders.billing")


@pytest.fixture(params=STORES)
def place(request, tmp_path):
    """The environment of programs that work on one store."""
    place = {"HOLDFAST_URL": f"sqlite:///{tmp_path}/jobs.db"}
    return place if request.param == "sqlite" else place | {"HOLDFAST_LOGS_URL": f"disk:{tmp_path}/data?sync=os"}


@pytest.fixture
def app(place):
    app = App(place["HOLDFAST_URL"], logs=place.get("HOLDFAST_LOGS_URL"))
    yield app
    app.close()


class Program:
    """A process that consumes; its lines are read when it has ended."""

    def __init__(self, place, *command):
        self.process = subprocess.Popen(
            command, env=os.environ | place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def end(self):
        """Wait for the end; return what it said."""
        out, self.err = self.process.communicate(timeout=120)
        return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


@pytest.fixture
def start(place):
    """Start programs; they end with the test."""
    made = []

    def start(*command):
        made.append(Program(place, *command))
        return made[-1]

    yield start
    for program in made:
        if program.process.poll() is None:
            program.process.kill()
            program.process.communicate()


@pytest.fixture
def consume(start):
    """Run the program to its end, and return its exit code and the offsets that it handled."""

    def consume(*step):
        program = start(sys.executable, "-m", "tests.consume.program", *step)
        said = program.end()
        assert program.process.returncode in (0, -signal.SIGKILL), program.err
        return program.process.returncode, [one["offset"] for one in said if "offset" in one]

    return consume


@pytest.mark.parametrize("step", STEPS)
def test_what_was_not_committed_is_handled_again_in_order(orders, consume, step):
    for number in range(10):
        orders.append(b"fail" if number == 4 else b"", key="a")

    code, first = consume(step)
    committed = orders.lag()[0].next
    again, second = consume()

    assert (code, again) == (-signal.SIGKILL, 0)
    assert list(dict.fromkeys(first)) == list(range(first[-1] + 1))
    assert list(dict.fromkeys(second)) == list(range(committed, 10))
    assert [letter.id for letter in dead(orders.app)] == ["orders/billing/0/4"]
    assert orders.lag()[0].messages == 0


def test_what_follows_a_message_is_stored_once_though_its_process_died_before_the_commit(orders, consume):
    orders.append(*[b"follow"] * 10, key="a")

    code, first = consume("before the commit")
    committed = orders.lag()[0].next
    again, second = consume()

    assert (code, again) == (-signal.SIGKILL, 0)
    assert set(first) & set(second) == set(range(committed, first[-1] + 1)) != set()
    jobs = orders.app.queue("orders.billing").browse(JobFilter(kind="tests.consume.program.remind")).jobs
    assert len(jobs) == 10


@ON_SQLITE
def test_a_message_that_kills_its_process_is_buried_after_three_and_its_partition_goes_on(orders, consume):
    for number in range(10):
        orders.append(b"kill" if number == 4 else b"", key="a")

    codes = [consume()[0] for _ in range(4)]

    (letter,) = dead(orders.app)
    assert codes == [-signal.SIGKILL] * 3 + [0]
    assert (letter.id, letter.crashes, letter.attempts) == ("orders/billing/0/4", 3, 3)
    assert letter.reason.startswith("worker died")
    assert orders.lag()[0].messages == 0


@ON_DISK
def test_a_supervisor_buries_what_kills_its_processes(orders, start):
    orders.log.declare(LogSettings(partitions=2))
    for partition in range(2):
        for number in range(20):
            orders.append(
                b"kill" if (partition, number) == (1, 7) else b"", partition=partition, key=f"{partition}{number % 3}"
            )

    worker = start(*WORKER, "--processes", "2", "--drain")
    said = worker.end()

    (letter,) = dead(orders.app)
    handled = [(one["partition"], one["offset"]) for one in said if "offset" in one]
    assert worker.process.returncode == 0, worker.err
    assert (letter.id, letter.crashes, letter.reason) == ("orders/billing/1/7", 3, "worker died: SIGKILL")
    assert handled.count((1, 7)) == 3
    assert set(handled) == {(partition, number) for partition in range(2) for number in range(20)}
    assert [lag.messages for lag in orders.lag()] == [0, 0]


@ON_SQLITE
def test_an_isolated_message_that_kills_its_process_is_buried_and_its_worker_lives(place, monkeypatch):
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    import importlib

    from tests.consume import program

    program = importlib.reload(program)
    try:
        log = program.app.log("orders")
        for number in range(4):
            log.append(b"kill" if number == 1 else b"", key="a")
        worker = program.app.worker(["orders.isolated"], concurrency=2, drain=True)
        worker.start()
        report = worker.join(PATIENCE * 6)

        (letter,) = dead(program.app, "orders.isolated")
        assert (report.done, report.crashed) == (3, 3)
        assert (letter.id, letter.crashes, letter.reason) == ("orders/isolated/0/1", 3, "worker died: SIGKILL")
    finally:
        program.app.close()


@ON_SQLITE
def test_the_partitions_of_a_killed_worker_are_taken_over_within_a_second(orders, start):
    orders.log.declare(LogSettings(partitions=4))
    first = start(*WORKER, "--processes", "1")
    wait_until(lambda: orders.log.groups() and all(lag.member for lag in orders.lag()))
    second = start(*WORKER, "--processes", "1")
    wait_until(lambda: len({lag.member for lag in orders.lag()}) == 2)
    victim = next(lag.member for lag in orders.lag())

    owner = next(holder for holder in orders.app.backend.holders() if holder.id == victim)
    os.kill(owner.pid, signal.SIGKILL)
    killed = time.monotonic()
    wait_until(lambda: victim not in {lag.member for lag in orders.lag()} and all(lag.member for lag in orders.lag()))
    took = time.monotonic() - killed

    for partition in range(4):
        orders.append(b"", partition=partition)
    orders.wait_for_lag(0)
    for worker in (first, second):
        worker.process.send_signal(signal.SIGTERM)
    said = [one["partition"] for worker in (first, second) for one in worker.end() if "offset" in one]
    assert sorted(said) == [0, 1, 2, 3]
    assert took < 3, "a second, and what a loaded machine takes on top"
