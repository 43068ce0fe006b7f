"""Background jobs that are held until they are done, and logs that keep what happened, on an embedded store by default.

What is not an error is imported when it is first asked for, so that the command line starts at once.
"""

from typing import TYPE_CHECKING, Any

from holdfast.errors import (
    BackendError,
    Bury,
    Cancel,
    Closed,
    CorruptLog,
    Duplicate,
    HoldfastError,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobTimedOut,
    LeaseLost,
    OffsetGone,
    QueueFull,
    RetryLater,
    Undecodable,
    UsageError,
)

if TYPE_CHECKING:
    from holdfast.app import App
    from holdfast.delivery import Delivery, State
    from holdfast.logged import LogMessage, StoredAt
    from holdfast.message import Message, Stored, Unique
    from holdfast.retry import Retry
    from holdfast.tasks.calls import Call
    from holdfast.tasks.depends import Depends
    from holdfast.tasks.job import Job
    from holdfast.tasks.task import Task
    from holdfast.worker import CONTEXT, Context, Lane, Worker, current_job

__version__ = "0.1.0"

__all__ = [
    "CONTEXT",
    "App",
    "BackendError",
    "Bury",
    "Call",
    "Cancel",
    "Closed",
    "Context",
    "CorruptLog",
    "Delivery",
    "Depends",
    "Duplicate",
    "HoldfastError",
    "Job",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobTimedOut",
    "Lane",
    "LeaseLost",
    "LogMessage",
    "Message",
    "OffsetGone",
    "QueueFull",
    "Retry",
    "RetryLater",
    "State",
    "Stored",
    "StoredAt",
    "Task",
    "Undecodable",
    "Unique",
    "UsageError",
    "Worker",
    "current_job",
]

_LATE = {
    "App": "app",
    "CONTEXT": "worker",
    "Call": "tasks.calls",
    "Context": "worker",
    "Delivery": "delivery",
    "Depends": "tasks.depends",
    "Job": "tasks.job",
    "Lane": "worker",
    "LogMessage": "logged",
    "Message": "message",
    "Retry": "retry",
    "State": "delivery",
    "Stored": "message",
    "StoredAt": "logged",
    "Task": "tasks.task",
    "Unique": "message",
    "Worker": "worker",
    "current_job": "worker",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
    return value
