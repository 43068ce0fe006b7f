"""What a store brings to the fault suite. A further one joins with one class and an entry in ``HARNESSES``."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from tests.faults.history import QUEUE
from tests.redis.fixtures import Servers
from tests.redis.programs import lacking
from tests.redis.server import Server

QUEUES = (QUEUE, "mail", "store", "billing")
"""One of them is in the slot of what the store keeps for all its queues."""


class FaultHarness(ABC):
    """One store that several processes use, empty at first; ``folder`` is the stage's own."""

    name: str
    queues: tuple[str, ...] = (QUEUE,)
    tells_time = False
    """Whether a server says what time it is, and not the machine of whoever asks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def lacks(cls) -> str | None:
        """Return what this machine lacks to run it; None if nothing."""
        return None

    @property
    @abstractmethod
    def url(self) -> str:
        """What opens it in any process."""

    def close(self) -> None:  # noqa: B027 - a store without a server leaves nothing
        """Remove what the store left behind."""


class SqliteFaults(FaultHarness):
    name = "sqlite"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder}/jobs.db"


class ServerFaults(FaultHarness):
    """A server of its own, with these options."""

    tells_time = True

    def __init__(self, folder: Path, **options: object) -> None:
        super().__init__(folder)
        self.options = ""
        # Not in the stage's folder: that name may be too long for that of a Unix socket.
        self.server = Server(self.name, Path(tempfile.mkdtemp(prefix="holdfast-")), **options).start()

    @classmethod
    def lacks(cls) -> str | None:
        return lacking(cls.name)

    @property
    def url(self) -> str:
        return self.server.url + self.options

    def close(self) -> None:
        self.server.close()


class SentinelFaults(FaultHarness):
    """A master and a replica under three Sentinels; a write counts when both have it."""

    name, tells_time, queues = "sentinel", True, QUEUES

    def __init__(self, folder: Path, servers: Servers) -> None:
        super().__init__(folder)
        self._sentinels = servers.sentinels()

    @property
    def url(self) -> str:
        return f"{self._sentinels.url}?wait=1"

    def fail(self, queue: str) -> Server:
        """Kill the master, and return it once another is promoted."""
        killed = self._sentinels.kill_master()
        self._sentinels.promoted(killed)
        return killed

    def has(self, killed: Server, queue: str) -> bool:
        """Tell whether a server that was killed had a queue."""
        return True

    def settle(self) -> None:
        """Wait until the next failover could begin."""
        self._sentinels.settle()


class ClusterFaults(FaultHarness):
    """A Cluster of six, on which the queues have different masters; a write counts when a replica has it too."""

    name, tells_time, queues = "cluster", True, QUEUES

    def __init__(self, folder: Path, servers: Servers) -> None:
        super().__init__(folder)
        self._cluster = servers.cluster()
        self._owned: set[str] = set()

    @property
    def url(self) -> str:
        return f"{self._cluster.url}?wait=1"

    def fail(self, queue: str) -> Server:
        """Kill the master of a queue, and return it once another is promoted."""
        key = f"{{{queue}}}"
        owner = self._cluster.owner(key)
        self._owned = {one for one in self.queues if self._cluster.owner(f"{{{one}}}") is owner}
        owner.kill()
        self._cluster.promoted(owner, key)
        return owner

    def has(self, killed: Server, queue: str) -> bool:
        """Tell whether the server that was killed last had a queue."""
        return queue in self._owned

    def settle(self) -> None:
        """Wait until the next failover could begin."""
        self._cluster.settle()


class ValkeyFaults(ServerFaults):
    name = "valkey"


class RedisFaults(ServerFaults):
    name = "redis"


SERVERS = [
    pytest.param(ValkeyFaults, id=ValkeyFaults.name),
    pytest.param(RedisFaults, id=RedisFaults.name, marks=pytest.mark.again),
]
_FIRST = [pytest.param(SqliteFaults, id=SqliteFaults.name), pytest.param(ValkeyFaults, id=ValkeyFaults.name)]
HARNESSES = [*_FIRST, pytest.param(RedisFaults, id=RedisFaults.name, marks=pytest.mark.again)]
ABOUT_PROCESSES = pytest.mark.parametrize(
    "stages",
    [*_FIRST, pytest.param(RedisFaults, id=RedisFaults.name, marks=[pytest.mark.again, pytest.mark.long])],
    indirect=True,
)
"""For what befalls processes that know nothing of any store: on Redis that is for `make long` alone."""
