"""How a process of its own finds a task again: by importing what declares it, as its worker did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.errors import UsageError
from holdfast.middleware import called
from holdfast.tasks.discovery import import_user_module
from holdfast.tasks.making import WorkerScope
from holdfast.tasks.registry import known_tasks, written_as
from holdfast.tasks.task import Task
from holdfast.worker.handler import Found, Handler


class Address(msgspec.Struct, frozen=True):
    """Where a task is declared: ``function`` is its place and name. ``middleware`` is what surrounds runs and sends of
    its App, which must all be there too.
    """

    kind: str
    function: str
    modules: tuple[str, ...]
    middleware: tuple[str, ...]
    max_memory: int | None

    def find(self, shared: dict[object, Any]) -> Found:
        """Import and look; see ``Isolated``. The tasks of one App share what lives as long as a worker."""
        for module in self.modules:
            if module != "__main__":  # which has been imported, under another name
                import_user_module(module)
        task = self._task()
        link = task._link
        if missing := [name for name in self.middleware if name not in _middleware(task)]:
            raise UsageError(
                f"middleware {missing[0]} is not there in the process of isolated task {self.kind!r}, which imports "
                f"{', '.join(self.modules)} and nothing else: register it in one of these"
            )
        scope = shared.setdefault(task._dependencies, task._dependencies.worker())
        return Found(surrounded(task, scope), link.store, link.sender.events)

    def _task(self) -> Task[..., Any]:
        found = [task for task in known_tasks(self.kind) if written_as(task.function) == self.function]
        if len(found) == 1:
            return found[0]
        what = "declares no" if not found else f"declares {len(found)} times a"
        raise UsageError(
            f"importing {', '.join(self.modules)} {what} task {self.kind!r} of {self.function}: the process of an "
            "isolated task imports the module of its function, which must declare it, once"
        )


def surrounded(task: Task[..., Any], scope: WorkerScope) -> Handler:
    """Return the handler of a task with the middleware of its App around it."""
    handler = task.handler(scope)
    around = task._link.sender.middleware.around
    run = around(handler.run, kind=task.name, queue=task.settings.queue, is_async=handler.is_async)
    return handler if run is handler.run else msgspec.structs.replace(handler, run=run)


def address_of(task: Task[..., Any]) -> Address | None:
    """Return where a process of its own finds an isolated task, None for any other."""
    if not task.settings.isolate:
        return None
    functions = (task.function, *task._link.sender.middleware.functions)
    modules = dict.fromkeys(str(getattr(function, "__module__", None) or "") for function in functions)
    return Address(
        task.name,
        written_as(task.function),
        tuple(module for module in modules if module),
        _middleware(task),
        task.settings.max_memory,
    )


def _middleware(task: Task[..., Any]) -> tuple[str, ...]:
    functions: tuple[Callable[..., Any], ...] = task._link.sender.middleware.functions
    return tuple(called(function) for function in functions)
