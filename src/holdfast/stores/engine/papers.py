"""What is kept of jobs beside their heads, and where: messages, errors of runs, results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from holdfast.failures import ErrorInfo
from holdfast.machine import Change
from holdfast.message import Message

Handle = Any
"""What a store has in memory to find a paper again: the paper itself, or its number."""


class Unreadable(msgspec.Struct, frozen=True):
    """In place of a paper that the disk does not give back: why. If it is not damaged, it may give it back later."""

    why: str
    is_damaged: bool = True


class Papers(Protocol):
    """The place for papers. ``keep`` is told of each with its number; what it returns finds the paper later."""

    def keep(self, number: int, paper: Message | ErrorInfo | bytes) -> Handle:
        """Return the handle of a paper; it is the number when that is enough to find it again."""

    def change(self, handle: Handle, number: int, change: Change) -> Handle:
        """Return the handle of a message that a later one changed, which is the paper of this number."""

    def drop(self, handle: Handle) -> None:
        """Take note that the message under this handle is needed no more."""

    def messages(self, handles: Sequence[Handle]) -> Sequence[Message | Unreadable]:
        """Return messages, in this order."""

    def error(self, handle: Handle) -> ErrorInfo:
        """Return the error of a run; one that says so when it cannot be read."""

    def result(self, handle: Handle) -> bytes | Unreadable:
        """Return a result."""
