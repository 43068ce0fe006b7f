"""``holdfast worker`` with its supervisor, as processes: what dies is replaced at once, and only what ran is charged.

The handlers tell over a pipe what they do, so nobody sleeps.
"""

import json
import os
import resource
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.app import App
from holdfast.delivery import MAX_CRASHES
from tests.cli.conftest import PROGRAM

pytestmark = pytest.mark.slow

SHOP = """
import asyncio, ctypes, json, os, time
from pathlib import Path
from holdfast import CONTEXT, App, Context, Retry

def note(**facts):
    with open("notes", "a") as notes:
        notes.write(json.dumps(facts | {"pid": os.getpid(), "at": time.monotonic()}) + "\\n")

app = App("sqlite:///jobs.db")

@app.task(name="quick", result=60)
def quick(argument: int) -> int:
    note(job=argument)
    time.sleep(0.005)
    return os.getpid()

@app.task(name="block", result=60)
def block(argument: str, *, ctx: Context = CONTEXT) -> int:
    note(job="block", attempt=ctx.attempt)
    return len(open(argument).read())

@app.task(name="overrun", timeout=0.05, retry=Retry(attempts=3, base=600, jitter="none"))
def overrun(argument: str) -> None:
    note(job="overrun")
    open(argument).read()

@app.task(name="die", queue="deadly")
def die(argument: str) -> None:
    note(job=argument)
    match argument:
        case "exit":
            os._exit(3)
        case "segfault":
            ctypes.string_at(0)
        case "memory":
            block = bytearray(400_000_000)

@app.task(name="swell", result=60)
def swell(argument: int) -> int:
    app.held = bytearray(argument << 20)
    note(job="swell")
    return os.getpid()

@app.task(name="fork", result=60)
def fork(argument: int) -> int:
    pid = os.fork()
    if not pid:
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        time.sleep(600)
    return pid

@app.task(name="stop_me")
def stop_me(argument: int) -> None:
    note(job="stopped")
    os.kill(os.getpid(), 19)
    time.sleep(600)  # the stop may reach this thread a little later than another
"""
NAMES = {"deadly": ("die",), "default": ("quick", "block", "overrun", "swell", "fork", "stop_me")}


ONE_AT_A_TIME = """
import os
from holdfast import App, Depends

app = App("sqlite:///jobs.db")

def resource():
    try:
        os.mkdir("first")
        return "first"
    except FileExistsError:
        pass
    try:
        os.mkdir("second")
    except FileExistsError:
        with open("notes", "a") as notes:
            notes.write('"the third works"\\n')
        return "third"
    open("gate").read()
    raise RuntimeError("it cannot be had by two")

@app.task(name="quick", result=60)
def quick(argument: int, *, it: str = Depends(resource, scope="worker")) -> str:
    return it
"""


class Notes:
    """What handlers tell, in their order; reading waits for it."""

    def __init__(self, path):
        os.mkfifo(path)
        self._pipe = os.fdopen(os.open(path, os.O_RDWR))  # for writing too, or the last writer's end would be the end

    def next(self):
        """The next note."""
        return json.loads(self._pipe.readline())

    def rest(self):
        """All notes that are still unread."""
        os.set_blocking(self._pipe.fileno(), False)
        return [json.loads(line) for line in self._pipe.read().splitlines()]

    def close(self):
        self._pipe.close()


@pytest.fixture
def notes(tmp_path):
    notes = Notes(tmp_path / "notes")
    yield notes
    notes.close()


@pytest.fixture
def gate(tmp_path):
    """What jobs that block read; nobody ever writes to it."""
    os.mkfifo(tmp_path / "gate")
    return str(tmp_path / "gate")


@pytest.fixture
def start(tmp_path, notes):
    """Starts ``holdfast worker shop:app`` in a session of its own."""
    (tmp_path / "shop.py").write_text(SHOP)
    started = []

    def start(*more, app="shop:app", before=()):
        command = [*before, *PROGRAM, "worker", app, *map(str, more)]
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
def store(tmp_path):
    with App(f"sqlite:///{tmp_path}/jobs.db") as app:
        yield app


@pytest.fixture
def tasks(store):
    return {
        name: store.task(name=name, queue=queue, result=60)(_never) for queue, names in NAMES.items() for name in names
    }


def _never(argument: object) -> object: ...


def stop(process, number=signal.SIGTERM):
    """Ask the worker to stop; return its counts, what it complained of, and how many seconds it took."""
    asked = time.monotonic()
    process.send_signal(number)
    said, complained = process.communicate(timeout=30)
    return json.loads(said)["counts"], complained, time.monotonic() - asked


def children_of(process):
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def burned(job):
    view = job.refresh().view
    return view.attempts, view.crashes


@pytest.mark.parametrize(("options", "ttl"), [((), 10), (("--ttl", 4), 4), (("--processes", 0), 30)])
def test_leases_live_as_long_as_the_command_says(*, start, tasks, notes, gate, store, options, ttl):
    tasks["block"].enqueue(gate)
    start("--grace", 0, *options)
    notes.next()

    [holder] = store.backend.holders()

    assert holder.ttl == ttl


# -- a process that dies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2])
def test_jobs_interrupted_by_a_kill_start_again_at_once_and_nothing_else_is_charged(
    start, tasks, notes, processes, record_property
):
    jobs = tasks["quick"].enqueue_many(tasks["quick"].call(number) for number in range(400))
    process = start("--json", "--drain", "-c", 4, "--processes", processes)
    seen = [notes.next() for _ in range(40)]

    os.kill(seen[-1]["pid"], signal.SIGKILL)
    killed = time.monotonic()
    results = [job.result(timeout=30) for job in jobs]
    said, _ = process.communicate(timeout=30)

    counts = json.loads(said)["counts"]
    crashed = {number for number, job in enumerate(jobs) if burned(job)[1]}
    assert (counts["processes_died"], counts["processes_replaced"]) == (1, 1)
    assert len(results) == 400
    assert len(crashed) <= 4
    seen += notes.rest()
    runs = Counter(note["job"] for note in seen)
    before = {note["job"] for note in seen if note["at"] < killed}
    assert set(runs) == set(range(400))
    assert crashed <= before | {number for number in crashed if runs[number] == 1}  # else killed before it could tell
    assert all(count == 1 or (count == 2 and number in before) for number, count in runs.items())
    again = [note["at"] - killed for note in seen if note["job"] in crashed and note["at"] > killed]
    record_property("interrupted", len(crashed))
    record_property("seconds until they started again", max(again, default=0.0))
    assert max(again, default=0.0) < 3 * 2


@pytest.mark.parametrize(
    ("how", "reason"),
    [("exit", "worker died: exit code 3"), ("segfault", "worker died: SIGSEGV")],
)
def test_a_job_that_kills_its_process_is_buried_and_its_neighbours_run(start, tasks, how, reason):
    poison = tasks["die"].enqueue(how)
    neighbours = tasks["quick"].enqueue_many(tasks["quick"].call(number) for number in range(30))

    process = start("--json", "--drain", "-c", 4)
    said, _ = process.communicate(timeout=50)

    assert json.loads(said)["counts"]["processes_died"] == MAX_CRASHES
    view = poison.refresh().view
    assert (view.state, view.crashes, view.reason) == ("dead", MAX_CRASHES, reason)
    assert [run.outcome for run in view.runs] == ["crashed"] * MAX_CRASHES
    assert all(job.refresh().state == "done" for job in neighbours)
    assert all(burned(job)[1] <= 1 for job in neighbours)


def test_the_summary_says_that_the_work_of_processes_that_died_is_missing(start, tasks):
    tasks["die"].enqueue("exit")

    said, _ = start("--drain").communicate(timeout=50)

    counts, untold = said.splitlines()[-1].split("; ")
    assert "3 processes died" in counts
    assert untold == "what those that died or were killed had done is not counted"


def test_a_segfault_does_not_touch_jobs_that_had_not_started(start, tasks, notes):
    jobs = [tasks["die"].enqueue("segfault"), *(tasks["die"].enqueue("exit") for _ in range(20))]

    process = start("--json", "-c", 1)
    notes.next()
    notes.next()  # the next process is at it
    process.kill()
    process.wait()

    assert sum(burned(job)[0] for job in jobs) <= 3


def test_a_job_that_eats_all_memory_is_buried_with_that_reason(start, tasks, limited):
    poison = tasks["die"].enqueue("memory")

    start("--json", "--drain", before=limited).communicate(timeout=50)

    view = poison.refresh().view
    assert (view.state, view.crashes) == ("dead", MAX_CRASHES) if limited else ("done", 0)
    assert view.reason == ("worker died: SIGKILL (out of memory)" if limited else None)


@pytest.fixture
def limited():
    """How to start a program within 250 MB; nothing where this machine lets nobody limit memory."""
    group = Path(f"/sys/fs/cgroup/memory/holdfast-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError:
        yield ()
        return
    (group / "memory.limit_in_bytes").write_text("250000000")
    yield ("sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh")
    for _ in range(100):
        with suppress(OSError):  # its last process may not be quite gone
            group.rmdir()
            break


def test_a_process_that_forked_is_known_to_be_dead_though_its_child_lives(start, tasks, notes):
    process = start("--json", "--processes", 1)
    orphan = tasks["fork"].enqueue(1).result(timeout=30)
    try:
        [child] = children_of(process)
        os.kill(child, signal.SIGKILL)
        assert tasks["quick"].enqueue(1).result(timeout=30) != child
        counts, _, _ = stop(process)
    finally:
        os.kill(orphan, signal.SIGKILL)

    assert counts["processes_died"] == 1


def test_a_process_that_the_system_refuses_is_asked_for_again_and_the_others_go_on(start, tasks, notes, gate):
    process = start("--json", "--processes", 2)
    tasks["block"].enqueue(gate)
    blocking = notes.next()["pid"]
    [other] = set(children_of(process)) - {blocking}
    usual = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)

    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, usual[1]))
    os.kill(other, signal.SIGKILL)
    refused = next(line for line in process.stderr if "cannot be started" in line)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, usual)
    tasks["block"].enqueue(gate)

    assert notes.next()["pid"] == blocking
    while len(children_of(process)) < 2:
        assert process.poll() is None
    Path(gate).write_text("12345")
    assert "Too many open files" in refused
    assert stop(process)[0]["done"] == 2


# -- starting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 4])
def test_an_app_that_cannot_be_imported_is_told_once(start, tmp_path, processes):
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n")

    process = start("--processes", processes, app="broken:app")
    said, complained = process.communicate(timeout=30)

    assert (process.returncode, said) == (1, "")
    assert complained.count("nowhere_to_be_found") == complained.count("holdfast: ") == 1


def test_processes_that_cannot_begin_end_the_command_with_their_error_once(start, tmp_path):
    (tmp_path / "late.py").write_text(
        "import os\n"
        "from holdfast import App, Depends\n"
        "app = App('sqlite:///jobs.db')\n"
        "def broken():\n"
        "    raise RuntimeError('no database to be had')\n"
        "@app.task\n"
        "def task(*, it: str = Depends(broken, scope='worker')) -> None: ...\n"
    )

    process = start("--processes", 3, app="late:app")
    _, complained = process.communicate(timeout=30)

    assert process.returncode == 1
    assert complained.splitlines()[-1].startswith("holdfast: ")
    assert complained.splitlines()[-1].count("no database to be had") == 1


def test_a_process_that_cannot_begin_is_tried_again_where_another_one_works(start, tmp_path, tasks, notes, gate):
    (tmp_path / "one.py").write_text(ONE_AT_A_TIME)
    process = start("--json", "--processes", 2, app="one:app")
    assert tasks["quick"].enqueue(1).result(timeout=30) == "first"

    Path(gate).write_text("")

    assert notes.next() == "the third works"
    counts, complained, _ = stop(process)
    assert counts["processes_replaced"] == 1
    assert "cannot be had by two" in complained


def test_a_store_inside_one_process_is_worked_on_in_this_one(start, tmp_path):
    (tmp_path / "inside.py").write_text(
        "import os\n"
        "from holdfast import App\n"
        "app = App('memory:')\n"
        "@app.task\n"
        "def tell(pid: int) -> None:\n"
        "    print('ran in', os.getpid() == pid, flush=True)\n"
        "tell.enqueue(os.getpid())\n"
    )

    process = start("--drain", app="inside:app")
    said, _ = process.communicate(timeout=30)

    assert "ran in True" in said.splitlines()
    assert said.splitlines()[-1] == "stopped: 1 done, 0 retried, 0 buried"


def test_several_processes_cannot_share_a_store_inside_one(start, tmp_path):
    (tmp_path / "inside.py").write_text("from holdfast import App\napp = App('memory:')\napp.task(name='x')(print)\n")

    process = start("--processes", 2, app="inside:app")
    _, complained = process.communicate(timeout=30)

    assert process.returncode == 1
    assert "memory: lives inside one process" in complained


# -- stopping ---------------------------------------------------------------------------------------------------


def test_threads_that_cannot_be_stopped_burn_nothing_and_keep_nobody_waiting(start, tasks, notes, gate):
    process = start("--json", "--grace", 0.5, "--processes", 2, "-c", 2)
    jobs = [tasks["block"].enqueue(gate) for _ in range(4)]
    for _ in jobs:
        notes.next()

    counts, _, took = stop(process)

    assert process.returncode == 1
    assert counts["abandoned"] == 4
    assert [(job.refresh().state, *burned(job)) for job in jobs] == [("ready", 0, 0)] * 4
    assert took < 0.5 + 2 * 3


def test_a_thread_over_its_timeout_at_the_end_is_settled_as_timed_out(start, tasks, notes, gate):
    process = start("--json", "--grace", 1)
    job = tasks["overrun"].enqueue(gate)
    notes.next()

    stop(process)

    view = job.refresh().view
    assert (view.state, view.attempts, view.crashes) == ("scheduled", 1, 0)
    assert [run.outcome for run in view.runs] == ["timeout"]


def test_a_process_with_three_stuck_threads_is_replaced_and_its_jobs_have_timed_out(start, tasks, notes, gate):
    process = start("--json", "-c", 4, "--grace", 1)
    jobs = [tasks["overrun"].enqueue(gate) for _ in range(3)]
    old = {notes.next()["pid"] for _ in jobs}

    assert tasks["quick"].using(delay=2).enqueue(1).result(timeout=40) not in old
    _, complained, _ = stop(process)

    assert [run.outcome for job in jobs for run in job.refresh().view.runs] == ["timeout"] * 3
    assert "3 threads are over their timeout" in complained


def test_a_process_that_does_not_end_is_killed_and_none_of_its_jobs_is_charged(start, tasks, notes):
    process = start("--json", "--grace", 0)
    job = tasks["stop_me"].enqueue(1)
    notes.next()

    counts, complained, took = stop(process)

    assert burned(job) == (0, 0)
    assert counts["processes_died"] == 0
    assert counts["processes_killed"] == 1
    assert "killed, at the end of its grace" in complained
    assert process.returncode == 1
    assert took < 2 * 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_counts_once(start, tasks, notes, gate, number):
    process = start("--json", "--processes", 2)
    job = tasks["block"].enqueue(gate)
    notes.next()

    os.killpg(process.pid, number)
    Path(gate).write_text("12345")
    said, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert job.result(timeout=1) == 5
    assert json.loads(said)["counts"]["done"] == 1


def test_a_second_signal_leaves_no_grace(start, tasks, notes, gate):
    process = start("--json")
    job = tasks["block"].enqueue(gate)
    notes.next()

    process.send_signal(signal.SIGTERM)
    _, _, took = stop(process, signal.SIGINT)

    assert burned(job) == (0, 0)
    assert took < 3 * 2


def test_processes_whose_supervisor_is_killed_stop_in_order(start, tasks, notes, store):
    process = start("--processes", 2)
    tasks["quick"].enqueue(1).result(timeout=30)

    process.kill()
    killed = time.monotonic()
    process.communicate(timeout=30)  # its processes hold the pipe open until they have ended

    assert time.monotonic() - killed < 3
    assert store.backend.holders() == []


def test_a_process_stopped_by_hand_is_replaced(start, tasks):
    process = start("--json")
    first = tasks["quick"].enqueue(1).result(timeout=30)

    os.kill(first, signal.SIGTERM)

    assert tasks["quick"].using(delay=0.5).enqueue(2).result(timeout=30) != first
    assert stop(process)[0]["processes_replaced"] == 1


def test_a_process_stopped_by_hand_in_the_last_of_its_jobs_has_none_left_to_be_replaced_for(start, tasks, notes, gate):
    process = start("--json", "--max-jobs", 1)
    tasks["block"].enqueue(gate)

    os.kill(notes.next()["pid"], signal.SIGTERM)
    Path(gate).write_text("12345")
    said, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    counts = json.loads(said)["counts"]
    assert (counts["done"], counts["processes_replaced"]) == (1, 0)


def test_a_worker_stopped_by_command_is_not_replaced_and_the_last_one_ends_the_supervisor(start, tasks, store):
    process = start("--json")
    tasks["quick"].enqueue(1).result(timeout=30)
    [holder] = store.backend.holders()

    store.backend.command(holder.id, "stop")
    said, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert json.loads(said)["counts"] | {"given_back": 0} == json.loads(said)["counts"]
    assert json.loads(said)["counts"]["processes_replaced"] == 0


# -- replacing --------------------------------------------------------------------------------------------------


def test_a_process_is_replaced_after_as_many_jobs_as_it_was_told(start, tasks):
    jobs = tasks["quick"].enqueue_many(tasks["quick"].call(number) for number in range(9))

    process = start("--json", "--drain", "--recycle", 3)
    said, _ = process.communicate(timeout=40)

    pids = Counter(job.result(timeout=1) for job in jobs)
    assert list(pids.values()) == [3, 3, 3]
    assert json.loads(said)["counts"]["done"] == 9


def test_the_processes_share_out_the_jobs_after_which_the_command_ends(start, tasks):
    jobs = tasks["quick"].enqueue_many(tasks["quick"].call(number) for number in range(20))

    process = start("--json", "--processes", 2, "--max-jobs", 7)
    said, _ = process.communicate(timeout=40)

    assert json.loads(said)["counts"]["done"] == 7
    assert Counter(job.refresh().state for job in jobs) == {"done": 7, "ready": 13}


def test_a_process_that_occupies_too_much_is_replaced_and_no_job_is_burned(start, tasks):
    process = start("--json", "--max-memory", "200M", "--grace", 5)
    job = tasks["swell"].enqueue(230)
    swollen = job.result(timeout=30)

    assert tasks["quick"].using(delay=1.5).enqueue(1).result(timeout=30) != swollen
    counts, _, _ = stop(process)

    assert (counts["processes_died"], counts["processes_replaced"]) == (0, 1)


def test_a_process_that_occupies_twice_too_much_is_killed(start, tasks, notes, gate):
    process = start("--json", "--max-memory", "150M", "--grace", 1)
    beside = tasks["block"].enqueue(gate)
    notes.next()
    tasks["swell"].enqueue(400)
    while notes.next()["job"] != "block":  # it runs again
        pass

    counts, _, _ = stop(process)

    assert counts["processes_died"] == 1
    assert [run.error.message for run in beside.refresh().view.runs] == ["worker died: killed, over --max-memory"]


def test_a_machine_that_slept_for_long_kills_no_process_for_that(start, tasks, notes, gate):
    process = start("--json", "--stall-limit", 1)
    job = tasks["block"].enqueue(gate)
    working = notes.next()["pid"]

    os.killpg(process.pid, signal.SIGSTOP)
    passes(1.5, process)
    os.kill(process.pid, signal.SIGCONT)
    passes(0.5, process)  # the supervisor looks before the process has turned again
    os.kill(working, signal.SIGCONT)
    Path(gate).write_text("12345")

    assert job.result(timeout=30) == 5
    assert stop(process)[0]["processes_died"] == 0


def passes(seconds, process):
    """Time passes, and the process does not end."""
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)


def test_a_process_that_cannot_end_is_killed_and_replaced(start, tmp_path, tasks, notes):
    (tmp_path / "lasting.py").write_text(SHOP + "import atexit\natexit.register(time.sleep, 600)\n")
    jobs = [tasks["quick"].enqueue(number) for number in range(2)]

    process = start("--json", "--recycle", 1, "--max-jobs", 2, "--stall-limit", 1, app="lasting:app")

    assert len({job.result(timeout=30) for job in jobs}) == 2
    process.kill()


def test_a_process_that_does_nothing_at_all_is_killed_and_its_job_charged(start, tasks, notes):
    process = start("--json", "--stall-limit", 6)
    job = tasks["stop_me"].enqueue(1)
    old = notes.next()["pid"]
    again = notes.next()["pid"]

    process.kill()

    assert again != old
    view = job.refresh().view
    assert [run.error.message for run in view.runs] == ["worker died: killed, stalled"], view


# -- how it is asked for ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--reload", "--processes", 2], "--reload is for one process"),
        (["--processes", 0, "--recycle", 5], "--recycle and --max-memory need a process of their own"),
        (["--max-memory", "much"], "'much' is no size: write for example 500M or 2G"),
    ],
)
def test_what_cannot_be_kept_is_refused(holdfast, wrong, said):
    assert said in holdfast("worker", "shop:app", *wrong).misuse


def test_the_policy_says_how_many_processes_work_and_when_they_are_replaced(start, tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.holdfast]\nprocesses = 2\nrecycle = 1000\nmax_memory = "1.5G"\n')

    process = start("--drain")
    said, _ = process.communicate(timeout=30)

    assert "processes    2 of that concurrency, each replaced after 1000 jobs or over 1.5 GiB" in said


def test_it_is_told_how_many_isolated_jobs_run_at_once(start, tmp_path, tasks, store):
    (tmp_path / "apart.py").write_text(
        "import os\n"
        "from holdfast import App\n"
        "app = App('sqlite:///jobs.db')\n"
        "@app.task(name='quick', isolate=True, result=60)\n"
        "def quick(argument: int) -> int:\n"
        "    return os.getpid()\n"
    )

    start("--isolated", 3, "--concurrency", 2, app="apart:app")

    tasks["quick"].enqueue(1).result(timeout=30)
    assert [holder.slots for holder in store.backend.holders()] == [3]


def test_the_first_job_starts_soon_after_the_command(start, tasks, notes, record_property):
    tasks["quick"].enqueue(1)

    begun = time.monotonic()
    start()
    took = notes.next()["at"] - begun

    record_property("seconds to the first job", took)
    assert took < 10  # about a second where nothing else runs
