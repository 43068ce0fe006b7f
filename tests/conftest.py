"""Keeps what a long run found: ``make long`` writes benchmarks/results/long.json, with the commit it ran on."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.register_assert_rewrite("holdfast.testing.conformance")

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "long.json"


def pytest_configure(config):
    if "not slow" in config.option.markexpr:
        os.environ.setdefault("HOLDFAST_EXAMPLES", "100")  # a thousand lives of a queue take minutes
    if config.option.markexpr == "long":
        config.pluginmanager.register(LongResults())


class LongResults:
    """Collects the outcome, the seconds and the properties of every test."""

    def __init__(self):
        self.tests = {}

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            facts = {"outcome": report.outcome, "seconds": round(report.duration, 1)}
            self.tests[report.nodeid] = facts | dict(report.user_properties)

    def pytest_sessionfinish(self):
        if not self.tests:
            return
        about = {
            "commit": git("rev-parse", "HEAD"),
            "changed since": git("status", "--porcelain", "--", "src", "tests").splitlines(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "machine": platform.machine(),
        }
        RESULTS.write_text(json.dumps(about | {"tests": self.tests}, indent=2) + "\n")


def git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False).stdout.strip()
