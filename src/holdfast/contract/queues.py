"""What a store implements to serve queues. See the package for what all docstrings have in common."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from holdfast.config import QueueSettings
from holdfast.contract.features import Features
from holdfast.delivery import Beat, Delivery, HolderInfo, QueueStats, Receipt, Settlement, Tidied
from holdfast.message import Message, Stored


@runtime_checkable
class QueueBackend(Protocol):
    """A store that holds queues."""

    features: Features

    def declare(self, queue: str, settings: QueueSettings) -> None:
        """Make the queue exist with these settings; on return both are durable.

        May be repeated: the last settings win. Sending to a queue nobody declared declares it with the defaults.
        """

    def destroy(self, queue: str) -> int:
        """Remove the queue with every job, result, count, pause and setting; return how many jobs went.

        Durable on return; repeating it returns 0. Leases on its jobs become lost. A queue of the same name made
        later finds nothing old.
        """

    def send(self, queue: str, messages: Sequence[Message], *, limited: bool = True) -> list[Stored]:
        """Store the messages, in their order; on return each is as safe as ``features.level`` says.

        Sending is per item: the answer has one ``Stored`` a message, in order. A message whose id is known (its job
        exists in any state, or ended within the queue's ``dedupe_window``) stores nothing and is a ``duplicate``,
        so the whole call may be repeated with the same messages. Of one id twice in a batch the first counts.
        A message whose unique key's slot is held (see :class:`~holdfast.message.Unique`) becomes no job: its
        ``Stored`` is a ``duplicate`` with the id of the job that has the slot. A job has it while its state and
        ``until`` say so, never once it has expired, and for its ``within``, even when the job is removed. One key
        twice in a batch is as if sent one after the other, also from many callers at once. A message with
        ``on_conflict="error"`` is treated as one with ``skip``: raising is for who sent it.
        Raises ``BodyTooLarge`` or ``QueueFull`` with nothing stored, the latter when more jobs would wait than the
        queue's ``limit``, duplicates not counted; after ``BackendError(outcome_unknown=True)`` any subset may be
        stored. What is not ``limited`` is stored whatever ``limit``, ``min_body`` and ``max_body`` say: it follows a
        run that is done, and could not be told.
        """

    def lease(
        self,
        queue: str,
        holder: str,
        lease_id: str,
        *,
        limit: int,
        kinds: Collection[str],
        max_format: int,
    ) -> list[Delivery]:
        """Grant up to ``limit`` ready jobs of these kinds to ``holder``, best first. Never waits for work.

        Every grant raises the job's token and counts an attempt, and is durable to the level ``written`` at least
        before the deliveries are returned. Order: higher priority, then the ms of becoming ready, then send order.
        Only records of a format up to ``max_format`` are granted, only heads of their keys, nothing that has
        expired, and nothing while the queue is paused. First whatever has become due is made ready, oldest due
        first, in bounded steps.

        ``lease_id`` is fresh for every call and written on each grant. When this call raises with an unknown
        outcome, settle ``GiveBack(queue=…, lease_id=…)`` before leasing again. Raises ``LeaseLost`` when the holder
        never beat or has ended: an unwatched lease would be for ever.
        """

    def wait(self, queues: Sequence[str], kinds: Collection[str], timeout: float) -> bool:
        """Block until one of the queues may have something to lease, at most ``timeout`` seconds; True if it may.

        What ends it: a send, a due time, a give-back, a nack, a key freed, a resume, a holder's end, from any
        process. A wake-up may be false, but not twice without a change; a missed one costs at most the timeout, so
        callers pass their poll interval. Returns False at once when interrupted. Changes nothing.
        """

    def interrupt(self) -> None:
        """End every ``wait`` of this object that is going on, or else the next one to come. Never blocks."""

    def settle(self, settlements: Sequence[Settlement]) -> list[Receipt]:
        """Carry out the settlements, each whole or not at all; return the receipts that were lost.

        On return every effect is as durable as a send. A receipt is lost when its job is gone, ended, or granted
        again: id and token are compared, nothing else. Lost items change nothing, never raise and never spoil the
        batch. Repeating a call is harmless: what took effect the first time is reported lost the second. The
        follow-ups of an ``Ack`` are stored in the same step as the ack, or not at all, whatever the queue's
        ``limit``. ``GiveBack`` by lease id is never lost. A job that comes back, here, by ``retire`` or by a reload,
        has its unique slot again if no other has it, and else goes on without one. Settling the head of a key frees
        the next of that key in the same step.
        """

    def beat(self, holder: HolderInfo) -> Beat:
        """Keep the holder, and with it all its leases, alive for ``holder.ttl`` seconds from now.

        The first beat registers it. A holder that was retired or rescued stays ended, which is remembered for an
        hour: the answer is ``alive=False`` and nothing is changed; take a new incarnation. One whose ttl passed
        without anybody noticing lives on. ``soonest`` is as of this beat, holders past their ttl included.
        Need not be synced to the disk. May be repeated at will.
        """

    def retire(self, holder: str, reason: str, charged: Collection[Receipt] | None = ()) -> int:
        """End the holder and take its jobs back, each to its place; return how many.

        ``charged`` are the runs during which the process died: each is charged its attempt and a crash, and is
        buried with ``reason`` when the attempt was its last or the crash its third. All others come back unburned.
        None means nobody knows what ran: every job is charged its attempt and no crash. A job that was asked to be
        cancelled becomes cancelled. Durable on return. Repeating it, or naming an unknown holder, returns 0.
        """

    def holders(self) -> list[HolderInfo]:
        """Return the holders that have not ended, those past their ttl included. Changes nothing."""

    def tidy(self, limit: int = 1000) -> Tidied:
        """Do a bounded round of housekeeping on every queue; call again while ``more``.

        Takes back the jobs of holders whose ttl has passed, writes down what expired, makes ready what is due, and
        drops ended jobs and results that their queue's retention no longer keeps. Needs no leader: any number of
        callers may do it at the same time. ``limit`` bounds, for each queue, how many jobs are made ready, how many
        written down as expired, and how many dropped in each state; a holder's jobs come back together.
        """

    def stats(self, queue: str) -> QueueStats:
        """Return exact counts, without scanning jobs; all zero for a queue that does not exist.

        Jobs that have become due or expired by now are counted as such; the call may write that down.
        """

    def queues(self) -> dict[str, QueueSettings]:
        """Return every queue by name with its settings. Changes nothing."""

    def close(self) -> int:
        """End waits, finish calls under way, release everything; return how many jobs are lost by it.

        The count is 0 unless the store is not durable. Idempotent, and the second call returns 0 too. Every later
        call of another method, ``interrupt`` aside, raises ``Closed``.
        """
