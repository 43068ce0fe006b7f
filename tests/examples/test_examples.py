"""The examples do what they say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PRINTED = {
    "schedules.py": """\
report: 29 Mar 07:00 UTC, 30 Mar 07:00 UTC, 31 Mar 07:00 UTC
cache is paused: True
jobs sent: 5
schedules.report: 29 Mar 07:00 UTC sent
tidy up: 28 Mar 14:00 UTC sent, 28 Mar 20:00 UTC sent, 29 Mar 02:00 UTC sent, 29 Mar 08:00 UTC sent
""",
    "thumbnails.py": """\
8.png in attempt 1
9.png in attempt 2
10.png in attempt 1
9.jpg in attempt 2
notes.txt: holdfast.errors.Bury, dead
""",
    "accounts.py": """\
ann [0, 1, 2, 3, 4]
bob [0, 1, 2, 3, 4]
cid [0, 1, 2, 3, 4]
at once, of one account: 1
""",
    "unique.py": """\
edits: 10, jobs: 1
published news: version 10
report
new done
made already: done
made already: done
""",
    "dependencies.py": """\
refused: CHECK constraint failed: number > 0
rows kept: [('delivery note', 1), ('pears', 4)]
in the fake: no such table: stock
""",
    "subscribers.py": """\
charge 3
invoice 7 over 12.50 1
reserve 1
thank 1
""",
    "progress.py": """\
copied 100 pages
seen on the way: True and in order: True
the last word: page 100
""",
    "gates.py": """\
mail to 7
charge: ready, 0 attempts
the gate is open
order 1 is paid
order 2 is paid
4 reports
""",
    "outbox.py": """\
order 2 is not paid: there is neither the order nor the job
jobs that wait: 2
orders and how often they were confirmed: [(1, 1), (3, 1)]
""",
    "crawler.py": """\
5 pages, each once: About, Home, Pears, Plums, Shop
asked to visit: 10 times
""",
    "morgue.py": """\
why: [('ConnectionError', 4), ('nothing is taken back', 2)]
the first: {'account': 'ann', 'amount': 5} after 2 attempts
would replay: 4
replayed: 4
done: 4 dead: 2
removed for good: 2
""",
    "crash.py": """\
killed with work left: True
every job is done: True
the results add up: True
""",
}

SERVED = "machines.py"


@pytest.mark.slow
@pytest.mark.parametrize("name", PRINTED)
def test_the_example_prints_what_it_should(name: str, tmp_path: Path) -> None:
    program = ROOT / "examples" / name
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, cwd=tmp_path, timeout=55, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == PRINTED[name]


@pytest.mark.slow
@pytest.mark.parametrize("redis_flavour", ["valkey"], indirect=True)
def test_the_example_of_several_machines_prints_what_it_should(redis_servers, tmp_path: Path) -> None:
    url = redis_servers.single(appendonly="yes").url
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / SERVED],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"HOLDFAST_URL": url},
        timeout=55,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == (
        "one job, though sent twice: True\nwaiting: 1 as another machine sees it\norder 7 is charged\nleft: 0\n"
    )


@pytest.mark.slow
def test_the_tests_of_the_example_pass(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        f"--rootdir={tmp_path}",
    ]
    done = subprocess.run(
        [*command, ROOT / "examples" / "test_tasks.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_every_example_is_tested() -> None:
    assert {program.name for program in (ROOT / "examples").glob("*.py")} == {*PRINTED, SERVED, "test_tasks.py"}


@pytest.mark.parametrize("program", sorted((ROOT / "examples").glob("*.py")), ids=lambda program: program.name)
def test_an_example_is_listed_and_fits_on_a_page(program: Path) -> None:
    listed = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert listed.count(f"[{program.name}]({program.name})") == 1
    assert len(program.read_text(encoding="utf-8").splitlines()) <= 60
