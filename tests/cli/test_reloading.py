"""``holdfast worker --reload``, as processes: what is edited is loaded anew, and no job is lost or burned by it.

Every module of these tests tells over a pipe that it is being imported, so nobody sleeps.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from importlib import import_module

import pytest

from holdfast.app import App
from holdfast.cli.watching import Watch, imported_files
from tests.cli.conftest import PROGRAM

SHOP = """
import asyncio
from pathlib import Path
from holdfast import App

VERSION = {version!r}
Path("imported").write_text(VERSION)
app = App("sqlite:///jobs.db")

@app.task(name="tell", result=60)
def tell() -> str:
    return VERSION

@app.task(name="hang", result=60)
async def hang() -> str:
    if VERSION == "one":
        Path("running").write_text(VERSION)
        await asyncio.Event().wait()
    return VERSION

@app.task(name="wait", result=60)
def wait() -> str:
    Path("running").write_text(VERSION)
    return VERSION + Path("gate").read_text()
"""


@pytest.fixture
def shop(tmp_path):
    """Writes shop.py in a version."""
    for name in ("imported", "running", "gate"):
        os.mkfifo(tmp_path / name)

    def write(version, source=SHOP):
        (tmp_path / "new.tmp").write_text(source.format(version=version))
        (tmp_path / "new.tmp").rename(tmp_path / "shop.py")  # at once, as editors do

    write("one")
    return write


@pytest.fixture
def imported(tmp_path):
    """Waits for the next import of shop.py, and returns its version."""
    return (tmp_path / "imported").read_text


@pytest.fixture
def running(tmp_path):
    """Waits until a job runs, and returns the version that runs it."""
    return (tmp_path / "running").read_text


@pytest.fixture
def let_end(tmp_path):
    """Lets the job that waits end."""
    return lambda: (tmp_path / "gate").write_text("!")


@pytest.fixture
def job_running(start, imported, running, tasks):
    """A worker, and a job of the named task that it runs."""

    def begin(name, *more):
        process = start(*more)
        imported()
        job = tasks[name].enqueue()
        running()
        return process, job

    return begin


@pytest.fixture
def start(shop, tmp_path):
    """Starts ``holdfast worker shop:app --reload`` in a session of its own."""
    started = []

    def start(*more):
        command = [*PROGRAM, "worker", "shop:app", "--reload", *more]
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def tasks(tmp_path, shop):
    with App(f"sqlite:///{tmp_path}/jobs.db") as app:
        yield {name: app.task(name=name, result=60)(_never) for name in ("tell", "hang", "wait")}


def _never() -> str: ...


def say(process, what):
    """Read what the process complains until ``what`` is in it."""
    for line in process.stderr:
        if what in line:
            return
    raise AssertionError(f"{what!r} was never said")


# -- processes --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_edited_module_is_loaded_anew(start, shop, imported, tasks):
    process = start()
    assert imported() == "one"
    assert tasks["tell"].enqueue().result(timeout=30) == "one"

    shop("two")

    assert imported() == "two"
    assert tasks["tell"].enqueue().result(timeout=30) == "two"
    process.send_signal(signal.SIGTERM)
    said, complained = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said.splitlines()[-1].startswith("stopped: 1 done")
    assert "holdfast: shop.py changed: the worker starts anew" in complained


@pytest.mark.slow
def test_a_module_that_cannot_be_imported_is_shown_and_the_next_change_mends_it(start, shop, imported, tasks):
    process = start()
    imported()

    shop("two", "1 / 0\n")
    say(process, "importing 'shop' failed")
    say(process, "the worker has ended with an error: the next change starts it anew")
    shop("three")

    assert imported() == "three"
    assert tasks["tell"].enqueue().result(timeout=30) == "three"


@pytest.mark.slow
def test_a_job_that_outlasts_the_grace_goes_back_unburned_and_runs_again(job_running, shop, imported):
    _, job = job_running("hang", "--grace", "0")

    shop("two")
    imported()

    assert job.result(timeout=30) == "two"
    assert job.refresh().view.attempts == 1


@pytest.mark.slow
def test_a_job_that_ends_within_the_grace_is_done_by_the_old_version(job_running, shop, imported, let_end):
    process, job = job_running("wait")

    shop("two")
    say(process, "changed")
    let_end()

    assert job.result(timeout=30) == "one!"
    assert imported() == "two"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_both_processes_counts_once_and_leaves_the_grace(job_running, let_end, number):
    process, job = job_running("wait")

    os.killpg(process.pid, number)
    let_end()
    said, _ = process.communicate(timeout=30)

    assert (process.returncode, job.result(timeout=30)) == (0, "one!")
    assert said.splitlines()[-1].startswith("stopped: 1 done")


@pytest.mark.slow
def test_a_second_signal_to_the_parent_leaves_no_grace(job_running):
    process, job = job_running("hang")

    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=15)

    view = job.refresh().view
    assert (view.state, view.attempts) == ("ready", 0)


@pytest.mark.slow
def test_a_worker_whose_parent_is_killed_stops_in_order(start, imported, tasks):
    process = start()
    imported()
    tasks["tell"].enqueue().result(timeout=30)

    process.kill()
    said, _ = process.communicate(timeout=30)  # the child holds the pipe open until it has ended

    assert said.splitlines()[-1].startswith("stopped: 1 done")


@pytest.mark.slow
def test_a_worker_that_has_drained_ends_its_parent(start, imported, tasks):
    tasks["tell"].enqueue()
    process = start("--drain")
    imported()

    process.communicate(timeout=30)

    assert process.returncode == 0


@pytest.mark.slow
def test_stopping_while_nothing_can_be_imported_ends_with_the_error(start, shop):
    shop("one", "1 / 0\n")
    process = start()
    say(process, "the next change starts it anew")

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)

    assert process.returncode == 1


@pytest.mark.slow
def test_the_projects_file_is_watched_too(start, imported, tasks, tmp_path):
    file = tmp_path / "pyproject.toml"
    file.write_text("[tool.holdfast]\nconcurrency = 2\n")
    process = start()
    imported()
    tasks["tell"].enqueue().result(timeout=30)

    file.write_text("[tool.holdfast]\nconcurrency = 30\n")
    say(process, "pyproject.toml changed")
    imported()
    tasks["tell"].enqueue().result(timeout=30)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)

    policies = [line for line in said.splitlines() if line.startswith("concurrency")]
    assert [policy.split(",")[0].split()[1] for policy in policies] == ["2", "30"]


# -- seeing changes ---------------------------------------------------------------------------------------------


def seen(watch):
    """What has changed, after as many looks as it takes for it to be settled."""
    watch.changed()
    return watch.changed()


@pytest.mark.parametrize("change", ["edited", "new", "removed", "replaced"])
def test_a_change_is_seen_by_name(tmp_path, change):
    file = tmp_path / "a.py"
    file.write_text("a = 1")
    watch = Watch(tmp_path)

    match change:
        case "edited":
            file.write_text("a = 22")
        case "new":
            file = tmp_path / "b.py"
            file.touch()
        case "removed":
            file.unlink()
        case "replaced":
            times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
            (tmp_path / "other").write_text("a = 2")
            os.utime(tmp_path / "other", ns=times)
            (tmp_path / "other").rename(file)

    assert seen(watch) == [str(file)]
    watch.settle()
    assert seen(watch) == []


def test_a_file_that_is_still_being_written_is_left_to_settle(tmp_path):
    watch = Watch(tmp_path)
    found = []
    for number in range(3):
        (tmp_path / f"{number}.py").touch()
        found.append(watch.changed())

    assert found == [[], [], []]
    assert len(watch.changed()) == 3


@pytest.mark.parametrize("name", ["notes.txt", ".a.py", ".git/a.py", "__pycache__/a.py", "env/lib/a.py"])
def test_what_is_no_source_of_the_project_is_not_looked_at(tmp_path, name):
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "pyvenv.cfg").touch()
    watch = Watch(tmp_path)

    (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / name).touch()

    assert seen(watch) == []


def test_a_file_elsewhere_is_watched_by_name(tmp_path):
    (tmp_path / "project").mkdir()
    file = tmp_path / "library.py"
    file.touch()
    watch = Watch(tmp_path / "project")
    watch.add([str(file)])
    assert seen(watch) == []

    file.write_text("a = 1")

    assert seen(watch) == [str(file)]


def test_of_the_imported_modules_only_those_of_users_are_told(project):
    file = project("mine.py", "")
    sys.path.insert(0, str(file.parent))
    import_module("mine")

    files = imported_files()

    assert str(file) in files
    assert not any(name in files for name in (os.__file__, pytest.__file__))


def test_a_folder_too_large_for_a_project_is_not_looked_into(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.py").touch()
    watch = Watch(tmp_path, most=4)

    (tmp_path / "0.py").write_text("a = 1")

    assert watch.too_large
    assert seen(watch) == []
