"""Declaring tasks: names, options, and everything that is refused before a program runs."""

import functools
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from holdfast import CONTEXT, App, Context, Retry, UsageError
from holdfast.errors import ConfigError, UnknownTask


def add(a: int, b: int = 2) -> int:
    """Add."""
    return a + b


def test_a_task_is_still_the_function_it_was(app):
    task = app.task(add)

    assert task(1) == 3
    assert (task.__name__, task.__doc__, task.__wrapped__) == ("add", "Add.", add)


def test_an_async_task_called_directly_returns_what_there_is_to_await(app):
    import asyncio

    @app.task
    async def later(x: int) -> int:
        return x

    assert asyncio.run(later(3)) == 3


def test_a_task_is_named_after_its_module_and_function(app):
    assert app.task(add).name == f"{__name__}.add"


def test_a_name_of_ones_own_wins(app):
    assert app.task(name="sums.add")(add).name == "sums.add"


@pytest.mark.parametrize("how", [["work_app.py"], ["-m", "work_app"]], ids=["script", "module"])
def test_a_task_of_the_main_program_is_named_as_a_worker_will_import_it(tmp_path, how):
    (tmp_path / "work_app.py").write_text(
        "from holdfast import App\napp = App('memory:')\n@app.task\ndef hello(): ...\nprint(hello.name)\n"
    )

    printed = subprocess.run([sys.executable, *how], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "work_app.hello"


def test_the_options_of_a_declaration_become_settings_in_seconds(app):
    task = app.task(queue="mail", retry=3, timeout=timedelta(minutes=1), result=timedelta(hours=1), priority=7)(add)

    settings = task.settings
    assert (settings.queue, settings.priority, settings.timeout, settings.keep_result) == ("mail", 7, 60.0, 3600.0)
    assert settings.retry == Retry(attempts=3)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"que": "mail"}, r"unknown task option 'que' \(did you mean 'queue'\?\); known: queue, name, retry"),
        ({"retry": "often"}, "retry must be a Retry or a number of attempts, not 'often'"),
        ({"retry": 0}, "Retry attempts must be 1 or more"),
        ({"timeout": -1}, "timeout must be seconds"),
        ({"result": "long"}, "result must be seconds"),
        ({"priority": 101}, "priority must be a whole number from -100 to 100, not 101"),
        ({"queue": ""}, "queue must be a text of 1 to 255 characters"),
        ({"name": "x" * 300}, "a task's name must be a text of 1 to 255 characters"),
    ],
)
def test_an_option_that_does_not_fit_is_refused_by_name(app, options, reason):
    with pytest.raises(UsageError, match=reason):
        app.task(**options)(add)


def test_an_unknown_codec_is_refused_at_declaration(app):
    with pytest.raises(ConfigError, match="unknown codec 'xml'; known: json, msgpack, pickle"):
        app.task(codec="xml")(add)


def test_pickle_is_refused_at_declaration_unless_the_app_allows_it(app):
    with pytest.raises(ConfigError, match="allow_pickle=True"):
        app.task(codec="pickle")(add)


def test_two_tasks_of_one_name_are_refused(app):
    app.task(name="add")(add)

    with pytest.raises(UsageError, match=r"there is a task 'add' already.*@app.task\(name=…\)"):
        app.task(name="add")(lambda: None)


def missing(user: "Usr") -> None: ...  # noqa: F821


def calls_back(x: int, *, done: Callable[[], None] | None = None) -> None: ...


def many(numbers: Iterator[int]) -> None: ...


def context_by_position(ctx: Context = CONTEXT) -> None: ...


def context_without_default(*, ctx: Context) -> None: ...


class Class:
    def method(self) -> None: ...


def numbers(n: int) -> Iterator[int]:
    yield from range(n)


def gives_callable() -> Callable[[], None]: ...


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (missing, r"task '.*missing': parameter 'user': its annotation 'Usr' cannot be resolved"),
        (calls_back, r"task '.*calls_back': parameter 'done': nothing says how to decode Callable"),
        (many, r"parameter 'numbers': nothing says how to decode Iterator; annotate it as list"),
        (context_by_position, r"parameter 'ctx': write it after a \*"),
        (context_without_default, r"parameter 'ctx': a Context is supplied through a default: = CONTEXT"),
        (Class.method, r"Class.method is a method: a worker would have no 'self'; make it a function"),
        (numbers, "numbers is a generator, which runs only while somebody iterates over it"),
        (int, "a task is made of a function, not of <class 'int'>"),
        ("add", "a task is made of a function, not of 'add'"),
        (functools.partial(add, 1), r"has no name of its own: @app.task\(name=…\)"),
    ],
)
def test_a_function_that_can_be_no_task_is_refused_and_the_error_says_why(app, function, reason):
    with pytest.raises(UsageError, match=reason):
        app.task(function)


def test_only_coroutines_can_be_stopped_when_their_lease_is_lost(app):
    async def wait() -> None: ...

    assert app.task(stop_when_lost=True)(wait).handler().stop_when_lost
    with pytest.raises(UsageError, match="stop_when_lost needs an async def"):
        app.task(stop_when_lost=True)(add)


def test_an_isolated_task_can_be_stopped_when_its_lease_is_lost(app):
    assert app.task(isolate=True, stop_when_lost=True)(add).handler().stop_when_lost


def test_an_isolated_task_is_one_that_another_process_can_import(app):
    def local() -> None: ...

    class Callable:
        def __call__(self) -> None: ...

    for function in (local, lambda: None, Callable()):
        with pytest.raises(UsageError, match="write it as a def at the top of a module"):
            app.task(isolate=True, name="hidden")(function)
    with pytest.raises(UsageError, match="write it as a def at the top of a module"):
        app.on("order.paid", isolate=True)(local)


def test_a_limit_of_memory_is_one_of_bytes_for_a_process(app):
    with pytest.raises(UsageError, match="without isolate=True"):
        app.task(max_memory=1_000_000)(add)
    for wrong in (0, 1.5, True, "500M"):
        with pytest.raises(UsageError, match="max_memory is a number of bytes"):
            app.task(isolate=True, max_memory=wrong)(add)


def test_a_task_is_not_declared_twice(app):
    with pytest.raises(UsageError, match=r"<Task '.*add' of queue 'default'> is a task already"):
        app.task(app.task(add))


def test_a_result_that_cannot_be_decoded_is_refused_only_where_results_are_kept(app):
    app.task(gives_callable)

    with pytest.raises(UsageError, match="the return value: nothing says how to decode Callable"):
        app.task(name="kept", result=60)(gives_callable)


def test_with_pickle_any_annotation_will_do():
    app = App("memory:", codec="pickle", allow_pickle=True)

    assert app.task(calls_back).call(1).message.headers == {"codec": "pickle"}


def test_tasks_are_found_by_name_and_an_unknown_one_suggests_the_nearest(app):
    task = app.task(name="sums.add")(add)

    assert app.tasks["sums.add"] is task
    assert list(app.tasks) == ["sums.add"]
    assert (len(app.tasks), "sums.add" in app.tasks, "sums.ad" in app.tasks) == (1, True, False)
    with pytest.raises(UnknownTask, match=r"no task is called 'sums.ad' \(did you mean 'sums.add'\?\)"):
        app.tasks["sums.ad"]
