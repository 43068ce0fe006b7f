"""Background jobs, durable logs and buffered delivery behind one small set of words."""

from holdfast.app import App
from holdfast.delivery import Delivery, State
from holdfast.errors import (
    BackendError,
    Bury,
    Cancel,
    Closed,
    HoldfastError,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobTimedOut,
    LeaseLost,
    QueueFull,
    RetryLater,
    Undecodable,
    UsageError,
)
from holdfast.message import Message, Stored
from holdfast.retry import Retry
from holdfast.tasks.job import Job
from holdfast.tasks.task import Call, Task
from holdfast.worker import CONTEXT, Context, Worker, current_job

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
    "Delivery",
    "HoldfastError",
    "Job",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobTimedOut",
    "LeaseLost",
    "Message",
    "QueueFull",
    "Retry",
    "RetryLater",
    "State",
    "Stored",
    "Task",
    "Undecodable",
    "UsageError",
    "Worker",
    "current_job",
]
