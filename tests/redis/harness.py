"""The Redis store under test: a place on servers that tests share, with a clock that stands until it is moved."""

from itertools import count
from pathlib import Path

from holdfast.config import parse_url
from holdfast.stores import open_store
from holdfast.stores.redis import RedisBackend
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.options import Options
from holdfast.testing.clock import SharedClock
from holdfast.testing.conformance import Harness, Owner
from tests.redis.fixtures import Place


class RedisOwner(Owner):
    """Fills streams of the place, whose names have no prefix."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def _ask(self, command: str, stream: str, *more: str):
        return self._link.call(stream, (*command.split(), stream, *more))[0]

    def add(self, stream, fields, entry=None):
        return self._ask("XADD", stream, entry or "*", *(part for pair in fields.items() for part in pair)).decode()

    def entries(self, stream):
        return [entry.decode() for entry, _ in self._ask("XRANGE", stream, "-", "+")]

    def delete(self, stream, entry):
        self._ask("XDEL", stream, entry)

    def remove(self, stream, group):
        self._ask("XGROUP DESTROY", stream, group)


class RedisHarness(Harness):
    """Every handle is a backend of its own on the same keys, as another process would have it.

    Whoever gives the place empties it afterwards. ``options`` are more of the URL's, such as ``&wait=1``.
    """

    def __init__(self, place: Place, folder: Path, options: str = "") -> None:
        self.place = place
        self._url = f"{place.url}?prefix={place.prefix}{options}"
        self._clock_file = folder / "clock"
        self.clock = SharedClock(self._clock_file, ticking=False)
        self._names = (f"{place.prefix}handle-{number}" for number in count())
        self._handles: dict[RedisBackend, str] = {}
        self._link = Link(Options.of(parse_url(self._url)))

    def open(self) -> RedisBackend:
        name = next(self._names)
        handle = open_store(parse_url(f"{self._url}&name={name}"), clock=self.clock)
        assert isinstance(handle, RedisBackend)
        self._handles[handle] = name
        return handle

    def owner(self) -> RedisOwner:
        return RedisOwner(self._link)

    def name_of(self, backend: RedisBackend) -> str:
        """Return what the servers call the connections of a handle."""
        return self._handles[backend]

    def cut(self, backend: RedisBackend) -> None:
        """Let the servers end the connections of a handle, those on which it waits among them."""
        name = f" name={self._handles[backend]} "
        for address in self._link.masters():
            (clients,) = self._link.call_at(address, ("CLIENT", "LIST"))
            for client in clients.decode().splitlines():
                if name in client:
                    self._link.call_at(address, ("CLIENT", "KILL", "ID", client.removeprefix("id=").partition(" ")[0]))

    def close(self) -> None:
        self._close_handles()
        self._link.close()

    def reopen(self) -> RedisBackend:
        self._close_handles()
        return self.open()

    def _close_handles(self) -> None:
        while self._handles:
            self._handles.popitem()[0].close()

    def address(self) -> tuple[str, Path]:
        return self._url, self._clock_file
