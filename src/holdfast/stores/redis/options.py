"""What a URL says of the servers and of how to talk to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, cast
from urllib.parse import unquote

import msgspec

from holdfast.config import DAY, StoreURL
from holdfast.errors import ConfigError
from holdfast.message import Level

T = TypeVar("T")
Topology = Literal["single", "sentinel", "cluster"]
PORT, SENTINEL_PORT = 6379, 26379
_SCHEMES: Mapping[str, tuple[Topology, bool]] = {
    "": ("single", False),
    "s": ("single", True),
    "+unix": ("single", False),
    "+sentinel": ("sentinel", False),
    "s+sentinel": ("sentinel", True),
    "+cluster": ("cluster", False),
    "s+cluster": ("cluster", True),
}
SCHEMES = tuple(name.replace("!", rest) for name in ("redis!", "valkey!") for rest in _SCHEMES)
_KNOWN = (
    "prefix", "db", "wait", "fsync", "timeout", "connect_timeout", "name", "ca", "cert", "key", "verify",
    "sentinel_user", "sentinel_password",
)  # fmt: skip


class Address(msgspec.Struct, frozen=True, order=True):
    """Where a server listens: a port of a host, or, with a ``path``, a Unix socket."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        return self.path or (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")


class Tls(msgspec.Struct, frozen=True):
    """How servers prove who they are, and this client to them; files by path."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: bool = True


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a URL can say; see docs/reference/stores.md. Lengths are seconds.

    ``wait`` is how many replicas must have a write before it counts, ``fsync`` whether it must be on the disk.
    ``timeout`` bounds every answer, and the wait for replicas and disk.
    """

    text: str
    topology: Topology
    addresses: tuple[Address, ...]
    service: str = ""
    user: str | None = None
    password: str | None = None
    sentinel_user: str | None = None
    sentinel_password: str | None = None
    db: int = 0
    tls: Tls | None = None
    prefix: str = "holdfast:"
    wait: int = 0
    fsync: bool = False
    timeout: float = 10.0
    connect_timeout: float = 5.0
    name: str = "holdfast"

    def __repr__(self) -> str:
        """Show the URL with its passwords masked, and nothing else: this lands in tracebacks and logs."""
        return f"Options({self.text!r})"

    @property
    def level(self) -> Level:
        """How safe a write is once its call returns."""
        if self.wait:
            return Level.REPLICATED
        return Level.SYNCED if self.fsync else Level.MEMORY

    @classmethod
    def of(cls, url: StoreURL) -> Options:
        """Return what a URL says; ``ConfigError`` names what does not parse."""
        scheme = next(scheme for scheme in ("redis", "valkey") if url.scheme.startswith(scheme))
        rest = url.scheme.removeprefix(scheme)
        if rest not in _SCHEMES:
            raise ConfigError(f"{url.text}: no scheme {url.scheme!r}; there are {', '.join(SCHEMES)}")
        topology, secret = _SCHEMES[rest]
        _check_password(url, unix=rest == "+unix")
        url.check_options(_KNOWN)
        login, _, hosts = url.host.rpartition("@")
        user, _, password = login.partition(":")
        db, service = _where(url, topology, unix=rest == "+unix")
        read = _Reader(url)
        return cls(
            text=url.text,
            topology=topology,
            addresses=_addresses(url, hosts, SENTINEL_PORT if topology == "sentinel" else PORT, unix=rest == "+unix"),
            service=service,
            user=unquote(user) or None,
            password=unquote(password) or None,
            sentinel_user=url.options.get("sentinel_user"),
            sentinel_password=url.options.get("sentinel_password"),
            db=db,
            tls=_tls(url, read) if secret else None,
            prefix=_prefix(url),
            wait=read("wait", int, 0, at_least=0),
            fsync=read("fsync", _flag, False),
            timeout=read("timeout", float, 10.0, at_least=0.1, at_most=DAY),
            connect_timeout=read("connect_timeout", float, 5.0, at_least=0.1, at_most=DAY),
            name=_name(url),
        )


class _Reader:
    """Reads options of a URL as values."""

    def __init__(self, url: StoreURL) -> None:
        self._url = url

    def __call__(
        self, name: str, kind: Callable[[str], T], default: T, *, at_least: Any = None, at_most: Any = None
    ) -> T:
        text = self._url.options.get(name)
        if text is None:
            return default
        try:
            value = kind(text)
        except ValueError:
            value = None
        is_within = value is not None and (at_least is None or value >= at_least) and not (at_most and value > at_most)
        if not is_within:
            what = "0 or 1" if kind is _flag else f"a number, {at_least} or more"
            what += f", {at_most:.0f} at the most" if at_most else ""
            raise ConfigError(f"{self._url.text}: {name} must be {what}, not {text!r}")
        return cast("T", value)


def _flag(text: str) -> bool:
    if text not in {"0", "1"}:
        raise ValueError(text)
    return text == "1"


def _tls(url: StoreURL, read: _Reader) -> Tls:
    ca, cert, key = (url.options.get(name) for name in ("ca", "cert", "key"))
    return Tls(ca, cert, key, read("verify", _flag, True))


def _check_password(url: StoreURL, *, unix: bool) -> None:
    """Raise for a password that ended the host part too early, before any error shows what was left of it."""
    cut = "@" not in url.host and any("@" in text for text in ("" if unix else url.path, *url.options))
    if cut:
        scheme = url.text.partition("://")[0]
        raise ConfigError(f"{scheme}://***: in a password write / as %2F, ? as %3F, @ as %40 and % as %25")


def _name(url: StoreURL) -> str:
    name = url.options.get("name", "holdfast")
    if not all("!" <= letter <= "~" for letter in name):
        raise ConfigError(f"{url.text}: servers take a name of ASCII letters without spaces, not {name!r}")
    return name


def _prefix(url: StoreURL) -> str:
    prefix = url.options.get("prefix", "holdfast:")
    if set(prefix) & {"{", "}"}:
        raise ConfigError(f"{url.text}: a prefix has no braces: those choose the slot of a queue's keys")
    return prefix


def _where(url: StoreURL, topology: Topology, *, unix: bool) -> tuple[int, str]:
    """Return the number of the database, and the name that Sentinels know the master by."""
    path = "" if unix else url.path.strip("/")
    service = ""
    if topology == "sentinel":
        service, _, path = path.partition("/")
        if not service:
            raise ConfigError(f"{url.text}: name the master that the Sentinels watch: redis+sentinel://a,b,c/mymaster")
    text = url.options.get("db", path) or "0"
    if not text.isdecimal() or (path and "db" in url.options and path != url.options["db"]):
        raise ConfigError(f"{url.text}: the database is a number, such as redis://host/0, not {path or text!r}")
    if topology == "cluster" and text != "0":
        raise ConfigError(f"{url.text}: a cluster has database 0 only; keep programs apart with ?prefix=")
    return int(text), service


def _addresses(url: StoreURL, hosts: str, port: int, *, unix: bool) -> tuple[Address, ...]:
    if unix:
        if not url.path:
            raise ConfigError(f"{url.text}: name the socket: redis+unix:///run/redis.sock")
        return (Address("", 0, "/" + url.path.lstrip("/")),)
    found = tuple(_address(url, one, port) for one in hosts.split(",") if one)
    if len(found) > 1 and not url.scheme.endswith(("+sentinel", "+cluster")):
        raise ConfigError(f"{url.text}: several servers are redis+sentinel:// or redis+cluster://")
    return found or (Address("localhost", port),)


def _address(url: StoreURL, text: str, port: int) -> Address:
    host, colon, digits = text.rpartition(":")
    if text.startswith("[") and text.endswith("]"):  # an IPv6 address alone
        host, colon, digits = text, "", ""
    elif not colon:
        host, digits = text, ""
    if (colon and not digits.isdecimal()) or not _may_be(host):
        raise ConfigError(f"{url.text}: {text!r} is no host:port")
    if digits and not 0 < int(digits) < 1 << 16:  # the system would take the rest of a larger one
        raise ConfigError(f"{url.text}: ports are numbers from 1 to 65535, not {digits}")
    return Address(host.strip("[]"), int(digits) if digits else port)


def _may_be(host: str) -> bool:
    """Tell whether it can be the name of a machine at all."""
    try:
        return bool(host.encode("idna"))
    except UnicodeError:
        return False
