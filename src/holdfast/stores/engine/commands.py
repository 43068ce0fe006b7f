"""What changes the queues of a store: each command as a value, and the instant at which it is carried out."""

from __future__ import annotations

from typing import Literal

import msgspec

from holdfast import capabilities, delivery
from holdfast.config import QueueSettings
from holdfast.delivery import HolderInfo, Receipt, Settlement, State
from holdfast.failures import ErrorInfo
from holdfast.message import Message


class At(msgspec.Struct, frozen=True, gc=False):
    """When a command is carried out: ``wall`` and ``boot`` as a clock tells them, in ms.

    From ``first`` on, numbers are the command's own: one for each of its papers, in the order in which it has them. A
    new job has the number of its message, so numbers are also the order of sending.
    """

    wall: int
    boot: int
    first: int


class Command(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The base of all commands."""


class Declare(Command, frozen=True):
    """Make a queue exist, with these settings."""

    queue: str
    settings: QueueSettings


class Destroy(Command, frozen=True):
    """Remove a queue with all it has."""

    queue: str


class Send(Command, frozen=True):
    """Store messages; whether there is room was seen to before. Papers: each message."""

    queue: str
    messages: tuple[Message, ...]


class PutDead(Command, frozen=True):
    """Store a dead letter. Papers: the message, then the error if there is one."""

    queue: str
    message: Message
    reason: str
    error: ErrorInfo | None
    attempts: int
    crashes: int


class Lease(Command, frozen=True):
    """Grant jobs to a holder that lives."""

    queue: str
    holder: str
    lease_id: str
    limit: int
    kinds: tuple[str, ...]
    max_format: int


class Settle(Command, frozen=True):
    """Settle. Papers, for each settlement: its result or error if it has one, then the messages that follow."""

    settlements: tuple[Settlement, ...]


class Report(Command, frozen=True):
    """Keep what runs report."""

    reports: tuple[delivery.Report, ...]


class Beat(Command, frozen=True):
    """Keep a holder alive."""

    holder: HolderInfo


class Tell(Command, frozen=True):
    """Ask a holder to do something."""

    holder: str
    command: delivery.Command


class Retire(Command, frozen=True):
    """End a holder, and take its jobs back."""

    holder: str
    reason: str
    charged: tuple[Receipt, ...] | None


class Advance(Command, frozen=True):
    """Write down all that is due or has expired in these queues."""

    queues: tuple[str, ...]


class Tidy(Command, frozen=True):
    """Do a round of housekeeping."""

    limit: int


class Cancel(Command, frozen=True):
    """Cancel what waits, ask for what runs."""

    queue: str
    job_ids: tuple[str, ...]
    reason: str


class Revive(Command, frozen=True):
    """Let ended jobs run again."""

    verb: Literal["replay", "reload"]
    queue: str
    job_ids: tuple[str, ...]


class Flush(Command, frozen=True):
    """Remove every job in a state."""

    queue: str
    state: State


class Remove(Command, frozen=True):
    """Remove those of these jobs that are in one of these states."""

    queue: str
    job_ids: tuple[str, ...]
    states: tuple[State, ...]


class Pause(Command, frozen=True):
    """Pause a queue, or resume it."""

    queue: str
    paused: bool


class SaveSchedule(Command, frozen=True):
    """Store a schedule in place of its ``version``."""

    schedule: capabilities.Schedule
    version: int


class RemoveSchedule(Command, frozen=True):
    """Remove a schedule with its ticks."""

    queue: str
    name: str


class Fire(Command, frozen=True):
    """Fire schedules. Papers: the message of each tick that is to send, which every such tick has here."""

    firings: tuple[capabilities.Firing, ...]


class Open(Command, frozen=True):
    """Go on in a process that has just opened the store, in this boot of the machine.

    With ``jumps`` the newest leases may be forgotten: no token that they may have given is given again.
    """

    boot: str
    jumps: bool


class Close(Command, frozen=True):
    """Nothing was forgotten up to here."""
