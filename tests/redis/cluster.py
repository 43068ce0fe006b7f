"""A Cluster of six: three masters with a replica each."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.ports import HOST, Port
from tests.redis.programs import until, version
from tests.redis.server import Server, fields
from tests.redis.wire import ReplyError

SLOTS = 16_384
MASTERS = 3


class Seen(NamedTuple):
    """What one node knows of another, or of itself."""

    id: str
    port: int
    flags: frozenset[str]
    master: str
    linked: bool
    slots: tuple[range, ...]


class Cluster:
    """Six servers that become a Cluster by ``start``; ``options`` go to each. ``password`` is that of all.

    A node is taken for dead after ``node_timeout`` seconds of silence; its replica is elected 0.5 to 1.5 s later.
    """

    def __init__(self, flavour: str, folder: Path, *, password: str = "", node_timeout: float = 2.0, **options) -> None:
        self._buses = [Port() for _ in range(2 * MASTERS)]
        self.nodes = [
            Server(
                flavour,
                folder / f"node-{number}",
                password=password,
                cluster_enabled="yes",
                cluster_port=bus.number,
                cluster_node_timeout=round(node_timeout * 1000),
                **options,
            )
            for number, bus in enumerate(self._buses)
        ]

    # -- where it is ----------------------------------------------------------------------------------------------

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each node."""
        return [node.address for node in self.nodes]

    @property
    def url(self) -> str:
        """What opens it, by the names of three nodes."""
        password = f":{self.nodes[0].password}@" if self.nodes[0].password else ""
        return f"redis+cluster://{password}{','.join(f'{host}:{port}' for host, port in self.addresses[:MASTERS])}"

    def owner(self, key: str | bytes | int) -> Server:
        """Return the node that serves a key, or a slot given by its number, as most nodes see it that can be asked."""
        slot = key if isinstance(key, int) else self._reachable()[0].ask("CLUSTER", "KEYSLOT", key)
        ports = [
            one.port for node in self._reachable() for one in seen_by(node) if any(slot in some for some in one.slots)
        ]
        assert ports, f"nobody serves slot {slot}"
        return self._at(max(set(ports), key=ports.count))

    def replica_of(self, master: Server) -> Server:
        """Return the replica of a master, as most nodes see it that can be asked."""
        ports = []
        for node in self._reachable():
            seen = seen_by(node)
            own = next((one.id for one in seen if one.port == master.port), "")
            ports += [one.port for one in seen if one.master == own and "fail" not in one.flags]
        assert ports, f"{master} has no replica"
        return self._at(max(set(ports), key=ports.count))

    @property
    def masters(self) -> list[Server]:
        """The masters that can be asked, by what each says of itself."""
        return [node for node in self._reachable() if node.ask("ROLE")[0] == "master"]

    def _at(self, port: int) -> Server:
        return next(node for node in self.nodes if node.port == port)

    def _reachable(self) -> list[Server]:
        return [node for node in self.nodes if node.reachable]

    # -- its life -------------------------------------------------------------------------------------------------

    def start(self) -> "Cluster":
        """Start the nodes for the first time and make them a Cluster; return when every slot is served and copied."""
        for node in self.nodes:
            node.start(ready=False)
        for node in self.nodes:
            node.wait()
        bounds = [SLOTS * part // MASTERS for part in range(MASTERS + 1)]
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < MASTERS:
                node.ask("CLUSTER", "ADDSLOTS", *range(bounds[number], bounds[number + 1]))
        for node in self.nodes:
            for other, bus in zip(self.nodes, self._buses, strict=True):
                if other is not node:
                    node.ask(
                        "CLUSTER", "MEET", HOST, other.port, *([] if version(other.flavour) < (7, 0) else [bus.number])
                    )
        until(lambda: all(map(self._knows_all, self.nodes)), "the nodes know each other")
        for master, replica in zip(self.nodes[:MASTERS], self.nodes[MASTERS:], strict=True):
            replica.ask("CLUSTER", "REPLICATE", master.ask("CLUSTER", "MYID"))
        self.settle()
        return self

    def _knows_all(self, node: Server) -> bool:
        seen = seen_by(node)
        return len(seen) == len(self.nodes) and all(one.linked and "handshake" not in one.flags for one in seen)

    def settle(self, within: float = 30.0) -> None:
        """Wait until all nodes run and agree, every slot is served, and every master has a replica that follows it."""
        until(self._settled, "every node serves, and every master is copied", within, self._views)

    def _views(self) -> str:
        return "\n".join(f"{node}:\n{node.ask('CLUSTER', 'NODES')}" for node in self._reachable())

    def _settled(self) -> bool:
        if not all(node.reachable and self._knows_all(node) and _serves(node) for node in self.nodes):
            return False
        views = {_roles(seen_by(node)) for node in self.nodes}
        return len(views) == 1 and all(self._is_copied(node) for node in self.masters)

    def _is_copied(self, master: Server) -> bool:
        replicas = [self._at(int(port)) for _, port, _ in master.ask("ROLE")[2]]
        return bool(replicas) and all(replica.follows(master) for replica in replicas)

    def kill_owner(self, key: str | bytes | int) -> Server:
        """Kill the node that serves a key with -9; return it, so that ``promoted`` and ``start`` can follow."""
        owner = self.owner(key)
        owner.kill()
        return owner

    def promoted(self, instead_of: Server, key: str | bytes | int, within: float = 15.0) -> Server:
        """Wait until another node serves the key, and all others that can be asked serve too; return it."""

        def another():
            owner = self.owner(key)
            living = [node for node in self._reachable() if node is not instead_of]
            return owner if owner is not instead_of and all(map(_serves, living)) else None

        return until(another, f"another node than {instead_of} serves {key!r}", within)

    def fail_over(self, key: str | bytes | int, within: float = 15.0) -> Server:
        """Let the replica of a key's owner take its place while both live; return the new owner when it has."""
        owner = self.owner(key)
        self.replica_of(owner).ask("CLUSTER", "FAILOVER")
        return self.promoted(owner, key, within)

    def begin_move(self, slot: int, to: Server) -> None:
        """Begin to move a slot: keys that its owner does not have are answered ASK from now on."""
        owner = self.owner(slot)
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", owner.ask("CLUSTER", "MYID"))
        owner.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to.ask("CLUSTER", "MYID"))

    def move_keys(self, slot: int, to: Server, count: int = 1_000_000) -> None:
        """Take up to so many keys of a slot that is being moved to their new node."""
        owner = self.owner(slot)
        keys = owner.ask("CLUSTER", "GETKEYSINSLOT", slot, count)
        if keys:
            secret = ["AUTH", to.password] if to.password else []
            owner.ask("MIGRATE", *to.address, "", 0, 5000, *secret, "KEYS", *keys)

    def end_move(self, slot: int, to: Server) -> None:
        """Take the rest of a slot along; the former owner answers MOVED from now on."""
        self.move_keys(slot, to)
        masters = self.masters
        for node in [to, *(node for node in masters if node is not to)]:
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", to.ask("CLUSTER", "MYID"))

    def flush(self) -> None:
        """Remove all keys."""
        for node in self.masters:
            node.flush()

    def close(self) -> None:
        """Kill all nodes and remove what they left."""
        for node in self.nodes:
            node.close()
        for bus in self._buses:
            bus.release()


def seen_by(node: Server) -> list[Seen]:
    """Return what a node knows of the Cluster."""
    return [_seen(line.split()) for line in node.ask("CLUSTER", "NODES").splitlines()]


def _seen(words: list[str]) -> Seen:
    port = int(words[1].partition("@")[0].rpartition(":")[2])
    bounds = [word.split("-") for word in words[8:] if not word.startswith("[")]
    slots = tuple(range(int(bound[0]), int(bound[-1]) + 1) for bound in bounds)
    return Seen(words[0], port, frozenset(words[2].split(",")), words[3], words[7] == "connected", slots)


def _roles(seen: Iterable[Seen]) -> frozenset[tuple[object, ...]]:
    return frozenset((one.id, one.flags - {"myself"}, one.master, one.slots) for one in seen)


def _serves(node: Server) -> bool:
    try:
        return fields(node.ask("CLUSTER", "INFO"))["cluster_state"] == "ok"
    except ReplyError:
        return False
