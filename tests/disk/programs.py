"""Runs the programs of the layers that need a process of their own, and takes what they found."""

import json
import os
import shutil
import subprocess
import sys

from tests.disk.layers import ROOT, chunks

CHUNK = 100
"""Cases one process does."""


def judged(program, place, cases, record_property, *, before=()):
    """Run a program, with what it is to work on, for all cases, so many at a time; each ends with no finding."""
    totals = {}
    for first, count in chunks(cases, record_property, CHUNK):
        folder = place / str(first)
        folder.mkdir()
        command = [*before, sys.executable, "-m", *program, folder, first, count]
        done = subprocess.run(
            list(map(str, command)), cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"seeds {first} to {first + count - 1}\n{done.stdout}\n{done.stderr}"
        said = json.loads(done.stdout.splitlines()[-1])
        assert said.pop("findings") == [], f"seeds {first} to {first + count - 1}"
        for name, value in said.items():
            totals[name] = totals.get(name, 0) + value
        shutil.rmtree(folder)
    for name, value in totals.items():
        record_property(name, value)
