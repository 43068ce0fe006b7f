"""What the machine knows of a job, the table of its legal moves, and the rules that choose among them.

``MOVES`` is shared by every store, draws the diagram of the documentation and judges the property tests. The rules
write into a head what a command does to it, its state aside, and return the state it moves to; a store that keeps
jobs elsewhere than in a :class:`Machine` applies the same rules to the heads it loads.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

import msgspec

from holdfast.delivery import (
    ENDED,
    MAX_CRASHES,
    WAITING,
    Ack,
    Attempt,
    Burial,
    Cancellation,
    Crash,
    Nack,
    Receipt,
    Settlement,
    State,
)
from holdfast.failures import ErrorInfo
from holdfast.message import Message, Unique


class Move(NamedTuple):
    """A legal move: ``verb`` takes a job from one state (None: it does not exist) to another (None: it is removed)."""

    verb: str
    source: State | None
    target: State | None


def _moves(verb: str, sources: Iterable[State | None], targets: Iterable[State | None]) -> Iterator[Move]:
    return (Move(verb, source, target) for source in sources for target in targets)


CENTURY = 3_200_000_000.0
REVIVABLE = (State.DEAD, State.CANCELLED, State.EXPIRED)
MOVES: frozenset[Move] = frozenset(
    itertools.chain(
        _moves("send", [None], [State.SCHEDULED, State.READY]),
        _moves("put_dead", [None], [State.DEAD]),
        _moves("due", [State.SCHEDULED], [State.READY]),
        _moves("debounce", WAITING, WAITING),
        _moves("lease", [State.READY], [State.RUNNING]),
        _moves("ack", [State.RUNNING], [State.DONE]),
        # to cancelled: what was asked to be cancelled does not run again
        _moves("nack", [State.RUNNING], [State.SCHEDULED, State.READY, State.CANCELLED]),
        _moves("give_back", [State.RUNNING], [State.READY, State.CANCELLED]),
        _moves("crash", [State.RUNNING], [State.READY, State.DEAD, State.CANCELLED]),
        _moves("take_back", [State.RUNNING], [State.READY, State.DEAD, State.CANCELLED]),
        _moves("bury", [State.RUNNING], [State.DEAD]),
        _moves("stop", [State.RUNNING], [State.CANCELLED]),
        _moves("cancel", WAITING, [State.CANCELLED]),
        _moves("expire", WAITING, [State.EXPIRED]),
        _moves("replay", REVIVABLE, [State.READY]),
        _moves("reload", REVIVABLE, [State.READY]),
        _moves("drop", ENDED, [None]),
        _moves("flush", WAITING | ENDED, [None]),
    )
)


class Head(msgspec.Struct, eq=False, gc=False, array_like=True):
    """What the machine knows of a job. Instants are ms; ``joined`` and ``held`` only matter to jobs with a key."""

    id: str
    seq: int
    kind: str
    format: int
    key: str | None
    priority: int
    max_attempts: int | None
    sent: int
    due: int
    ready: int
    expires: int | None
    token: int
    state: State = State.SCHEDULED
    attempts: int = 0
    crashes: int = 0
    joined: int = 0
    held: bool = False
    holder: str | None = None
    lease_id: str | None = None
    started: int | None = None
    ended: int | None = None
    reason: str | None = None
    cancel: str | None = None
    keep_until: int = 0
    unique: Unique | None = None

    @classmethod
    def of(cls, message: Message, seq: int, now: int, token: int = 0) -> Head:
        """Return the head of a message stored at ``now``; ``token`` is the last one given out under its id."""
        due = message.due if message.due is not None else now + millis(message.delay)
        due = max(due, now)
        expires = None if message.expires_in is None else now + millis(message.expires_in)
        return cls(
            message.id,
            seq,
            message.kind,
            message.format,
            message.key,
            message.priority,
            message.max_attempts,
            now,
            due,
            due,
            expires,
            token,
            unique=message.unique,
        )

    @property
    def place(self) -> tuple[int, int, int]:
        """Where the job stands among the ready ones."""
        return (-self.priority, self.ready, self.seq)


class DeadLetter(msgspec.Struct, frozen=True):
    """What failed elsewhere, and is to be a job that is dead: see ``capabilities.DeadLetters``."""

    message: Message
    reason: str
    error: ErrorInfo | None
    attempts: int
    crashes: int

    def head(self, seq: int, now: int, token: int = 0) -> Head:
        """Return its head, as that of a job which ended at ``now``; ``token`` is the last given out under its id."""
        head = Head.of(self.message, seq, now, token)
        head.state, head.ended, head.reason = State.DEAD, now, self.reason
        head.attempts, head.crashes = self.attempts, self.crashes
        return head

    def run(self, now: int) -> Attempt:
        """Return the run that is recorded of it."""
        return ended_run(self.head(0, now), _burial(self.reason), now, self.error)


def millis(seconds: float) -> int:
    """Return a length in ms, between 0 and a century; what is no number counts as 0."""
    return int(min(max(seconds, 0.0), CENTURY) * 1000) if seconds == seconds else 0  # noqa: PLR0124 - NaN is not


def settled(head: Head, settlement: Settlement, now: int) -> tuple[str, State]:
    """Apply a settlement to a running head; return the verb and the state that follows."""
    if isinstance(settlement, Ack):
        head.keep_until = now + millis(settlement.keep_result) if settlement.result is not None else 0
        return "ack", State.DONE
    if isinstance(settlement, Burial):
        head.reason = settlement.reason
        return "bury", State.DEAD
    if isinstance(settlement, Cancellation):
        head.reason = settlement.reason
        return "stop", State.CANCELLED
    if isinstance(settlement, Crash):
        return "crash", _charged(head, settlement.reason, crashed=True)
    if not isinstance(settlement, Nack):
        head.attempts -= 1
        return "give_back", _back(head, State.READY)
    head.attempts -= not settlement.count
    head.due = now + millis(settlement.delay)
    head.ready = now + 1  # behind everything that is ready at this very ms
    return "nack", _back(head, State.SCHEDULED if head.due > now else State.READY)


def charged_runs(charged: Collection[Receipt] | None, queue: str) -> frozenset[tuple[str, int]] | None:
    """Return the (id, token) pairs of the charged runs in one queue; None stays None."""
    return None if charged is None else frozenset((one.id, one.token) for one in charged if one.queue == queue)


def taken_back(head: Head, reason: str, charged: Collection[tuple[str, int]] | None) -> tuple[State, bool]:
    """Apply the end of its holder to a running head; return the state that follows, and whether it was charged.

    ``charged`` is that of ``QueueBackend.retire``, as ``charged_runs`` gives it for the head's own queue.
    """
    crashed = charged is not None and (head.id, head.token) in charged
    if crashed or charged is None:
        return _charged(head, reason, crashed=crashed), True
    head.attempts -= 1
    return _back(head, State.READY), False


def _charged(head: Head, reason: str, *, crashed: bool) -> State:
    """Charge a run that nobody ended in order with its attempt, and with a crash if it was one."""
    head.crashes += crashed
    over = head.crashes >= MAX_CRASHES or (head.max_attempts is not None and head.attempts >= head.max_attempts)
    if over and head.cancel is None:
        head.reason = reason
        return State.DEAD
    return _back(head, State.READY)


def revived(head: Head, verb: str, now: int) -> None:
    """Apply a replay or reload to an ended head, which becomes ready."""
    if verb == "replay":
        head.attempts = head.crashes = 0
    elif head.max_attempts is not None:
        head.max_attempts = head.attempts + 1
    head.due, head.ready = now, now + 1  # at the tail, behind everything that is ready at this very ms
    head.expires = head.ended = head.started = head.reason = head.cancel = None


def _back(head: Head, state: State) -> State:
    """Return the state of a job that goes back: one that was asked to be cancelled does not run again."""
    if head.cancel is None:
        return state
    head.reason = head.cancel
    return State.CANCELLED


def failed_run(head: Head, settlement: Settlement, now: int) -> Attempt | None:
    """Return the run that a settlement ends, to be kept with the job; None for an ack and for what burned nothing.

    Take it before the settlement is applied.
    """
    if isinstance(settlement, Nack) and (settlement.count or settlement.error is not None):
        return ended_run(head, settlement.reason, now, settlement.error)
    if isinstance(settlement, Burial):
        return ended_run(head, _burial(settlement.reason), now, settlement.error)
    if isinstance(settlement, Crash):
        return lost_run(head, settlement.reason, now, crashed=True)
    return None


def _burial(reason: str) -> str:
    """Return the outcome of a run that ended in a burial."""
    return "timeout" if reason == "timeout" else "buried"


def lost_run(head: Head, reason: str, now: int, *, crashed: bool) -> Attempt:
    """Return the run that ended with its process, or with its holder."""
    return ended_run(head, "crashed" if crashed else "lost", now, ErrorInfo("", reason))


def ended_run(head: Head, outcome: str, ended: int, error: ErrorInfo | None = None) -> Attempt:
    """Return the last run of ``head`` as a value."""
    return Attempt(
        number=head.attempts,
        holder=head.holder or "",
        started=head.started or ended,
        ended=ended,
        outcome=outcome,
        error=error,
    )


def seen_state(head: Head, now: int) -> State:
    """Return the state a reader sees: what is due reads as ready, what is past its expiry as expired."""
    if head.state not in WAITING:
        return head.state
    if head.expires is not None and head.expires <= now:
        return State.EXPIRED
    return State.READY if head.due <= now else head.state
