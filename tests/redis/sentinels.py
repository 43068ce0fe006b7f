"""Three Sentinels that watch one master and one replica."""

from pathlib import Path

from tests.ports import HOST
from tests.redis.programs import until, version
from tests.redis.server import Server
from tests.redis.wire import ReplyError

NAME = "holdfast"
"""What the Sentinels call the master."""
PERIODS = {"info-period": 250, "publish-period": 250, "ask-period": 250, "ping-period": 400}
"""How often Sentinels look, in milliseconds; as shipped 10 s, 2 s, 1 s and 1 s. What counts as a death is left alone.

They also reconnect once in a ping period. With ``down_after`` as short as that, they take a master that they have just
promoted for dead before they are connected to it, and promote the old one as soon as it is back, empty. But a replica
that has said nothing for five ping periods is not promoted, and while its master is down it is asked once a second.
"""
UNREADY = {"s_down", "o_down", "disconnected", "failover_in_progress"}


class Sentinels:
    """Two servers and three Sentinels that know each other; nothing runs before ``start``.

    ``password`` is that of the servers, ``sentinel_password`` that of the Sentinels; ``options`` go to both servers.
    A Sentinel takes a master for dead after ``down_after`` seconds without a good answer. After one failover the next
    is tried after 2 × ``failover_timeout`` seconds.
    """

    def __init__(
        self,
        flavour: str,
        folder: Path,
        *,
        password: str = "",
        sentinel_password: str = "",
        down_after: float = 1.0,
        failover_timeout: float = 2.0,
        **options,
    ) -> None:
        first = Server(flavour, folder / "server-0", password=password, **options)
        second = Server(flavour, folder / "server-1", password=password, replicaof=f"{HOST} {first.port}", **options)
        self.servers = [first, second]
        self.sentinels = [
            Server(flavour, folder / f"sentinel-{number}", password=sentinel_password, sentinel=True)
            for number in range(3)
        ]
        settings = [
            f"monitor {NAME} {HOST} {first.port} 2",
            f"down-after-milliseconds {NAME} {down_after * 1000:.0f}",
            f"failover-timeout {NAME} {failover_timeout * 1000:.0f}",
            f"known-replica {NAME} {HOST} {second.port}",
        ]
        if password:
            settings.append(f"auth-pass {NAME} {password}")
        if sentinel_password:
            settings.append(f"sentinel-pass {sentinel_password}")
        for sentinel in self.sentinels:
            sentinel.configure_file(f"sentinel {line}" for line in [*settings, *self._others(sentinel)])

    def _others(self, own: Server) -> list[str]:
        # What they would learn from each other within seconds, they know from the beginning.
        known = [
            f"known-sentinel {NAME} {HOST} {other.port} {_id(other)}" for other in self.sentinels if other is not own
        ]
        return [f"myid {_id(own)}", *known]

    # -- where they are -------------------------------------------------------------------------------------------

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each Sentinel."""
        return [sentinel.address for sentinel in self.sentinels]

    @property
    def url(self) -> str:
        """What opens the first database of whichever server is the master."""
        password = f":{self.servers[0].password}@" if self.servers[0].password else ""
        return f"redis+sentinel://{password}{','.join(f'{host}:{port}' for host, port in self.addresses)}/{NAME}/0"

    @property
    def master(self) -> Server:
        """The server that most Sentinels name as the master."""
        ports = [self.named_by(sentinel) for sentinel in self.sentinels if sentinel.reachable]
        port = max(set(ports), key=ports.count)
        return next(server for server in self.servers if server.port == port)

    @property
    def replica(self) -> Server:
        """The other server."""
        return next(server for server in self.servers if server is not self.master)

    def named_by(self, sentinel: Server) -> int:
        """Return the port that a Sentinel tells clients to use."""
        return int(sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1])

    # -- their life -----------------------------------------------------------------------------------------------

    def start(self) -> "Sentinels":
        """Start all; return when a failover could begin."""
        processes = [*self.servers, *self.sentinels]
        for process in processes:
            process.start(ready=False)
        for process in processes:
            process.wait()
        for sentinel in self.sentinels:
            self.hurry(sentinel)
        self.settle()
        return self

    def hurry(self, sentinel: Server) -> None:
        """Let a Sentinel that has just started look as often as the others; those before 7.0 keep their pace."""
        if version(sentinel.flavour) < (7, 0):
            return
        sentinel.ask("SENTINEL", "DEBUG", *(word for period in PERIODS.items() for word in period))

    def settle(self, within: float = 30.0) -> None:
        """Wait until all run and agree, the replica follows the master, and a failover could begin."""
        until(self._settled, "all Sentinels see a master and a replica that follows it", within, self._views)

    def _settled(self) -> bool:
        master, replica = self.master, self.replica
        if not (
            master.reachable and replica.reachable and master.ask("ROLE")[0] == "master" and replica.follows(master)
        ):
            return False
        return all(sentinel.reachable and self._ready(sentinel, master) for sentinel in self.sentinels)

    def _ready(self, sentinel: Server, master: Server) -> bool:
        if self.named_by(sentinel) != master.port:
            return False
        seen = [_pairs(sentinel.ask("SENTINEL", "MASTER", NAME))]
        seen += map(_pairs, sentinel.ask("SENTINEL", "REPLICAS", NAME))
        others = [_pairs(other) for other in sentinel.ask("SENTINEL", "SENTINELS", NAME)]
        flags = {flag for one in [*seen, *others] for flag in one["flags"].split(",")}
        if flags & UNREADY or len(seen) != 2 or len(others) != 2 or seen[1]["master-link-status"] != "ok":
            return False
        try:
            return str(sentinel.ask("SENTINEL", "CKQUORUM", NAME)).startswith("OK")
        except ReplyError:
            return False

    def _views(self) -> str:
        living = [sentinel for sentinel in self.sentinels if sentinel.reachable]
        said = [f"{one}: {one.ask('SENTINEL', what, NAME)}" for one in living for what in ("MASTER", "REPLICAS")]
        return "\n".join(said)

    def kill_master(self) -> Server:
        """Kill the master with -9; return it, so that ``promoted`` and ``start`` can follow."""
        master = self.master
        master.kill()
        return master

    def promoted(self, instead_of: Server, within: float = 15.0) -> Server:
        """Wait until another server is the master, says so itself, and most Sentinels name it; return it."""

        def another():
            master = self.master
            return master if master is not instead_of and master.ask("ROLE")[0] == "master" else None

        return until(another, f"another master than {instead_of}", within)

    def fail_over(self, within: float = 15.0) -> Server:
        """Let the Sentinels swap the two while both live; return the new master when they have."""
        before = self.master
        until(self._begun, "a Sentinel begins the failover", within)
        return self.promoted(before, within)

    def _begun(self) -> bool:
        try:
            return self.sentinels[0].ask("SENTINEL", "FAILOVER", NAME) == "OK"
        except ReplyError as error:
            if str(error).startswith("INPROG"):  # the end of the one before
                return False
            raise

    def close(self) -> None:
        """Kill all and remove what they left."""
        for process in [*self.sentinels, *self.servers]:
            process.close()


def _id(sentinel: Server) -> str:
    return f"{sentinel.port:040x}"


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
