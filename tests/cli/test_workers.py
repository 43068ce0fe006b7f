import os
import re
import threading

import pytest

from holdfast import __version__
from holdfast.delivery import HolderInfo
from holdfast.errors import UsageError

PATIENCE = 10


@pytest.fixture
def let_go():
    return threading.Event()


@pytest.fixture
def slow(app, let_go):
    """A task that runs until it is let go."""
    entered = threading.Semaphore(0)

    @app.task(name="slow", queue="mail")
    def slow() -> None:
        entered.release()
        assert let_go.wait(PATIENCE)

    slow.entered = entered
    return slow


@pytest.fixture
def worker(app, slow, let_go):
    """A worker called ``mailer`` that works, and beats often."""
    worker = app.worker(name="mailer", concurrency=4, ttl=2.0, embedded=True)
    with worker:
        wait_until(app.workers.list)
        yield worker
        let_go.set()


def wait_until(condition):
    for _ in range(1000):
        if found := condition():
            return found
        threading.Event().wait(0.01)
    raise AssertionError("it never became so")


def state(app, state):
    return wait_until(lambda: [one for one in app.workers.list() if one.state == state])


def rows(said):
    return [" ".join(line.split()) for line in said.splitlines()]


# -- looking ----------------------------------------------------------------------------------------------------


def test_workers_are_listed_with_what_they_are_doing(holdfast, url, app, slow, worker):
    slow.enqueue()
    assert slow.entered.acquire(timeout=PATIENCE)
    wait_until(lambda: app.workers.list()[0].running)

    heading, row = rows(holdfast("workers", "list", "--url", url).out)

    assert heading == "ID STATE SLOTS RUNNING MEMORY LAST BEAT QUEUES VERSION HOST PID SUPERVISOR"
    assert row.startswith(f"{worker.holder} working 1/4 slow ")
    assert re.search(rf" slow \d+ s \d+ MB \d+ s ago mail {re.escape(__version__)} ", row)
    assert row.endswith(f" {os.getpid()}")


def test_without_a_command_workers_are_listed(holdfast, url, worker):
    assert holdfast("workers", "--url", url).out == holdfast("workers", "list", "--url", url).out
    assert holdfast("workers", "--help").out.startswith("Usage: holdfast workers ")


def test_the_list_as_json_has_everything(holdfast, url, app, slow, worker):
    job = slow.enqueue()
    wait_until(lambda: app.workers.list()[0].running)

    [document] = holdfast("workers", "--url", url, "--json").document["workers"]

    assert (document["id"], document["name"], document["state"]) == (worker.holder, "mailer", "working")
    assert (document["slots"], document["used"], document["queues"]) == (4, 1, ["mail"])
    assert (document["pid"], document["supervisor"], document["version"]) == (os.getpid(), None, __version__)
    assert document["memory"] > 1_000_000
    assert 0 <= document["beaten"] <= document["ttl"] == 2
    [running] = document["running"]
    assert (running["queue"], running["id"], running["kind"]) == ("mail", job.id, "slow")


def test_a_worker_is_shown_with_its_jobs(holdfast, url, app, slow, worker):
    job = slow.enqueue()
    wait_until(lambda: app.workers.list()[0].running)

    said = rows(holdfast("workers", "show", "mailer", "--url", url).out)

    assert said[0] == f"worker {worker.holder}"
    assert "slots 4, 3 of them free" in said
    assert re.fullmatch(rf"{job.id} mail slow \d+ s", said[-1])


def test_a_caller_of_lease_is_listed_as_such_and_takes_no_orders(holdfast, url, app, send, worker):
    send.enqueue(1)
    wait_until(lambda: app.queue("mail").stats().done)
    worker.stop()
    worker.join()
    send.enqueue(2)
    with app.queue("mail").lease(limit=1):
        [holder] = app.workers.list()

        assert [one["state"] for one in holdfast("workers", "--url", url, "--json").document["workers"]] == ["caller"]
        complaint = holdfast("workers", "stop", holder.id, "--url", url).complaint
        assert complaint.endswith("is no worker but calls queue.lease, so it does what its program says")
        assert holdfast("workers", "stop", "--all", "--url", url).out == "no worker lives\n"


def test_a_store_without_workers_says_so(holdfast, url, app):
    app.queues()

    assert holdfast("workers", "--url", url).out == "no worker lives\n"


# -- telling ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_told_to_be_quiet_leases_nothing_until_it_is_told_to_work(holdfast, url, app, send, worker):
    assert holdfast("workers", "quiet", "mailer", "--url", url).out == f"told to be quiet: {worker.holder}\n"
    state(app, "quiet")
    job = send.enqueue(1)
    assert app.queue("mail").stats().ready == 1

    holdfast("workers", "work", "mailer", "--url", url)

    assert job.result(timeout=PATIENCE) == "plain to 1"
    state(app, "working")


@pytest.mark.slow
def test_a_worker_told_to_stop_lets_its_jobs_end_and_ends(holdfast, url, slow, worker, let_go):
    slow.enqueue()
    assert slow.entered.acquire(timeout=PATIENCE)

    told = holdfast("workers", "stop", worker.holder[:8], "--url", url, "--json").document

    assert told == {"workers": [{"id": worker.holder, "told": "stop"}]}
    wait_until(lambda: worker.health().why == "it is stopping")
    let_go.set()
    assert worker.join(PATIENCE).done == 1


@pytest.mark.slow
def test_stopping_all_workers_asks_first(holdfast, url, worker):
    assert holdfast("workers", "stop", "--all", "--url", url).misuse.startswith("this stops 1 worker: nobody is there")

    holdfast("workers", "stop", "--all", "--yes", "--url", url)

    assert worker.join(PATIENCE) is not None


def test_a_name_of_several_workers_means_them_all(holdfast, url, app, slow, worker):
    with app.worker(["mail"], name="mailer", ttl=2.0) as second:
        wait_until(lambda: len(app.workers.list()) == 2)

        told = holdfast("workers", "quiet", "mailer", "--url", url, "--json").document["workers"]

        assert {one["id"] for one in told} == {worker.holder, second.holder}
        with pytest.raises(UsageError, match=r"'mailer#' begins several ids: mailer#"):
            app.workers.find("mailer#")
        assert len(app.workers.find(str(os.getpid()))) == 2


def test_the_number_of_a_supervisor_means_all_its_workers(app):
    for number in (1, 2):
        app.backend.beat(HolderInfo(id=f"mailer#{number}", ttl=60, slots=4, pid=7000 + number, supervisor=7000))
    app.backend.beat(HolderInfo(id="alone#3", ttl=60, slots=4, pid=7003))

    assert [one.id for one in app.workers.find("7000")] == ["mailer#1", "mailer#2"]
    assert [one.id for one in app.workers.find("7002")] == ["mailer#2"]
    with pytest.raises(UsageError, match="'0'"):
        app.workers.find("0")


def test_a_name_that_nobody_has_is_refused_with_the_nearest(holdfast, url, worker):
    complaint = holdfast("workers", "quiet", "mialer", "--url", url).complaint

    assert complaint == "holdfast: no worker that lives is called 'mialer' (did you mean 'mailer'?)"
    assert holdfast("workers", "quiet", "--url", url).misuse.startswith("Which workers?")
    assert holdfast("workers", "quiet", "mailer", "--all", "--url", url).misuse.startswith("Which workers?")
