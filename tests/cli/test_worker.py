import json
import os
import signal
import socket
import subprocess
from urllib.request import urlopen

import pytest

from holdfast.app import App
from tests.cli.conftest import PROGRAM

SHOP = """
import asyncio, os
from concurrent.futures import ThreadPoolExecutor
from holdfast import App, Retry

app = App("sqlite:///jobs.db")

@app.task(queue="mail", retry=Retry(attempts=3, base=0.5, jitter="none"), timeout=30, result=3600)
def send(user: int) -> str:
    return f"sent to {user}"

@app.task(queue="slow")
async def hang(fifo: str) -> None:
    open(fifo, "w").close()
    await asyncio.Event().wait()

@app.task(queue="stuck")
def block(fifo: str, gate: str) -> None:
    open(fifo, "w").close()
    open(gate).read()

@app.task(queue="aside")
async def block_aside(fifo: str, gate: str) -> None:
    await asyncio.to_thread(block, fifo, gate)

@app.task(queue="pool", timeout=0.01)
def block_in_pool(fifo: str, gate: str) -> None:
    ThreadPoolExecutor().submit(block, fifo, gate).result()
"""


BAD = """
from holdfast import App

app = App({url!r})

@app.task(name="bad")
def bad() -> None:
    1 / 0
"""


@pytest.fixture
def shop(project):
    project("shop.py", SHOP)


@pytest.fixture
def tasks(shop, tmp_path):
    """The tasks of shop.py as a program sees them that only sends."""
    with App(f"sqlite:///{tmp_path}/jobs.db") as app:
        yield {
            "send": app.task(name="shop.send", queue="mail", result=3600)(_send),
            "hang": app.task(name="shop.hang", queue="slow")(_hang),
            "block": app.task(name="shop.block", queue="stuck")(_block),
            "block_in_pool": app.task(name="shop.block_in_pool", queue="pool")(_block),
            "block_aside": app.task(name="shop.block_aside", queue="aside")(_block),
        }


def _send(user: int) -> str: ...


def _hang(fifo: str) -> None: ...


def _block(fifo: str, gate: str) -> None: ...


@pytest.fixture
def process(shop, tmp_path):
    """Starts ``holdfast worker`` as a process of its own."""
    started = []

    def start(*args):
        command = [*PROGRAM, "worker", "shop:app", *args]
        started.append(
            subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for worker in started:
        worker.kill()
        worker.communicate()


def fifo(tmp_path, name="fifo"):
    path = tmp_path / name
    os.mkfifo(path)
    return path


# -- policy and counts ------------------------------------------------------------------------------------------


def test_a_queue_can_have_slots_of_its_own(holdfast, shop):
    said = holdfast("worker", "shop:app", "--drain", "--lane", "mail=2").out

    assert "lanes        2 slots for mail" in said


def test_the_policy_is_printed_at_the_start_and_the_counts_at_the_end(holdfast, tasks):
    tasks["send"].enqueue(7)

    said = holdfast("worker", "shop:app", "--drain", "--concurrency", 3, "--grace", 5).out

    assert "works on shop:app" in said
    assert "store        sqlite:///jobs.db (a send is synced when it returns)" in said
    assert "queues       mail, slow, stuck, aside, pool" in said
    assert "concurrency  3, grace 5 s, until stopped or nothing is left to do" in said
    row = next(line for line in said.splitlines() if line.startswith("shop.send"))
    assert row.split("  ")[0] == "shop.send"
    assert "3 attempts, waits 0.5 s × 2 up to 10 min" in row
    assert "30 s" in row
    assert said.splitlines()[-1] == "stopped: 1 done, 0 retried, 0 buried"


def test_json_is_one_document_with_the_policy_and_the_counts(holdfast, tasks):
    tasks["send"].enqueue(7)

    document = holdfast("worker", "shop:app", "--drain", "--queues", "mail,slow", "--json").document

    assert document["queues"] == ["mail", "slow"]
    assert document["counts"]["done"] == 1
    assert document["tasks"][0] == {
        "name": "shop.send",
        "queue": "mail",
        "async": False,
        "timeout": 30.0,
        "keep_result": 3600.0,
        "retry": {"attempts": 3, "base": 0.5, "factor": 2.0, "cap": 600.0, "jitter": "none", "max_age": None},
    }


def test_only_the_queues_that_were_named_are_worked_on(holdfast, tasks):
    left = tasks["send"].using(queue="other").enqueue(1)
    done = tasks["send"].enqueue(2)

    holdfast("worker", "shop:app", "--drain", "--queues", "mail")

    assert [job.refresh().state for job in (left, done)] == ["ready", "done"]


def test_a_worker_ends_after_as_many_jobs_as_it_was_told(holdfast, tasks):
    tasks["send"].enqueue_many(tasks["send"].call(user) for user in range(5))

    said = holdfast("worker", "shop:app", "--max-jobs", 2).out

    assert "until stopped or 2 jobs are done" in said
    assert "stopped: 2 done" in said


# -- as a process -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_started_in_the_directory_of_its_module_works_until_sigterm(process, tasks):
    worker = process()
    assert tasks["send"].enqueue(7).result(timeout=30) == "sent to 7"

    worker.send_signal(signal.SIGTERM)
    said, _ = worker.communicate(timeout=30)

    assert worker.returncode == 0
    assert said.splitlines()[-1] == "stopped: 1 done, 0 retried, 0 buried"


@pytest.mark.slow
def test_a_second_signal_leaves_no_grace_and_the_job_goes_back_unburned(process, tasks, tmp_path):
    started = fifo(tmp_path)
    worker = process("--json")
    job = tasks["hang"].enqueue(str(started))
    started.read_bytes()  # returns when the handler runs

    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGINT)
    said, _ = worker.communicate(timeout=30)

    assert worker.returncode == 0
    assert json.loads(said)["counts"]["given_back"] >= 1
    assert (job.refresh().state, job.refresh().view.attempts) == ("ready", 0)


@pytest.mark.slow
def test_a_worker_whose_threads_cannot_be_stopped_ends_all_the_same_and_says_so(process, tasks, tmp_path):
    started, gate = fifo(tmp_path), fifo(tmp_path, "gate")
    worker = process("--grace", "0", "--json")
    tasks["block"].enqueue(str(started), str(gate))
    started.read_bytes()

    worker.send_signal(signal.SIGTERM)
    said, complained = worker.communicate(timeout=30)

    assert worker.returncode == 1
    assert json.loads(said)["counts"]["abandoned"] == 1
    assert "shop.block" in complained


@pytest.mark.slow
def test_a_worker_whose_job_left_a_thread_behind_ends_without_it(process, tasks, tmp_path):
    started, gate = fifo(tmp_path), fifo(tmp_path, "gate")
    worker = process("--grace", "0")
    job = tasks["block_aside"].enqueue(str(started), str(gate))
    started.read_bytes()

    worker.send_signal(signal.SIGTERM)
    said, _ = worker.communicate(timeout=10)  # the gate stays shut

    assert worker.returncode == 0
    assert said.splitlines()[-1].startswith("stopped: 0 done, 0 retried, 0 buried, ")
    assert (job.refresh().state, job.refresh().view.attempts) == ("ready", 0)


@pytest.mark.slow
def test_a_worker_ended_by_an_error_waits_for_no_thread_and_says_what_it_was(process, tasks, tmp_path):
    gate = fifo(tmp_path, "gate")
    worker = process("--grace", "0", "--processes", "0")
    for number in range(3):
        started = fifo(tmp_path, str(number))
        tasks["block_in_pool"].enqueue(str(started), str(gate))
        started.read_bytes()

    _, complained = worker.communicate(timeout=10)

    assert worker.returncode == 1
    assert complained.splitlines()[-1].startswith("holdfast: 3 threads are over their timeout")


@pytest.mark.slow
def test_a_failed_attempt_is_logged_unless_the_program_logs_itself(project, tmp_path, url):
    project("bad.py", BAD.format(url=url))
    with App(url) as app:
        app.task(name="bad", retry=1)(lambda: None).enqueue()

    ended = subprocess.run(
        [*PROGRAM, "worker", "bad:app", "--drain"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert "stopped: 0 done, 0 retried, 1 buried" in ended.stdout
    assert "ERROR" in ended.stderr
    assert "ZeroDivisionError" in ended.stderr


@pytest.mark.slow
def test_log_lines_are_json_when_asked_for(project, tmp_path, url):
    project("bad.py", BAD.format(url=url))
    with App(url) as app:
        job = app.task(name="bad", retry=1)(lambda: None).enqueue()

    ended = subprocess.run(
        [*PROGRAM, "worker", "bad:app", "--drain", "--log-format", "json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    [line] = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (line["level"], line["logger"], line["event"]) == ("ERROR", "holdfast", "BeforeBury")
    assert (line["job_id"], line["job_kind"], line["attempt"]) == (job.id, "bad", 1)
    assert line["reason"] == "ZeroDivisionError"
    assert "1 / 0" in line["exception"]


ISOLATED = """
from holdfast import App, Context, CONTEXT

app = App({url!r})

@app.task(name="convert", isolate=True, result=60)
def convert(page: int, *, ctx: Context = CONTEXT) -> int:
    ctx.logger.warning("page %s is converted", page)
    return page + 1
"""


@pytest.mark.slow
def test_isolated_jobs_are_run_and_their_log_lines_look_like_those_of_the_worker(project, tmp_path, url):
    project("isolated.py", ISOLATED.format(url=url))

    with App(url) as app:
        job = app.task(name="convert", result=60)(_converted).enqueue(1)
        ended = subprocess.run(
            [*PROGRAM, "worker", "isolated:app", "--drain", "--log-format", "json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )

        assert job.result(0) == 2
    [line] = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (line["level"], line["job_id"]) == ("WARNING", job.id)
    assert line["message"].endswith("page 1 is converted")


@pytest.mark.slow
def test_an_isolated_task_that_cannot_be_found_ends_the_command_with_what_to_do(project, tmp_path, url):
    declared_elsewhere = (
        "import json\nfrom holdfast import App\napp = App({url!r})\napp.task(isolate=True)(json.dumps)\n"
    )
    project("isolated.py", declared_elsewhere.format(url=url))

    ended = subprocess.run(
        [*PROGRAM, "worker", "isolated:app", "--drain"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert "importing json declares no task 'json.dumps'" in ended.stderr


def _converted(page: int) -> int: ...


def test_an_unknown_log_format_is_answered_with_the_known_ones(holdfast, shop):
    said = holdfast("worker", "shop:app", "--log-format", "jsn").misuse

    assert "'--log-format'" in said
    assert "'jsn' is not one of 'text', 'json'" in said


# -- the status ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_answers_how_it_is_and_what_it_counts(process, tasks):
    worker = process("--status", "0")
    url = next(line.split()[1] for line in worker.stdout if line.startswith("status "))
    tasks["send"].enqueue(7).result(timeout=30)

    with urlopen(f"{url}/ready", timeout=30) as answer:
        ready = json.load(answer)
    with urlopen(f"{url}/metrics", timeout=30) as answer:
        metrics = answer.read().decode()

    assert ready == {"live": True, "ready": True, "why": ""}
    assert 'holdfast_jobs_started_total{kind="shop.send",queue="mail"} 1.0' in metrics


def test_a_status_port_that_is_taken_is_said_with_what_to_do(holdfast, shop):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = holdfast("worker", "shop:app", "--drain", "--status", port).complaint

    assert f"127.0.0.1:{port}: something else listens there; choose another port" in said


def test_what_is_no_place_for_a_status_is_answered_with_one(holdfast, shop):
    assert "write a port, as in 9000" in holdfast("worker", "shop:app", "--status", "here").misuse
