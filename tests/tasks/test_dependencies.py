"""What handlers are given beside their arguments: made once a scope, cleaned up in reverse order, replaceable."""

import asyncio
import functools
import logging
import threading
from contextlib import asynccontextmanager, contextmanager

import pytest

from holdfast import CONTEXT, App, Bury, Context, Depends, State, UsageError, current_job
from holdfast.events import Started
from tests.worker.conftest import Ear

PATIENCE = 10


@pytest.fixture(autouse=True)
def quiet(app):
    app.events._listeners = ()


@pytest.fixture
def seen():
    return []


@pytest.fixture(params=["plain", "async"])
def declare(app, request, seen):
    """Declare a task with one dependency ``given``; what it is given is seen."""

    def declare(given, *, error=None, **options):
        def note(value):
            seen.append(("run", value))
            if error is not None:
                raise error

        if request.param == "plain":

            @app.task(name="t", **options)
            def plain(*, value=given):
                note(value)
        else:

            @app.task(name="t", **options)
            async def later(*, value=given):
                note(value)

        return app.tasks["t"]

    return declare


def outcome(job):
    view = job.refresh().view
    return view.state, view.reason


# -- providers ---------------------------------------------------------------------------------------------------


def make():
    return 1


def make_and_clean():
    yield 1


@contextmanager
def managed():
    yield 1


class Maker:
    def __call__(self):
        return 1


class CleaningMaker:
    def __call__(self):
        yield 1


PLAIN = [make, make_and_clean, managed, Maker(), CleaningMaker(), lambda: 1, functools.partial(int, "1"), bool]


async def amake():
    return 1


async def amake_and_clean():
    yield 1


@asynccontextmanager
async def amanaged():
    yield 1


class AsyncMaker:
    async def __call__(self):
        return 1


ASYNC = [amake, amake_and_clean, amanaged, AsyncMaker()]


@pytest.mark.parametrize("provider", PLAIN, ids=range(len(PLAIN)))
def test_a_handler_is_given_what_its_provider_makes(app, work, declare, seen, provider):
    declare(Depends(provider)).enqueue()
    work()

    assert seen == [("run", 0 if provider is bool else 1)]


@pytest.mark.parametrize("provider", ASYNC, ids=range(len(ASYNC)))
def test_an_async_handler_may_have_async_providers(app, work, seen, provider):
    @app.task
    async def later(x: int, *, ctx: Context = CONTEXT, value: int = Depends(provider)) -> None:
        seen.append((x, ctx.attempt, value))

    later.enqueue(7)
    work()

    assert seen == [(7, 1, 1)]


@pytest.mark.parametrize("provider", ASYNC, ids=range(len(ASYNC)))
def test_a_plain_handler_may_not_and_the_declaration_says_so(app, provider):
    def between(value=Depends(provider)):
        return value

    for given in (Depends(provider), Depends(between)):
        with pytest.raises(UsageError, match=r"task 't': parameter 'x': .* must be awaited, and this handler runs in"):

            @app.task(name="t")
            def plain(*, x: int = given) -> None: ...


def test_a_dependency_is_never_sent(app):
    @app.task(name="t")
    def task(x: int, *, db: int = Depends(make)) -> None: ...

    for wrong in (task.enqueue, task.call):
        with pytest.raises(UsageError, match="task 't': 'db' is supplied by the worker and never sent; leave it out"):
            wrong(1, db=2)
    assert task.call(1).message.body == b'{"x":1}'


def test_providers_depend_on_others_and_on_the_job_and_each_is_made_once_a_run(app, work, declare, seen):
    def connection():
        seen.append("connection")
        return object()

    def users(connection=Depends(connection)):
        return connection

    def mails(connection=Depends(connection), *, ctx: Context = CONTEXT, limit=3):
        assert current_job() is ctx
        return connection, ctx.kind, limit

    def both(users=Depends(users), mails=Depends(mails)):
        return users is mails[0], mails[1:]

    task = declare(Depends(both))
    task.enqueue()
    task.enqueue()
    work()

    run = ("run", (True, ("t", 3)))
    assert sorted(seen, key=str) == [run, run, "connection", "connection"]


def session(seen, name="session"):
    def session():
        seen.append(f"open {name}")
        try:
            yield name
        except ZeroDivisionError:
            seen.append(f"roll back {name}")
            raise
        else:
            seen.append(f"commit {name}")
        finally:
            seen.append(f"close {name}")

    return session


def test_what_was_made_is_cleaned_up_in_reverse_order_before_the_job_is_settled(app, work, declare, seen):
    outer = session(seen, "outer")

    def inner(outer=Depends(outer)):
        seen.append("open inner")
        yield "inner"
        seen.append(f"close inner, job is {job.refresh().state}")

    job = declare(Depends(inner)).enqueue()
    work()

    assert seen == [
        "open outer",
        "open inner",
        ("run", "inner"),
        "close inner, job is running",
        "commit outer",
        "close outer",
    ]
    assert job.refresh().state is State.DONE


def test_a_cleanup_sees_the_error_of_the_run_and_cannot_make_it_undone(app, work, declare, seen):
    def lenient(outer=Depends(session(seen, "outer"))):
        try:
            yield "it"
        except ZeroDivisionError:
            seen.append("caught")

    job = declare(Depends(lenient), error=ZeroDivisionError(), retry=1).enqueue()
    work()

    assert seen == ["open outer", ("run", "it"), "caught", "roll back outer", "close outer"]
    assert outcome(job) == (State.DEAD, "ZeroDivisionError")


def test_a_cleanup_may_raise_another_error_in_its_place(app, work, declare):
    def translating():
        try:
            yield
        except ZeroDivisionError as error:
            raise Bury("by zero") from error

    job = declare(Depends(translating), error=ZeroDivisionError()).enqueue()
    work()

    assert outcome(job) == (State.DEAD, "by zero")


def test_an_error_in_a_cleanup_after_a_good_run_fails_the_run_since_its_work_may_be_lost(app, work, declare, seen):
    def failing(outer=Depends(session(seen, "outer"))):
        yield
        raise ZeroDivisionError("the commit failed")

    job = declare(Depends(failing), retry=1).enqueue()
    work()

    assert outcome(job) == (State.DEAD, "ZeroDivisionError")
    assert seen[-2:] == ["roll back outer", "close outer"]


def test_an_error_in_a_provider_is_an_error_of_the_run_and_what_was_made_is_cleaned_up(app, work, declare, seen):
    def failing(outer=Depends(session(seen, "outer"))):
        raise ZeroDivisionError

    job = declare(Depends(failing), retry=1).enqueue()
    work()

    assert outcome(job) == (State.DEAD, "ZeroDivisionError")
    assert seen == ["open outer", "roll back outer", "close outer"]


def test_a_signal_from_a_provider_decides(app, work, declare, seen):
    def closed():
        raise Bury("closed")

    job = declare(Depends(closed)).enqueue()
    work()

    assert outcome(job) == (State.DEAD, "closed")
    assert not seen


def test_a_body_that_does_not_fit_makes_nothing(app, work, seen):
    @app.task(name="t")
    def task(x: int, *, db: str = Depends(session(seen))) -> None: ...

    from holdfast import Message

    app.queue("default").send_many([Message(body=b'{"x":"text"}', kind="t")])
    work()

    assert app.queue("default").stats().dead == 1
    assert not seen


def test_plain_providers_of_async_handlers_run_in_threads_so_that_the_loop_turns(app, work):
    loop_turned = threading.Event()

    def blocking():
        assert loop_turned.wait(PATIENCE)
        yield threading.current_thread()
        assert threading.current_thread() is not loops[0]

    loops = []

    @app.task
    async def waits(*, thread=Depends(blocking)):
        loops.append(threading.current_thread())
        return thread is threading.current_thread()

    @app.task
    async def turns():
        loop_turned.set()

    waiting = waits.enqueue()
    turns.enqueue()
    work()

    assert waiting.refresh().state is State.DONE


def test_plain_providers_of_plain_handlers_run_in_the_handlers_own_thread(app, work, seen):
    def provider():
        seen.append(threading.current_thread())
        yield
        seen.append(threading.current_thread())

    @app.task
    def plain(*, it=Depends(provider)):
        seen.append(threading.current_thread())

    plain.enqueue()
    work()

    assert len(seen) == 3
    assert len(set(seen)) == 1


def test_a_cleanup_gets_a_thread_even_when_all_providers_wait(app, work):
    """As with a pool of one connection, which only a cleanup gives back."""
    free = threading.Semaphore(1)

    def connection():
        assert free.acquire(timeout=PATIENCE)
        yield
        free.release()

    @app.task
    async def uses(*, it=Depends(connection)):
        await asyncio.sleep(0)

    uses.enqueue_many(uses.call() for _ in range(100))
    worker = app.worker(drain=True, concurrency=60)
    worker.start()

    assert worker.join(30).done == 100


# -- stopping and timeouts ---------------------------------------------------------------------------------------


def test_a_timeout_covers_providers_and_cleanups(app, work, seen):
    async def slow():
        seen.append("made")
        await asyncio.Event().wait()

    async def slow_to_clean():
        yield
        await asyncio.Event().wait()

    @app.task(timeout=0.01, retry=1)
    async def first(*, it=Depends(slow)): ...

    @app.task(timeout=0.01, retry=1)
    async def second(*, it=Depends(slow_to_clean)): ...

    jobs = [first.enqueue(), second.enqueue()]
    work()

    assert [outcome(job) for job in jobs] == [(State.DEAD, "timeout")] * 2


def test_a_run_that_is_cancelled_is_cleaned_up(app, work, seen):
    async def resource():
        try:
            yield
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    @app.task(timeout=0.01, retry=1)
    async def sleeps(*, it=Depends(resource), plain=Depends(session(seen))):
        await asyncio.Event().wait()

    job = sleeps.enqueue()
    work()

    assert outcome(job) == (State.DEAD, "timeout")
    assert seen == ["open session", "close session", "closed"]


def test_what_a_thread_made_for_a_run_that_was_cancelled_meanwhile_is_cleaned_up(app, seen):
    entered, go_on = threading.Event(), threading.Event()

    def slow():
        entered.set()
        assert go_on.wait(PATIENCE)
        try:
            yield
        finally:
            seen.append("closed")

    @app.task
    async def handler(*, it=Depends(slow)):
        await asyncio.Event().wait()

    job = handler.enqueue()
    worker = app.worker(grace=0)
    worker.start()
    assert entered.wait(PATIENCE)
    worker.stop(now=True)
    go_on.set()
    worker.join(PATIENCE)

    assert seen == ["closed"]
    assert job.refresh().view.attempts == 0


def test_a_stop_within_a_cleanup_gives_the_job_back(app, seen):
    entered = threading.Event()

    async def resource():
        yield
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("closed")

    @app.task
    async def handler(*, it=Depends(resource)): ...

    job = handler.enqueue()
    worker = app.worker()
    worker.start()
    assert entered.wait(PATIENCE)
    worker.stop(now=True)

    assert worker.join(PATIENCE).given_back == 1
    assert seen == ["closed"]
    assert (job.refresh().state, job.refresh().view.attempts) == (State.READY, 0)


# -- longer lives ------------------------------------------------------------------------------------------------


def test_what_is_made_for_a_worker_is_there_before_its_first_job_and_closed_after_its_last(app, work, declare, seen):
    task = declare(Depends(session(seen, "pool"), scope="worker"))
    work()
    assert seen == ["open pool", "commit pool", "close pool"]
    seen.clear()

    task.enqueue()
    task.enqueue()
    work()
    assert seen == ["open pool", ("run", "pool"), ("run", "pool"), "commit pool", "close pool"]


def test_async_resources_of_a_worker_live_on_the_loop_of_its_handlers(app, work, seen):
    async def client():
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        yield loop
        assert asyncio.current_task() is task  # as task groups demand
        seen.append("closed")

    def api(client=Depends(client, scope="worker"), limits=Depends(session(seen, "limits"), scope="worker")):
        return client

    @app.task
    async def calls(*, api=Depends(api), again=Depends(client, scope="worker")):
        seen.append(api is again is asyncio.get_running_loop())

    calls.enqueue()
    calls.enqueue()
    work()

    assert seen == ["open limits", True, True, "closed", "commit limits", "close limits"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_broken_resource_of_a_worker_ends_it_before_it_leases_anything(app, seen, is_async):
    def broken():
        raise ZeroDivisionError("no server")

    async def abroken():
        broken()

    def good():
        yield
        seen.append("closed")

    @app.task
    async def uses(*, good=Depends(good, scope="worker"), it=Depends(abroken if is_async else broken, scope="worker")):
        seen.append("run")

    job = uses.enqueue()
    worker = app.worker()
    worker.start()

    with pytest.raises(ZeroDivisionError, match="no server"):
        worker.join(PATIENCE)
    worker.linger(PATIENCE)
    assert seen == ["closed"]
    assert job.refresh().view.attempts == 0


@pytest.mark.parametrize("is_async", [False, True])
def test_a_worker_can_be_stopped_while_a_resource_hangs(app, is_async):
    entered, go_on, cleaned = threading.Event(), threading.Event(), threading.Event()

    def hanging():
        entered.set()
        assert go_on.wait(PATIENCE)
        yield
        cleaned.set()

    async def ahanging():
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    @app.task
    async def uses(*, it=Depends(ahanging if is_async else hanging, scope="worker")): ...

    uses.enqueue()
    worker = app.worker()
    worker.start()
    assert entered.wait(PATIENCE)
    worker.stop()

    assert worker.join(PATIENCE).done == 0
    go_on.set()
    assert cleaned.wait(PATIENCE)


def test_a_cleanup_of_a_worker_that_fails_is_logged_and_the_worker_ends_well(app, work, declare, caplog):
    def failing():
        yield
        raise ZeroDivisionError("cannot close")

    declare(Depends(failing, scope="worker")).enqueue()
    with caplog.at_level(logging.ERROR, "holdfast"):
        assert work().done == 1

    assert "a dependency of the worker could not be cleaned up" in caplog.text
    assert "cannot close" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("is_async", [False, True])
def test_a_cleanup_of_a_worker_that_hangs_does_not_keep_the_worker_from_ending(app, caplog, is_async):
    go_on = threading.Event()

    def hanging():
        yield
        go_on.wait(PATIENCE)

    async def ahanging():
        yield
        await asyncio.to_thread(go_on.wait, PATIENCE)

    @app.task
    async def uses(*, it=Depends(ahanging if is_async else hanging, scope="worker")): ...

    uses.enqueue()
    worker = app.worker(drain=True)
    worker.start()

    assert worker.join(PATIENCE).done == 1
    go_on.set()


def test_what_is_made_for_the_app_is_made_at_first_need_and_closed_with_it(app, work, declare, seen):
    task = declare(Depends(session(seen, "engine"), scope="app"))
    work()
    assert not seen

    for _ in range(2):
        task.enqueue()
        work()
    assert seen == ["open engine", ("run", "engine"), ("run", "engine")]

    app.close()
    assert seen[3:] == ["commit engine", "close engine"]
    app.close()
    assert len(seen) == 5


def test_what_is_made_for_the_app_is_made_once_for_all_threads(app, work, seen):
    def engine():
        seen.append("made")
        return object()

    @app.task
    def plain(*, engine=Depends(engine, scope="app")): ...

    @app.task
    async def later(*, engine=Depends(engine, scope="app")): ...

    app.enqueue_many([*(plain.call() for _ in range(50)), *(later.call() for _ in range(50))])
    work()

    assert seen == ["made"]


def test_what_a_longer_life_depends_on_lives_as_long(app, work, declare, seen):
    def settings():
        seen.append("read")
        return 3

    def pool(settings=Depends(settings)):
        return settings

    task = declare(Depends(pool, scope="worker"))
    task.enqueue()
    task.enqueue()
    work()

    assert seen == ["read", ("run", 3), ("run", 3)]


# -- what is refused ---------------------------------------------------------------------------------------------


class Unhashable:
    __hash__ = None

    def __call__(self): ...


def of_something(x): ...


def of_context_without_default(ctx: Context): ...


def of_job(ctx: Context = CONTEXT): ...


def by_position(db=Depends(make), /): ...


def cycle_a(b=None): ...


def cycle_b(a=Depends(cycle_a)): ...


cycle_a.__defaults__ = (Depends(cycle_b),)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (lambda: Depends(Unhashable()), "Depends takes the function that makes the value"),
        (lambda: Depends(7), "Depends takes the function that makes the value, not 7"),
        (lambda: Depends(make, scope="request"), "the scope of a dependency is one of job, worker, app, not 'request'"),
        (lambda: Depends(of_something), r"provider of_something: nothing would fill its parameter 'x'.*Depends\(…\)"),
        (lambda: Depends(of_context_without_default), "parameter 'ctx'; give it a default: CONTEXT"),
        (lambda: Depends(of_job, scope="worker"), "of_job asks for the job, but is made for the whole worker"),
        (lambda: Depends(by_position), "provider by_position: parameter 'db' is filled by name: drop the /"),
        (lambda: Depends(amake, scope="app"), "amake is async and belongs to a worker's loop: scope='worker'"),
        (lambda: Depends(cycle_a), "cycle_a depends on itself: cycle_a → cycle_b"),
    ],
)
def test_what_no_provider_can_be_is_refused_at_declaration(app, given, reason):
    with pytest.raises(UsageError, match=reason):

        @app.task
        async def task(*, it=given()): ...


def test_a_dependency_is_written_after_a_star(app):
    with pytest.raises(UsageError, match=r"parameter 'db': write it after a \*, so that no call can reach it"):

        @app.task
        def task(db=Depends(make)): ...


# -- plain calls -------------------------------------------------------------------------------------------------


def test_a_plain_call_is_given_what_it_passes_and_else_what_the_provider_makes(app, seen):
    @app.task
    def plain(x: int, *, db: str = Depends(session(seen)), pool: str = Depends(session(seen, "pool"), scope="worker")):
        return x, db, pool

    @app.task
    async def later(x: int, *, it: int = Depends(amake_and_clean), db: str = Depends(session(seen))):
        return x, it, db

    assert plain(1, db="mine", pool="mine") == (1, "mine", "mine")
    assert not seen
    assert plain(1) == (1, "session", "pool")
    assert seen == ["open session", "open pool", "commit session", "close session", "commit pool", "close pool"]
    assert asyncio.run(later(2, db="mine")) == (2, 1, "mine")
    assert asyncio.run(later(2)) == (2, 1, "session")


def test_subscribers_have_dependencies_and_middleware_too(app, work, seen):
    @app.middleware.run
    def around(ctx):
        seen.append(ctx.kind)
        yield

    @app.on("user.created")
    def note(name: str, *, it: str = Depends(session(seen))) -> None:
        seen.append((name, it))

    app.publish("user.created", "ann")
    work()
    told = ["open session", ("ann", "session"), "commit session", "close session"]
    assert seen == ["user.created/note", *told]

    seen.clear()
    app.publish_now("user.created", "ann")
    assert seen == told


def test_the_test_kit_gives_handlers_what_they_need(app, declare, seen):
    from holdfast.testing import harness

    task = declare(Depends(session(seen, "pool"), scope="worker"))
    with harness(app) as kit:
        task.enqueue()
        assert kit.drain().done == 1

    assert seen == ["open pool", ("run", "pool"), "commit pool", "close pool"]


# -- overrides ---------------------------------------------------------------------------------------------------


def test_a_provider_is_replaced_in_a_block(app, work, declare, seen):
    task = declare(Depends(make))

    with app.dependencies.override(make, lambda: 2):
        task.enqueue()
        work()
        with app.dependencies.override(make, lambda: 3):
            task.enqueue()
            work()
        task.enqueue()
        work()
    task.enqueue()
    work()

    assert seen == [("run", 2), ("run", 3), ("run", 2), ("run", 1)]


def test_a_provider_is_replaced_until_that_is_undone_also_deep_down(app, work, declare, seen):
    def between(value=Depends(make)):
        return value

    task = declare(Depends(between))
    override = app.dependencies.override(make, lambda limit=4: limit)
    task.enqueue()
    work()
    override.undo()
    override.undo()
    task.enqueue()
    work()

    assert seen == [("run", 4), ("run", 1)]


@pytest.mark.parametrize("scope", ["worker", "app"])
def test_what_lives_long_can_be_replaced(app, work, declare, seen, scope):
    task = declare(Depends(make, scope=scope))
    for _ in range(2):
        with app.dependencies.override(make, make_and_clean) if seen else app.dependencies.override(make, lambda: 5):
            task.enqueue()
            work()

    assert seen == [("run", 5), ("run", 1)]


def test_an_async_replacement_serves_async_handlers_and_is_an_error_in_others(app, work):
    @app.task(retry=1)
    def plain(*, it=Depends(make)): ...

    @app.task(result=60)
    async def later(*, it=Depends(make)) -> int:
        return it

    async def fake():
        return 9

    with app.dependencies.override(make, fake):
        bad, good = plain.enqueue(), later.enqueue()
        work()

    assert good.result(0) == 9
    assert "must be awaited, and this handler runs in a thread" in bad.refresh().view.runs[-1].error.message


def of_a_coroutine():
    return amake()


def test_a_plain_provider_that_returns_a_coroutine_is_found_out(app, work, declare):
    job = declare(Depends(of_a_coroutine), retry=1).enqueue()
    work()

    assert "returned a coroutine, which nobody would await" in job.refresh().view.runs[-1].error.message


def test_tasks_without_dependencies_have_nothing_around_their_run(app):
    task = app.task(name="t")(lambda: None)

    assert task.handler().run == task.run
    assert task.handler().lifespan is None


def test_the_same_task_can_run_in_several_workers_each_with_its_own(app, declare, seen):
    made = []

    def pool():
        made.append(1)
        return len(made)

    task = declare(Depends(pool, scope="worker"))
    ear = Ear(app.events)
    with app.worker(), app.worker():
        task.enqueue()
        ear.wait_for(Started)

    assert made == [1, 1]


def test_an_app_of_another_process_begins_afresh(app, declare, work, seen):
    declare(Depends(session(seen, "engine"), scope="app")).enqueue()
    work()

    kept = app.dependencies.renew()  # as a fork does, in the child
    app.dependencies.close()

    assert seen == ["open engine", ("run", "engine")]
    assert kept is not None
    assert isinstance(app, App)
