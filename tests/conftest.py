"""Keeps what long runs found: ``make long`` writes each test's last result into benchmarks/results/long.json, with the
commit it ran on. A run of some tests leaves the results of the others as they are. Every run ends with the seeds it
was made from, and with what this machine could not run.
"""

import gc
import json
import os
import platform
import subprocess
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.register_assert_rewrite("holdfast.testing.conformance")
pytest_plugins = ["tests.redis.fixtures"]

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "long.json"
SUITE = 200
"""So many tests in one module are the cases of a suite, and have one result together."""


def pytest_configure(config):
    if "not slow" in config.option.markexpr:
        os.environ.setdefault("HOLDFAST_EXAMPLES", "50")  # a thousand lives of a queue take minutes
    if config.option.markexpr == "long":
        config.pluginmanager.register(LongResults())


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Look for garbage neither while ten thousand tests are collected, nor among them later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What needs a server is not among the quick tests: those are of what every machine has."""
    for item in items:
        if "redis_flavour" in item.fixturenames:
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter):
    reports = [
        report for outcome in ("passed", "failed", "skipped") for report in terminalreporter.stats.get(outcome, [])
    ]
    said = [(report.nodeid, dict(report.user_properties)) for report in reports if report.user_properties]
    seeds = [f"{name}: seeds {facts['seeds']}" for name, facts in said if "seeds" in facts]
    missing = [f"not run here: {facts['not run here']}" for _, facts in said if "not run here" in facts]
    for title, lines in (("seeds", seeds), ("not run here", missing)):
        if lines:
            terminalreporter.section(title)
            terminalreporter.write_line("\n".join(sorted(set(lines))))


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
        known = json.loads(RESULTS.read_text())["tests"] if RESULTS.exists() else {}
        found = known | {name: facts | about for name, facts in by_suite(self.tests).items()}
        RESULTS.write_text(json.dumps({"tests": dict(sorted(found.items()))}, indent=2) + "\n")


def by_suite(tests):
    """Return the results with those of a suite of many cases as one, under the name of their module."""
    modules = {}
    for name, facts in tests.items():
        modules.setdefault(name.partition("::")[0], {})[name] = facts
    found = {}
    for module, cases in modules.items():
        if len(cases) < SUITE:
            found |= cases
            continue
        outcomes = Counter(facts["outcome"] for facts in cases.values())
        outcome = "failed" if outcomes["failed"] else "passed"
        seconds = round(sum(facts["seconds"] for facts in cases.values()), 1)
        found[module] = {"outcome": outcome, "seconds": seconds, "cases": dict(outcomes)}
    return found


def git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False).stdout.strip()
