"""The way to the servers: commands and scripts go to whoever has their key, each in one round trip.

Nothing is ever repeated here. A redirection of a cluster, and a script that a server does not know, were not carried
out: those are sent on, and with their text. Who calls again after an error decides that himself.

While a slot is moved to another server some of its keys are here, some there, and a script would find half of a queue.
No key has the name that scripts are given as theirs, so their old server answers ASK all that time; that is an error.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

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
_ARRIVED = 1.0
"""Seconds for replies that should be there, as another server was waited for until the time of all was over."""


class Unsteady(Exception):
    """Nothing was sent, as the server may have lost what it had when its caller looked: the connection is newer, or one
    has failed since.
    """


class _Trip(msgspec.Struct, frozen=True, gc=False):
    """A round trip that has begun: how many commands were sent, and what ``after`` them asks whether they are safe."""

    address: Address
    connection: Connection
    number: int
    after: Sequence[Command]


class Link:
    """Any thread may call; each call has a connection to itself. After a fork the child opens its own."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.on_failure: Callable[[], None] = _nothing
        """Called in any thread after a server did not do what it was asked: who waits there should look again."""
        self._after = _safe(options)
        self.breaks = self._doubted = 0
        """How often a connection was made or found broken, or a server another than was known. Who is asked after that
        may have lost what was written last.
        """
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle: dict[Address, list[Connection]] = {}
        self._admitted = set[Address]()
        self._topology = topology(self.options)
        self._closed = False
        self._doubted = self._broken()

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

    def run(self, script: Script, key: str, *args: Arg, durable: bool = False, seen: int | None = None) -> Any:
        """Run a script with ``key`` as its only key, and return its reply; otherwise as ``call``.

        With ``seen``, how many ``breaks`` there were before the caller looked, it raises ``Unsteady`` rather than use a
        connection that was made later, go where the server sends it on to, or ask any when one was in doubt since.
        """
        address, (reply,) = self._sent(key, [_by_hash(script, key, args)], durable=durable, seen=seen)
        if not isinstance(reply, Reply):
            return reply
        if reply.code == "NOSCRIPT":
            address, (reply,) = self._sent(key, [_by_text(script, key, args)], durable=durable, seen=seen)
        if isinstance(reply, Reply):
            raise mapped(reply, str(address))
        return reply

    def run_all(self, calls: Sequence[Call], *, durable: bool = False) -> list[Any]:
        """Run scripts, one round trip a server, all servers at once; errors are returned in their places."""
        replies: list[Any] = [None] * len(calls)
        numbers = self._by_server(calls, replies)
        asked = {address: [_by_hash(*calls[number]) for number in its] for address, its in numbers.items()}
        for address, found in self._exchanged(asked, durable=durable).items():
            for number, reply in zip(numbers[address], found, strict=True):
                replies[number] = self._settled(reply, calls[number], address, durable=durable)
        return replies

    def _exchanged(self, asked: Mapping[Address, Sequence[Command]], *, durable: bool) -> dict[Address, Sequence[Any]]:
        """Send to all servers, then receive from all; of one that fails, its error stands for each reply."""
        trips, found = list[_Trip](), dict[Address, Sequence[Any]]()
        try:
            # One that has to be connected to first may be dead, and the others work meanwhile.
            for address in sorted(asked, key=lambda one: not self._idle.get(one)):
                try:
                    trips.append(self._send(address, asked[address], durable=durable))
                except HoldfastError as error:
                    found[address] = [error] * len(asked[address])
            end = time.monotonic() + self.options.timeout
            while trips:
                trip = trips.pop(0)
                try:
                    found[trip.address] = self._receive(trip, max(_ARRIVED, end - time.monotonic()))
                except HoldfastError as error:
                    found[trip.address] = [error] * len(asked[trip.address])
        finally:
            for trip in trips:  # with replies that nobody will read
                trip.connection.close()
        return found

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

    def _sent(
        self, key: str, commands: Sequence[Command], *, durable: bool, seen: int | None = None
    ) -> tuple[Address, list[Any]]:
        """Send commands to the server of ``key``, and those that a cluster sends elsewhere on to there."""
        address = self._way().find(key)
        replies = self._exchange(address, commands, durable=durable, seen=seen)
        if not [reply for reply in replies if type(reply) is Reply]:
            return address, replies
        for _ in range(_REDIRECTS):
            pending = [number for number, reply in enumerate(replies) if _is_sent_on(commands[number], reply)]
            if not pending:
                break
            code, _, owner = str(replies[pending[0]]).split(" ")[:3]
            host, _, port = owner.rpartition(":")
            sender, address, asking = address, Address(host or address.host, int(port)), code == "ASK"
            if not asking:
                self._doubt(sender, address)
                if seen is not None:
                    raise Unsteady
            again = [commands[number] for number in pending]
            for number, reply in zip(
                pending, self._exchange(address, again, durable=durable, asking=asking), strict=True
            ):
                replies[number] = reply
        return address, replies

    def _exchange(
        self,
        address: Address,
        commands: Sequence[Command],
        *,
        durable: bool,
        asking: bool = False,
        seen: int | None = None,
    ) -> list[Any]:
        """Send commands to a server and return a reply to each. What fails on the way makes what is known stale."""
        every = [one for command in commands for one in (("ASKING",), command)] if asking else commands
        replies = self._receive(self._send(address, every, durable=durable, seen=seen), self.options.timeout)
        return replies[1::2] if asking else replies

    def _send(self, address: Address, commands: Sequence[Command], *, durable: bool, seen: int | None = None) -> _Trip:
        """Send commands to a server; ``_receive`` is to follow, or the connection to be closed."""
        after = self._after if durable else []
        try:
            connection = self._take(address)
            if seen is not None and max(connection.since, self._doubted) > seen:
                self._give_back(address, connection)
                raise Unsteady
            connection.send([*commands, *after] if after else commands)
        except BackendError:
            self._failed(address)
            raise
        return _Trip(address, connection, len(commands), after)

    def _receive(self, trip: _Trip, timeout: float) -> list[Any]:
        """Return the replies to what was sent; the connection is another's then."""
        address, connection, number, after = trip.address, trip.connection, trip.number, trip.after
        try:
            replies = connection.receive(number + len(after), timeout=timeout + self.options.timeout * len(after))
        except BackendError:
            self._failed(address)
            raise
        found = replies[:number] if after else replies
        errors = [reply for reply in found if type(reply) is Reply]
        if errors and any(error.code in _STALE for error in errors):
            self._doubt(address)
            connection.close()
        self._give_back(address, connection)
        if after and len(errors) < len(found):  # what was refused beside it makes no write safe
            self._check_safe(address, after, replies[number:])
        return found

    def _failed(self, address: Address) -> None:
        self._doubt(address)
        self._drop(address)
        self.on_failure()

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
            self._doubt(address)
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

    def _doubt(self, address: Address, learnt: Address | None = None) -> None:
        """Look again next time who has what this server had."""
        with self._lock:
            self.breaks += 1
            self._doubted = self.breaks
        self._way().stale(address, learnt)

    def _take(self, address: Address) -> Connection:
        while True:
            with self._lock:
                idle = self._idle.get(address)
                connection = idle.pop() if idle else None
            if connection is None:
                return self._connect(address)
            if connection.is_fresh:
                return connection
            self._broken()
            connection.close()

    def _connect(self, address: Address) -> Connection:
        """Open a connection; the first to a server, and the first after it failed, looks whether it will do."""
        connection = Connection(self.options, address)
        if address not in self._admitted:
            try:
                admit(self.options, connection)
            except BaseException as error:
                connection.close()
                if isinstance(error, BackendError):
                    error.outcome_unknown = False  # nothing of the caller's was sent
                raise
            self._admitted.add(address)
        connection.since = self._broken()  # not before: who looks meanwhile may ask another server than this leads to
        return connection

    def _broken(self) -> int:
        """Let ``breaks`` rise; return it."""
        with self._lock:
            self.breaks += 1
            return self.breaks

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


def _nothing() -> None:
    pass


def _safe(options: Options) -> list[Command]:
    """Return the commands that end once what was written on a connection is as safe as asked."""
    limit = int(options.timeout * 1000)
    replicas: list[Command] = [("WAIT", options.wait, limit)] if options.wait else []
    return [*replicas, ("WAITAOF", 1, 0, limit)] if options.fsync else replicas


_BY = "EVALSHA", "EVAL"


def _by_hash(script: Script, key: str, args: Sequence[Arg]) -> Command:
    return (_BY[0], script.sha, 1, key, *args)


def _by_text(script: Script, key: str, args: Sequence[Arg]) -> Command:
    return (_BY[1], script.text, 1, key, *args)
