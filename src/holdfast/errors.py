"""What can go wrong, as one tree sorted by what the caller can do about it.

Every class derives from :class:`HoldfastError`, except the three signals at the end, which a handler raises to
decide its own job's fate. A message says what happened, on which queue or id, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any


class HoldfastError(Exception):
    """The root: catching it catches everything Holdfast raises on purpose."""


# -- the caller must change something -------------------------------------------------------------------------


class UsageError(HoldfastError):
    """The call itself is wrong; nothing was stored and repeating it will fail again."""


class NotSupported(UsageError):
    """The store behind the URL cannot keep this promise; nothing was read or written."""


class UnknownTask(UsageError):
    """A task name that this App has not registered."""


class BodyTooLarge(UsageError):
    """A body outside the queue's size limits; refused before anything was written."""


class ConfigError(UsageError):
    """A setting or URL that does not parse; names the setting and the nearest known one."""


# -- the store ------------------------------------------------------------------------------------------------


class BackendError(HoldfastError):
    """The store could not do it; the driver's own error is the ``__cause__``.

    ``retryable`` tells whether the same call may succeed later. ``outcome_unknown`` tells that the call may have
    taken effect all the same: sends are then repeated with the same ids, leases given back by their lease id.
    """

    def __init__(self, message: str, *, retryable: bool = False, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.outcome_unknown = outcome_unknown


class LeaseLost(HoldfastError):
    """The lease is no longer this holder's: its heartbeat ended, or the job was taken back or destroyed."""


class QueueFull(HoldfastError):
    """The store or queue is at its limit and nothing was stored; try again after ``retry_after`` seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Closed(HoldfastError):
    """The App, store or worker is closed; nothing was done."""


class Duplicate(HoldfastError):
    """The slot of a unique key is held: ``existing`` is the id of the job in ``queue`` that has it.

    ``task.job(error.existing)`` and ``app.job(error.queue, error.existing)`` return that job. The other messages of
    the call are stored: ``stored`` is what the whole call would have returned, in order.
    """

    def __init__(self, message: str, *, queue: str, existing: str, stored: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.queue, self.existing = queue, existing
        self.stored = tuple(stored)


class Undecodable(HoldfastError):
    """A stored payload that does not fit what reads it; its job is buried with this text, never dropped."""


class CorruptLog(HoldfastError):
    """Bytes of a log that were durable are damaged; names the file and the byte and offset range.

    Offsets of the ``partition`` from ``first`` on and below ``next`` are concerned: whoever can do without them goes on
    at ``next``.
    """

    def __init__(self, message: str, *, partition: int = 0, first: int, next: int) -> None:
        super().__init__(message)
        self.partition = partition
        self.first, self.next = first, next


class OffsetGone(HoldfastError):
    """What a group was to read next, or what was asked for, is no longer in the log, or was never there.

    ``first`` and ``next`` are the offsets that can be read: from ``first`` on and below ``next``. ``seek`` the group,
    or join it with ``when_gone="earliest"``.
    """

    def __init__(self, message: str, *, partition: int, offset: int, first: int, next: int) -> None:
        super().__init__(message)
        self.partition, self.offset = partition, offset
        self.first, self.next = first, next


# -- how a job ended, told to who waits for it ----------------------------------------------------------------


class JobError(HoldfastError):
    """A job ended without a value; ``job_id`` names it."""

    def __init__(self, message: str, *, job_id: str) -> None:
        super().__init__(message)
        self.job_id = job_id


class JobFailed(JobError):
    """The job was buried; ``error_type``, the message and ``traceback`` are those of its last attempt."""

    def __init__(self, message: str, *, job_id: str, error_type: str = "", traceback: str = "") -> None:
        super().__init__(message, job_id=job_id)
        self.error_type = error_type
        self.traceback = traceback


class JobTimedOut(JobFailed):
    """The job was buried because its last attempt went over its own ``timeout``."""


class JobCancelled(JobError):
    """The job was cancelled before it ended."""


class JobExpired(JobError):
    """The job's expiry passed before it was leased."""


# -- signals: a handler raises one to settle its own job ------------------------------------------------------


class Signal(Exception):
    """What a handler raises to choose how its job is settled."""


class RetryLater(Signal):
    """Deliver this job again ``after`` seconds (or a ``timedelta``); ``count=False`` gives the attempt back."""

    def __init__(self, after: float | timedelta = 0.0, *, count: bool = True) -> None:
        self.after = after.total_seconds() if isinstance(after, timedelta) else float(after)
        self.count = count
        super().__init__(f"retry in {self.after:g} s")


class Bury(Signal):
    """Give this job up at once, whatever attempts are left."""

    def __init__(self, reason: object = "buried by its handler") -> None:
        self.reason = str(reason)
        super().__init__(self.reason)


class Cancel(Signal):
    """Settle this job as cancelled, with or without a request to cancel it."""

    def __init__(self, reason: object = "cancelled by its handler") -> None:
        self.reason = str(reason)
        super().__init__(self.reason)


def nearest(word: str, known: Any) -> str:
    """Return `` (did you mean 'x'?)`` for the known word most like ``word``, or an empty string."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
