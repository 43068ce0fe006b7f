"""What the machine knows of a job, and the table of its legal moves.

``MOVES`` is shared by every store, draws the diagram of the documentation and judges the property tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from holdfast.delivery import ENDED, WAITING, State
from holdfast.message import Message


class Move(NamedTuple):
    """A legal move: ``verb`` takes a job from one state (None: it does not exist) to another (None: it is removed)."""

    verb: str
    source: State | None
    target: State | None


def _moves(verb: str, sources: Iterable[State | None], targets: Iterable[State | None]) -> Iterator[Move]:
    return (Move(verb, source, target) for source in sources for target in targets)


REVIVABLE = frozenset({State.DEAD, State.CANCELLED, State.EXPIRED})
MOVES: frozenset[Move] = frozenset(
    itertools.chain(
        _moves("send", [None], [State.SCHEDULED, State.READY]),
        _moves("due", [State.SCHEDULED], [State.READY]),
        _moves("lease", [State.READY], [State.RUNNING]),
        _moves("ack", [State.RUNNING], [State.DONE]),
        # to cancelled: what was asked to be cancelled does not run again
        _moves("nack", [State.RUNNING], [State.SCHEDULED, State.READY, State.CANCELLED]),
        _moves("give_back", [State.RUNNING], [State.READY, State.CANCELLED]),
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


class Head(msgspec.Struct, eq=False):
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

    @classmethod
    def of(cls, message: Message, seq: int, now: int, token: int = 0) -> Head:
        """Return the head of a message stored at ``now``; ``token`` is the last one given out under its id."""
        due = message.due if message.due is not None else now + int(message.delay * 1000)
        due = max(due, now)
        expires = None if message.expires_in is None else now + int(message.expires_in * 1000)
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
        )

    @property
    def place(self) -> tuple[int, int, int]:
        """Where the job stands among the ready ones."""
        return (-self.priority, self.ready, self.seq)
