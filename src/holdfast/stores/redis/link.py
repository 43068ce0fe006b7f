"""The way to the servers: commands and scripts go to whoever has their key, each in one round trip.

Nothing is ever repeated here. A redirection of a cluster, and a script that a server does not know, were not carried
out: those are sent on, and with their text. Who calls again after an error decides that himself.

While a slot is moved to another server some of its keys are here, some there, and a script would find half of a queue.
No key has the name that scripts are given as theirs, so their old server answers ASK all that time; that is an error.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

from holdfast.errors import BackendError, Closed, HoldfastError
from holdfast.stores.redis.admission import admit
from holdfast.stores.redis.connection import Arg, Command, Connection
from holdfast.stores.redis.errors import Reply, mapped
from holdfast.stores.redis.options import Address, Options
from holdfast.stores.redis.scripts import Script
from holdfast.stores.redis.topology import Topology, topology

Call = tuple[Script, str, Sequence[Arg]]
_IDLE = 16
_REDIRECTS = 5
_STALE = frozenset({"READONLY", "MASTERDOWN", "CLUSTERDOWN", "LOADING"})


class Link:
    """Any thread may call; each call has a connection to itself. After a fork the child opens its own."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle: dict[Address, list[Connection]] = {}
        self._admitted = set[Address]()
        self._topology = topology(self.options)
        self._closed = False
        self.breaks = 0
        """How often a connection was found broken, or a server another than was known. Who is asked after that may have
        lost what was written last.
        """

    # -- commands and scripts -------------------------------------------------------------------------------------

    def call(self, key: str, *commands: Command, durable: bool = False) -> list[Any]:
        """Send the commands in one round trip to the server that has ``key``; return their replies, in order.

        The first error reply is raised. With ``durable`` they are as safe on return as the URL asks. Raises a
        retryable ``BackendError`` when the server is away; its ``outcome_unknown`` tells whether it may have got them.
        """
        address, replies = self._sent(key, commands, durable=durable)
        for reply in replies:
            if isinstance(reply, Reply):
                raise mapped(reply, str(address))
        return replies

    def run(self, script: Script, key: str, *args: Arg, durable: bool = False) -> Any:
        """Run a script with ``key`` as its only key, and return its reply; otherwise as ``call``."""
        address, (reply,) = self._sent(key, [_by_hash(script, key, args)], durable=durable)
        if isinstance(reply, Reply) and reply.code == "NOSCRIPT":
            address, (reply,) = self._sent(key, [_by_text(script, key, args)], durable=durable)
        if isinstance(reply, Reply):
            raise mapped(reply, str(address))
        return reply

    def run_all(self, calls: Sequence[Call], *, durable: bool = False) -> list[Any]:
        """Run scripts, one round trip a server, one server after the other; errors are returned in their places."""
        replies: list[Any] = [None] * len(calls)
        for address, numbers in self._by_server(calls, replies).items():
            try:
                found = self._exchange(address, [_by_hash(*calls[number]) for number in numbers], durable=durable)
            except HoldfastError as error:
                found = [error] * len(numbers)
            for number, reply in zip(numbers, found, strict=True):
                replies[number] = self._settled(reply, calls[number], address, durable=durable)
        return replies

    def _by_server(self, calls: Sequence[Call], replies: list[Any]) -> dict[Address, list[int]]:
        found: dict[Address, list[int]] = {}
        for number, (_, key, _) in enumerate(calls):
            try:
                found.setdefault(self._way().find(key), []).append(number)
            except HoldfastError as error:
                replies[number] = error
        return found

    def _settled(self, reply: Any, call: Call, address: Address, *, durable: bool) -> Any:
        if not isinstance(reply, Reply):
            return reply
        if reply.code not in {"MOVED", "NOSCRIPT"}:
            return mapped(reply, str(address))
        script, key, args = call
        try:
            return self.run(script, key, *args, durable=durable)
        except HoldfastError as error:
            return error

    # -- one round trip -------------------------------------------------------------------------------------------

    def _sent(self, key: str, commands: Sequence[Command], *, durable: bool) -> tuple[Address, list[Any]]:
        """Send commands to the server of ``key``, and those that a cluster sends elsewhere on to there."""
        address = self._way().find(key)
        replies = self._exchange(address, commands, durable=durable)
        for _ in range(_REDIRECTS):
            pending = [number for number, reply in enumerate(replies) if _is_sent_on(commands[number], reply)]
            if not pending:
                break
            code, _, owner = str(replies[pending[0]]).split(" ")[:3]
            host, _, port = owner.rpartition(":")
            address, asking = Address(host or address.host, int(port)), code == "ASK"
            if not asking:
                self._doubt(address)
            again = [commands[number] for number in pending]
            for number, reply in zip(
                pending, self._exchange(address, again, durable=durable, asking=asking), strict=True
            ):
                replies[number] = reply
        return address, replies

    def _exchange(
        self, address: Address, commands: Sequence[Command], *, durable: bool, asking: bool = False
    ) -> list[Any]:
        """Send commands to a server and return a reply to each. What fails on the way makes what is known stale."""
        after = self._safe() if durable else []
        every = [one for command in commands for one in (("ASKING",), command)] if asking else commands
        try:
            connection = self._take(address)
            sent = [*every, *after] if after else every
            replies = connection.exchange(sent, timeout=self.options.timeout * (1 + len(after)))
        except BackendError:
            self._doubt()
            self._drop(address)
            raise
        found = replies[1 : len(every) : 2] if asking else replies[: len(every)]
        errors = [reply for reply in found if isinstance(reply, Reply)]
        if errors and any(error.code in _STALE for error in errors):
            self._doubt()
            connection.close()
        self._give_back(address, connection)
        if after and len(errors) < len(found):  # what was refused beside it makes no write safe
            self._check_safe(address, after, replies[len(every) :])
        return found

    def _safe(self) -> list[Command]:
        """Return the commands that end once what was written on this connection is as safe as asked."""
        options, limit = self.options, int(self.options.timeout * 1000)
        if not options.wait and not options.fsync:
            return []
        replicas: list[Command] = [("WAIT", options.wait, limit)] if options.wait else []
        return [*replicas, ("WAITAOF", 1, 0, limit)] if options.fsync else replicas

    def _check_safe(self, address: Address, commands: Sequence[Command], replies: Sequence[Any]) -> None:
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, Reply):
                text = f"{mapped(reply, str(address))}; it has what was written"
                raise BackendError(text, retryable=True, outcome_unknown=True) from reply
            reached = reply[0] if isinstance(reply, list) else reply
            if reached < int(command[1]):
                where = "replicas have" if command[0] == "WAIT" else "disks have"
                limit = f"after {self.options.timeout:g} s"
                raise BackendError(
                    f"{address}: only {reached} of {command[1]!r} {where} what was written, {limit}",
                    retryable=True,
                    outcome_unknown=True,
                )

    # -- connections ----------------------------------------------------------------------------------------------

    def open(self, key: str) -> Connection:
        """Return a new connection to the server that has ``key``, for its caller alone, who closes it."""
        address = self._way().find(key)
        try:
            return self._connect(address)
        except BackendError:
            self._doubt()
            raise

    def masters(self) -> list[Address]:
        """Return every server that has keys of its own."""
        return self._way().masters()

    def call_at(self, address: Address, *commands: Command) -> list[Any]:
        """Send commands to one server, whatever keys it has; error replies are among the replies, as ``Reply``."""
        return self._exchange(address, commands, durable=False)

    def probe(self, key: str) -> None:
        """Let ``breaks`` rise if the server that has ``key`` may have failed since it was asked last. Asks nothing."""
        address = self._way().find(key)
        with self._lock:
            idle = self._idle.get(address)
            if not idle or not idle[-1].is_fresh:
                self.breaks += 1

    def together(self, keys: Sequence[str]) -> list[list[str]]:
        """Return the keys in groups that one command may name: all of them, or on a cluster those of one slot."""
        if self.options.topology != "cluster":
            return [list(keys)] if keys else []
        groups: dict[str, list[str]] = {}
        for key in keys:
            groups.setdefault(key[key.find("{") : key.find("}")], []).append(key)
        return list(groups.values())

    def close(self) -> None:
        """Close every connection that is not in use, and those in use once they are given back. May be repeated."""
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def _way(self) -> Topology:
        if self._pid != os.getpid():  # the lock, too, may have been held when the process was forked
            self._begin()
        if self._closed:
            raise Closed("the store is closed")
        return self._topology

    def _doubt(self, learnt: Address | None = None) -> None:
        """Look again next time who has what."""
        self.breaks += 1
        self._way().stale(learnt)

    def _take(self, address: Address) -> Connection:
        while True:
            with self._lock:
                idle = self._idle.get(address)
                connection = idle.pop() if idle else None
            if connection is None:
                return self._connect(address)
            if connection.is_fresh:
                return connection
            self.breaks += 1
            connection.close()

    def _connect(self, address: Address) -> Connection:
        """Open a connection; the first to a server, and the first after it failed, looks whether it will do."""
        connection = Connection(self.options, address)
        if address in self._admitted:
            return connection
        try:
            admit(self.options, connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, BackendError):
                error.outcome_unknown = False  # nothing of the caller's was sent
            raise
        self._admitted.add(address)
        return connection

    def _give_back(self, address: Address, connection: Connection) -> None:
        with self._lock:
            idle = self._idle.setdefault(address, [])
            if connection.is_open and not self._closed and len(idle) < _IDLE:
                idle.append(connection)
                return
        connection.close()

    def _drop(self, address: Address) -> None:
        """Close what is idle to a server that failed: it would fail too."""
        with self._lock:
            self._admitted.discard(address)
            idle = self._idle.pop(address, [])
        for connection in idle:
            connection.close()


def _is_sent_on(command: Command, reply: Any) -> bool:
    """Tell whether a command is to be sent where the reply says; of what is being moved, no script is."""
    if not isinstance(reply, Reply):
        return False
    return reply.code == "MOVED" or (reply.code == "ASK" and command[0] not in _BY)


_BY = "EVALSHA", "EVAL"


def _by_hash(script: Script, key: str, args: Sequence[Arg]) -> Command:
    return (_BY[0], script.sha, 1, key, *args)


def _by_text(script: Script, key: str, args: Sequence[Arg]) -> Command:
    return (_BY[1], script.text, 1, key, *args)
