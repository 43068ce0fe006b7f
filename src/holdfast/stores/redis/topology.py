"""Which server has a key: the only one, the master that Sentinels name, or that of the key's slot in a cluster."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from redis.crc import key_slot

from holdfast.errors import BackendError, ConfigError, HoldfastError
from holdfast.stores.redis.connection import Connection
from holdfast.stores.redis.errors import Reply, mapped
from holdfast.stores.redis.options import Address, Options

Open = Callable[[Address], Connection]


class Topology(ABC):
    """Knows the way; any thread may ask. What it knows is looked up at the first use, and again once it is stale."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock = threading.Lock()  # held while servers are asked, and taken only by who needs the answer

    @abstractmethod
    def find(self, key: str) -> Address:
        """Return the server that takes writes to ``key``; a retryable ``BackendError`` if nobody knows. May ask."""

    @abstractmethod
    def masters(self) -> list[Address]:
        """Return every server that has keys of its own."""

    @abstractmethod
    def stale(self, failed: Address, learnt: Address | None = None) -> None:
        """Look again before a server is used that failed, or sent elsewhere: to ``learnt``, which knows better.

        Never asks, and keeps nobody from finding the others.
        """


class Single(Topology):
    """One server, or what stands before several."""

    def find(self, key: str) -> Address:
        return self._options.addresses[0]

    def masters(self) -> list[Address]:
        return [self._options.addresses[0]]

    def stale(self, failed: Address, learnt: Address | None = None) -> None:
        if learnt is not None:
            raise node_of_a_cluster(self._options, self._options.addresses[0])


class Sentinel(Topology):
    """The master that Sentinels name; whoever says so is asked whether it is one, as they may be behind."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._master: Address | None = None
        self._leads: Address | None = None
        """The Sentinel that led to a master last."""

    def find(self, key: str) -> Address:
        known = self._master
        if known is not None:
            return known
        with self._lock:
            if self._master is None:
                self._master = self._asked()
            return self._master

    def masters(self) -> list[Address]:
        return [self.find("")]

    def stale(self, failed: Address, learnt: Address | None = None) -> None:
        if self._master == failed:
            self._master = None

    def _asked(self) -> Address:
        options, failed = self._options, list[HoldfastError]()
        for sentinel in sorted(options.addresses, key=lambda one: one != self._leads):
            try:
                found = _ask(options, sentinel, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", options.service), sentinel=True)
                if found is None:
                    failed.append(_away(f"{sentinel} watches no master {options.service!r}"))
                    continue
                master = Address(found[0].decode(), int(found[1]))
                if _ask(options, master, ("ROLE",))[0] == b"master":
                    self._leads = sentinel
                    return master
                failed.append(_away(f"{master}, which {sentinel} names, is no master yet"))
            except HoldfastError as error:
                failed.append(error)
        raise _none_of_them(f"{options.text}: no Sentinel leads to a master", failed)


class Cluster(Topology):
    """The masters of a cluster by the slots they have."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._slots: tuple[list[int], list[Address]] = [], []
        """Where each range of slots begins, and who has it; replaced as a whole, so that readers need no lock."""
        self._doubted: frozenset[Address] = frozenset()
        """Servers that failed since they were named."""
        self._learnt: Address | None = None

    def find(self, key: str) -> Address:
        slot = key_slot(key.encode())
        owner = self._owner(slot)
        if owner is None or owner in self._doubted:
            with self._lock:
                owner = self._owner(slot)  # somebody may have asked meanwhile
                if owner is None or owner in self._doubted:
                    self._look()
                    owner = self._owner(slot)
        if owner is None:
            raise BackendError(f"{self._options.text}: no server has slot {slot}", retryable=True)
        return owner

    def _owner(self, slot: int) -> Address | None:
        starts, owners = self._slots
        place = bisect_right(starts, slot) - 1
        return None if place < 0 else owners[place]

    def masters(self) -> list[Address]:
        with self._lock:
            if not self._slots[0] or self._doubted:
                self._look()
            return sorted(set(self._slots[1]))

    def stale(self, failed: Address, learnt: Address | None = None) -> None:
        self._learnt = learnt or self._learnt
        self._doubted |= {failed}

    def _look(self) -> None:
        """Ask the servers that are known until one tells all slots: those in doubt, which may be dead, at the end."""
        failed, doubted = list[HoldfastError](), self._doubted
        known = [self._learnt, *self._slots[1], *self._options.addresses]
        asked = dict.fromkeys(one for one in known if one is not None)
        for address in sorted(asked, key=lambda one: one in doubted):
            try:
                ranges = _ask(self._options, address, ("CLUSTER", "SLOTS"))
            except HoldfastError as error:
                failed.append(error)
                continue
            if ranges:
                ranges.sort()
                owners = [_master(owner, address) for _, _, owner, *_ in ranges]
                self._slots = [first for first, *_ in ranges], owners
                self._doubted -= doubted
                return
            failed.append(_away(f"{address} knows no slots"))
        raise _none_of_them(f"{self._options.text}: no server of the cluster answers", failed)


def _away(text: str) -> BackendError:
    return BackendError(text, retryable=True)


def _none_of_them(text: str, failed: Sequence[HoldfastError]) -> BackendError:
    """Return the error of a way that was found nowhere; trying again helps if it may help with one of them."""
    passing = any(isinstance(error, BackendError) and error.retryable for error in failed)
    return BackendError(f"{text}: {'; '.join(map(str, failed))}", retryable=passing)


def _master(owner: list[Any], asked: Address) -> Address:
    """Return the address in an answer; one without a host is on that of who was asked."""
    host = owner[0].decode() if owner[0] else ""
    return Address(host if host not in {"", "?"} else asked.host, owner[1])


def _ask(options: Options, address: Address, command: tuple[str, ...], *, sentinel: bool = False) -> Any:
    connection = Connection(options, address, sentinel=sentinel)
    try:
        (reply,) = connection.exchange([command])
    finally:
        connection.close()
    if isinstance(reply, Reply):
        raise mapped(reply, str(address))
    return reply


def node_of_a_cluster(options: Options, address: Address) -> ConfigError:
    """Return the error of a URL that opens one node of a cluster as if it were alone."""
    scheme = "rediss+cluster" if options.tls is not None else "redis+cluster"
    return ConfigError(f"{options.text}: {address} is a node of a cluster: write {scheme}://{address}")


def topology(options: Options) -> Topology:
    """Return the topology that the URL names."""
    kinds: dict[str, type[Topology]] = {"single": Single, "sentinel": Sentinel, "cluster": Cluster}
    return kinds[options.topology](options)
