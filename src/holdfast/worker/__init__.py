"""Works on queues: leases jobs, runs them on threads or an event loop, settles them in batches."""

from holdfast.worker.context import CONTEXT, Context, current_job
from holdfast.worker.handler import Handler
from holdfast.worker.options import Stopped, WorkerOptions
from holdfast.worker.worker import Worker

__all__ = ["CONTEXT", "Context", "Handler", "Stopped", "Worker", "WorkerOptions", "current_job"]
