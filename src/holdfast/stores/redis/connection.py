"""One connection to one server: batches of commands out, as many replies in, and nothing is ever sent twice.

redis-py opens the connection (TLS, AUTH, SELECT, names); from then on the socket is read and written here, because its
own pipeline costs several times as much for each command (docs/design/redis.md), and repeats what it has sent.
"""

from __future__ import annotations

import os
import re
import select
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import hiredis
import redis
from redis.exceptions import NoPermissionError

from holdfast.errors import ConfigError
from holdfast.stores.redis.errors import Reply, broken, mapped, unreachable
from holdfast.stores.redis.options import Address, Options, Tls

Arg = str | bytes | int | float
Command = tuple[Arg, ...]
_CHUNK = 1 << 18
_KEEPALIVE = {
    getattr(socket, name): seconds
    for name, seconds in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}
"""A host that has gone is known after so long, also by a connection that only waits."""
_MISSING = object()
_CODE = re.compile(r"[A-Z]{3,} ")
"""What error replies begin with: redis-py cuts it off only where it knows it."""


class Connection:
    """For one thread at a time. Closed for good by the first thing that goes wrong on the way."""

    def __init__(self, options: Options, address: Address, *, sentinel: bool = False) -> None:
        self.address, self.server = address, str(address)
        raw = _opened(options, address, sentinel=sentinel)
        self._raw, self._timeout = raw, options.timeout
        self._socket = cast("socket.socket", raw._sock)
        self._reader = hiredis.Reader(replyError=Reply, notEnoughData=_MISSING)
        self._poll = select.poll()
        self._poll.register(self._socket.fileno(), select.POLLIN)
        self._pid = os.getpid()
        self.is_open = True
        self.since = 0
        """How many ``breaks`` its link had had when it was made."""

    def exchange(self, commands: Sequence[Command], *, timeout: float | None = None) -> list[Any]:
        """Send the commands in one go and return their replies; error replies are among them, as ``Reply``.

        Blocks at most ``timeout`` seconds for each piece of the answer, those of the options by default. A retryable
        ``BackendError`` when it breaks, with an outcome that is unknown.
        """
        self.send(commands)
        return self.receive(len(commands), timeout=timeout)

    def send(self, commands: Sequence[Command]) -> None:
        """Send the commands; ``receive`` as many replies next."""
        try:
            self._wait_at_most(self._timeout)
            packed = [_packed(command) for command in commands]
            self._socket.sendall(packed[0] if len(packed) == 1 else b"".join(packed))
        except BaseException as error:
            self._broke(error)

    def receive(self, number: int, *, timeout: float | None = None) -> list[Any]:
        """Return the next replies, in order."""
        replies: list[Any] = []
        reader, wait = self._reader, self._timeout if timeout is None else timeout
        try:
            self._wait_at_most(wait)
            while len(replies) < number:
                reply = reader.gets()
                if reply is not _MISSING:
                    replies.append(reply)
                    continue
                data = self._socket.recv(_CHUNK)
                if not data:
                    raise ConnectionError("the server closed it")
                reader.feed(data)
        except BaseException as error:
            self._broke(error)
        return replies

    def _wait_at_most(self, seconds: float) -> None:
        if self._socket.gettimeout() != seconds:  # to set it is a call of the system
            self._socket.settimeout(seconds)

    def fileno(self) -> int:
        """Return the descriptor to wait on for a reply."""
        return self._socket.fileno()

    @property
    def is_fresh(self) -> bool:
        """Tell whether it can be used again: open, of this process, and nothing has come that nobody asked for."""
        if not self.is_open or self._pid != os.getpid():
            return False
        try:
            return not self._poll.poll(0)
        except OSError:
            return False

    def close(self) -> None:
        """Let go of it. May be repeated."""
        if self.is_open:
            self.is_open = False
            self._raw.disconnect()

    def _broke(self, error: BaseException) -> None:
        """Close, because answers could no longer be told apart, and raise what the caller gets."""
        self.close()
        if isinstance(error, (OSError, hiredis.HiredisError)):
            raise broken(self.server, error) from error
        raise error


def readable(descriptors: Iterable[int], timeout: float) -> list[int]:
    """Return those from which something can be read, or that were closed at the other end, within ``timeout`` seconds.

    As ``select``, which knows no descriptor from 1 024 on.
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(timeout * 1000)]


_packed = cast("Callable[[Command], bytes]", hiredis.pack_command)


def _opened(options: Options, address: Address, *, sentinel: bool) -> Any:
    """Return a connection of redis-py's, set up; its own retries are off, and so is its reading."""
    shared: dict[str, Any] = {
        "username": options.sentinel_user if sentinel else options.user,
        "password": options.sentinel_password if sentinel else options.password,
        "db": 0 if sentinel else options.db,
        "client_name": options.name,
        "socket_timeout": options.timeout,
        "socket_connect_timeout": options.connect_timeout,
        "protocol": 2,
        "retry": None,
        "health_check_interval": 0,
    }
    kind: Any = redis.Connection
    if address.path:
        kind, shared = redis.UnixDomainSocketConnection, shared | {"path": address.path}
    else:
        shared |= {"host": address.host, "port": address.port}
        shared |= {"socket_keepalive": True, "socket_keepalive_options": _KEEPALIVE}
        if options.tls is not None:
            kind, shared = redis.SSLConnection, shared | _secret(options.tls)
    raw = kind(**shared)
    try:
        raw.connect()
    except (redis.AuthenticationError, redis.ResponseError) as error:
        raise mapped(_reply(error, shared), str(address)) from error
    except (redis.RedisError, OSError) as error:
        if options.tls is not None:
            _check_files(options.text, options.tls)
        raise unreachable(str(address), error) from error
    return raw


def _check_files(url: str, tls: Tls) -> None:
    """Raise when it is the files that are to blame: no other try would help."""
    context = ssl.create_default_context()
    what = f"ca={tls.ca}"
    try:
        if tls.ca is not None:
            context.load_verify_locations(tls.ca)
        what = f"cert={tls.cert}" if tls.key is None else f"cert={tls.cert}&key={tls.key}"
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:
        said = f"{what} cannot be used: {error.strerror or error}"
        raise ConfigError(f"{url}: {said}; name PEM files that this process may read") from error


def _secret(tls: Tls) -> dict[str, Any]:
    return {
        "ssl_ca_certs": tls.ca,
        "ssl_certfile": tls.cert,
        "ssl_keyfile": tls.key,
        "ssl_cert_reqs": "required" if tls.verify else "none",
        "ssl_check_hostname": tls.verify,
    }


def _reply(error: Exception, given: Mapping[str, Any]) -> Reply:
    """Return the error reply that redis-py made an exception of, with the code that it cut off."""
    if _CODE.match(str(error)):
        return Reply(str(error))
    if isinstance(error, redis.AuthenticationError):
        return Reply(f"{'NOAUTH' if given['password'] is None else 'WRONGPASS'} {error}")
    return Reply(f"{'NOPERM' if isinstance(error, NoPermissionError) else 'ERR'} {error}")
