"""Sends and acks inside transactions of the program's own, as tasks, queues and workers offer them."""

import asyncio
import sqlite3
from contextlib import contextmanager, suppress

import apsw
import pytest

from holdfast import CONTEXT, App, Context, LeaseLost, State, UsageError
from holdfast.delivery import GiveBack
from holdfast.errors import NotSupported
from holdfast.events import BeforeRetry, Done, Event, Lost, Sent

pytestmark = pytest.mark.filterwarnings("ignore:.driver=sqlite3. SQLite .* has the WAL-reset race:RuntimeWarning")


@pytest.fixture(params=[apsw, sqlite3])
def library(request):
    return request.param


@pytest.fixture
def app(tmp_path, library):
    with App(f"sqlite:///{tmp_path}/jobs.db?driver={library.__name__}") as app:
        app.queues()
        yield app


@pytest.fixture
def connect(tmp_path, library):
    def connect():
        return library.Connection(f"{tmp_path}/jobs.db")

    return connect


@pytest.fixture
def connection(connect):
    connection = connect()
    yield connection
    connection.close()


@pytest.fixture
def add(app):
    @app.task(queue="sums", name="add", result=60, retry=1)
    def add(a: int, b: int = 2) -> int:
        return a + b

    return add


@pytest.fixture
def heard(app):
    heard = []
    app.listen(Event, heard.append)
    return heard


def work(app):
    with app.worker(drain=True) as worker:
        return worker.join(30)


class Undone(Exception):
    pass


@contextmanager
def undone(connection):
    """Roll back what the block did."""
    with suppress(Undone), connection:
        yield
        raise Undone


def of(heard, event_type):
    return [event for event in heard if isinstance(event, event_type)]


# -- sending ------------------------------------------------------------------------------------------------------


def test_every_way_to_send_can_be_part_of_a_transaction(app, add, connection):
    inside = add.using(connection=connection)
    with connection:
        jobs = [inside.enqueue(1), *inside.enqueue_many([add.call(2)]), *app.enqueue_many([inside.call(3)])]
        jobs += app.enqueue_many([add.call(4)], connection=connection)
        app.queue("raw").send(b"5", connection=connection)
        app.queue("raw").send_many([b"6", b"7"], connection=connection)
        assert [add.job(job.id).queue for job in jobs] == ["sums"] * 4

    assert app.queue("sums").stats().ready == 4
    assert app.queue("raw").stats().ready == 3
    work(app)
    assert [job.result(10) for job in jobs] == [3, 4, 5, 6]


def test_nothing_of_it_is_there_after_a_rollback(app, add, connection):
    inside = add.using(connection=connection, key="k")
    with undone(connection):
        inside.enqueue(1)
        app.enqueue_many([add.call(2), inside.call(3)], connection=connection)

    assert app.queues() == []


def test_a_sent_event_tells_of_it(app, add, connection, heard):
    with connection:
        job = add.using(connection=connection).enqueue(1)

    assert [event.stored for event in of(heard, Sent)] == [job.stored]


def test_an_awaited_send_names_the_call_to_use(app, add, connection):
    async def send():
        with pytest.raises(UsageError, match="call enqueue instead"):
            await add.using(connection=connection).aenqueue(1)
        with pytest.raises(UsageError, match="call enqueue instead"):
            await add.aenqueue_many([add.using(connection=connection).call(1)])

    asyncio.run(send())
    assert not connection.in_transaction


def test_memory_refuses_before_it_does_anything(connection):
    with App("memory:") as app:

        @app.task(name="add")
        def add(a: int) -> int:
            return a

        with pytest.raises(NotSupported):
            add.using(connection=connection).enqueue(1)
        with pytest.raises(NotSupported):
            asyncio.run(add.using(connection=connection).aenqueue(1))
        assert app.queues() == []


# -- ack_in of what queue.lease granted ---------------------------------------------------------------------------


def test_a_delivery_is_done_with_the_callers_commit(app, connection, heard):
    queue = app.queue("raw")
    queue.send_many([b"a", b"b"])
    with queue.lease() as deliveries, connection:
        for delivery in deliveries:
            delivery.ack_in(connection, b"result", keep_result=60)

    assert queue.stats().done == 2
    assert of(heard, Lost) == []
    assert app.backend.outcomes("raw", [delivery.id])[delivery.id].value == b"result"


def test_a_delivery_whose_transaction_was_rolled_back_is_settled_as_it_is_marked(app, connection, heard):
    queue = app.queue("raw")
    queue.send_many([b"a", b"b"])
    with queue.lease() as (first, second):
        with undone(connection):
            first.ack_in(connection)
            second.ack_in(connection)
        first.bury("no")

    stats = queue.stats()
    assert (stats.done, stats.dead, stats.ready) == (0, 1, 1)
    assert of(heard, Lost) == []


def test_an_error_after_the_commit_changes_nothing(app, connection, heard):
    queue = app.queue("raw")
    queue.send(b"a")
    with suppress(ZeroDivisionError), queue.lease() as [delivery]:
        with connection:
            delivery.ack_in(connection)
        raise ZeroDivisionError

    assert queue.stats().done == 1
    assert of(heard, BeforeRetry) == of(heard, Lost) == []


def test_an_ack_whose_lease_is_lost_says_so_inside_the_transaction(app, connection):
    queue = app.queue("raw")
    queue.send(b"a")
    with queue.lease() as [delivery]:
        app.backend.settle([GiveBack(delivery.receipt)])
        with undone(connection):
            app.queue("raw").send(b"b", connection=connection)
            with pytest.raises(LeaseLost, match="roll your transaction back"):
                delivery.ack_in(connection)
        delivery.give_back()

    assert queue.stats().ready == 1


# -- ack_in of a handler ------------------------------------------------------------------------------------------


def test_a_run_that_committed_its_own_ack_is_done_with_that_result(app, connect, heard):
    @app.task(result=60)
    def pay(amount: int, *, ctx: Context = CONTEXT) -> int:
        connection = connect()
        with connection:
            ctx.ack_in(connection, result=amount * 2)
        connection.close()
        return -1

    job = pay.enqueue(21)
    report = work(app)

    assert job.result(10) == 42
    assert (report.done, report.lost) == (1, 0)
    assert [event.job.id for event in of(heard, Done)] == [job.id]
    assert of(heard, Lost) == []


def test_an_async_handler_can_do_so_too(app, connect, heard):
    @app.task(result=60)
    async def pay(amount: int, *, ctx: Context = CONTEXT) -> int:
        connection = connect()
        with connection:
            ctx.ack_in(connection, result=amount * 2)
        connection.close()
        raise ZeroDivisionError

    job = pay.enqueue(21)
    report = work(app)

    assert job.result(10) == 42
    assert (report.done, report.retried, report.lost) == (1, 0, 0)
    assert len(of(heard, Done)) == 1
    assert of(heard, BeforeRetry) == []


def test_a_run_that_rolled_its_ack_back_is_settled_as_it_ends(app, connect, heard):
    @app.task(retry=1)
    def pay(fail: bool, *, ctx: Context = CONTEXT) -> None:
        connection = connect()
        try:
            with connection:
                ctx.ack_in(connection)
                raise ZeroDivisionError
        except ZeroDivisionError:
            if fail:
                raise
        finally:
            connection.close()

    failed, done = pay.enqueue(True), pay.enqueue(False)
    report = work(app)

    assert (failed.refresh().state, done.refresh().state) == (State.DEAD, State.DONE)
    assert (report.done, report.buried, report.lost) == (1, 1, 0)
    assert [event.job.id for event in of(heard, Done)] == [done.id]


def test_a_run_that_lost_its_lease_and_rolled_back_is_lost(app, connect, heard):
    @app.task(retry=2)
    def pay(*, ctx: Context = CONTEXT) -> None:
        if ctx.attempt == 1:
            connection = connect()
            with undone(connection):
                ctx.ack_in(connection)
            connection.close()
            app.backend.retire(app.queue(ctx.queue).get(ctx.id).holder, "gone", None)

    job = pay.enqueue()
    report = work(app)

    assert (report.done, report.lost) == (1, 1)
    assert [event.job.token for event in of(heard, Lost)] == [1]
    assert job.refresh().state is State.DONE


def test_outside_a_worker_there_is_nothing_to_ack(app, add, connection):
    with pytest.raises(UsageError, match="no worker"):
        CONTEXT.ack_in(connection)


def test_what_is_to_follow_is_stored_by_the_handlers_commit(app, connect):
    @app.task(name="next")
    def following() -> None: ...

    @app.task
    def first(*, ctx: Context = CONTEXT) -> None:
        ctx.then(following.call())
        connection = connect()
        with connection:
            ctx.ack_in(connection)
        with pytest.raises(UsageError, match="before"):
            ctx.then(following.call())
        connection.close()

    first.enqueue()
    assert work(app).done == 2


# -- events ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commits", [True, False])
def test_an_event_is_published_if_the_transaction_commits(app, connection, commits):
    heard = []

    @app.on("user.created")
    def note(event: int) -> None:
        heard.append(event)

    connection.execute("CREATE TABLE account (number INTEGER)")
    with suppress(ZeroDivisionError), connection:
        connection.execute("INSERT INTO account VALUES (1)")
        app.publish("user.created", 1, connection=connection)
        if not commits:
            raise ZeroDivisionError
    with app.worker(drain=True) as worker:
        worker.join(20)

    assert heard == [1] * commits
    assert len(connection.execute("SELECT * FROM account").fetchall()) == commits
