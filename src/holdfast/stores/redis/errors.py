"""What a server answers, and what breaks on the way to it, as errors that say what the caller can do.

An error reply means that nothing was changed: scripts look before they write. What breaks after a command was sent
leaves its outcome unknown.
"""

from __future__ import annotations

from typing import TypeVar

from holdfast.errors import BackendError, HoldfastError, QueueFull

E = TypeVar("E", bound=HoldfastError)

_PASSING = {
    "LOADING": "it is reading its data back in; it answers when that is done",
    "READONLY": "it is a replica now: another server is, or is becoming, the master",
    "MASTERDOWN": "it is a replica that has lost its master",
    "CLUSTERDOWN": "its cluster has no master for some slots: see CLUSTER INFO",
    "TRYAGAIN": "the slot is being moved to another server",
    "MOVED": "the slots of the cluster were moved again while it was asked",
    "ASK": "the slot is being moved to another server",
    "BUSY": "a script of somebody's runs for too long: SCRIPT KILL ends it if it has not written",
    "NOREPLICAS": "it has too few replicas to take writes: min-replicas-to-write asks for more",
    "MISCONF": "it cannot save its data to disk and refuses writes until it can: look at its log and its disk",
    "UNBLOCKED": "the wait was ended",
    "NOGROUP": "the stream or its group is gone, and is made again",
}
_REFUSED = {
    "NOAUTH": "it asks for a password: write redis://:password@host or redis://user:password@host",
    "WRONGPASS": "it does not know this user and password",
    "NOPERM": "the user may not do this: allow it all keys with the prefix, and +@all -@dangerous +info +config|get",
    "WRONGTYPE": "another program has a key of this name: take a prefix of your own with ?prefix=",
}
_FULL = ("OOM",)


class Reply(Exception):
    """An error reply, as the reader hands it out among the others; ``code`` is its first word."""

    @property
    def code(self) -> str:
        return str(self).partition(" ")[0]


def mapped(reply: Reply, server: str) -> HoldfastError:
    """Return the error that a caller gets for an error reply."""
    code, text = reply.code, f"{server}: {reply}"
    if code in _FULL:
        return QueueFull(f"{text}; work the queues off, keep ended jobs for less long, or raise maxmemory")
    if code in _PASSING:
        return caused(BackendError(f"{text}; {_PASSING[code]}", retryable=True), reply)
    advice = f"; {_REFUSED[code]}" if code in _REFUSED else ""
    return caused(BackendError(f"{text}{advice}"), reply)


def unreachable(server: str, error: Exception) -> BackendError:
    """Return the error of a server that cannot be reached; nothing was sent to it."""
    return caused(BackendError(f"{server} cannot be reached: {error}", retryable=True), error)


def broken(server: str, error: Exception) -> BackendError:
    """Return the error of a connection that broke before the answer had come."""
    text = f"the connection to {server} broke before the answer came: {str(error) or type(error).__name__}"
    return caused(BackendError(text, retryable=True, outcome_unknown=True), error)


def caused(error: E, cause: BaseException) -> E:
    """Return ``error`` with its cause, for those that are kept before they are raised."""
    error.__cause__ = cause
    return error
