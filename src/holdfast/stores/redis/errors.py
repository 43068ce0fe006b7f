"""What a server answers, and what breaks on the way to it, as errors that say what the caller can do.

An error reply means that nothing was changed: scripts look before they write. What breaks after a command was sent
leaves its outcome unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from redis.exceptions import InvalidResponse

from holdfast.errors import BackendError, HoldfastError, QueueFull

E = TypeVar("E", bound=HoldfastError)


def acl_rule(prefix: str) -> str:
    """Return what a user of a server must be allowed."""
    return f"~{prefix}* +@all -@dangerous +info +role +config|get +client|unblock"


_PASSING = {
    "LOADING": "it is reading its data back in; it answers when that is done",
    "READONLY": "it is a replica: open its master, or, where Sentinels or a cluster choose one, redis+sentinel:// or "
    "redis+cluster://",
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
    "NOAUTH": "it asks for a password: write redis://:password@host or redis://user:password@host, for Sentinels "
    "?sentinel_password=",
    "WRONGPASS": "it does not know this user and password: look at both in the URL, where @ is %40 and / is %2F",
    "NOPERM": f"the user may not do this: give it {acl_rule('holdfast:')}, or your own prefix; on Redis 6.2 "
    "+client|id +client|setname +cluster|slots as well",
    "DENIED": "it lets in nobody from other machines: give it a password, and bind it to an address",
    "WRONGTYPE": "another program has a key of this name: take a prefix of your own with ?prefix=",
}
_SAID = {
    "cluster support disabled": "it is no cluster: write redis:// in place of redis+cluster://",
    "unknown command 'SENTINEL'": "it is no Sentinel: write redis:// in place of redis+sentinel://",
    "without any password": "it has no password: leave it out of the URL",
    "DB index": "it has fewer databases: see its setting databases, or keep programs apart with ?prefix=",
}
"""What to do, by words of errors whose code says little."""
_ON_THE_WAY = {
    "WRONG_VERSION_NUMBER": "it speaks no TLS on this port: write redis:// in place of rediss://",
    "handshake operation timed out": "it speaks no TLS on this port: write redis:// in place of rediss://",
    "CERTIFICATE_VERIFY_FAILED": "nobody who is trusted here vouches for it: name the file of who does with ?ca=",
    "Connection reset by peer": "if it speaks TLS, write rediss:// in place of redis://",
    "Connection closed by server": "if it speaks TLS, write rediss:// in place of redis://",
    "Connection refused": "is it running, and is this its port?",
    "No such file": "is it running, and is this its unixsocket?",
    "not known": "is its name right?",
    "max number of clients": "raise its maxclients",
}
_FULL = ("OOM",)
_INSIDE = re.compile(r"^ERR Error running script .*@user_script: ?\d+: -?([A-Z]+ .*)", re.DOTALL)
"""How Redis before 7.0 words an error that a command inside a script met."""


class Full(QueueFull, BackendError):
    """The server has no memory left and takes no more: who sends hears of a full queue, who works tries again."""

    def __init__(self, message: str) -> None:
        BackendError.__init__(self, message, retryable=True)
        self.retry_after = 1.0


class Reply(Exception):
    """An error reply, as the reader hands it out among the others; ``code`` is its first word.

    What a command inside a script met is the same on every server: the words around it are left out.
    """

    def __init__(self, text: str) -> None:
        inside = _INSIDE.match(text)
        super().__init__(text if inside is None else inside[1])

    @property
    def code(self) -> str:
        return str(self).partition(" ")[0]


def mapped(reply: Reply, server: str) -> HoldfastError:
    """Return the error that a caller gets for an error reply."""
    code, text = reply.code, f"{server}: {str(reply).removesuffix('.')}"
    if code in _FULL:
        return Full(f"{text}; work the queues off, keep ended jobs for less long, or raise maxmemory")
    if code in _PASSING:
        return caused(BackendError(f"{text}; {_PASSING[code]}", retryable=True), reply)
    advice = _advice(text, _SAID) or _REFUSED.get(code, "")
    return caused(BackendError(f"{text}; {advice}" if advice else text), reply)


def _advice(text: str, known: Mapping[str, str]) -> str:
    return next((advice for words, advice in known.items() if words in text), "")


def unreachable(server: str, error: Exception) -> BackendError:
    """Return the error of a server that cannot be reached; nothing of the caller's was sent to it."""
    if isinstance(error, InvalidResponse):
        text = f"what answers at {server} is no Redis or Valkey: {error}; is this its port?"
        return caused(BackendError(text), error)
    why = error.__cause__ or error.__context__
    advice = _advice(f"{error} {why}", _ON_THE_WAY)
    said = why.strerror if isinstance(why, OSError) and why.strerror else str(error)
    text = f"{server} cannot be reached: {said.removesuffix('.')}"
    return caused(BackendError(f"{text}; {advice}" if advice else text, retryable=True), error)


def broken(server: str, error: Exception) -> BackendError:
    """Return the error of a connection that broke before the answer had come."""
    text = f"the connection to {server} broke before the answer came: {str(error) or type(error).__name__}"
    return caused(BackendError(text, retryable=True, outcome_unknown=True), error)


def caused(error: E, cause: BaseException) -> E:
    """Return ``error`` with its cause, for those that are kept before they are raised."""
    error.__cause__ = cause
    return error
