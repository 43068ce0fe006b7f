"""Optional powers of a store, each a small Protocol that a store inherits when it has the power.

The rules of :mod:`holdfast.contract` on threads, errors, time and blocking hold here too. Every change is durable on
return to the store's level, may be repeated, and ignores ids it does not know.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from holdfast.delivery import JobView, Outcome, Page, Receipt, Replayed, Report, Settlement, State
from holdfast.errors import UsageError
from holdfast.message import Message, Stored

REMOVABLE = frozenset(State) - {State.RUNNING}
"""The states whose jobs can be removed."""


def check_removable(queue: str, states: Collection[State]) -> None:
    """Raise ``UsageError`` for a state whose jobs are somebody's."""
    if State.RUNNING in states:
        raise UsageError(f"queue {queue!r}: running jobs cannot be removed; cancel them")


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs of a queue are meant; what is None does not matter.

    ``reason`` and ``key`` must be equal, ``text`` contained in the reason or the last error, ``headers`` among those of
    the job. Times are ms and those called until are exclusive: ``since`` and ``until`` bound that of sending,
    ``ended_since`` and ``ended_until`` that of the end, which only ended jobs have.
    """

    states: tuple[State, ...] = tuple(State)
    kind: str | None = None
    reason: str | None = None
    text: str | None = None
    since: int | None = None
    until: int | None = None
    ended_since: int | None = None
    ended_until: int | None = None
    key: str | None = None
    headers: Mapping[str, str] | None = None


@runtime_checkable
class Inspectable(Protocol):
    """Jobs can be looked at. Nothing here changes a job; due and expired jobs read as such."""

    def get(self, queue: str, job_id: str) -> JobView | None:
        """Return one job with its runs, or None when it does not exist."""

    def browse(
        self, queue: str, only: JobFilter, *, limit: int = 100, cursor: str | None = None, bodies: bool = True
    ) -> Page:
        """Return up to ``limit`` matching jobs, newest sent first, without their runs.

        Looks at no more than 10 000 jobs a page, so a page may be short, even empty, and still have a cursor. Jobs
        sent meanwhile do not shift later pages (keyset paging), and no job is on two of them, whatever becomes of it.
        Without ``bodies`` the jobs come with an empty body and no headers, which costs less.
        """


@runtime_checkable
class Cancellable(Protocol):
    """Jobs can be cancelled."""

    def cancel(self, queue: str, job_ids: Sequence[str], reason: str = "cancelled") -> dict[str, State]:
        """Cancel waiting jobs, ask for running ones, leave ended ones; return the state each known job is in then.

        A running job stays ``running`` until its holder settles it: stopped, failed with an attempt left, or given
        back it becomes cancelled; it is done or dead if it ended by itself.
        """


@runtime_checkable
class Replayable(Protocol):
    """Ended jobs can run again. Both verbs touch only dead, cancelled and expired jobs and tell which ids moved."""

    def replay(self, queue: str, job_ids: Sequence[str]) -> Replayed:
        """Make the jobs ready as if new: attempts and crashes zero, no expiry, at the tail of their key.

        ``max_attempts`` stays what it is, also after a reload. A job whose unique slot another job has is left as it
        is, and told as a duplicate.
        """

    def reload(self, queue: str, job_ids: Sequence[str]) -> list[str]:
        """Make the jobs ready with exactly one more attempt: attempts kept, no expiry, at the tail of their key.

        A job whose unique slot another job has goes on without a slot.
        """


@runtime_checkable
class Flushable(Protocol):
    """Jobs can be removed for good: a whole state, or some by id. Those that run cannot.

    Removed jobs' ids stay recognised for the queue's ``dedupe_window`` after their end, or else after the removal.
    """

    def flush(self, queue: str, state: State) -> int:
        """Remove every job in ``state`` with its body and result; return how many. ``UsageError`` for running."""

    def remove(self, queue: str, job_ids: Sequence[str], *, states: Collection[State] = REMOVABLE) -> list[str]:
        """Remove those of these jobs that are in one of ``states`` now; return their ids. ``UsageError`` for running.

        What has moved on meanwhile, such as a dead letter that was replayed, is left alone when ``states`` say so.
        """


@runtime_checkable
class Pausable(Protocol):
    """A queue can be paused, durably: sends and settles go on, no lease is granted to anyone."""

    def pause(self, queue: str) -> None:
        """Grant no lease from now on."""

    def resume(self, queue: str) -> None:
        """Grant leases again, and wake whoever waits."""


class Watch(Protocol):
    """A standing question "which of these have ended?", for one asking thread; ``add`` and ``interrupt`` may be
    called from others. It holds one connection however many jobs it watches.
    """

    def add(self, queue: str, job_ids: Collection[str]) -> None:
        """Watch these jobs as well."""

    def discard(self, queue: str, job_ids: Collection[str]) -> None:
        """Watch these jobs no longer."""

    def wait(self, timeout: float) -> list[tuple[str, str]]:
        """Block until watched jobs have ended, at most ``timeout`` seconds; return them, each once, as (queue, id).

        A job that had ended before it was added, or that no longer exists, is returned too.
        """

    def interrupt(self) -> None:
        """End the wait that is going on, or the next one."""

    def close(self) -> None:
        """Forget everything and leave nothing in the store."""


@runtime_checkable
class Results(Protocol):
    """Outcomes are kept and can be waited for."""

    def outcomes(self, queue: str, job_ids: Sequence[str]) -> dict[str, Outcome]:
        """Return the outcomes of those jobs that have ended and are still known."""

    def watch(self) -> Watch:
        """Return a new watch; its owner closes it."""


@runtime_checkable
class Progress(Protocol):
    """Running jobs can say how far they are; ``JobView.progress`` shows it."""

    def report(self, reports: Sequence[Report]) -> list[Receipt]:
        """Keep the last report of each running job; return the receipts that were lost.

        A receipt is lost as in ``settle``, and then changes nothing. A report belongs to its run: the next grant of the
        job shows none, and it goes with the job. Of several for one job the last counts. Need not be synced to the
        disk, and wakes nobody.
        """


@runtime_checkable
class Transactional(Protocol):
    """Sends and settlements can be part of a transaction of the caller's own, on his connection to the same store.

    What is done becomes true for everybody when he commits, and never if he rolls back, or dies before. Nobody else
    sees any of it until then. ``connection`` is of the library that the store itself uses; what the caller has set on
    it neither matters nor changes. A call that raises leaves nothing behind in the transaction, which may go on.
    ``UsageError`` says what to do when the connection cannot be used: it is of another library or another place, it
    has no transaction, it may not write. Blocks while others write, as the store's own writes do; from then on the
    caller's transaction may keep everybody else from writing, until it ends.
    """

    def send_in(self, connection: object, queue: str, messages: Sequence[Message]) -> list[Stored]:
        """Store the messages when the caller commits; otherwise as ``QueueBackend.send``.

        ``Stored.level`` is what his commit will reach. Time counts from this call, not from the commit.
        """

    def settle_in(self, connection: object, settlements: Sequence[Settlement]) -> list[Receipt]:
        """Settle when the caller commits, and return the receipts that are lost; otherwise as ``QueueBackend.settle``.

        Until then the jobs stay leased. After a rollback they can be settled as if nothing had been; after the
        commit a further settlement of them is lost.
        """


# -- schedules ------------------------------------------------------------------------------------------------


class Cron(msgspec.Struct, frozen=True, tag="cron"):
    """A rule of five fields (names and @shortcuts allowed) that is read in the IANA zone ``tz``."""

    expression: str
    tz: str = "UTC"


class Every(msgspec.Struct, frozen=True, tag="every"):
    """A rule that ticks at ``start`` (ms) and each whole multiple of ``seconds`` after it."""

    seconds: float
    start: int


Rule = Cron | Every
