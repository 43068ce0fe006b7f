"""One call of a task, as its sender holds it: wait for it, look at it, cancel it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Generic, TypeVar

from holdfast.capabilities import Cancellable, Inspectable
from holdfast.delivery import ENDED, JobView, Outcome, Reported, State
from holdfast.errors import (
    HoldfastError,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobTimedOut,
    NotSupported,
    Undecodable,
    UsageError,
)
from holdfast.message import Seconds, Stored, seconds
from holdfast.tasks.link import Link

R_co = TypeVar("R_co", covariant=True)


class Job(Generic[R_co]):
    """A handle: it holds no connection and costs nothing to keep or to drop. May be shared by any number of threads.

    ``result``, ``refresh`` and ``cancel`` block for a round trip to the store; ``BackendError`` when that fails.
    """

    __slots__ = ("_decode", "_link", "_stored", "id", "queue", "view")

    def __init__(
        self,
        link: Link,
        queue: str,
        job_id: str,
        decode: Callable[[bytes], Any],
        *,
        stored: Stored | None = None,
        view: JobView | None = None,
    ) -> None:
        self._link, self._decode, self._stored = link, decode, stored
        self.queue, self.id = queue, job_id
        self.view = view
        """The job as it stood when ``refresh`` looked; None before."""

    def __repr__(self) -> str:
        state = "" if self.view is None else f" {self.view.state}"
        return f"<Job {self.id} of queue {self.queue!r}{state}>"

    @property
    def stored(self) -> Stored:
        """What sending it returned: how safe it is, and whether it had been there already."""
        if self._stored is None:
            raise UsageError(f"job {self.id} was looked up, not sent from here: it has no send receipt")
        return self._stored

    @property
    def state(self) -> State:
        """Its state when ``refresh`` looked: ``job.refresh().state``."""
        if self.view is None:
            raise UsageError(f"nobody has looked at job {self.id} yet: job.refresh().state")
        return self.view.state

    def result(self, timeout: Seconds | None = None) -> R_co:
        """Block until the job has ended and return its value; None when its task keeps none.

        Raises ``JobFailed``, ``JobTimedOut``, ``JobCancelled`` or ``JobExpired`` when it ended without one, and the
        built-in ``TimeoutError`` when ``timeout`` (seconds; None waits for ever, 0 looks once) is over before.
        """
        length = _length(timeout)
        with self._telling(length):
            outcome = self._link.waiters.wait((self.queue, self.id), length)
        return self._value(outcome)

    async def aresult(self, timeout: Seconds | None = None) -> R_co:  # noqa: ASYNC109 - the waiter's own time
        """Do as ``result`` does, blocking no event loop; any number may wait at a time."""
        length = _length(timeout)
        with self._telling(length):
            outcome = await self._link.waiters.wait_async((self.queue, self.id), length)
        return self._value(outcome)

    def refresh(self) -> Job[R_co]:
        """Return this job with its ``view`` as of now; ``JobError`` when the store does not know it any more."""
        return Job(self._link, self.queue, self.id, self._decode, stored=self._stored, view=self._look())

    def _look(self) -> JobView:
        store = self._link.store()
        if not isinstance(store, Inspectable):
            raise NotSupported(f"{type(store).__name__} cannot look at jobs")
        view = store.get(self.queue, self.id)
        if view is None:
            raise self._unknown()
        return view

    def progress(self, *, every: Seconds = 1.0) -> Iterator[Reported]:
        """Yield what the job's runs report of their progress, as it comes to be seen, until the job has ended.

        Looks every so many seconds, and when the job ends; blocks between. Reports that came in between are not seen,
        the last one always is. ``JobError`` when the store does not know the job any more.
        """
        last, pause = None, _pause(every)
        while True:
            view = self._look()
            if view.progress is not None and not _same(view.progress, last):
                yield (last := view.progress)
            if view.state in ENDED:
                return
            with suppress(TimeoutError):
                self._link.waiters.wait((self.queue, self.id), pause)

    async def aprogress(self, *, every: Seconds = 1.0) -> AsyncIterator[Reported]:
        """Do as ``progress`` does, blocking no event loop: ``async for reported in job.aprogress():``."""
        last, pause = None, _pause(every)
        while True:
            view = await self._link.call(self._look)
            if view.progress is not None and not _same(view.progress, last):
                yield (last := view.progress)
            if view.state in ENDED:
                return
            with suppress(TimeoutError):
                await self._link.waiters.wait_async((self.queue, self.id), pause)

    def cancel(self, reason: str = "cancelled") -> State:
        """Cancel the job if it waits, ask its worker to stop it if it runs; return the state it is in then.

        ``running`` means that its worker was asked and decides; an ended job stays as it is.
        """
        store = self._link.store()
        if not isinstance(store, Cancellable):
            raise NotSupported(f"{type(store).__name__} cannot cancel jobs")
        states = store.cancel(self.queue, [self.id], reason)
        if self.id not in states:
            raise self._unknown()
        return states[self.id]

    @contextmanager
    def _telling(self, length: float | None) -> Iterator[None]:
        try:
            yield
        except TimeoutError:  # Python's own has no text
            waited = f"had not ended after {length:g} s" if length else "has not ended"
            raise TimeoutError(
                f"job {self.id} of queue {self.queue!r} {waited}; does a worker serve its queue?"
            ) from None

    def _unknown(self) -> JobError:
        return JobError(f"queue {self.queue!r} has no job {self.id}: it was removed, or never sent", job_id=self.id)

    def _value(self, outcome: Outcome) -> R_co:
        if outcome.state is not State.DONE:
            raise self._failure(outcome)
        if outcome.value is None:
            return None  # type: ignore[return-value] # a task that keeps no value; its caller knows
        try:
            value: R_co = self._decode(outcome.value)
        except Undecodable as error:
            raise Undecodable(f"the result of job {self.id} of queue {self.queue!r}: {error}") from error
        return value

    def _failure(self, outcome: Outcome) -> HoldfastError:
        job = f"job {self.id} of queue {self.queue!r}"
        if outcome.state is State.CANCELLED:
            return JobCancelled(f"{job} was cancelled: {outcome.reason}", job_id=self.id)
        if outcome.state is State.EXPIRED:
            return JobExpired(f"{job} expired before a worker leased it", job_id=self.id)
        error, failed = outcome.error, JobTimedOut if outcome.reason == "timeout" else JobFailed
        if error is None:
            return failed(f"{job} failed: {outcome.reason}", job_id=self.id)
        why = f"{error.type}: {error.message}" if error.type else error.message
        return failed(f"{job} failed: {why}", job_id=self.id, error_type=error.type, traceback=error.traceback)


def _same(one: Reported, other: Reported | None) -> bool:
    return other is not None and (one.fraction, one.note) == (other.fraction, other.note)


def _pause(every: Seconds) -> float:
    pause = seconds(every, "every")
    if not pause:
        raise UsageError("every is more than 0 seconds: each look is a round trip to the store")
    return pause


def _length(timeout: Seconds | None) -> float | None:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
