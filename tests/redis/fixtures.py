"""Redis and Valkey for tests: real servers, started when a test first needs them, ended whatever happens.

Every test may use these fixtures; the root ``conftest.py`` registers them:

``redis_flavour``
    "valkey" and "redis", one after the other (the second marked ``again``): every fixture below is of this flavour, and
    so a test that uses one runs on both. ``@pytest.mark.parametrize("redis_flavour", ["redis"], indirect=True)``
    chooses. What the machine lacks is left out, and the last lines of the run say so.
``redis_place``, ``sentinel_place``, ``cluster_place``
    A ``Place`` of the test's own on a server, a set of Sentinels, a Cluster that all tests of one process share: empty,
    emptied afterwards, one start for a whole conformance suite. The tests must leave the servers alone.
``redis_servers``
    A ``Servers``: makes what a test may harm, a ``Server``, a pair, ``Sentinels``, a ``Cluster``, with options.
    They end with the test.

What they give is in ``server.py`` (start, kill, restart, pause, ask, configure, flush, forget_scripts, replicate),
``sentinels.py`` and ``cluster.py`` (settle, kill_master or kill_owner, promoted, fail_over; moving slots). ``wire.py``
asks a server without the client under test. ``programs.py`` says where the programs are, and has ``until``.
``tests/faults/proxy.py`` stands between a client and any server and does to connections what networks do. ``redis-cli``
comes with the ``redis`` flavour's package.

A start takes 0.02 to 0.05 s, that of Sentinels 0.1 to 1.6 s, that of a Cluster 2.2 s (its masters do not serve for
their first 2 s). After a kill of the master Sentinels have promoted the other in 1.4 to 2.5 s, in 6 to 7 s if they
split their votes, a Cluster in 2.8 to 4.8 s.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.disk.layers import cannot
from tests.redis.cluster import Cluster
from tests.redis.programs import FLAVOURS, lacking
from tests.redis.sentinels import Sentinels
from tests.redis.server import Server, certificate

DATABASES = 64
LONG = 5.0
"""Seconds of silence that servers shared by tests are allowed: a busy machine is no failover."""


class Place(NamedTuple):
    """Room for one test on servers that others use, before and after."""

    url: str
    """What opens the test's database (a Cluster's only one)."""
    prefix: str
    """What no other test's keys begin with."""
    database: int
    on: Server | Sentinels | Cluster
    """Whose it is: the master of Sentinels is ``on.master``, the node of a key in a Cluster ``on.owner(key)``."""

    def ask(self, *words: str | bytes | float):
        """Ask one command of the database; not on a Cluster."""
        server = self.on.master if isinstance(self.on, Sentinels) else self.on
        return server.ask(*words, database=self.database)


class Servers:
    """Makes servers of one flavour, and ends them when it is closed. Nothing it returns has to be closed."""

    def __init__(self, flavour: str, folder: Path) -> None:
        self.flavour, self._folder = flavour, folder
        self._numbers = count()
        self._stack = ExitStack()

    def single(self, **options) -> Server:
        """Start one server; see ``Server`` for the options."""
        return self.unstarted(**options).start()

    def unstarted(self, **options) -> Server:
        """Make one server that the test starts itself."""
        return self._keep(Server(self.flavour, self._new_folder(), **options))

    def pair(self, **options) -> tuple[Server, Server]:
        """Start a master and a replica that follows it, with nobody to promote it."""
        master, replica = self.single(**options), self.single(**options)
        replica.replicate(master)
        return master, replica

    def sentinels(self, **options) -> Sentinels:
        """Start a master and a replica under three Sentinels; see ``Sentinels`` for the options."""
        return self._keep(Sentinels(self.flavour, self._new_folder(), **options)).start()

    def cluster(self, **options) -> Cluster:
        """Start a Cluster of six; see ``Cluster`` for the options."""
        return self._keep(Cluster(self.flavour, self._new_folder(), **options)).start()

    def certificate(self) -> Path:
        """Make a folder for a server's option ``tls``; its ``cert.pem`` is what clients are to trust."""
        return certificate(self._new_folder())

    def close(self) -> None:
        """End all servers."""
        self._stack.close()

    def _new_folder(self) -> Path:
        return self._folder / str(next(self._numbers))

    def _keep(self, started):
        self._stack.callback(started.close)
        return started


class Shared:
    """The servers that the tests of this process share, each started for the first test that asks for it."""

    def __init__(self, new_folder: Callable[[str], Path]) -> None:
        self._new_folder = new_folder
        self._servers: dict[str, Servers] = {}
        self._running: dict[tuple[str, str], Server | Sentinels | Cluster] = {}
        self._numbers = count()

    def place(self, flavour: str, kind: str) -> Iterator[Place]:
        """Yield a place on servers of this kind, and empty it."""
        on = self._running.get((flavour, kind)) or self._start(flavour, kind)
        number = next(self._numbers)
        database = 0 if kind == "cluster" else number % DATABASES
        yield Place(f"{on.url.removesuffix('/0')}/{database}" if database else on.url, f"t{number}:", database, on)
        if kind == "cluster":
            on.flush()
        else:
            (on.master if kind == "sentinels" else on).ask("FLUSHDB", database=database)

    def _start(self, flavour: str, kind: str) -> Server | Sentinels | Cluster:
        if flavour not in self._servers:
            self._servers[flavour] = Servers(flavour, self._new_folder(flavour))
        servers = self._servers[flavour]
        options = {"single": {}, "sentinels": {"down_after": LONG}, "cluster": {"node_timeout": LONG}}[kind]
        self._running[flavour, kind] = getattr(servers, kind)(**options)
        return self._running[flavour, kind]

    def close(self) -> None:
        """End them all."""
        for servers in self._servers.values():
            servers.close()


@pytest.fixture(scope="session")
def redis_shared(tmp_path_factory):
    shared = Shared(tmp_path_factory.mktemp)
    yield shared
    shared.close()


@pytest.fixture(params=[FLAVOURS[0], *(pytest.param(other, marks=pytest.mark.again) for other in FLAVOURS[1:])])
def redis_flavour(request, record_property):
    if lack := lacking(request.param):
        cannot(f"servers of {request.param}", lack, record_property)
    return request.param


@pytest.fixture
def redis_place(redis_shared, redis_flavour):
    yield from redis_shared.place(redis_flavour, "single")


@pytest.fixture
def sentinel_place(redis_shared, redis_flavour):
    yield from redis_shared.place(redis_flavour, "sentinels")


@pytest.fixture
def cluster_place(redis_shared, redis_flavour):
    yield from redis_shared.place(redis_flavour, "cluster")


@pytest.fixture
def redis_servers(redis_flavour, tmp_path_factory):
    # Not the test's own folder: its name may be too long for that of a Unix socket.
    servers = Servers(redis_flavour, tmp_path_factory.mktemp(redis_flavour))
    yield servers
    servers.close()
