"""The tasks of an App by name, and the decorator that puts them there."""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypedDict, TypeVar, overload

from holdfast.codec import Codec, choose
from holdfast.errors import UnknownTask, UsageError, nearest
from holdfast.message import Seconds, seconds
from holdfast.retry import Retry
from holdfast.tasks.arguments import naming
from holdfast.tasks.dependencies import Dependencies
from holdfast.tasks.discovery import DECLARING, discover
from holdfast.tasks.link import Link
from holdfast.tasks.task import CoroutineTask, FunctionTask, Task, TaskSettings, queue_name

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_QUEUE = "default"


class TaskOptions(TypedDict, total=False):
    """The options of a declaration.

    ``name`` is stored with every job and defaults to ``module.function``. ``retry`` is a ``Retry`` or a number of
    attempts; ``timeout`` limits each run; ``result`` keeps the value that long (None: only how the job ended).
    ``priority`` and ``queue`` are those of a send that says nothing else; ``codec`` writes arguments and result.
    ``stop_when_lost`` cancels the run of an ``async def``, or an isolated one, as soon as its lease is lost.
    ``isolate`` runs it in a process of its own, which can be killed: at its timeout, when it is cancelled, and when it
    has more than ``max_memory`` bytes.
    """

    queue: str
    name: str
    retry: Retry | int
    timeout: Seconds | None
    result: Seconds | None
    priority: int
    codec: str | Codec
    stop_when_lost: bool
    isolate: bool
    max_memory: int | None


class Declaration:
    """``@app.task(…)``: takes the function and returns its task."""

    def __init__(self, registry: Registry, options: TaskOptions) -> None:
        self._registry, self._options = registry, options

    @overload
    def __call__(  # type: ignore[overload-overlap] # a coroutine function is meant by what it awaits to
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CoroutineTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> FunctionTask[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Task[..., Any]:
        """Declare the function as a task; ``UsageError`` says what stands in the way."""
        return self._registry.declare(function, self._options)


class Registry:
    """The tasks by name. Declaring is for one thread at a time; everything else is for any number."""

    def __init__(self, link: Link, dependencies: Dependencies, *, codec: Codec, allow_pickle: bool) -> None:
        self._link, self._dependencies, self._codec, self._allow_pickle = link, dependencies, codec, allow_pickle
        self._tasks: dict[str, Task[..., Any]] = {}
        _LIVING.add(self)
        self.event_kinds: set[str] = set()
        """The kinds of published events, which no task may be called."""

    def __getitem__(self, name: str) -> Task[..., Any]:
        if name not in self._tasks:
            raise UnknownTask(f"no task is called {name!r}{nearest(name, self._tasks)}; is its module imported?")
        return self._tasks[name]

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def get(self, name: str) -> Task[..., Any] | None:
        """Return the task of that name, None when there is none."""
        return self._tasks.get(name)

    def values(self) -> list[Task[..., Any]]:
        """Return the tasks in the order of their declaration."""
        return list(self._tasks.values())

    def discover(self, *packages: str, modules: str | Iterable[str] = DECLARING) -> list[str]:
        """Import the modules that declare tasks, and return their names: ``app.tasks.discover("shop")``.

        In each package and the packages inside it those count whose own name is one of ``modules`` or fits a pattern
        such as ``*_tasks`` or ``*``; of a package that fits, all modules. A name that is a module's is imported itself.
        ``UsageError`` names the module that cannot be imported, with the line, and a package where none fits.
        """
        return discover(packages, modules)

    def declare(
        self,
        function: Callable[..., Any],
        options: TaskOptions,
        classes: tuple[type[Task[..., Any]], type[Task[..., Any]]] = (FunctionTask, CoroutineTask),
    ) -> Task[..., Any]:
        """Make a task of a function and register it. Of the classes, the first is for ``def``, the other for
        ``async def``.
        """
        _check_function(function)
        settings = self._settings(function, options)
        if settings.name in self.event_kinds:
            raise UsageError(f"{settings.name!r} is the kind of an event that is subscribed to: @app.task(name=…)")
        make = classes[_is_async(function)]
        with naming(f"task {settings.name!r}"):
            task = make(function, settings, self._link, self._dependencies)
        if settings.name in self._tasks and not _typed_in(function):
            other = inspect.unwrap(self._tasks[settings.name].function)
            raise UsageError(
                f"there is a task {settings.name!r} already, declared in {getattr(other, '__module__', '?')}; "
                f"give one of the two another name: {make.renamed}"
            )
        self._tasks[settings.name] = task
        return task

    def _settings(self, function: Callable[..., Any], options: TaskOptions) -> TaskSettings:
        if unknown := min(options.keys() - TaskOptions.__annotations__.keys(), default=None):
            known = TaskOptions.__annotations__
            raise UsageError(f"unknown task option {unknown!r}{nearest(unknown, known)}; known: {', '.join(known)}")
        _check_isolation(function, options)
        retry, timeout, result = options.get("retry", Retry()), options.get("timeout"), options.get("result")
        if not isinstance(retry, Retry | int) or isinstance(retry, bool):
            raise UsageError(f"retry must be a Retry or a number of attempts, not {retry!r}")
        queue, declared = queue_name(options.get("queue", DEFAULT_QUEUE)), self._link.sender.declared
        declared.check(queue)
        return TaskSettings(
            name=_checked_name(options.get("name") or written_as(function)),
            queue=queue,
            retry=retry if isinstance(retry, Retry) else Retry(attempts=retry),
            timeout=None if timeout is None else seconds(timeout, "timeout"),
            keep_result=None if result is None else seconds(result, "result"),
            priority=options.get("priority", 0),
            codec=choose(options.get("codec", declared.codec(queue) or self._codec), allow_pickle=self._allow_pickle),
            allow_pickle=self._allow_pickle,
            stop_when_lost=options.get("stop_when_lost", False),
            isolate=options.get("isolate", False),
            max_memory=options.get("max_memory"),
        )


_LIVING: weakref.WeakSet[Registry] = weakref.WeakSet()


def known_tasks(name: str) -> list[Task[..., Any]]:
    """Return the tasks of this name of all Apps there are."""
    return [task for registry in list(_LIVING) if (task := registry.get(name)) is not None]


def _check_isolation(function: Callable[..., Any], options: TaskOptions) -> None:
    """Raise ``UsageError`` unless another process can find the function by importing its module."""
    limit = options.get("max_memory")
    if not options.get("isolate", False):
        if limit is not None:
            raise UsageError("max_memory is a limit for a process, and a task without isolate=True has none of its own")
        return
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise UsageError(f"max_memory is a number of bytes, not {limit!r}")
    if limit is not None and not _STATM.exists():
        raise UsageError("max_memory needs /proc, where Linux tells how much memory a process has")
    written = inspect.unwrap(function)
    name = str(getattr(written, "__qualname__", "<locals>"))
    if "<" in name or not inspect.isroutine(written) or _typed_in(written):
        raise UsageError(
            f"isolate=True: another process finds a task by importing its module, and {function!r:.80} is not to be "
            "found there: write it as a def at the top of a module"
        )


_STATM = Path("/proc/self/statm")


def _check_function(function: Any) -> None:
    if isinstance(function, Task):
        raise UsageError(f"{function!r} is a task already")
    if not callable(function) or isinstance(function, type):
        raise UsageError(f"a task is made of a function, not of {function!r:.80}")
    if (parameter := _method_of(function)) is not None:
        raise UsageError(
            f"{written_as(function)} is a method: a worker would have no {parameter!r}; make it a function"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(f"{written_as(function)} is a generator, which runs only while somebody iterates over it")


def _method_of(function: Callable[..., Any]) -> str | None:
    """Return the parameter for the object when the function was written in the body of a class."""
    owner = getattr(function, "__qualname__", "").rpartition(".")[0]
    if not owner or owner.endswith("<locals>") or inspect.ismethod(function):
        return None
    first = next(iter(inspect.signature(function).parameters), None)
    return first if first in ("self", "cls") else None


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def written_as(function: Callable[..., Any]) -> str:
    """Return module and name of a function, the same in every process."""
    written = inspect.unwrap(function)
    qualname = getattr(written, "__qualname__", None)
    if qualname is None:
        raise UsageError(f"{function!r:.80} has no name of its own: @app.task(name=…)")
    return f"{_module(written.__module__)}.{qualname}"


def _module(name: str) -> str:
    """Return the name under which a worker will import a module: a script's is that of its file."""
    if name not in ("__main__", "__mp_main__"):  # as it is called in the process of an isolated task
        return name
    main = sys.modules[name]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    return name if file is None else Path(file).stem


def _typed_in(function: Callable[..., Any]) -> bool:
    """Whether the function was typed into a prompt or notebook, where a cell is run again and again."""
    return getattr(function, "__module__", "") == "__main__" and not hasattr(sys.modules["__main__"], "__file__")


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or not 1 <= len(name) <= 255:
        raise UsageError(f"a task's name must be a text of 1 to 255 characters, not {name!r:.80}")
    return name
