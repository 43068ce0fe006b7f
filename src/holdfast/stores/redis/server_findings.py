"""What an operator should know of one server: judged by what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from holdfast.capabilities import Finding
from holdfast.stores.redis.admission import WAITAOF_SINCE, Server
from holdfast.stores.redis.options import Options
from holdfast.stores.sizes import size

ATOMIC_MOVES_SINCE = (9,)
"""The version of Valkey from which a cluster moves slots as a whole."""
FULL = 0.9
"""The part of its memory, or of its clients, from which on an operator should know of a server."""
LAGGING = 10
"""Seconds since a replica was last heard of before it is not one to rely on."""
SHORT_PATIENCE_MS = 1_000
"""A script of ours takes a few milliseconds for a thousand jobs; on a slow machine under load a hundred."""
SOON = 60
"""Seconds; connections that are closed after less idleness are opened again all day."""


def server_findings(server: Server, options: Options) -> Iterator[Finding]:
    """Yield what is to be said of a server, the healthy included."""
    yield from _version(server)
    yield from _role(server)
    yield from _persistence(server)
    yield from _failures(server)
    yield from _eviction(server)
    yield from _memory(server)
    yield from _clients(server)
    yield from _settings(server)
    yield from _replicas(server, options)


def _version(server: Server) -> Iterator[Finding]:
    what = f"{server.address} is {server.name}"
    if server.version < WAITAOF_SINCE:
        yield Finding("ok", f"{what} (from 7.2 on there is ?fsync=1)")
    else:
        yield Finding("ok", what)


def _role(server: Server) -> Iterator[Finding]:
    if server.info.get("role") == "slave":
        master = f"{server.info.get('master_host')}:{server.info.get('master_port')}"
        yield Finding(
            "error", f"{server.address} is a replica of {master}", "it takes no sends, leases or settlements",
            f"open {master}, or redis+sentinel:// or redis+cluster:// where those choose the master",
        )  # fmt: skip


# -- what outlives it ---------------------------------------------------------------------------------------------

_SYNCS = {
    "always": ("ok", "writes are on its disk before it answers (appendfsync always)", "", ""),
    "everysec": ("ok", "its append-only file is synced each second; ?fsync=1 waits for that", "", ""),
    "no": (
        "warn", "its append-only file is synced when the system sees fit (appendfsync no)",
        "a power cut may take half a minute of jobs", "CONFIG SET appendfsync everysec",
    ),
}  # fmt: skip


def _persistence(server: Server) -> Iterator[Finding]:
    config = server.config or {}
    if server.has_aof:
        level, what, why, advice = _SYNCS.get(config.get("appendfsync", "everysec"), _SYNCS["everysec"])
        yield Finding("warn" if level == "warn" else "ok", f"{server.address}: {what}", why, advice)
    elif server.keeps_nothing:
        yield Finding(
            "warn", f"{server.address} keeps nothing on its disk", "when it ends, all jobs, logs and results are lost",
            "CONFIG SET appendonly yes, and write it into its configuration",
        )  # fmt: skip
    else:
        unsaved = server.info.get("rdb_changes_since_last_save", "?")
        yield Finding(
            "warn", f"{server.address} keeps snapshots only, {unsaved} changes since the last",
            "when it ends without warning, what came after the last snapshot is lost, and acked jobs run again",
            "CONFIG SET appendonly yes, and write it into its configuration",
        )  # fmt: skip


def _failures(server: Server) -> Iterator[Finding]:
    failed = {
        "rdb_last_bgsave_status": "its last snapshot failed",
        "aof_last_write_status": "its last write to the append-only file failed",
        "aof_last_bgrewrite_status": "the last rewrite of its append-only file failed",
    }
    for field, what in failed.items():
        if server.info.get(field, "ok") != "ok":
            yield Finding(
                "error", f"{server.address}: {what}", "it may refuse writes (MISCONF), and its disk lags behind",
                "read its log; make room on its disk, or mend the permissions of its dir",
            )  # fmt: skip


# -- memory -------------------------------------------------------------------------------------------------------


def _eviction(server: Server) -> Iterator[Finding]:
    if server.policy == "noeviction":
        yield Finding("ok", f"{server.address} throws nothing away (noeviction)")
        return
    yield Finding(
        "error" if _limit(server) and server.policy.startswith("allkeys") else "warn",
        f"{server.address} throws keys away when it is full (maxmemory-policy {server.policy})",
        "parts of jobs go, and nobody is told", "CONFIG SET maxmemory-policy noeviction; keep caches elsewhere",
    )  # fmt: skip


def _limit(server: Server) -> int:
    return int(server.info.get("maxmemory", 0))


def _memory(server: Server) -> Iterator[Finding]:
    used, limit = int(server.info.get("used_memory", 0)), _limit(server)
    room = limit or int(server.info.get("total_system_memory", 0))
    what = f"{server.address} uses {size(used)} of {size(room)}, {'its maxmemory' if limit else 'all of its machine'}"
    if not room or used < FULL * room:
        yield Finding("ok", what)
    else:
        yield Finding(
            "error" if limit and used >= limit else "warn", what,
            "when it is full, sends raise QueueFull" if limit else "the system kills it when it asks for more",
            "work the queues off, keep ended jobs for less long (done_for, dead_for), or give it more",
        )  # fmt: skip


# -- clients ------------------------------------------------------------------------------------------------------


def _clients(server: Server) -> Iterator[Finding]:
    clients, most = int(server.info.get("connected_clients", 0)), int(server.info.get("maxclients", 0))
    what = f"{server.address} has {clients} of {most} clients"
    if most and clients >= FULL * most:
        yield Finding(
            "warn", what, "it turns further clients away, workers and senders too",
            "CONFIG SET maxclients; look in CLIENT LIST for who has that many",
        )  # fmt: skip
    else:
        yield Finding("ok", what)


def _settings(server: Server) -> Iterator[Finding]:
    config = server.config
    if config is None:
        return  # rights are looked at elsewhere
    idle = int(config.get("timeout", 0))
    if 0 < idle < SOON:
        yield Finding(
            "warn", f"{server.address} closes connections that are idle for {idle} s (timeout)",
            "every pause costs new connections; waits are not cut", "CONFIG SET timeout 0",
        )  # fmt: skip
    if config.get("tcp-keepalive") == "0":
        yield Finding(
            "warn", f"{server.address} does not notice clients whose machine has gone (tcp-keepalive 0)",
            "it wakes them in place of living ones, which then look up to half a minute later",
            "CONFIG SET tcp-keepalive 300",
        )  # fmt: skip
    patience = int(config.get("busy-reply-threshold") or config.get("lua-time-limit") or 5000)
    if 0 < patience < SHORT_PATIENCE_MS:
        yield Finding(
            "warn", f"{server.address} calls itself BUSY after {patience} ms of a script (lua-time-limit)",
            "large batches on a slow moment are taken for scripts that hang, and others get errors",
            "CONFIG SET lua-time-limit 5000",
        )  # fmt: skip


# -- replicas -----------------------------------------------------------------------------------------------------


def _replicas(server: Server, options: Options) -> Iterator[Finding]:
    if server.info.get("role") == "slave":
        return
    good, bad = _good_replicas(server)
    yield from bad
    if good < options.wait:
        yield Finding(
            "error", f"{server.address} has {good} replicas that keep up, and ?wait={options.wait} asks for more",
            f"every send waits for {options.timeout:g} s and then has an unknown outcome",
            "add replicas or mend them, or lower ?wait",
        )  # fmt: skip
    elif options.wait:
        yield Finding(
            "ok", f"{server.address}: {options.wait} of {good} replicas have a send before it returns (?wait)"
        )
    elif good:
        yield Finding(
            "warn", f"{server.address} has {good} replicas, and sends do not wait for them",
            "a failover may lose what was acknowledged in the moment before", f"?wait={good}",
        )  # fmt: skip


def _good_replicas(server: Server) -> tuple[int, list[Finding]]:
    good, bad = 0, list[Finding]()
    for number in range(int(server.info.get("connected_slaves", 0))):
        its = dict(part.partition("=")[::2] for part in server.info.get(f"slave{number}", "").split(","))
        if its.get("state") == "online" and int(its.get("lag", 0)) <= LAGGING:
            good += 1
        else:
            bad.append(_behind(server, its))
    return good, bad


def _behind(server: Server, its: Mapping[str, str]) -> Finding:
    name, state = f"{its.get('ip')}:{its.get('port')}", f"{its.get('state')}, lag {its.get('lag')} s"
    return Finding(
        "warn", f"{server.address}: its replica {name} does not keep up ({state})",
        "it has old data if it is promoted, and ?wait does not count it",
        "look at its log, its network and the size of repl-backlog-size",
    )  # fmt: skip
