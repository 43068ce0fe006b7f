"""The pytest plugin: its fixtures work in other people's tests, and cost nothing in those that use none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast.testing.plugin
from tests.docs.pages import ROOT, blocks

APP = """
from holdfast import App

app = App("sqlite:////nowhere/at/all.db")


@app.task(result=60)
def double(number: int) -> int:
    return 2 * number
"""
TIMING = """
import pathlib, time

def pytest_sessionstart():
    global begun
    begun = time.process_time()

def pytest_sessionfinish():
    pathlib.Path("seconds").write_text(str(time.process_time() - begun))
"""
SOURCE = Path(holdfast.testing.plugin.__file__).parents[2]


@pytest.fixture
def run(tmp_path):
    """Run pytest on a file with these tests; return its exit code and what it printed."""
    (tmp_path / "shop.py").write_text(APP)

    def run(tests, *, ini="holdfast_app = shop:app\npythonpath = .\n", arguments=()):
        (tmp_path / "pytest.ini").write_text(f"[pytest]\n{ini}")
        (tmp_path / "test_shop.py").write_text(tests)
        path = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            timeout=50,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    run.folder = tmp_path
    return run


@pytest.mark.slow
def test_the_fixtures_put_the_app_of_the_setting_into_a_kit(run):
    code, said = run(
        """
from shop import app, double

def test_one(holdfast, holdfast_app, holdfast_clock):
    assert holdfast_app is app and holdfast.app is app and holdfast.clock is holdfast_clock
    job = double.enqueue(4)
    assert holdfast.drain().done == 1
    assert job.result(timeout=0) == 8

def test_another_begins_empty(holdfast):
    assert holdfast.jobs() == []
"""
    )

    assert code == 0, said
    assert "2 passed" in said


@pytest.mark.slow
def test_a_test_file_of_delay_retry_schedule_and_dead_letter_is_short_and_fast(run):
    pages = blocks(ROOT / "docs/how-to/test-your-tasks.md")
    [shop, tests] = [next(b.text for b in pages if b.info == f"file={name}") for name in ("shop.py", "test_shop.py")]
    (run.folder / "orders.py").write_text(shop)
    (run.folder / "conftest.py").write_text(TIMING)

    code, said = run(tests.replace("from shop", "from orders"), ini="holdfast_app = orders:app\npythonpath = .\n")

    assert code == 0, said
    assert len(tests.splitlines()) < 40
    assert "3 passed" in said
    # A second, with slack; of the processor's time, since a loaded machine says nothing about the tests.
    assert float((run.folder / "seconds").read_text()) < 1.0 * 3


@pytest.mark.slow
def test_the_app_can_be_chosen_by_a_fixture(run):
    code, said = run(
        """
import pytest
from holdfast import App

@pytest.fixture
def holdfast_app():
    return App("memory:", name="mine")

def test_it(holdfast):
    assert holdfast.app.name == "mine"
""",
        ini="",
    )

    assert code == 0, said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ini", "message"),
    [
        ("", "which App? Set holdfast_app = package.module:app"),
        ("pythonpath = .\nholdfast_app = shop:double\n", "that is <Task 'shop.double' of queue 'default'>, no App"),
    ],
)
def test_an_app_that_is_not_there_is_an_error_that_says_what_to_do(run, ini, message):
    code, said = run("def test_it(holdfast): pass", ini=ini)

    assert code == 1
    assert message in said


@pytest.mark.slow
def test_a_run_of_pytest_that_uses_no_fixture_imports_next_to_nothing(run, tmp_path):
    code, said = run(
        """
import json, pathlib, sys

def test_it():
    ours = sorted(name for name in sys.modules if name.partition(".")[0] == "holdfast")
    heavy = sorted({"msgspec", "apsw", "click", "asyncio", "cronsim"} & set(sys.modules))
    pathlib.Path("imported.json").write_text(json.dumps([ours, heavy]))
""",
        ini="",
        arguments=["-p", "no:anyio", "-p", "no:xdist", "-p", "no:timeout", "-p", "no:valkey"],
    )

    assert code == 0, said
    ours, heavy = json.loads((tmp_path / "imported.json").read_text())
    assert ours == ["holdfast", "holdfast.errors", "holdfast.testing", "holdfast.testing.plugin"]
    assert heavy == []
