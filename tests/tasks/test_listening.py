"""Listeners that are coroutine functions, listeners as decorators, and where the library's own lines go."""

import asyncio
import functools
import logging
import threading

import pytest

from holdfast import CONTEXT, App, Context, UsageError, current_job
from holdfast import listeners as listeners_module
from holdfast.events import Done, Events, JobEvent, Sent, Started

PATIENCE = 10


@pytest.fixture
def task(app):
    @app.task(name="t")
    def task(x: int = 0) -> None: ...

    return task


def test_a_coroutine_function_hears_events_in_order_and_close_waits_for_it(app, task, work):
    heard = []

    async def listener(event):
        await asyncio.sleep(0)
        heard.append(event.message.body)

    app.listen(Sent, listener)
    task.enqueue_many(task.call(number) for number in range(100))
    app.close()

    assert heard == [b'{"x":%d}' % number for number in range(100)]


def test_a_slow_coroutine_delays_neither_jobs_nor_other_listeners(app, task, work):
    go_on, heard = threading.Event(), []
    other = threading.Event()

    async def slow(event):
        await asyncio.to_thread(go_on.wait, PATIENCE)
        heard.append(event)

    async def quick(event):
        other.set()

    app.listen(Done, slow)
    app.listen(Done, quick)
    task.enqueue_many(task.call() for _ in range(5))

    assert work().done == 5
    assert other.wait(PATIENCE)
    assert not heard
    go_on.set()
    app.close()
    assert len(heard) == 5


def test_every_form_of_coroutine_function_will_do_and_listening_ends(app, task):
    heard = []

    class Listener:
        async def __call__(self, event):
            heard.append("object")

        async def method(self, event):
            heard.append("method")

    async def named(name, event):
        heard.append(name)

    ends = [app.listen(Sent, one) for one in (Listener(), Listener().method, functools.partial(named, "partial"))]
    task.enqueue()
    for end in ends:
        end()
    task.enqueue()
    app.close()

    assert sorted(heard) == ["method", "object", "partial"]


def test_a_coroutine_that_fails_is_logged_and_hears_the_next(app, task, caplog):
    heard = []

    async def failing(event):
        heard.append(event)
        if len(heard) == 1:
            raise asyncio.CancelledError
        if len(heard) == 2:
            raise SystemExit

    app.listen(Sent, failing)
    with caplog.at_level(logging.ERROR, "holdfast"):
        for _ in range(3):
            task.enqueue()
        app.close()

    assert len(heard) == 3
    assert caplog.text.count("a listener to Sent events failed; the job goes on") == 2


def test_no_coroutine_is_told_which_job_happened_to_run_where_the_event_was(app, task, work):
    heard = []

    async def listener(event):
        heard.append(current_job())

    app.listen(Started, listener)
    task.enqueue()
    work()
    app.close()

    assert heard == [None]


def test_what_a_listener_that_is_too_slow_does_not_hear_is_counted_in_the_log(app, task, caplog, monkeypatch):
    monkeypatch.setattr(listeners_module, "BACKLOG", 2)
    entered, go_on, heard = threading.Event(), threading.Event(), []

    async def slow(event):
        entered.set()
        await asyncio.to_thread(go_on.wait, PATIENCE)
        heard.append(event)

    app.listen(Sent, slow)
    with caplog.at_level(logging.WARNING, "holdfast"):
        task.enqueue()
        assert entered.wait(PATIENCE)
        for _ in range(5):
            task.enqueue()
        go_on.set()
        app.close()

    assert len(heard) == 3
    assert "3 events were dropped, since 2 were waiting for it" in caplog.text


def test_close_does_not_wait_for_ever(app, task, caplog, monkeypatch):
    monkeypatch.setattr(listeners_module, "LAST_CALL", 0.05)
    cancelled = threading.Event()

    async def endless(event):
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    app.listen(Sent, endless)
    with caplog.at_level(logging.WARNING, "holdfast"):
        task.enqueue()
        app.close()

    assert "listeners were too slow to hear everything" in caplog.text
    assert cancelled.wait(PATIENCE)


def test_listening_goes_on_when_the_app_is_opened_again(app, task):
    heard = []

    async def listener(event):
        heard.append(event)

    app.listen(Sent, listener)
    for count in (1, 2):
        with app:
            task.enqueue()
        assert len(heard) == count


def test_a_listener_may_close_its_app(app, task):
    closed = threading.Event()

    async def listener(event):
        app.close()
        closed.set()

    app.listen(Sent, listener)
    task.enqueue()

    assert closed.wait(PATIENCE)


def test_listen_is_a_decorator_too(app, task, work):
    heard = []

    @app.listen(Done)
    def plain(event):
        heard.append("plain")

    @app.listen(JobEvent)
    async def later(event):
        if isinstance(event, Done):
            heard.append("later")

    task.enqueue()
    work()
    app.close()

    assert sorted(heard) == ["later", "plain"]
    assert plain(None) is None  # it is still the function it was


def test_a_bus_of_its_own_takes_no_coroutine_function():
    async def listener(event): ...

    with pytest.raises(UsageError, match=r"is a coroutine function, which only app\.listen takes"):
        Events().listen(Done, listener)


# -- the logger --------------------------------------------------------------------------------------------------


def run_badly(app):
    @app.task(retry=1)
    def bad(*, ctx: Context = CONTEXT) -> None:
        ctx.logger.warning("from inside")
        raise ValueError("on purpose")

    bad.enqueue()
    with app, app.worker(drain=True) as worker:
        worker.join(PATIENCE)


def test_all_lines_go_to_the_logger_that_the_app_was_given(caplog):
    mine = logging.getLogger("mine.jobs")
    with caplog.at_level(logging.DEBUG):
        run_badly(App("memory:", logger=mine))

    assert {record.name for record in caplog.records} - {"asyncio"} == {"mine.jobs", "mine.jobs.job"}
    assert "from inside" in caplog.text
    assert "buried: ValueError" in caplog.text


def test_a_logger_that_is_looked_up_nowhere_is_used_itself():
    lines = []

    class Keeping(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    alone = logging.Logger("alone")
    alone.addHandler(Keeping())
    run_badly(App("memory:", logger=alone))

    assert "from inside" in lines[0]
    assert any("buried: ValueError" in line for line in lines)


def test_none_silences_the_library_and_the_loggers_of_jobs(caplog):
    with caplog.at_level(logging.DEBUG):
        run_badly(App("memory:", logger=None))

    assert not [record for record in caplog.records if record.name != "asyncio"]


def test_by_default_lines_go_to_holdfast(caplog):
    with caplog.at_level(logging.DEBUG):
        run_badly(App("memory:"))

    assert {record.name for record in caplog.records} - {"asyncio"} == {"holdfast", "holdfast.job"}
