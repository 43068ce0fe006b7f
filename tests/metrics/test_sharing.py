"""Counts of several processes in one directory: their sums, and what becomes of those that have gone."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

COUNT = """
import sys
from holdfast import App
from holdfast.events import Rescued, Stalled, LoopLag
from holdfast.metrics import Metrics

app = App("memory:", logger=None)
Metrics(app)
app.events.emit(Rescued(int(sys.argv[1])))
app.events.emit(LoopLag(0.02))
app.events.emit(Stalled("w#1", 30.0, None))
print("counted", flush=True)
sys.stdin.read()
"""
READ = """
import json
from holdfast import App
from holdfast.metrics import Metrics
from prometheus_client.parser import text_string_to_metric_families

text = Metrics(App("memory:", logger=None)).text().decode()
print(json.dumps({sample.name: sample.value for family in text_string_to_metric_families(text)
    for sample in family.samples if sample.labels.get("le", "+Inf") == "+Inf"}))
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "holdfast-metrics-x"
    folder.mkdir()
    return folder


@pytest.fixture
def counting(folder):
    """Starts processes that have counted so many, and go on until they are ended."""
    started = []

    def start(number):
        process = subprocess.Popen(
            [sys.executable, "-c", COUNT, str(number)],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout.readline() == b"counted\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def read(folder):
    def read():
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
        said = subprocess.run(
            [sys.executable, "-c", READ], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        return json.loads(said.stdout)

    return read


def told(samples):
    names = ("holdfast_jobs_rescued_total", "holdfast_loop_lag_seconds_count", "holdfast_workers_stalled")
    return [samples.get(name, 0) for name in names]


def test_processes_count_together_and_only_gauges_of_the_living_stay(counting, read, folder):
    first, second, third = (counting(number) for number in (1, 10, 100))
    together = read()
    for gone in (first, second):
        gone.kill()
        gone.wait()
    after, again = read(), read()
    counting(1000)

    assert told(together) == [111, 3, 3]
    assert told(after) == told(again) == [111, 3, 1]
    assert told(read()) == [1111, 4, 2]
    assert together["holdfast_store_up"] == 1
    assert third.poll() is None


def test_those_that_have_gone_leave_one_file_of_a_sort(counting, read, folder):
    for number in range(4):
        gone = counting(number)
        gone.kill()
        gone.wait()
    read()
    read()

    kept = sorted(file.name for file in folder.iterdir() if not file.name.startswith("gauge"))
    assert [name for name in kept if name.endswith("_0.db")] == ["counter_0.db", "histogram_0.db"]
    assert len(kept) <= 4  # and those of the last reader
    assert told(read())[0] == 6


def test_in_a_directory_of_somebody_elses_nothing_but_gauges_is_touched(counting, read, folder, tmp_path):
    theirs = tmp_path / "theirs"
    folder.rename(theirs)
    folder.symlink_to(theirs)
    gone = counting(5)
    gone.kill()
    gone.wait()
    before = {file.name for file in theirs.iterdir()}

    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(theirs)}
    subprocess.run([sys.executable, "-c", READ], env=environment, capture_output=True, check=True, timeout=60)

    left = {file.name for file in theirs.iterdir()}
    assert {f"counter_{gone.pid}.db", f"histogram_{gone.pid}.db"} <= left & before
    assert f"gauge_livesum_{gone.pid}.db" in before - left
