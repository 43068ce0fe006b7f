"""What a server must be before anything is sent to it: looked at once, in one round trip, with the first connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from holdfast.errors import BackendError, ConfigError, HoldfastError, NotSupported
from holdfast.stores.redis.connection import Connection
from holdfast.stores.redis.errors import Reply, mapped
from holdfast.stores.redis.options import Address, Options
from holdfast.stores.redis.topology import node_of_a_cluster
from holdfast.stores.warned import warn

OLDEST = {"Redis": (6, 2), "Valkey": (7, 2)}
WAITAOF_SINCE = (7, 2)
"""Of both, as Valkey began with that version."""
_warned = set[str]()
_lock = threading.Lock()


class Server(msgspec.Struct, frozen=True):
    """What a server says of itself: the fields of INFO, and settings; None if those may not be asked."""

    address: Address
    info: Mapping[str, str]
    config: Mapping[str, str] | None = None

    @classmethod
    def of(cls, address: Address, info: Any, config: Any) -> Server | None:
        """Return the server that answered so to INFO and to CONFIG GET; None when this user may not ask.

        Raises what it is away for.
        """
        if isinstance(info, Reply):
            if info.code not in {"NOPERM", "ERR"}:
                raise mapped(info, str(address))
            return None
        return cls(address, fields(info.decode(errors="replace")), pairs(config) if isinstance(config, list) else None)

    @property
    def product(self) -> str:
        return "Valkey" if "valkey_version" in self.info else "Redis"

    @property
    def version(self) -> tuple[int, ...]:
        text = self.info.get("valkey_version") or self.info.get("redis_version", "")
        return tuple(int(part) for part in text.split(".")[:3] if part.isdecimal())

    @property
    def name(self) -> str:
        """Its product and version as people say it."""
        return f"{self.product} {'.'.join(map(str, self.version))}"

    @property
    def is_sentinel(self) -> bool:
        return "sentinel" in (self.info.get("redis_mode"), self.info.get("server_mode"))

    @property
    def policy(self) -> str:
        """What it throws away when it is full."""
        return self.info.get("maxmemory_policy", "noeviction")

    @property
    def is_loading(self) -> bool:
        """Whether it reads its data back in, and does not know yet what it keeps."""
        return self.info.get("loading") == "1"

    @property
    def has_aof(self) -> bool:
        return self.info.get("aof_enabled") == "1"

    @property
    def keeps_nothing(self) -> bool:
        """Whether its end is the end of all that it has."""
        return not self.has_aof and self.config is not None and self.config.get("save") == ""


def fields(text: str) -> dict[str, str]:
    """Return the ``name:value`` lines of an answer."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def pairs(flat: Sequence[bytes]) -> dict[str, str]:
    """Return an answer in which each name is followed by its value."""
    texts = [one.decode(errors="replace") for one in flat]
    return dict(zip(texts[::2], texts[1::2], strict=False))


def admit(options: Options, connection: Connection) -> None:
    """Warn of what may cost jobs, once for each life of a server and process; raise what keeps it from being used.

    ``NotSupported`` when it is too old, ``ConfigError`` when the URL names it wrongly, a retryable ``BackendError``
    when it cannot keep ``?fsync=1`` as it is set up now. One that is loading says nothing true of its append-only file:
    it is judged when it has loaded, and until then raises the error that it answers every command with.
    """
    server = Server.of(connection.address, *connection.exchange([("INFO",), ("CONFIG", "GET", "save")]))
    if server is None:
        return
    if server.is_loading:
        raise mapped(Reply(f"LOADING {server.product} is loading the dataset in memory"), str(server.address))
    error = refusal(options, server, connection)
    if error is not None:
        raise error
    for text in _worries(server):
        _warn_once(server, text)


def refusal(options: Options, server: Server, connection: Connection) -> HoldfastError | None:
    """Return why a server cannot be used as the URL says; None if it can."""
    what = f"{server.address} is {server.name}"
    if server.is_sentinel:
        return ConfigError(
            f"{options.text}: {server.address} is a Sentinel: write {_sentinel_url(options, connection)}"
        )
    if server.version and server.version < OLDEST[server.product]:
        oldest = " and ".join(f"{product} {at[0]}.{at[1]}" for product, at in OLDEST.items())
        return NotSupported(f"{what}, which is too old; {oldest} are the oldest that will do: upgrade the server")
    if options.topology == "single" and server.info.get("cluster_enabled") == "1":
        return node_of_a_cluster(options, server.address)
    if options.fsync and server.version and server.version < WAITAOF_SINCE:
        return NotSupported(
            f"{what}; ?fsync=1 needs WAITAOF, which is there from 7.2 on: upgrade it, or leave fsync out"
        )
    if options.fsync and not server.has_aof:
        return BackendError(
            f"{server.address} keeps no append-only file, without which ?fsync=1 cannot be: CONFIG SET appendonly yes, "
            "and write it into its configuration",
            retryable=True,
        )
    return None


def _sentinel_url(options: Options, connection: Connection) -> str:
    (masters,) = connection.exchange([("SENTINEL", "MASTERS")])
    names = (
        [] if isinstance(masters, Reply) else [dict(zip(one[::2], one[1::2], strict=False))[b"name"] for one in masters]
    )
    name = names[0].decode() if names else "the-name-of-the-master"
    scheme = "rediss+sentinel" if options.tls is not None else "redis+sentinel"
    return f"{scheme}://{connection.address}/{name}"


def _worries(server: Server) -> Iterator[str]:
    if server.policy != "noeviction":
        yield (
            f"{server.address} throws keys away when it is full (maxmemory-policy {server.policy}), jobs among them; "
            "set it to noeviction: then sends are refused, and nothing is lost"
        )
    if server.keeps_nothing:
        yield (
            f"{server.address} keeps nothing on its disk (no appendonly, no save): when it ends, all jobs are lost; "
            "set appendonly yes"
        )


def _warn_once(server: Server, text: str) -> None:
    known = f"{server.info.get('run_id')} {text}"
    with _lock:
        if known in _warned:
            return
        _warned.add(known)
    warn(text)
