"""Metrics of real workers, scraped over HTTP, against what the store knows."""

import os
import subprocess
import sys
import time
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from holdfast import App
from holdfast.delivery import State

pytestmark = pytest.mark.slow

SHOP = """
import os
from holdfast import CONTEXT, App, Cancel, Context, Retry

app = App("sqlite:///jobs.db")

@app.task(name="work", queue="work", retry=Retry(attempts=2, base=0, jitter="none"))
def work(outcome: str, *, ctx: Context = CONTEXT) -> None:
    if outcome == "cancelled":
        raise Cancel
    if outcome == "dead" or (outcome == "retried" and not ctx.last_attempt):
        raise ValueError(outcome)

@app.task(name="hang", queue="fragile", retry=2)
def hang(fifo: str, *, ctx: Context = CONTEXT) -> None:
    if not ctx.last_attempt:
        with open(fifo, "w") as pipe:
            pipe.write(str(os.getpid()))
        open(fifo).read()
"""
JOBS = {"done": 5, "retried": 3, "dead": 2, "cancelled": 1}


@pytest.fixture
def start(tmp_path):
    """Starts a worker with a status; returns what scrapes it."""
    (tmp_path / "shop.py").write_text(SHOP)
    workers = []

    def start(*options):
        command = [sys.executable, "-c", "from holdfast.cli import main; main(prog_name='holdfast')"]
        command += ["worker", "shop:app", "--status", "0", *options]
        workers.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True))
        url = next(line.split()[1] for line in workers[-1].stdout if line.startswith("status "))
        return lambda: scrape(url)

    yield start
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.communicate(timeout=60)


@pytest.fixture
def store(tmp_path):
    with App(f"sqlite:///{tmp_path}/jobs.db", logger=None) as app:
        yield app


def scrape(url):
    with urlopen(f"{url}/metrics", timeout=30) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }


def until(condition, seconds=45):
    """Return what the condition answered when it was true."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return answer


def enqueue(app):
    work = app.task(name="work", queue="work", retry=2)(_work)
    app.enqueue_many([work.call(outcome) for outcome, number in JOBS.items() for _ in range(number)])
    work.using(expires_in=0.001).enqueue("done")


def _work(outcome: str) -> None: ...


def truth(app, queue):
    stats = app.queue(queue).stats()
    return {state: getattr(stats, state) for state in State}


def gauges(samples, queue):
    return {state: samples["holdfast_jobs", ("queue", queue), ("state", state)] for state in State}


def counted(samples, name, kind="work", queue="work"):
    return samples.get((f"holdfast_jobs_{name}_total", ("kind", kind), ("queue", queue)), 0)


def working(samples):
    return samples["holdfast_workers", ("state", "working")]


@pytest.mark.parametrize("processes", [0, 2])
def test_what_is_scraped_after_a_known_run_is_what_the_store_knows(start, store, processes):
    enqueue(store)
    scraped = start("--processes", f"{processes}")
    stats = store.queue("work").stats
    until(lambda: (now := stats()).ready + now.running + now.scheduled == 0)
    samples = until(
        lambda: (now := scraped()) and counted(now, "done") == 8 and working(now) == max(processes, 1) and now
    )

    assert gauges(samples, "work") == truth(store, "work")
    assert truth(store, "work") == dict.fromkeys(State, 0) | {"done": 8, "dead": 2, "cancelled": 1, "expired": 1}
    assert {name: counted(samples, name) for name in ("started", "retried", "buried", "cancelled")} == {
        "started": 5 + 2 * 3 + 2 * 2 + 1,
        "retried": 3 + 2,
        "buried": 2,
        "cancelled": 1,
    }
    assert samples["holdfast_job_duration_seconds_count", ("kind", "work"), ("queue", "work")] == 16
    assert samples["holdfast_store_up",] == 1


def test_a_killed_process_leaves_its_counts_and_its_jobs_are_counted_as_returned(start, store, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    scraped = start("--queues", "fragile", "--processes", "2")
    job = store.task(name="hang", queue="fragile", retry=2)(_hang).enqueue(str(fifo))
    os.kill(int(fifo.read_text()), 9)

    until(lambda: job.refresh().state == "done")
    samples = until(lambda: (now := scraped()) and counted(now, "done", "hang", "fragile") and now)

    assert counted(samples, "started", "hang", "fragile") == 2  # one of them by who has gone
    assert (samples["holdfast_jobs_returned_total",], samples["holdfast_jobs_crashed_total",]) == (1, 1)
    assert gauges(samples, "fragile") == truth(store, "fragile")
    assert until(lambda: working(scraped()) == 2)


def test_without_a_supervisor_the_worker_that_finds_the_dead_counts_what_comes_back(start, store, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    workers = [start("--queues", "fragile", "--processes", "0") for _ in range(2)]
    job = store.task(name="hang", queue="fragile", retry=2)(_hang).enqueue(str(fifo))
    os.kill(int(fifo.read_text()), 9)

    until(lambda: job.refresh().state == "done")
    [samples] = scrapes(workers)

    assert samples["holdfast_jobs_returned_total",] == 1
    assert gauges(samples, "fragile") == truth(store, "fragile")


def _hang(fifo: str) -> None: ...


def scrapes(workers):
    for scraped in workers:
        try:
            yield scraped()
        except OSError:  # it was the one that was killed
            continue
