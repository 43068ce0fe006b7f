"""Who has the slot of a unique key, and what becomes of a batch of messages that want slots.

A slot is kept as the job that took it last. Whether that job still has it is not written down anywhere but follows
from the job: from its state, from its expiry and from ``within``. So nothing happens to a slot when its job is
leased, ends or expires, and a slot that is free is simply taken over.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

import msgspec

from holdfast.delivery import WAITING, Replayed, State
from holdfast.errors import QueueFull
from holdfast.machine.moves import Head, millis
from holdfast.message import Message, OnConflict, Unique, Until


class Revival(enum.Enum):
    """What became of a job that was to be replayed or reloaded."""

    MOVED = enum.auto()
    DUPLICATE = enum.auto()
    """Another job has its slot; only replay minds."""
    LEFT = enum.auto()
    """It is unknown, or in a state that is not for this."""


def replayed(revivals: Sequence[tuple[str, Revival]]) -> Replayed:
    """Return what became of jobs, given by id, as the answer of a replay; an id twice is told once."""
    moved = tuple(job_id for job_id, revival in revivals if revival is Revival.MOVED)
    contested = (job_id for job_id, revival in revivals if revival is Revival.DUPLICATE)
    return Replayed(moved, tuple(dict.fromkeys(contested)))


class Slot(msgspec.Struct, frozen=True, gc=False):
    """What is known of the job ``id`` that took a slot last: ``state`` None when it does not exist any more.

    ``lasts`` is the ms until which its ``within`` keeps the slot, 0 for none.
    """

    id: str
    until: Until
    lasts: int
    state: State | None
    expires: int | None

    @classmethod
    def of(cls, head: Head, unique: Unique, *, removed: bool = False) -> Slot:
        """Return the slot that ``head`` took."""
        lasts = kept_until(unique, head.sent)
        return cls(head.id, unique.until, lasts, None if removed else head.state, head.expires)

    def waits(self, now: int) -> bool:
        """Tell whether the job still waits."""
        return self.state in WAITING and (self.expires is None or self.expires > now)

    def held(self, now: int) -> bool:
        """Tell whether the job has the slot."""
        runs = self.state is State.RUNNING and self.until == "done"
        return self.lasts > now or runs or self.waits(now)


class Change(msgspec.Struct, frozen=True):
    """A waiting job that takes over what ``message`` says, as ``verb`` (replace or debounce) has it."""

    verb: OnConflict
    job_id: str
    message: Message


class Plan(msgspec.Struct):
    """What a batch comes to: the messages that become jobs, the jobs that change, and for each message its answer.

    An answer is the id of the job and whether it is a duplicate. A message that becomes a job may have been changed by
    later ones of the batch: ``sources`` then has, by the id of the job, it as it was sent and the last that changed it.
    """

    new: dict[str, Message] = msgspec.field(default_factory=dict)
    changes: list[Change] = msgspec.field(default_factory=list)
    answers: list[tuple[str, bool]] = msgspec.field(default_factory=list)
    sources: dict[str, tuple[Message, Message]] = msgspec.field(default_factory=dict)


def planned(messages: Sequence[Message], known: set[str], slots: Mapping[str, Slot], now: int) -> Plan:
    """Return what sending the messages one after the other comes to.

    ``known`` are those of their ids that are recognised, ``slots`` those of their unique keys that were taken ever.
    """
    plan, known, slots = Plan(), set(known), dict(slots)
    for message in messages:
        unique = message.unique
        slot = None if unique is None else slots.get(unique.key)
        if message.id in known:
            plan.answers.append((message.id, True))
        elif unique is None or slot is None or not slot.held(now):
            known.add(message.id)
            plan.new[message.id] = message
            plan.answers.append((message.id, False))
            if unique is not None:
                slots[unique.key] = Slot.of(Head.of(message, 0, now), unique)
        else:
            plan.answers.append((slot.id, True))
            if unique.on_conflict in {"replace", "debounce"} and slot.waits(now):
                _change(plan, slot.id, message, unique.on_conflict)
                slots[unique.key] = msgspec.structs.replace(slot, expires=Head.of(message, 0, now).expires)
    return plan


def _change(plan: Plan, job_id: str, message: Message, verb: OnConflict) -> None:
    """Change a job of this very batch before it is stored, or else plan to change it where it is."""
    if job_id in plan.new:
        was = plan.new[job_id]
        plan.new[job_id] = merged(was, message, verb)
        plan.sources[job_id] = plan.sources.get(job_id, (was, was))[0], message
    else:
        plan.changes.append(Change(verb, job_id, message))


def merged(old: Message, new: Message, verb: OnConflict) -> Message:
    """Return the waiting message ``old`` as ``new`` changes it."""
    timed = new if verb == "debounce" else old
    return msgspec.structs.replace(
        old,
        body=new.body,
        kind=new.kind,
        headers=new.headers,
        priority=new.priority,
        expires_in=new.expires_in,
        max_attempts=new.max_attempts,
        timeout=new.timeout,
        format=new.format,
        delay=timed.delay,
        due=timed.due,
    )


def changed(head: Head, message: Message, verb: OnConflict, now: int) -> None:
    """Apply a change to a waiting head; where it stands then is its owner's to see to."""
    fresh = Head.of(message, head.seq, now)
    head.kind, head.format = fresh.kind, fresh.format
    head.priority, head.max_attempts, head.expires = fresh.priority, fresh.max_attempts, fresh.expires
    if verb == "debounce":
        head.due, head.ready = fresh.due, fresh.ready


def kept_until(unique: Unique, sent: int) -> int:
    """Return the ms until which ``within`` keeps the slot of a job sent at ``sent``, 0 for none."""
    within = unique.within
    if within is None:
        return 0
    return sent + millis(within if isinstance(within, (int, float)) else within.total_seconds())


def queue_full(queue: str, limit: int, waiting: int, new: int) -> QueueFull:
    """Return the error of a send that would take a queue beyond its limit."""
    return QueueFull(
        f"queue {queue!r} has {waiting} waiting jobs and a limit of {limit}, so {new} more were not stored; "
        "send them later, run more workers, or raise the limit"
    )
