"""The App: nothing before first use, one close, a life after a fork, and errors that say the way out."""

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref

import msgspec
import pytest

from holdfast import App, Closed, UsageError
from holdfast import app as app_module
from holdfast.delivery import HolderInfo, Tidied
from holdfast.errors import ConfigError
from holdfast.events import Rescued
from holdfast.heartbeat import this_process
from holdfast.message import Message
from holdfast.testing.clock import MovableClock
from holdfast.worker import WorkerOptions
from holdfast.worker import tidying as tidying_module
from holdfast.worker.published import Published, read_published


@pytest.fixture
def app():
    app = App("memory:", clock=MovableClock())
    yield app
    app.close()


def add(a: int) -> int:
    return a + 1


def run(program, cwd, *arguments, **environment):
    """Run a program and return what it printed; it must end well."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *arguments]
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- opening ---------------------------------------------------------------------------------------------------


def test_making_an_app_and_its_tasks_touches_nothing(tmp_path):
    path = tmp_path / "jobs.db"

    app = App(f"sqlite:///{path}")
    app.task(add).call(1)

    assert not path.exists()


def test_the_url_comes_from_the_argument_then_the_environment_then_the_default(monkeypatch):
    monkeypatch.setenv("HOLDFAST_URL", "memory:?max_jobs=5")
    assert App("memory:").url.text == "memory:"
    assert App().url.text == "memory:?max_jobs=5"

    monkeypatch.delenv("HOLDFAST_URL")
    assert App().url.text == "sqlite:///holdfast.db"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("memroy:", r"no store answers to 'memroy' \(did you mean 'memory'\?\); known: .*memory.*sqlite"),
        ("memory:?max_job=1", r"unknown option 'max_job' \(did you mean 'max_jobs'\?\); known: max_bytes, max_jobs"),
    ],
)
def test_a_url_that_no_store_takes_is_refused_at_first_use(url, reason):
    with pytest.raises(ConfigError, match=reason):
        App(url).task(add).enqueue(1)


def test_what_is_no_url_is_refused_when_the_app_is_made():
    with pytest.raises(ConfigError, match=r"'jobs.db' is not a store URL; write for example sqlite:///jobs.db"):
        App("jobs.db")


def test_an_unknown_codec_is_refused_when_the_app_is_made():
    with pytest.raises(ConfigError, match="unknown codec 'xml'"):
        App("memory:", codec="xml")


def test_two_threads_that_use_it_first_at_once_open_one_store(app):
    seen, start = [], threading.Barrier(8)

    def use():
        start.wait()
        seen.append(app.backend)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(map(id, seen))) == 1


# -- closing ---------------------------------------------------------------------------------------------------


def test_close_may_be_repeated_and_counts_what_a_store_in_memory_loses(app):
    app.task(add).enqueue(1)

    assert (app.close(), app.close()) == (1, 0)


def test_an_app_that_was_never_used_closes_without_opening(monkeypatch):
    monkeypatch.setattr(app_module, "open_store", lambda *_, **__: pytest.fail("it was opened"))

    assert App("memory:").close() == 0


def test_a_closed_app_refuses_and_says_how_to_open_it(app):
    task = app.task(add)
    job = task.enqueue(1)
    app.close()

    for use in (lambda: task.enqueue(1), lambda: app.backend, job.refresh, lambda: job.result(0)):
        with pytest.raises(Closed, match="with app:"):
            use()
    with pytest.raises(Closed, match="with app:"):
        asyncio.run(task.aenqueue(1))


def test_with_app_opens_again_what_was_closed(app):
    task = app.task(add)

    for _ in range(2):
        with app:
            assert asyncio.run(task.aenqueue(1)).refresh().state == "ready"

    async def main():
        async with app:
            return await task.aenqueue(1)

    assert asyncio.run(main()).stored.duplicate is False


def test_close_ends_every_thread_of_the_app(app):
    before = set(threading.enumerate())
    task = app.task(add)

    async def main():
        job = await task.aenqueue(1)
        with pytest.raises(TimeoutError):
            await job.aresult(0.01)

    asyncio.run(main())
    app.worker().start()
    app.close()

    left = {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("holdfast")}
    for thread in left:
        thread.join(5)
    assert not any(thread.is_alive() for thread in left)


def test_an_app_nobody_holds_any_more_is_let_go():
    app = App("memory:")
    app.task(add).enqueue(1)
    gone = weakref.ref(app)

    del app
    gc.collect()

    assert gone() is None


def test_a_program_that_never_closes_ends_all_the_same(tmp_path):
    program = """
        from holdfast import App
        app = App("sqlite:///jobs.db")
        @app.task(name="add")
        def add(a: int) -> int:
            print("ran", flush=True)
            return a
        job = add.enqueue(1)
        app.worker().start()
        job.result(30)
    """

    assert run(program, tmp_path) == "ran\n"


EXECUTORS = """
    import asyncio, threading
    from concurrent.futures import ThreadPoolExecutor
    from holdfast import CONTEXT, App, Context
    app, started = App("memory:"), threading.Barrier(3)
    pool = ThreadPoolExecutor(1)  # whose thread begins now: Python 3.12.1 begins none while it ends
    pool.submit(int).result()
    @app.task
    def thread(*, ctx: Context = CONTEXT) -> None:
        started.wait()
        while not ctx.stopping:
            threading.Event().wait(0.01)
        pool.submit(print, "thread", flush=True).result()
    @app.task
    async def loop(*, ctx: Context = CONTEXT) -> None:
        started.wait()
        while not ctx.stopping:
            await asyncio.sleep(0.01)
        await asyncio.get_running_loop().run_in_executor(pool, lambda: print("loop", flush=True))
    thread.enqueue(), loop.enqueue()
    app.worker(concurrency=1).start()
    started.wait()
"""


def test_at_the_end_of_the_program_jobs_may_still_use_executors(tmp_path):
    assert sorted(run(EXECUTORS, tmp_path).split()) == ["loop", "thread"]


def test_a_job_that_cannot_be_stopped_keeps_its_lease_when_the_app_is_closed(tmp_path):
    app, started, end = App(f"sqlite:///{tmp_path}/jobs.db"), threading.Event(), threading.Event()

    @app.task(name="stuck")
    def stuck() -> None:
        started.set()
        end.wait(30)

    job = stuck.enqueue()
    app.worker(grace=0).start()
    assert started.wait(10)
    app.close()

    with app:
        assert len(app.backend.holders()) == 1
        assert job.refresh().state == "running"
        end.set()
        for thread in threading.enumerate():
            if thread.name == "holdfast-close":
                thread.join(10)
        assert app.backend.holders() == []
        assert job.refresh().state == "done"


def test_close_waits_for_one_round_of_tidying_and_not_for_all(app, monkeypatch):
    monkeypatch.setattr(tidying_module, "TIDY_EVERY", 0.01)
    began, rounds = threading.Event(), []

    def tidy(store, events):
        with app._life._lock:
            tidying = app._life._tidying
        rounds.append(store)
        began.set()
        assert tidying is None or tidying._stop.wait(10)
        return Tidied(more=len(rounds) < 10)

    monkeypatch.setattr(tidying_module, "tidy", tidy)
    assert app.backend
    assert began.wait(10)

    app.close()

    assert len(rounds) == 1


def test_a_lease_of_an_app_that_was_closed_meanwhile_is_refused_and_the_next_one_granted(app, monkeypatch):
    opened = app._life.store

    def closed_meanwhile():
        store = opened()
        app.close()
        return store

    queue = app.queue("q")
    with monkeypatch.context() as racing:
        racing.setattr(app._life, "store", closed_meanwhile)
        with pytest.raises(Closed, match="with app:"):
            app._life.heartbeat()

    with app:
        queue.send(b"x")
        assert queue.pop(0).body == b"x"


def test_a_text_for_the_queues_of_a_worker_is_refused_and_shows_the_list(app):
    app.task(add)

    with pytest.raises(UsageError, match=r"app.worker\(\['default'\]\)"):
        app.worker("default")


# -- processes -------------------------------------------------------------------------------------------------


FORK = """
    import asyncio, os, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads: that is the test
    from holdfast import App
    app = App("sqlite:///jobs.db")
    @app.task(name="add", result=60)
    def add(a: int) -> int:
        return a + 1
    first = add.enqueue(1)
    asyncio.run(add.aenqueue(2))
    store = app.backend
    child = os.fork()
    if child == 0:
        assert app.backend is not store
        asyncio.run(add.aenqueue(3))
        worker = app.worker(drain=True)
        worker.start()
        print("child", worker.join(30).done, flush=True)
        app.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print("parent", first.result(30), flush=True)
    assert app.backend is store
    print("after", app.backend.stats("default").done, add.enqueue(4).refresh().state)
"""


def test_after_a_fork_the_child_opens_anew_and_the_parent_goes_on(tmp_path):
    assert sorted(run(FORK, tmp_path).splitlines()) == ["after 3 ready", "child 3", "parent 2"]


FORK_WITHIN = """
    import os, sys, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    from holdfast import App
    app = App("memory:")
    @app.task(name="add", result=60)
    def add(a: int) -> int:
        return a + 1
    with app, app.worker(concurrency=1):
        child = os.fork()
        if child == 0:
            sys.exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), add.enqueue(1).result(30))
"""


def test_a_child_that_leaves_the_blocks_it_was_forked_in_ends_and_the_parent_works_on(tmp_path):
    assert run(FORK_WITHIN, tmp_path) == "7 2\n"


# -- queues ----------------------------------------------------------------------------------------------------


def test_a_queue_of_the_app_takes_bytes_and_gives_them_back(app):
    images = app.queue("images")

    images.send(b"one")
    images.send(b"two")

    assert images.pop(timeout=0).body == b"one"
    with images.lease() as deliveries:
        assert [delivery.body for delivery in deliveries] == [b"two"]
    assert images.depth() == 1


def test_the_queues_of_an_app_are_those_the_store_has(app):
    app.queue("nobody sent here")
    app.queue("b").send(b"")
    app.task(queue="a")(add).enqueue(1)

    assert [queue.name for queue in app.queues()] == ["a", "b"]


def test_close_hands_back_what_is_still_leased(tmp_path):
    app = App(f"sqlite:///{tmp_path}/jobs.db")
    app.queue("images").send(b"one")
    with app.queue("images").lease() as deliveries:
        assert len(deliveries) == 1
        holders = app.backend.holders()
        assert len(holders) == 1
    app.close()

    with App(f"sqlite:///{tmp_path}/jobs.db") as again:
        assert again.backend.holders() == []


# -- workers, tidying, events ----------------------------------------------------------------------------------


def test_a_worker_of_the_app_takes_its_tasks_from_all_their_queues(app):
    tasks = [app.task(name=name, queue=name, result=60)(add) for name in ("a", "b", "c")]
    jobs = [task.enqueue(number) for number, task in enumerate(tasks)]

    with app.worker(concurrency=2):
        assert [job.result(30) for job in jobs] == [1, 2, 3]


def test_a_worker_can_be_given_fewer_queues(app):
    first, second = (app.task(name=name, queue=name)(add).enqueue(1) for name in ("a", "b"))

    worker = app.worker(["a"], drain=True)
    worker.start()
    worker.join(30)

    assert (first.refresh().state, second.refresh().state) == ("done", "ready")


def test_the_options_of_a_worker_are_those_of_the_worker_itself():
    assert app_module.EmbeddedOptions.__annotations__.keys() == set(WorkerOptions.__struct_fields__)


def test_an_unknown_worker_option_suggests_the_nearest(app):
    app.task(add)

    with pytest.raises(UsageError, match=r"unknown worker option 'concurency' \(did you mean 'concurrency'\?\)"):
        app.worker(concurency=2)


def lose(app, holder="w#1"):
    """Let a holder fall silent with a job."""
    app.backend.send("q", [Message(body=b"")])
    app.backend.beat(HolderInfo(id=holder, ttl=10))
    app.backend.lease("q", holder, "l", limit=1, kinds=[""], max_format=1)
    app._clock.move(11)


def test_rescue_takes_back_the_jobs_of_silent_holders_and_tells_listeners(app):
    heard = []
    stop = app.listen(Rescued, heard.append)
    lose(app)

    assert (app.rescue(), app.rescue()) == (1, 0)
    assert [event.count for event in heard] == [1]

    stop()
    lose(app, "w#2")
    assert app.rescue() == 1
    assert len(heard) == 1


def test_rescue_charges_of_a_process_that_has_gone_only_what_had_started(app):
    published = Published()
    published.open(places=1)
    app.backend.send("q", [Message(id=job, body=b"") for job in ("started", "waiting")])
    app.backend.beat(msgspec.structs.replace(this_process("w#1", ttl=10), pid_start=1, published=published.path))
    started, _ = app.backend.lease("q", "w#1", "l", limit=2, kinds=[""], max_format=1)
    published.begin(started)
    app._clock.move(11)

    assert app.rescue() == 2

    views = [app.backend.get("q", job) for job in ("started", "waiting")]
    assert [(view.attempts, view.crashes) for view in views] == [(1, 1), (0, 0)]
    assert read_published(published.path) is None


def test_an_app_that_only_sends_tidies_all_the_same(app, monkeypatch):
    monkeypatch.setattr(tidying_module, "TIDY_EVERY", 0.01)
    rescued = threading.Event()
    app.listen(Rescued, lambda event: rescued.set())

    lose(app)

    assert rescued.wait(10)
