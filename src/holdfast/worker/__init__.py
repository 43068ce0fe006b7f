"""Works on queues: leases jobs, runs them on threads or an event loop, settles them in batches.

What runs jobs is imported only when it is asked for: most programs that declare tasks only send.
"""

from typing import TYPE_CHECKING, Any

from holdfast.worker.context import CONTEXT, Context, current_job
from holdfast.worker.handler import Handler, Misfit

if TYPE_CHECKING:
    from holdfast.worker.health import Health
    from holdfast.worker.options import Lane, Stopped, WorkerOptions
    from holdfast.worker.services import Service
    from holdfast.worker.worker import Worker

__all__ = [
    "CONTEXT",
    "Context",
    "Handler",
    "Health",
    "Lane",
    "Misfit",
    "Service",
    "Stopped",
    "Worker",
    "WorkerOptions",
    "current_job",
]

_LATE = {
    "Health": "health",
    "Lane": "options",
    "Service": "services",
    "Stopped": "options",
    "Worker": "worker",
    "WorkerOptions": "options",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
