"""An App on a data directory: ``holdfast worker`` works its queues off alone, and a kill of it loses nothing."""

import os
import signal
import subprocess
import sys

import pytest

from holdfast.config import parse_url
from holdfast.delivery import State
from holdfast.stores import open_store

pytestmark = pytest.mark.slow

JOBS = 30
SHOP = """
import os, sys
from holdfast import App

app = App("disk:data")

@app.task(queue="work")
def note(number: int) -> None:
    with open("ran", "a") as file:
        print(number, file=file)

@app.task(queue="work")
def stall(number: int) -> None:
    with open("ran", "a") as file:
        print(number, file=file)
    if os.environ.get("STALL"):
        print("stalled", flush=True)
        sys.stdin.read()
"""


MAIN = "from holdfast.cli import main; main()"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def command(folder, *arguments, **environment):
    """Begin a program in the folder."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}", **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def send(folder, task):
    program = f"import shop\nfor number in range({JOBS}): shop.{task}.enqueue(number)\nshop.app.close()"
    with command(folder, "-c", program) as sender:
        _, complaint = sender.communicate(timeout=60)
    assert sender.returncode == 0, complaint


def drain(folder):
    with command(folder, "-c", MAIN, "worker", "shop:app", "--drain") as worker:
        said, complaint = worker.communicate(timeout=60)
    assert worker.returncode == 0, said + complaint
    return complaint


def ran(folder):
    return [int(line) for line in (folder / "ran").read_text().split()]


def states(folder):
    store = open_store(parse_url(f"disk:{folder}/data"))
    stats = store.stats("work")
    store.close()
    return {state.value: count for state in State if (count := getattr(stats, state.value))}


def test_a_worker_drains_a_data_directory_and_says_that_it_has_no_children(folder):
    send(folder, "note")

    said = drain(folder)

    assert "works without children" in said
    assert sorted(ran(folder)) == list(range(JOBS))
    assert states(folder) == {"done": JOBS}


def test_a_worker_that_is_killed_and_begun_again_loses_nothing(folder):
    send(folder, "stall")
    with command(folder, "-c", MAIN, "worker", "shop:app", "--concurrency", "1", STALL="1") as worker:
        assert worker.stdout is not None
        while worker.stdout.readline() not in ("stalled\n", ""):
            pass
        worker.send_signal(signal.SIGKILL)
    assert worker.returncode == -signal.SIGKILL

    drain(folder)

    assert set(ran(folder)) == set(range(JOBS))
    assert states(folder) == {"done": JOBS}
