"""The directory in which the processes of a supervisor count together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli.serving import JUST_MADE, OWN, VARIABLE, counting_together, sweep

OWNER = """
import os
from holdfast.cli.serving import VARIABLE, counting_together

with counting_together(("127.0.0.1", 0)):
    print(os.environ[VARIABLE], flush=True)
    input()
"""


def age(folder):
    os.utime(folder, (0, folder.stat().st_mtime - 2 * JUST_MADE))


@pytest.fixture
def owner():
    """A process that counts together with others, until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_the_directory_of_a_killed_supervisor_is_removed_and_not_that_of_a_living_one(owner):
    folder = Path(owner.stdout.readline().strip())
    age(folder)

    sweep(folder.parent)
    assert folder.is_dir(), "its owner lives"
    owner.kill()
    owner.wait()
    sweep(folder.parent)

    assert not folder.exists()


def test_a_directory_that_was_just_made_may_be_about_to_be_locked(tmp_path):
    folder = tmp_path / f"{OWN}new"
    folder.mkdir()

    sweep(tmp_path)

    assert folder.is_dir()


def test_the_directory_goes_with_its_block(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)

    with counting_together(("127.0.0.1", 0)):
        folder = Path(os.environ[VARIABLE])
        assert folder.name.startswith(OWN)

    assert not folder.exists()
    assert VARIABLE not in os.environ
