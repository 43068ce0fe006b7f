"""The reference of the Python API, from the docstrings of what is public."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from checks.docs_text import code, markdown
from holdfast import (
    CONTEXT,
    App,
    Call,
    Context,
    Delivery,
    Depends,
    Job,
    LogMessage,
    Message,
    Retry,
    Stored,
    StoredAt,
    Task,
    Unique,
    Worker,
)
from holdfast import current_job as current_job_function
from holdfast.aio import Aio, AioDeliveries, AioGroup, AioLog, AioMember, AioPlace, AioProducer, AioQueue
from holdfast.capabilities import Definition, JobFilter, Schedule, Tick
from holdfast.config import LogSettings, QueueSettings
from holdfast.delivery import HolderInfo, JobView, QueueStats, Replayed, Reported, RunningJob
from holdfast.formatter import JsonFormatter
from holdfast.http.status import StatusServer
from holdfast.logged import Assigned, Ends, GroupInfo, Lag
from holdfast.logs import Batch, Group, GroupLag, Log, LogProducer, Member, NextOffsets
from holdfast.metrics import Metrics
from holdfast.middleware import Middleware, Sending
from holdfast.places import Places
from holdfast.queues import Deliveries, Place, Queue
from holdfast.schedule.book import AppSchedules
from holdfast.schedule.schedule import ScheduleOptions
from holdfast.tasks.dependencies import Dependencies, Override
from holdfast.tracing import Tracing
from holdfast.worker import Health, Stopped
from holdfast.worker.commanding import AppWorkers

CLASSES: tuple[tuple[type, str], ...] = (
    (App, "holdfast"),
    (Places, "holdfast.places"),
    (Task, "holdfast"),
    (Call, "holdfast"),
    (Job, "holdfast"),
    (Context, "holdfast"),
    (Retry, "holdfast"),
    (Dependencies, "holdfast.tasks.dependencies"),
    (Override, "holdfast.tasks.dependencies"),
    (Middleware, "holdfast.middleware"),
    (Sending, "holdfast.middleware"),
    (Worker, "holdfast"),
    (Stopped, "holdfast.worker"),
    (Health, "holdfast.worker"),
    (AppWorkers, "holdfast.worker.commanding"),
    (HolderInfo, "holdfast.delivery"),
    (RunningJob, "holdfast.delivery"),
    (AppSchedules, "holdfast.schedule.book"),
    (ScheduleOptions, "holdfast.schedule.schedule"),
    (Schedule, "holdfast.capabilities"),
    (Definition, "holdfast.capabilities"),
    (Tick, "holdfast.capabilities"),
    (Queue, "holdfast.queues"),
    (Place, "holdfast.queues"),
    (Log, "holdfast.logs"),
    (LogProducer, "holdfast.logs"),
    (Group, "holdfast.logs"),
    (GroupLag, "holdfast.logs"),
    (Member, "holdfast.logs"),
    (Batch, "holdfast.logs"),
    (NextOffsets, "holdfast.logs"),
    (Deliveries, "holdfast.queues"),
    (Aio, "holdfast.aio"),
    (AioQueue, "holdfast.aio"),
    (AioPlace, "holdfast.aio"),
    (AioDeliveries, "holdfast.aio"),
    (AioLog, "holdfast.aio"),
    (AioProducer, "holdfast.aio"),
    (AioGroup, "holdfast.aio"),
    (AioMember, "holdfast.aio"),
    (Delivery, "holdfast"),
    (Message, "holdfast"),
    (Unique, "holdfast"),
    (Stored, "holdfast"),
    (StoredAt, "holdfast"),
    (LogMessage, "holdfast"),
    (JobView, "holdfast.delivery"),
    (Reported, "holdfast.delivery"),
    (Replayed, "holdfast.delivery"),
    (QueueStats, "holdfast.delivery"),
    (JobFilter, "holdfast.capabilities"),
    (QueueSettings, "holdfast.config"),
    (Ends, "holdfast.logged"),
    (Lag, "holdfast.logged"),
    (GroupInfo, "holdfast.logged"),
    (Assigned, "holdfast.logged"),
    (LogSettings, "holdfast.config"),
    (Metrics, "holdfast.metrics"),
    (Tracing, "holdfast.tracing"),
    (StatusServer, "holdfast.http.status"),
    (JsonFormatter, "holdfast.formatter"),
)

ONLY: Mapping[type, tuple[str, ...]] = {Dependencies: ("override",), Middleware: ("run", "send")}
"""Members for users, of classes that have others for the App."""


def api() -> str:
    """Return the reference of every public class, and of the functions beside them."""
    assert isinstance(CONTEXT, Context)
    parts = [part for class_, home in CLASSES for part in _class(class_, home)]
    functions = [
        ("current_job()", current_job_function),
        ('Depends(provider, *, scope="job")', Depends),
    ]
    for call, function in functions:
        parts += [f"## {call.partition('(')[0]}", f"`{call}` – {markdown(function.__doc__)}"]
    return "\n\n".join(parts)


def _class(class_: type, home: str) -> Iterator[str]:
    yield f"## {class_.__name__}"
    yield f"`from {home} import {class_.__name__}`"
    yield markdown(class_.__doc__)
    if issubclass(class_, msgspec.Struct):
        names = [name for name in class_.__struct_fields__ if name != "follow_ups"]
        yield f"Fields: {', '.join(map(code, names))}."
    shown = ONLY.get(class_, tuple(vars(class_)))
    members = [
        _member(name, value) for name, value in vars(class_).items() if name in shown and _is_public(name, value)
    ]
    if members:
        yield "\n".join(members)


def _is_public(name: str, value: Any) -> bool:
    plain = inspect.isfunction(value) or isinstance(value, (property, classmethod))
    return plain and not name.startswith("_") and bool(_docstring(value))


def _docstring(value: Any) -> str:
    return (value.__func__ if isinstance(value, classmethod) else value).__doc__ or ""


def _member(name: str, value: Any) -> str:
    if isinstance(value, property):
        return f"- **`{name}`** – {_inline(value)}"
    function = value.__func__ if isinstance(value, classmethod) else value
    awaited = "await " if inspect.iscoroutinefunction(function) else ""
    return f"- **`{awaited}{name}({_parameters(function)})`** – {_inline(value)}"


def _inline(value: Any) -> str:
    return markdown(_docstring(value)).replace("\n\n", " ")


def _parameters(function: Any) -> str:
    shown, starred = [], False
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_POSITIONAL:
            starred = True
        elif parameter.kind is parameter.KEYWORD_ONLY and not starred:
            shown.append("*")
            starred = True
        stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        stars = "**" if parameter.kind is parameter.VAR_KEYWORD else stars
        shown.append(f"{stars}{parameter.name}{_default(parameter)}")
    return ", ".join(shown)


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return ""
    text = repr(parameter.default)
    return "=…" if text.startswith("<") else f"={text}"
