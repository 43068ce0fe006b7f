"""What an operator should know of Sentinels, and of a cluster as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from holdfast.capabilities import Finding
from holdfast.errors import HoldfastError
from holdfast.stores.redis.admission import Server, fields, pairs
from holdfast.stores.redis.connection import Connection
from holdfast.stores.redis.errors import Reply, mapped
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.options import Address, Options
from holdfast.stores.redis.server_findings import ATOMIC_MOVES_SINCE

SLOTS = 16_384
PING_PERIOD_MS = 1_000
"""How often Sentinels as shipped ping."""
RESHARDING = "a queue is away while its slot moves, all workers while that of the store does"


def sentinel_findings(options: Options) -> Iterator[Finding]:
    """Yield what is to be said of each Sentinel that the URL names, and of what they watch."""
    answering = 0
    for address in options.addresses:
        try:
            found = list(_sentinel(options, address))
        except HoldfastError as error:
            yield Finding(
                "warn", f"Sentinel {address} does not answer", str(error), "start it, or take it out of the URL"
            )
        else:
            answering += 1
            yield from found
    if not answering:
        yield Finding(
            "error", "no Sentinel of the URL answers", "nobody who begins now, or reconnects, finds the master",
            "start them; a majority must live for a failover",
        )  # fmt: skip
    if len(options.addresses) == 1:
        yield Finding(
            "warn", "the URL names one Sentinel", "while that one is away nobody finds the master",
            "name all of them: redis+sentinel://one,two,three/name",
        )  # fmt: skip


def _sentinel(options: Options, address: Address) -> Iterator[Finding]:
    name = options.service
    with closing(Connection(options, address, sentinel=True)) as connection:
        master, quorum, debug = connection.exchange(
            [("SENTINEL", "MASTER", name), ("SENTINEL", "CKQUORUM", name), ("SENTINEL", "DEBUG")]
        )
    if isinstance(master, Reply):
        raise mapped(master, str(address))
    seen = pairs(master)
    if isinstance(quorum, Reply):
        yield Finding(
            "error", f"Sentinel {address}: {quorum}", "when the master dies, nobody takes its place",
            "start the missing Sentinels; see that they reach each other",
        )  # fmt: skip
    else:
        others = int(seen.get("num-other-sentinels", 0))
        yield Finding("ok", f"Sentinel {address} sees {others} others, and a quorum of {seen.get('quorum')} can be had")
    if int(seen.get("num-slaves", 0)) == 0:
        yield Finding(
            "warn", f"Sentinel {address} knows no replica of {name!r}", "there is nobody to take the master's place",
            "start a replica with replicaof",
        )  # fmt: skip
    yield from _patience(address, seen, debug)


def _patience(address: Address, seen: dict[str, str], debug: object) -> Iterator[Finding]:
    periods = {name.lower(): value for name, value in pairs(debug).items()} if isinstance(debug, list) else {}
    ping, down = int(periods.get("ping-period", PING_PERIOD_MS)), int(seen.get("down-after-milliseconds", 30_000))
    if down <= ping:
        yield Finding(
            "warn", f"Sentinel {address} takes a master for dead after {down} ms, and pings once in {ping} ms",
            "it may take the one that it has just promoted for dead, and promote the old one, which has less",
            f"SENTINEL SET {seen.get('name')} down-after-milliseconds {max(5 * ping, 2 * down)}, on each of them",
        )  # fmt: skip


def cluster_findings(link: Link, servers: Sequence[Server]) -> Iterator[Finding]:
    """Yield what is to be said of a cluster, as one of its masters sees it, and of the moves each has begun."""
    if not servers:
        return
    first = servers[0]
    info, nodes = link.call_at(first.address, ("CLUSTER", "INFO"), ("CLUSTER", "NODES"))
    for reply in (info, nodes):
        if isinstance(reply, Reply):
            yield Finding("warn", "the state of the cluster may not be asked", str(reply), "allow +cluster")
            return
    state, lines = fields(info.decode()), [line.split() for line in nodes.decode().splitlines()]
    yield from _slots(first, state)
    yield from _nodes(lines)
    for server in servers:
        yield from _moves(link, server)


def _slots(server: Server, state: dict[str, str]) -> Iterator[Finding]:
    served = int(state.get("cluster_slots_ok", 0))
    whole = "a missing master stops the others too (cluster-require-full-coverage)"
    if server.config is not None and server.config.get("cluster-require-full-coverage") == "no":
        whole = "the others go on without a missing master (cluster-require-full-coverage no)"
    if served == SLOTS and state.get("cluster_state") == "ok":
        yield Finding("ok", f"all {SLOTS} slots are served; {whole}")
    else:
        yield Finding(
            "error", f"{SLOTS - served} slots have no master that answers; {whole}",
            "queues whose slot is missing stand still", "start the missing nodes; redis-cli --cluster fix",
        )  # fmt: skip


def _nodes(lines: Sequence[Sequence[str]]) -> Iterator[Finding]:
    copied = {words[3] for words in lines if not set(words[2].split(",")) & {"fail", "fail?"}}
    for words in lines:
        address, flags = words[1].partition("@")[0], set(words[2].split(","))
        if flags & {"fail", "fail?"}:
            yield Finding(
                "warn", f"node {address} fails", "what it copied has one copy less, or its slots have no master",
                "start it; see that nodes reach each other's bus port",
            )  # fmt: skip
        elif "master" in flags and len(words) > 8 and words[0] not in copied:
            yield Finding(
                "warn", f"master {address} has no replica", "when it dies, its slots and their queues are gone",
                "redis-cli --cluster add-node … --cluster-slave",
            )  # fmt: skip


def _moves(link: Link, server: Server) -> Iterator[Finding]:
    (nodes,) = link.call_at(server.address, ("CLUSTER", "NODES"))
    own = next((line.split() for line in nodes.decode().splitlines() if "myself" in line), list[str]())
    moving = [word for word in own[8:] if word.startswith("[")]
    if moving:
        yield Finding(
            "warn", f"{server.address} is moving {len(moving)} slots key by key", RESHARDING,
            "let it end soon (redis-cli --cluster check tells of moves that stopped half-way)",
        )  # fmt: skip
    elif server.product == "Valkey" and server.version >= ATOMIC_MOVES_SINCE:
        yield Finding("ok", f"{server.address} moves slots as a whole (CLUSTER MIGRATESLOTS), also under load")
    else:
        yield Finding("ok", f"{server.address} moves no slots; {RESHARDING}")
