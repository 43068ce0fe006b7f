"""What an operator should know of a store on Redis or Valkey: its servers, how they stand together, what is in them."""

from __future__ import annotations

import statistics
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence

from holdfast.capabilities import Doctor, Finding, Logs
from holdfast.clock import SYSTEM
from holdfast.config import QueueSettings
from holdfast.delivery import QueueStats
from holdfast.errors import BackendError, Closed, HoldfastError
from holdfast.stores.log_findings import log_findings
from holdfast.stores.queue_findings import queue_findings
from holdfast.stores.redis.admission import Server
from holdfast.stores.redis.connection import Command
from holdfast.stores.redis.errors import Reply, acl_rule
from holdfast.stores.redis.holding import Holding
from holdfast.stores.redis.key_findings import STORE, place, stray_findings, stream_findings
from holdfast.stores.redis.key_findings import Keys as KeysOfServer
from holdfast.stores.redis.keys import Keys
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.options import Address
from holdfast.stores.redis.server_findings import server_findings
from holdfast.stores.redis.topology_findings import cluster_findings, sentinel_findings

APART_MS = 1_000
"""How far the clocks of a server and of this machine may be apart."""
PINGS = 20
SLOW = 0.010
"""Seconds of a round trip from which on a server seems to be far away."""
MOST_NAMED = 10


class RedisDoctor(Doctor):
    """The power itself; the backend lends its parts."""

    _link: Link
    _keys: Keys
    _holding: Holding

    @abstractmethod
    def stats(self, queue: str) -> QueueStats:
        """Return counts; the contract's."""

    @abstractmethod
    def queues(self) -> dict[str, QueueSettings]:
        """Return the queues; the contract's."""

    def examine(self) -> list[Finding]:
        link, options = self._link, self._link.options
        findings = list(sentinel_findings(options)) if options.topology == "sentinel" else []
        servers = list[Server]()
        try:
            for address in (addresses := link.masters()):
                servers += self._examined(address, findings)
            if options.topology == "cluster":
                findings += cluster_findings(link, servers)
            findings += self._inside(addresses)
        except Closed:
            raise
        except HoldfastError as error:
            if str(error) not in [finding.why for finding in findings]:  # what a server answered is told with it
                findings.append(_unusable(options.text, error))
        return findings

    def _examined(self, address: Address, findings: list[Finding]) -> Iterator[Server]:
        """Note what is found of one server, and yield it if it told of itself."""
        link = self._link
        try:
            server = Server.of(address, *link.call_at(address, ("INFO",), ("CONFIG", "GET", "*")))
            if server is not None:
                findings += server_findings(server, link.options)
            findings += rights(link, address, f"{self._keys.store}:doctor")
            findings += clock(link, address)
            findings.append(latency(link, address))
        except Closed:
            raise
        except HoldfastError as error:
            findings.append(_unusable(str(address), error))
            return
        if server is not None:
            yield server

    def _inside(self, addresses: Sequence[Address]) -> Iterator[Finding]:
        prefix = self._link.options.prefix
        for address in addresses:
            yield from stray_findings(KeysOfServer(self._link, address), prefix, self._registered)
            yield from stream_findings(KeysOfServer(self._link, address), prefix)
        yield self._holders()
        yield from queue_findings([self.stats(queue) for queue in self.queues()])
        if isinstance(self, Logs):
            yield from log_findings(self.open_logs())

    def _registered(self) -> set[str]:
        """Return what has keys: the store itself, its queues and its logs."""
        store = self._keys.store
        queues, logs = self._link.call(store, ("HKEYS", f"{store}:queues"), ("HKEYS", f"{store}:logs"))
        named = {place(kind, name.decode()) for kind, names in (("queue", queues), ("log", logs)) for name in names}
        return {STORE, *named}

    def _holders(self) -> Finding:
        holders = self._holding.living()
        silent = [one.id for one in holders if one.beaten is not None and one.beaten >= one.ttl]
        if not silent:
            return Finding("ok", f"{len(holders)} holders, all alive")
        return Finding(
            "warn", f"holders went silent: {', '.join(silent[:MOST_NAMED])}",
            "their processes died, and no worker has taken their jobs back yet",
            "start a worker, or call app.rescue()",
        )  # fmt: skip


def _unusable(what: str, error: HoldfastError) -> Finding:
    passing = isinstance(error, BackendError) and error.retryable
    advice = "mend what it says; workers and senders go on by themselves then" if passing else "mend what it says"
    return Finding("error", f"{what} cannot be used", str(error), advice)


# -- what is tried ------------------------------------------------------------------------------------------------

_RIGHTS: tuple[tuple[Command, str], ...] = (
    (("INFO",), "its version and settings cannot be checked"),
    (("CONFIG", "GET", "save"), "whether it keeps anything cannot be checked"),
    (("TIME",), "its clock cannot be checked"),
    (("CLIENT", "ID"), "nobody can wait for work"),
    (("CLIENT", "UNBLOCK", "0"), "a wait for work cannot be ended, so workers stop late"),
    (("ROLE",), "whether it is the master cannot be checked"),
    (("BZPOPMIN", "{key}", "0.002"), "nobody can wait for work"),
    (("EVAL", "return redis.call('EXISTS', KEYS[1])", "1", "{key}"), "no call can be made"),
    (("EVALSHA", "0" * 40, "1", "{key}"), "no call can be made"),
    (("HDEL", "{key}", "field"), "no call can be made"),
    (("XTRIM", "{key}", "MAXLEN", "0"), "nobody can wait for results"),
)
_VITAL = frozenset({"BZPOPMIN", "EVAL", "EVALSHA", "HDEL", "XTRIM", "CLIENT"})


def rights(link: Link, address: Address, key: str) -> Iterator[Finding]:
    """Yield the commands that this user may not give; they are tried, and change nothing."""
    tried = [tuple(key if word == "{key}" else word for word in command) for command, _ in _RIGHTS]
    refused = [
        (command, why, str(reply))
        for (command, why), reply in zip(_RIGHTS, link.call_at(address, *tried), strict=True)
        if isinstance(reply, Reply) and (reply.code == "NOPERM" or "unknown command" in str(reply))
    ]
    for command, why, reply in refused:
        name = " ".join(map(str, command[:2] if command[0] in {"CLIENT", "CONFIG"} else command[:1]))
        yield Finding(
            "error" if command[0] in _VITAL else "warn", f"{address} does not let this user {name}",
            f"{why}: {reply}", f"ACL SETUSER … {acl_rule(link.options.prefix)}; do not rename commands",
        )  # fmt: skip
    if not refused:
        yield Finding("ok", f"{address} lets this user do all that is needed")


def clock(link: Link, address: Address) -> Iterator[Finding]:
    """Yield how far the clocks of a server and of this machine are apart."""
    before = SYSTEM.wall()
    (now,) = link.call_at(address, ("TIME",))
    after = SYSTEM.wall()
    if isinstance(now, Reply):
        return
    apart = _apart(int(now[0]) * 1000 + int(now[1]) // 1000, before, after)
    what = f"{address}: its clock is {abs(apart) / 1000:.3g} s {'ahead of' if apart > 0 else 'behind'} this machine's"
    if abs(apart) <= APART_MS:
        yield Finding("ok", f"{address}: its clock agrees with this machine's")
    else:
        yield Finding(
            "warn", what, "jobs with a time of their own (run_at=) and schedules start that much early or late",
            "let both machines set their clocks by NTP",
        )  # fmt: skip


def _apart(now: int, before: int, after: int) -> int:
    """Return how many ms a clock that showed ``now`` between two instants of ours is ahead, at the least."""
    return max(0, now - after) + min(0, now - before)


def latency(link: Link, address: Address) -> Finding:
    """Return how long a round trip takes."""
    taken = list[float]()
    for _ in range(PINGS):
        begun = time.perf_counter()
        link.call_at(address, ("PING",))
        taken.append(time.perf_counter() - begun)
    usual = statistics.median(taken)
    what = f"{address} answers in {usual * 1000:.2g} ms"
    if usual < SLOW:
        return Finding("ok", what)
    return Finding(
        "warn", what, "every call takes at least that long, one job at a time feels it most",
        "run workers near it; send and settle many at a time; look at SLOWLOG and at its load",
    )  # fmt: skip
