"""Five that fire share 200 schedules over a day, and some are killed or stopped: every tick has exactly one job."""

import json
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue

import pytest

from holdfast import App
from holdfast.capabilities import JobFilter, tick_id
from holdfast.config import QueueSettings
from holdfast.schedule.cron import ticks
from holdfast.testing import MovableClock, SharedClock
from tests.processes.programs import QUEUE

SCHEDULES, FIRING, MINUTE = 200, 5, 60.0
PATIENCE = 30.0
STUCK = 2.0
"""Seconds after which a stopped process is let go on: it may have been stopped in the midst of a transaction."""
HOURS = [pytest.param(2, id="2 hours"), pytest.param(24, id="24 hours", marks=[pytest.mark.long])]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def keep_schedules(app):
    """Keep 200 schedules of many rules; every tenth lets its jobs not overlap, and nobody runs any."""
    app.queue(QUEUE).declare(QueueSettings(ticks_most=None))

    @app.task(queue=QUEUE, name="step")
    def step() -> None: ...

    crons = ("*/5 * * * *", "7,37 * * * *", "@hourly", "0 9 * * MON-FRI", "*/20 8-18 * * *")
    for number in range(SCHEDULES):
        rule = {"cron": crons[number % 5]} if number % 2 else {"every": MINUTE * (1 + number % 30)}
        if number % 3 == 0 and "cron" in rule:
            rule["tz"] = "America/New_York"
        overlap = "skip" if number % 10 == 0 else "allow"
        app.schedules.add(step.call(), name=f"s{number:03}", overlap=overlap, jitter=number % 4, **rule)


def assert_every_tick_was_sent_once(app, record_property):
    sent = []
    for schedule in app.schedules.list():
        now = app.backend.due_schedules((), limit=0).now
        expected = ticks(schedule.definition.rule, schedule.created, now, 100_000)
        fired = app.schedules.ticks(schedule.name, limit=100_000)[::-1]
        assert [one.tick for one in fired] == expected, schedule
        outcomes = [one.outcome.value for one in fired]
        if schedule.definition.overlap == "allow":
            assert outcomes == ["sent"] * len(expected), schedule
        else:
            assert outcomes == (["sent"] + ["skipped"] * len(expected))[: len(expected)], schedule
        sent += [tick_id(QUEUE, schedule.name, one.tick) for one in fired if one.job is not None]
    record_property("jobs", len(sent))
    assert sorted(ids_of(app)) == sorted(sent)


def ids_of(app):
    found, cursor = [], None
    while True:
        page = app.queue(QUEUE).browse(JobFilter(), limit=1000, cursor=cursor)
        found += [job.id for job in page.jobs]
        if page.cursor is None:
            return found
        cursor = page.cursor


# -- SQLite: processes --------------------------------------------------------------------------------------------


class Firing:
    """A process that fires when it is told to. Its answers are read by a thread."""

    def __init__(self, url, clock):
        command = [sys.executable, "-m", "tests.processes.programs", "tick", url, clock]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.answers, self.owed, self.stopped_for = SimpleQueue(), 0, 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with suppress(ValueError):  # closed while it was read
            for line in self.process.stdout:
                self.answers.put(json.loads(line)["sent"])

    def go(self):
        self.process.stdin.write("go\n")
        self.owed += 1

    def stop(self, steps):
        self.process.send_signal(signal.SIGSTOP)
        self.stopped_for = steps

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)
        self.stopped_for = 0

    def answer(self, timeout):
        """Wait for all that is owed; tell whether it came."""
        with suppress(Empty):
            while self.owed:
                self.answers.get(timeout=timeout)
                self.owed -= 1
        return not self.owed

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.mark.parametrize("hours", HOURS)
def test_five_processes_share_the_schedules_of_a_file(tmp_path, hours, record_property):
    url, clock_file, draw = f"sqlite:///{tmp_path}/jobs.db?sync=normal", tmp_path / "clock", random.Random(hours)
    clock = SharedClock(clock_file, ticking=False)
    app, killed, stopped = App(url, clock=clock), 0, 0
    keep_schedules(app)
    firing = [Firing(url, clock_file) for _ in range(FIRING)]
    for step in range(hours * 60):
        clock.move(MINUTE)
        for one in firing:
            one.go()
        victim = draw.randrange(FIRING)
        if step % 4 == 1:
            firing[victim].kill()
            firing[victim], killed = Firing(url, clock_file), killed + 1
        elif step % 4 == 3 and not any(one.stopped_for for one in firing):
            firing[victim].stop(draw.randrange(1, 8))
            stopped += 1
        wait_for_answers(firing)
    for one in firing:
        one.go_on()
        assert one.answer(PATIENCE)
        one.kill()

    record_property("killed", killed)
    record_property("stopped", stopped)
    assert_every_tick_was_sent_once(app, record_property)
    app.close()


def wait_for_answers(firing):
    """Wait for all that are not stopped; if they wait for one that is, that one goes on."""
    for one in firing:
        if one.stopped_for or one.answer(STUCK):
            continue
        for other in firing:
            if other.stopped_for:
                other.go_on()
        assert one.answer(PATIENCE), "it does not fire"
    for one in firing:
        if one.stopped_for:
            one.stopped_for -= 1
            if not one.stopped_for:
                one.go_on()


# -- memory: threads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", HOURS)
def test_five_threads_share_the_schedules_of_a_memory_store(hours, record_property):
    clock, draw = MovableClock(ticking=False), random.Random(hours)
    app = App("memory:", clock=clock)
    keep_schedules(app)
    tickers = [app.schedules.ticker([QUEUE]) for _ in range(FIRING)]
    with ThreadPoolExecutor(FIRING) as pool:
        for _ in range(hours * 60):
            clock.move(MINUTE)
            victim = draw.randrange(FIRING)
            stale = tickers[victim]._plan()  # it is stopped here, having looked
            list(pool.map(lambda ticker: ticker.tick(), tickers[:victim] + tickers[victim + 1 :]))
            assert tickers[victim]._fire(stale) == []  # and goes on
            tickers[victim] = app.schedules.ticker([QUEUE])  # or is gone, and another takes its place

    assert_every_tick_was_sent_once(app, record_property)
    app.close()
