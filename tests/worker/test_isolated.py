"""Isolated jobs: run in processes of their own, judged there, killed when they must end."""

import importlib
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast import App, JobCancelled, JobFailed, JobTimedOut, UsageError
from holdfast.delivery import State
from holdfast.events import BeforeBury, BeforeRetry, Done, Started
from holdfast.testing import harness
from holdfast.worker import Lane
from tests.worker import isolated_jobs
from tests.worker.conftest import Ear

pytestmark = pytest.mark.slow
KILLS = [pytest.param(10, id="10 kills"), pytest.param(200, id="200 kills", marks=pytest.mark.long)]


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
def jobs(url, monkeypatch):
    """The tasks of the program on a store of the test's own."""
    monkeypatch.setenv("HOLDFAST_URL", url)
    program = importlib.reload(isolated_jobs)
    with program.app:
        yield program


@pytest.fixture
def ear(jobs):
    return Ear(jobs.app.events)


@pytest.fixture
def work(jobs):
    """Start a worker; it ends with the test."""
    workers = []

    def start(**options):
        worker = jobs.app.worker(**{"isolated": 1, **options})
        workers.append(worker)
        worker.start()
        return worker

    yield start
    for worker in workers:
        worker.stop(now=True)
        with suppress(Exception):  # which some tests are about
            worker.join(20)


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def has_gone(pid, within=6.0):
    """Tell whether a process ends ``within`` seconds: three times what is promised."""
    try:
        death = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(death, select.POLLIN)
    gone = bool(poll.poll(within * 1000))
    os.close(death)
    return gone


def children():
    """The processes that this one has, those that died and were not waited for included."""
    return {int(pid) for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}


def own_sockets():
    links = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return {str(link) for link in links if str(link).startswith("socket:")}


def ended(job, timeout=30):
    """Wait for a job's end, however that is, and return what the store knows of it."""
    with suppress(JobFailed, JobCancelled):
        job.result(timeout)
    return job.refresh().view


# -- how runs end -------------------------------------------------------------------------------------------------


def test_a_job_runs_in_another_process_that_is_used_again(jobs, work):
    work()

    pids = {jobs.whoami.enqueue().result(30) for _ in range(3)}

    assert len(pids) == 1
    assert os.getpid() not in pids


def test_plain_and_async_jobs_return_their_results(jobs, work):
    work()

    assert jobs.add.enqueue(1, 2).result(30) == 3
    assert jobs.add_soon.enqueue(3, 4).result(30) == 7


def test_a_large_body_and_a_large_result_pass_through_the_pipe(jobs, work):
    work()
    text = "x" * 8_000_000

    assert jobs.doubled.enqueue(text).result(30) == text * 2


def test_the_traceback_names_the_line_of_the_user(jobs, work, ear):
    work()

    view = ended(jobs.broken.enqueue())

    (run,) = view.runs
    assert view.reason == run.error.type == "ValueError"
    assert 'raise ValueError("this very line")' in run.error.traceback
    assert "isolated_jobs.py" in run.error.traceback
    (buried,) = ear.wait_for(BeforeBury)
    assert isinstance(buried.error, ValueError)
    assert "this very line" in str(buried.error.__cause__)


def test_an_error_that_cannot_be_pickled_obeys_the_retry_of_its_task(jobs, work, ear):
    work()

    assert ended(jobs.refused.enqueue()).attempts == 1
    assert ended(jobs.repeated.enqueue()).attempts == 2
    (retried,) = ear.wait_for(BeforeRetry)
    assert str(retried.error) == "tests.worker.isolated_jobs.Stubborn: once more"


def test_signals_settle_a_job_as_they_do_in_a_thread(jobs, work, ear):
    work()

    buried = ended(jobs.signalled.enqueue("bury"))
    cancelled = ended(jobs.signalled.enqueue("cancel"))
    later = jobs.signalled.enqueue("later")
    ear.wait_for(BeforeRetry)

    assert (buried.state, buried.reason) == (State.DEAD, "no use")
    assert (cancelled.state, cancelled.reason) == (State.CANCELLED, "not wanted")
    jobs.app.close()
    jobs.app.__enter__()
    assert later.refresh().view.state is State.SCHEDULED


def test_what_follows_and_what_is_reported_reach_the_store(jobs, work, ear):
    work()

    view = ended(first := jobs.parent.enqueue())

    ear.wait_for(Done, 2)
    (followed,) = [event.job for event in ear.heard(Done) if event.job.kind.endswith("child")]
    assert jobs.child.job(followed.id).result(30) == [first.id, 1, "tests.worker.isolated_jobs.child"]
    assert (view.progress.fraction, view.progress.note) == (0.5, "half")


def test_progress_is_seen_while_the_job_runs(jobs, work, pipe, ear):
    work()
    job = jobs.halfway.enqueue(str(pipe))
    pipe.read_text()

    while (seen := job.refresh().view.progress) is None:
        pass

    assert seen.note == "half"
    job.cancel()


def test_a_job_acked_inside_its_own_transaction_is_done_whatever_comes_after(jobs, work, tmp_path):
    work()

    returned = jobs.paid.enqueue(f"{tmp_path}/jobs.db")
    died = jobs.paid.enqueue(f"{tmp_path}/jobs.db", "die")

    assert returned.result(30) == died.result(30) == "committed"
    assert died.refresh().view.attempts == 1


def test_middleware_and_dependencies_of_the_app_are_there(jobs, work, tmp_path, monkeypatch):
    cleanup = tmp_path / "cleanup"
    monkeypatch.setenv("ISOLATED_CLEANUP", str(cleanup))
    worker = work()

    pid = jobs.whoami.enqueue().result(30)
    made = {jobs.depends.enqueue().result(30) for _ in range(2)}
    kinds = jobs.surrounded.enqueue().result(30)

    assert made == {f"made in {pid}"}
    assert kinds[-1] == "tests.worker.isolated_jobs.surrounded"
    worker.stop()
    worker.join(20)
    assert cleanup.read_text().split() == [str(pid)]


def test_a_subscriber_may_be_isolated(jobs, work, pipe):
    work()

    jobs.app.publish("order.paid", str(pipe))

    assert int(pipe.read_text()) != os.getpid()


def test_a_lane_has_processes_of_its_own(jobs, work, pipe):
    work(lanes=[Lane(slots=1, kinds=[jobs.add])])
    jobs.waits.enqueue(str(pipe))
    pipe.read_text()

    assert jobs.add.enqueue(1, 2).result(30) == 3


# -- how processes end --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["hangs", "holds_lock"])
def test_a_job_over_its_timeout_is_killed_and_the_slot_is_free(jobs, work, pipe, task):
    work()
    job = getattr(jobs, task).enqueue(str(pipe))
    pid = int(pipe.read_text())

    assert has_gone(pid, within=3.3)
    with pytest.raises(JobTimedOut):
        job.result(30)
    assert [run.outcome for run in job.refresh().view.runs] == ["timeout"]
    assert jobs.whoami.enqueue().result(30) != pid


def test_a_cancelled_job_is_killed(jobs, url, work, pipe):
    work()
    job = jobs.waits.enqueue(str(pipe))
    pid = int(pipe.read_text())

    with App(url) as elsewhere:
        elsewhere.job("default", job.id).cancel()

    assert has_gone(pid)
    assert ended(job).state is State.CANCELLED


def test_a_cancelled_job_has_a_moment_to_end_by_itself(jobs, work, pipe, tmp_path):
    told = tmp_path / "told"
    os.mkfifo(told)
    work()
    plain = jobs.asks.enqueue(str(pipe))
    pipe.read_text()

    plain.cancel()

    assert ended(plain).reason == "as asked"
    awaited = jobs.awaits.enqueue(str(pipe), str(told))
    pipe.read_text()
    awaited.cancel()
    assert told.read_text() == "cleaned up\n"
    assert ended(awaited).state is State.CANCELLED


@pytest.mark.parametrize(
    ("how", "reason"), [("exit", "exit code 3"), ("segfault", "SIGSEGV"), ("kill", "SIGKILL")], ids=str
)
def test_a_job_whose_process_dies_three_times_is_buried_alone(*, jobs, work, pipe, how, reason, ear):
    work(isolated=2)
    neighbour = jobs.waits.enqueue(str(pipe))
    its_pid = int(pipe.read_text())

    view = ended(jobs.dies.enqueue(how))

    assert (view.state, view.reason, view.crashes) == (State.DEAD, f"worker died: {reason}", 3)
    assert len(ear.wait_for(BeforeRetry, 2)) == 2
    assert len(ear.wait_for(BeforeBury)) == 1
    assert not has_gone(its_pid, within=0)
    assert neighbour.refresh().view.attempts == 1


def test_a_job_over_its_limit_of_memory_is_killed_and_buried_after_three(jobs, work):
    worker = work()

    view = ended(jobs.eats.enqueue())

    reason = "worker died: killed, over max_memory of 200000000 bytes"
    assert (view.state, view.reason, view.crashes) == (State.DEAD, reason, 3)
    worker.stop()
    report = worker.join(30)
    assert (report.crashed, report.buried, report.retried) == (3, 0, 0)


def test_a_process_that_has_kept_much_memory_is_not_used_again(jobs, work):
    work()

    first = jobs.keeps.enqueue(120_000_000).result(30)

    assert jobs.keeps.enqueue(1).result(30) != first


def test_what_a_job_has_started_is_killed_with_it(jobs, work, pipe):
    work()
    job = jobs.starts_another.enqueue(str(pipe))
    pid, other = map(int, pipe.read_text().split())

    job.cancel()

    assert has_gone(pid)
    assert has_gone(other)


def test_the_child_of_a_fork_in_a_job_ends_where_the_job_does_and_says_nothing_of_it(jobs, work):
    work()

    forked = jobs.forks.enqueue()

    assert forked.result(30) == 3
    assert jobs.add.enqueue(1, 2).result(30) == 3
    assert forked.refresh().view.attempts == 1


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", KILLS)
def test_the_pool_heals_and_leaks_nothing(jobs, work, kills):
    others = children()  # servers that tests of this process share
    worker = work(isolated=2)
    jobs.add.enqueue(1, 2).result(30)
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(kills):
        os.kill(jobs.whoami.enqueue().result(30), signal.SIGKILL)

    assert jobs.add.enqueue(1, 2).result(30) == 3
    assert len(children() - others) <= 2 + 1  # one may be dying
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 6  # two for each process beyond the first
    worker.stop()
    worker.join(20)
    assert children() <= others


def test_a_stop_leaves_running_jobs_their_grace_then_kills_them_and_gives_them_back(jobs, work, pipe):
    worker = work(grace=0.3)
    job = jobs.waits.enqueue(str(pipe))
    pid = int(pipe.read_text())

    worker.stop()

    assert worker.join(20).given_back == 1
    assert has_gone(pid, within=0)
    view = job.refresh().view
    assert (view.state, view.attempts, view.crashes) == (State.READY, 0, 0)


def test_a_job_sees_that_its_worker_stops_and_may_go_on_elsewhere(jobs, work, pipe):
    worker = work()
    job = jobs.leaves.enqueue(str(pipe))
    pipe.read_text()

    worker.stop()

    assert worker.join(20).retried == 1
    assert (job.refresh().view.state, job.refresh().view.attempts) == (State.SCHEDULED, 0)


def test_a_job_whose_lease_is_lost_is_killed_if_it_says_so(jobs, work, pipe):
    worker = work()
    jobs.waits_while_leased.enqueue(str(pipe))
    pid = int(pipe.read_text())

    jobs.app.backend.retire(worker.holder, "taken away")

    assert has_gone(pid, within=10)


@pytest.mark.parametrize("task", ["waits", "keeps_lock"])
def test_a_worker_that_is_killed_leaves_no_process_behind(jobs, url, pipe, task):
    program = [sys.executable, "-m", "tests.worker.isolated_jobs"]
    with subprocess.Popen(program, env={**os.environ, "HOLDFAST_URL": url}) as worker:
        getattr(jobs, task).enqueue(str(pipe))
        pid = int(pipe.read_text())

        worker.kill()

        assert has_gone(pid)


def test_the_deaths_of_its_worker_charge_an_isolated_job_once(jobs, pipe, url):
    job = jobs.waits.enqueue(str(pipe))
    program = [sys.executable, "-m", "tests.worker.isolated_jobs"]

    for _ in range(3):
        with subprocess.Popen(program, env={**os.environ, "HOLDFAST_URL": url}) as worker:
            pipe.read_text()
            worker.kill()
        assert jobs.app.rescue() == 1

    view = job.refresh().view
    assert (view.state, view.attempts, view.crashes) == (State.READY, 1, 1)


# -- how processes begin ------------------------------------------------------------------------------------------


def test_a_process_has_no_descriptor_of_its_worker(jobs, work, tmp_path):
    work()

    inherited = jobs.descriptors.enqueue().result(30)

    assert not [name for name in inherited if str(tmp_path) in name]
    assert not {name for name in inherited if name.startswith("socket:")} & own_sockets()


PROGRAM = """
import os, sys
from holdfast import App, Retry

app = App({url!r})

@app.task(isolate=True, result=60)
def add(one: int, other: int) -> int:
    print("printed by the job")
    sys.stderr.write("an error line of the job\\n")
    return one + other

{extra}

if __name__ == "__main__":
    job = add.enqueue(1, 2)
    worker = app.worker(embedded=False, grace=0, drain=True)
    worker.start()
    worker.join(40)
    print("result", job.result(1))
"""


def run(tmp_path, url, extra=""):
    script = tmp_path / "shop.py"
    script.write_text(PROGRAM.format(url=url, extra=extra))
    return subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )


def test_tasks_of_the_script_itself_are_found_and_their_output_is_that_of_the_worker(tmp_path, url):
    ended = run(tmp_path, url)

    assert "result 3" in ended.stdout
    assert "printed by the job" in ended.stdout
    assert "an error line of the job" in ended.stderr


def test_a_script_that_starts_a_worker_when_it_is_imported_is_told_so(tmp_path, url):
    ended = run(tmp_path, url, "app.worker(embedded=False, drain=True).run()")

    assert ended.returncode == 1
    assert "put that under if __name__ == '__main__'" in ended.stderr


def test_a_program_that_cannot_be_imported_ends_the_worker_with_that_error(tmp_path, url):
    ended = run(tmp_path, url, "if __name__ != '__main__': raise LookupError('only the program itself')")

    assert "LookupError" in ended.stderr
    assert "only the program itself" in ended.stderr


def test_a_task_that_its_module_does_not_declare_ends_the_worker(url):
    with App(url) as app:
        app.task(isolate=True)(isolated_jobs.say)
        worker = app.worker()
        worker.start()

        with pytest.raises(UsageError, match=r"declares no task 'tests\.worker\.isolated_jobs\.say'"):
            worker.join(30)


# -- on a store inside the worker's process -----------------------------------------------------------------------


@pytest.mark.parametrize("url", ["memory:"])
def test_on_a_store_in_memory_results_and_follow_ups_are_kept_by_the_worker(jobs, work, ear):
    work()

    assert jobs.add.enqueue(1, 2).result(30) == 3
    jobs.parent.enqueue().result(30)
    assert len(ear.wait_for(Done, 3)) == 3


@pytest.mark.parametrize("url", ["memory:"])
def test_on_a_store_in_memory_an_isolated_job_cannot_send(jobs, work, ear):
    work()
    jobs.sends.enqueue()

    (retried,) = ear.wait_for(BeforeRetry)

    assert isinstance(retried.error, UsageError)
    assert "an isolated job cannot reach it" in str(retried.error)


def test_the_test_kit_runs_isolated_jobs_in_the_process_of_the_test(jobs):
    with harness(jobs.app) as kit:
        job = jobs.whoami.enqueue()
        kit.drain()

        assert job.result(0) == os.getpid()


def test_listeners_of_the_worker_hear_of_isolated_jobs(jobs, work, ear):
    work()

    jobs.add.enqueue(1, 2)

    assert ear.wait_for(Started)[0].job.kind == ear.wait_for(Done)[0].job.kind == "tests.worker.isolated_jobs.add"
